"""A policy tried on a log that is told by hand: who would have been refused, by what, and what it would have saved."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import CodeSettings, LimitSettings, ServiceSettings
from gateway.config.services import LockoutSettings, PurposeLimits, PurposeSettings
from gateway.verification.limits.past import Cause, Past, Place, Send
from gateway.verification.limits.replay import Replay
from gateway.verification.limits.replayed import Counts, Most, Report, Sum
from gateway.verification.limits.windows import MOST_WRONG

START = 1_777_891_200.0
DAY = 86_400.0
COST = 0.075


def place(number: int = 1, *, block: int = 0, **known: Any) -> Place:
    known = {"block": f"+4915{block:03d}", "country": "DE", "number_type": "mobile", **known}
    return Place(bytes([number, block]) * 16, f"+49•••{block}{number}", **known)


def past(at: float, *, to: Place | None = None, approved: bool = False, **known: Any) -> Past:
    """Return a verification that is created ``at`` seconds from the start, sent and delivered."""
    goal = to or place()
    sends = known.pop("sends", [Send(START + at, Cause.CREATE, "sms", goal, 1)])
    ended_at = known.pop("ended", at + (20 if approved else 300))
    known.setdefault("service", "shop")
    known.setdefault("purpose", "login")
    known.setdefault("places", [goal])
    known["wrong"] = [START + moment for moment in known.get("wrong", ())]
    return Past(
        id=f"ver_{at}_{goal.masked}",
        created_at=START + at,
        expires_at=START + at + 300,
        sends=sends,
        ended_at=START + ended_at,
        approved=approved,
        **known,
    )


def policy(*, countries: tuple[str, ...] = ("*",), **limits: Any) -> ServiceSettings:
    """Return a service without limits but those given."""
    off = dict.fromkeys(("sends_per_10m", "sends_per_hour", "sends_per_day", "guesses_per_hour", "guesses_per_day",
                         "context_per_hour", "prefix_per_hour", "ip_per_hour", "cooldown"), 0)  # fmt: skip
    return ServiceSettings(channels=("sms",), countries=countries, limits=LimitSettings(**{**off, **limits}))


def near(cost: float) -> Any:
    """Return what equals a sum of floats."""
    return pytest.approx(cost)


def tried(service: ServiceSettings, *pasts: Past) -> Report:
    replay = Replay({"shop": service}, lambda _, country: COST if country == "DE" else 0.0)
    for item in sorted(pasts, key=lambda item: item.created_at):
        replay.take(item)
    return replay.finish()


def refused(report: Report) -> dict[str, int]:
    return {limit: found.requests for limit, found in report.limits.items()}


def test_a_policy_without_limits_refuses_nobody_and_adds_the_log_up():
    report = tried(policy(), *(past(at, approved=at == 0) for at in range(5)))
    assert report.log == Sum(5, 1, 5, near(5 * COST))
    assert (report.refused, refused(report)) == (Counts(), {})


def test_a_refusal_is_counted_by_limit_service_block_and_recipient():
    report = tried(policy(sends_per_hour=2), *(past(60.0 * at) for at in range(4)))
    expected = Counts(2, 0, 2, near(2 * COST))
    assert report.refused == expected
    assert (report.limits, report.services) == ({"sends_per_hour": expected}, {"shop": expected})
    assert report.blocks.top(5) == [("+4915000••••", expected)]
    assert report.recipients.top(5) == [("+49•••01", expected)]


def test_who_was_approved_in_the_end_is_a_false_alarm():
    report = tried(policy(sends_per_hour=1), past(0), past(400), past(800, approved=True))
    assert (report.refused.requests, report.refused.approved) == (2, 1)


@pytest.mark.parametrize(
    ("limit", "length"), [("sends_per_10m", 600.0), ("sends_per_hour", 3600.0), ("sends_per_day", DAY)]
)
def test_a_window_ends_when_it_ends_however_often_it_refused(limit, length):
    changes: dict[str, Any] = {limit: 1}
    service = policy(**changes)
    report = tried(service, past(0), *(past(length - at) for at in (0.1, 1, 100)), past(length))
    assert refused(report) == {limit: 3}


def test_what_refuses_for_longest_is_named():
    report = tried(policy(sends_per_10m=1, sends_per_day=1), past(0), past(1))
    assert refused(report) == {"sends_per_day": 1}


def test_a_cooldown_refuses_until_it_is_over_and_an_approval_ends_it():
    service = policy(cooldown=30)
    assert refused(tried(service, past(0), past(29.9), past(30))) == {"cooldown": 1}
    assert refused(tried(service, past(0, approved=True), past(21))) == {}
    assert refused(tried(service, past(0, ended=5, undelivered=True), past(6))) == {}


def resent(*moments: float, to: Place | None = None, cause: Cause = Cause.RESEND, accepted: int = 1) -> list[Send]:
    goal = to or place()
    first = Send(START, Cause.CREATE, "sms", goal, accepted)
    return [first, *(Send(START + at, cause, "sms", goal, accepted) for at in moments)]


def test_a_resend_that_is_refused_leaves_the_rest_of_its_verification():
    report = tried(policy(cooldown=30), past(0, sends=resent(31, 60, 91)))
    assert refused(report) == {"cooldown": 1}
    assert report.refused.sends == 1


def test_what_follows_a_refused_creation_is_saved_with_it():
    to = place()
    sends = [Send(START + at, cause, "sms", to, 1) for at, cause in enumerate((Cause.CREATE, *[Cause.RESEND] * 3), 60)]
    report = tried(policy(sends_per_hour=1), past(0), past(60, sends=sends, wrong=[62, 63]))
    assert report.refused == Counts(1, 0, 4, near(4 * COST))


def test_a_fallback_counts_where_it_goes_to_another_address_or_to_the_very_same_once_more():
    other = place(2)
    to_other = [*resent(), Send(START + 5, Cause.FALLBACK, "email", other, 1)]
    service = policy(sends_per_hour=1)
    assert refused(tried(service, past(0, sends=to_other), past(400, to=other))) == {"sends_per_hour": 1}
    assert refused(tried(service, past(0, sends=resent(5, cause=Cause.FALLBACK)))) == {"sends_per_hour": 1}
    never_left = [Send(START, Cause.CREATE, "sms", other, 0, START + 5), Send(START + 5, Cause.FALLBACK, "x", other, 1)]
    assert refused(tried(service, past(0, sends=never_left))) == {}
    assert refused(tried(service, past(-100, to=other), past(0, sends=to_other))) == {"sends_per_hour": 1}


def test_a_fallback_of_a_refused_resend_is_saved_with_it():
    sends = [*resent(10), Send(START + 12, Cause.FALLBACK, "email", place(2), 1)]
    report = tried(policy(cooldown=30), past(0, sends=sends))
    assert (refused(report), report.refused.sends) == ({"cooldown": 1}, 2)


def test_what_never_left_is_given_back():
    failed = [Send(START, Cause.CREATE, "sms", place(), 0, returned_at=START + 10)]
    report = tried(policy(sends_per_hour=1, prefix_per_hour=1), past(0, sends=failed), past(400))
    assert (refused(report), report.log.sends) == ({}, 1)
    service = policy(guesses_per_hour=5)
    wrong = past(0, sends=failed, wrong=[11, 12], ended=20)
    assert refused(tried(service, wrong, past(400))) == {"guesses_per_hour": 1}, "what was guessed counts on"


def test_wrong_codes_and_what_is_held_back_count_against_new_verifications():
    service = policy(guesses_per_hour=10)
    assert refused(tried(service, past(0), past(1), past(2))) == {"guesses_per_hour": 1}
    assert refused(tried(service, past(0), past(1), past(301))) == {}
    wrong = past(0, wrong=[10, 11, 12, 13, 14], ended=14)
    assert refused(tried(service, wrong, past(20, wrong=[21]), past(400))) == {"guesses_per_hour": 1}
    assert refused(tried(service, wrong, past(20, approved=True), past(400), past(401))) == {}


def test_a_trusted_context_has_a_budget_of_its_own():
    service = policy(guesses_per_hour=5, context_per_hour=5)
    known: dict[str, Any] = {"contexts": ["reference:device"]}
    trusted = past(0, approved=True, **known)
    assert refused(tried(service, trusted, past(100), past(101), past(102, **known))) == {"guesses_per_hour": 1}
    assert refused(tried(service, trusted, past(100, **known), past(101, **known))) == {"context_per_hour": 1}
    late = 31 * DAY
    assert refused(tried(service, trusted, past(late), past(late + 1, **known))) == {"guesses_per_hour": 1}


def test_a_lock_out_is_over_by_itself():
    service = policy(lockout=LockoutSettings.model_validate({"after": 3, "for": 600}))
    wrong = past(0, wrong=[10, 11, 12], ended=13)
    report = tried(service, wrong, past(20), past(611.9), past(612, wrong=[620], ended=650), past(700))
    assert refused(report) == {"lockout": 2}


def test_wrong_codes_left_before_a_lock_out_are_held_back():
    service = policy(lockout=LockoutSettings.model_validate({"after": 5, "for": 600}))
    pasts = [past(float(at)) for at in (2, 3, 4)]
    assert refused(tried(service, past(0, wrong=[1]), *pasts, past(400, wrong=[401]))) == {}
    assert refused(tried(service, past(0, wrong=[1]), *pasts, past(5), past(400, wrong=[401]))) == {"lockout": 1}


def test_a_number_that_is_sent_to_after_its_chat_counts_in_its_block_alone():
    service = policy(prefix_per_hour=1, sends_per_10m=2)
    number = place()
    chat = Place(number.hash, number.masked)
    pasts = [
        past(at, sends=[Send(START + at, Cause.CREATE, "bot", chat, 1), Send(START + at + 8, Cause.FALLBACK, "sms", number, 1)])
        for at in (0.0, 400.0)
    ]  # fmt: skip
    assert refused(tried(service, *pasts)) == {"prefix_per_hour": 1}
    approved = [past(0.0, sends=pasts[0].sends, approved=True), pasts[1]]
    assert refused(tried(service, *approved)) == {}
    failed = [Send(START, Cause.CREATE, "bot", chat, 1), Send(START + 8, Cause.FALLBACK, "sms", number, 0, START + 9)]
    assert refused(tried(service, past(0.0, sends=failed), pasts[1])) == {}


@pytest.mark.parametrize("returned_at", [None, START + 8], ids=["chat took it", "chat failed"])
def test_a_number_that_was_sent_to_before_its_chat_counts_once_more_after_it(returned_at):
    number = place()
    chat = Place(number.hash, number.masked)
    sends = [
        Send(START, Cause.CREATE, "sms", number, 1),
        Send(START + 6, Cause.FALLBACK, "bot", chat, returned_at is None, returned_at),
        Send(START + 8, Cause.FALLBACK, "flat", number, 1),
    ]
    for limit in ("sends_per_hour", "prefix_per_hour"):
        changes: dict[str, Any] = {limit: 2}
        assert refused(tried(policy(**changes), past(0, sends=sends), past(400))) == {limit: 1}
        assert refused(tried(policy(**changes), past(0, sends=sends[:2]), past(400))) == {}


def test_a_number_after_a_resend_that_never_left_counts_in_its_place():
    number = place()
    chat = Place(number.hash, number.masked)
    sends = [
        Send(START, Cause.CREATE, "sms", number, 1),
        Send(START + 40, Cause.RESEND, "sms", number, 0, START + 41),
        Send(START + 41, Cause.FALLBACK, "bot", chat, 0, START + 42),
        Send(START + 42, Cause.FALLBACK, "flat", number, 1),
    ]
    service = policy(sends_per_hour=2)
    assert refused(tried(service, past(0, sends=sends))) == {}
    assert refused(tried(service, past(0, sends=sends), past(400))) == {"sends_per_hour": 1}


def test_a_number_takes_over_from_one_that_never_left_after_its_chat():
    number = place()
    chat = Place(number.hash, number.masked)
    sends = [
        Send(START, Cause.CREATE, "bot", chat, 1),
        Send(START + 6, Cause.FALLBACK, "sms", number, 0, START + 7),
        Send(START + 7, Cause.FALLBACK, "flat", number, 1),
    ]
    assert refused(tried(policy(sends_per_hour=1, prefix_per_hour=1), past(0, sends=sends))) == {}
    full = past(0, sends=sends), past(400)
    assert refused(tried(policy(prefix_per_hour=1), *full)) == {"prefix_per_hour": 1}


def test_after_too_many_wrong_codes_in_a_row_there_is_one_creation_a_day():
    pasts = [past(400.0 * at, wrong=[400.0 * at + more for more in range(1, 6)]) for at in range(MOST_WRONG // 5)]
    end = 400.0 * len(pasts)
    report = tried(policy(), *pasts, past(end), past(DAY + 1), past(DAY + 400))
    assert refused(report) == {"consecutive_wrong": 2}
    helped = past(end - 1, approved=True)
    assert refused(tried(policy(), *pasts[:-1], helped, past(end + 400))) == {}
    at = DAY + 1
    failed = past(at, sends=[Send(START + at, Cause.CREATE, "sms", place(), 0, returned_at=START + at + 10)])
    assert refused(tried(policy(), *pasts, failed, past(at + 400))) == {"consecutive_wrong": 1}, "though it never left"


def test_a_block_of_numbers_is_sent_so_many_that_nobody_approved():
    service = policy(prefix_per_hour=5)
    pasts = [past(at, to=place(at)) for at in range(7)]
    assert refused(tried(service, *pasts, past(100, to=place(1, block=1)))) == {"prefix_per_hour": 2}
    assert refused(tried(service, *(past(30 * at, to=place(at), approved=True) for at in range(20)))) == {}
    assert refused(tried(service, *pasts, past(3600, to=place(9)))) == {"prefix_per_hour": 2}


def test_an_approval_of_a_code_that_another_address_had_too_counts_for_no_block():
    pasts = []
    for at in range(4):
        number, mailbox = place(at), Place(bytes([90 + at]) * 32, "m•••")
        sends = [Send(START + 30 * at, Cause.CREATE, "sms", number, 1)]
        sends.append(Send(START + 30 * at + 5, Cause.RESEND, "email", mailbox, 1))
        pasts.append(past(30 * at, to=number, sends=sends, places=[number, mailbox], approved=True))
    assert refused(tried(policy(prefix_per_hour=3), *pasts)) == {"prefix_per_hour": 1}


def test_checks_that_may_still_be_wrong_count_to_those_that_were_in_a_row():
    guessed = [past(400.0 * at, wrong=[400.0 * at + more for more in range(1, 6)]) for at in range(MOST_WRONG // 5 - 1)]
    end = 400.0 * len(guessed)
    pending, ended = past(end, ended=end + 200), past(end + 201)
    other = past(end + 199)
    assert refused(tried(policy(), *guessed, pending, other, ended)) == {"consecutive_wrong": 1}


def test_a_block_that_nobody_approves_rests_for_an_hour():
    service = policy(prefix_per_hour=1000)
    pasts = [past(10.0 * at, to=place(at)) for at in range(25)]
    last = 10.0 * 19
    report = tried(service, *pasts, past(last + 3599, to=place(90)), past(last + 3600, to=place(91)))
    assert refused(report) == {"prefix_per_hour": 6}
    enough = past(0, to=place(99), approved=True, ended=195)
    second = past(1, to=place(98), approved=True, ended=196)
    assert refused(tried(service, enough, second, *pasts[1:18], *pasts[20:21])) == {}


def test_a_visitor_creates_so_many_in_an_hour():
    pasts = [past(at, to=place(at), visitor="203.0.113.9") for at in range(4)]
    other = past(5, to=place(9), visitor="203.0.113.10")
    report = tried(policy(ip_per_hour=3), *pasts, other, past(3600, to=place(8), visitor="203.0.113.9"))
    assert refused(report) == {"ip_per_hour": 1}


def test_a_purpose_without_a_cooldown_ends_none_that_runs():
    service = policy(cooldown=30).model_copy(
        update={"purposes": {"quick": PurposeSettings(channels=("sms",), limits=PurposeLimits(cooldown=0))}}
    )
    assert refused(tried(service, past(0), past(1, purpose="quick"), past(2), past(3, purpose="quick"))) == {
        "cooldown": 1
    }


def test_a_visitor_is_counted_for_each_service_by_itself():
    replay = Replay({"shop": policy(ip_per_hour=2), "bank": policy(ip_per_hour=2)}, lambda *_: COST)
    for at, service in enumerate(["shop", "bank", "shop", "bank", "shop"]):
        replay.take(past(at, to=place(at), visitor="203.0.113.9", service=service))
    assert refused(replay.finish()) == {"ip_per_hour": 1}


@pytest.mark.parametrize(
    ("to", "limit"),
    [
        (place(country="AT"), "countries"),
        (place(country="001"), "countries"),
        (place(number_type="premium_rate"), "number_types"),
        (place(country=None, number_type=None), None),
        (place(), None),
    ],
)
def test_addresses_a_policy_does_not_serve_are_refused(to, limit):
    report = tried(policy(countries=("DE",)), past(0, to=to))
    assert refused(report) == ({} if limit is None else {limit: 1})


def test_spending_ends_with_the_day_and_begins_with_the_next():
    pasts = [past(at, to=place(at)) for at in range(4)]
    report = tried(policy(spend_per_day=0.15), *pasts, past(DAY, to=place(9)))
    assert refused(report) == {"spend_per_day": 2}


def test_requests_of_a_second_are_limited():
    pasts = [past(at / 10, to=place(at)) for at in range(10)]
    assert refused(tried(policy(requests_per_second=2), *pasts)) == {"requests_per_second": 7}


def test_a_purpose_has_its_own_policy_and_a_service_that_is_gone_the_default_one():
    strict = policy(sends_per_hour=1)
    purposes = {"login": {"channels": ["sms"], "limits": {"sends_per_hour": 1}}}
    service = ServiceSettings.model_validate(
        {"channels": ["sms"], "limits": {"sends_per_hour": 5}, "purposes": purposes}
    )
    pasts = [past(0), past(400), past(800, purpose="other")]
    assert refused(tried(service, *pasts)) == {"sends_per_hour": 1}
    replay = Replay({"default": strict}, lambda *_: 0.0)
    for item in (past(0, service="gone"), past(400, service="gone")):
        replay.take(item)
    assert refused(replay.finish()) == {"sends_per_hour": 1}
    nothing = Replay({}, lambda *_: 0.0)
    nothing.take(past(0))
    assert (nothing.finish().unknown, nothing.report.log) == (1, Sum())


def test_what_counts_no_more_is_forgotten():
    known: dict[str, Any] = {"contexts": ["reference:device"], "visitor": "203.0.113.9"}
    service = policy(cooldown=30, sends_per_day=9, guesses_per_hour=9, prefix_per_hour=9, ip_per_hour=9)
    replay = Replay({"shop": service}, lambda *_: 0.0, clearing=1)
    replay.take(past(0, wrong=[1], approved=True, **known))
    replay.take(past(100, wrong=[101], **known))
    replay.take(past(100 * DAY, to=place(2, block=1)))
    replay.take(past(100 * DAY + 400, to=place(3, block=1)))
    shadow = replay._shadow
    found = (shadow._people, shadow._guesses, shadow._blocks, shadow._visitors, shadow._trusted, shadow._pending)
    assert [len(table) for table in found] == [1, 0, 1, 0, 0, 0]


def test_of_many_names_those_with_few_refusals_are_forgotten():
    most = Most(kept=2)
    for number, name in enumerate(("a", "b", "c", "d")):
        most.of(name, name).requests = number
    most.of("e", "e").requests = 9
    assert [name for name, _ in most.top(5)] == ["e", "d", "c"]


@settings(max_examples=40)
@given(
    moments=st.lists(
        st.tuples(st.integers(0, 5000), st.integers(0, 2), st.booleans(), st.integers(0, 5)), min_size=1, max_size=30
    ),
    limit=st.integers(1, 4),
)
def test_no_hour_has_more_sends_than_its_window_allows(moments, limit):
    pasts = [
        past(float(at), to=place(who), approved=ok, wrong=[at + more / 10 for more in range(wrong)])
        for at, who, ok, wrong in moments
    ]
    report = tried(policy(sends_per_hour=limit), *pasts)
    for who in range(3):
        times = sorted(at for at, other, _, _ in moments if other == who)
        expected, window, until = 0, 0, -1.0
        for at in times:
            if at >= until:
                window, until = 0, at + 3600.0
            expected += window >= limit
            window += window < limit
        counted = [counts.requests for name, counts in report.recipients.top(9) if name == place(who).masked]
        assert sum(counted) == expected


def test_places_and_verifications_hide_who_they_are_of():
    shown = repr(past(0, contexts=["reference:device"], visitor="203.0.113.9"))
    assert not [word for word in ("device", "203.0.113.9", "+4915000", "\\x01") if word in shown]


def turning(at: float, first: Place, other: Place, **known: Any) -> Past:
    """Return a verification that another address is turned to ten seconds later, for the first one brought nothing."""
    brought_nothing = Send(START + at, Cause.CREATE, "sms", first, 0, START + at + 10)
    sends = [brought_nothing, Send(START + at + 10, Cause.FALLBACK, "sms", other, 1)]
    return past(at, to=first, sends=sends, places=[first, other], **known)


@pytest.mark.parametrize(("wrong", "limit"), [(2, "lockout"), (3, "lockout"), (0, None)])
def test_a_route_that_turns_to_somebody_is_held_up_by_their_lock_out(wrong, limit):
    lockout = LockoutSettings.model_validate({"after": 3, "for": 600})
    service = policy(lockout=lockout).model_copy(update={"code": CodeSettings(max_checks=3)})
    guessed = past(0, to=place(2), wrong=[n + 1.0 for n in range(wrong)], ended=20)
    report = tried(service, guessed, turning(100, place(1), place(2)))
    assert refused(report) == ({limit: 1} if limit else {})


def test_a_route_that_turns_to_somebody_is_held_up_by_their_wrong_codes_in_a_row():
    guessed = [
        past(10.0 * n, to=place(2), wrong=[10.0 * n + k for k in range(1, 6)], ended=10.0 * n + 6) for n in range(20)
    ]
    report = tried(policy(), *guessed, turning(500, place(1), place(2)))
    assert refused(report) == {"consecutive_wrong": 1}


def test_of_a_code_that_two_addresses_had_neither_is_forgiven_or_trusts():
    guessed = past(0, to=place(2), wrong=[1.0, 2.0, 3.0], ended=20)
    both = [Send(START + 30, Cause.CREATE, "sms", place(1), 1), Send(START + 40, Cause.RESEND, "sms", place(2), 1)]
    approved = past(30, to=place(1), sends=both, approved=True, contexts=["reference:a"])
    again = past(100, to=place(2), contexts=["reference:a"])
    report = tried(policy(guesses_per_hour=8, context_per_hour=5), guessed, approved, again, past(101, to=place(2)))
    assert refused(report) == {"guesses_per_hour": 1}


def test_a_device_that_one_address_trusts_has_no_budget_at_another():
    device = {"contexts": ["reference:a"]}
    trusting = past(0, to=place(1), approved=True, **device)
    report = tried(
        policy(guesses_per_hour=5, context_per_hour=5),
        trusting,
        past(50, to=place(2)),
        turning(60, place(1), place(2), **device),
    )
    assert refused(report) == {"guesses_per_hour": 1}


def test_what_takes_over_to_the_same_address_counts_where_the_one_before_brought_nothing():
    report = tried(policy(sends_per_hour=2), *(turning(at, place(1), place(1)) for at in (0, 30, 60)))
    assert refused(report) == {"sends_per_hour": 1}
