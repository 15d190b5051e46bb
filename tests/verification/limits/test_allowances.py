"""A service has what it is allowed and no more: requests in a second, spending in a day, messages that wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import LimitSettings, ServiceSettings
from gateway.delivery.message import Message
from gateway.errors import Cooldown, RateLimited
from gateway.storage import models
from gateway.verification.limits.account import COUNTED_A_SECOND, LONGEST_WAIT, Bucket, Queued
from gateway.verification.limits.allowances import DAY, Allowances
from gateway.verification.limits.prices import Prices
from gateway.verification.limits.tallies import FRESH, KEPT, Tallies
from gateway.verification.request import Asked
from tests.conftest import START, HandClock
from tests.rows import count, put, row
from tests.world import EMAIL, PHONE, Scripted, World, refused

Make = Callable[..., Allowances]

PRICE = 0.1


def service(**limits: Any) -> ServiceSettings:
    return ServiceSettings(name="Shop", channels=("sms",), limits=LimitSettings(**limits))


def message(number: int = 1, *, of: str = "shop", at: float = START) -> Message:
    return Message(
        id=f"msg_{number}",
        verification_id=f"ver_{number}",
        service=of,
        channel="sms",
        step=0,
        steps=1,
        purpose="login",
        locale="en",
        generation=1,
        attempts=0,
        skipped=0,
        created_at=at,
        expires_at=at + 300,
        started_at=None,
        ttl=300.0,
        recipient="+49•••••••678",
        address="+4915112345678",
        code="123456",
        params={},
    )


@pytest.fixture
def make(database, clock) -> Make:
    """Return a function that makes the allowances of one node."""

    def made(node: str = "a", *, alone: bool = True, **limits: Any) -> Allowances:
        tallies = Tallies(database, node, ("sms", "email"), alone=alone)
        return Allowances({"shop": service(**limits), "desk": service(**limits)}, clock, tallies, lambda *_: PRICE)

    return made


def refusal(allowances: Allowances, price: float = PRICE) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        allowances.check("shop", price)
    return caught.value


def passed(allowances: Allowances, tries: int) -> int:
    """Return how many of so many requests at once are let through."""
    found = 0
    for _ in range(tries):
        try:
            allowances.check("shop", PRICE)
        except RateLimited:
            continue
        found += 1
    return found


async def queue(database: Any, number: int, *, status: str = "queued", of: str = "shop", channel: str = "sms") -> None:
    known = {"status": status, "service": of, "channel": channel}
    rows = [row(models.Message, id=f"{of}{channel}{status}{place}", **known) for place in range(number)]
    await put(database, models.Message, *rows)


class Memory:
    """Tallies of a node that is alone and forgets everything."""

    async def exchange(self, *_: Any) -> Mapping[str, Any]:
        return {}


@pytest.mark.parametrize("rate", [0.5, 1.0, 5.0])
def test_no_more_than_a_seconds_worth_of_requests_pass_at_once(rate):
    clock = HandClock()
    allowances = Allowances({"shop": service(requests_per_second=rate)}, clock, Memory(), lambda *_: 0.0)  # type: ignore[arg-type]
    assert passed(allowances, 20) == max(1, int(rate))
    found = refusal(allowances)
    assert (found.status, found.code, found.extra) == (429, "rate_limited", {"limit": "requests_per_second"})


def test_who_returns_when_told_is_let_through():
    clock = HandClock()
    allowances = Allowances({"shop": service(requests_per_second=0.2)}, clock, Memory(), lambda *_: 0.0)  # type: ignore[arg-type]
    allowances.check("shop", 0.0)
    found = refusal(allowances)
    assert found.headers == {
        "Retry-After": "5",
        "RateLimit-Policy": '"requests_per_second";q=1;w=5',
        "RateLimit": '"requests_per_second";r=0;t=5',
    }
    clock.advance(float(found.headers["Retry-After"]) - 0.1)
    refusal(allowances)
    clock.advance(0.1)
    assert allowances.check("shop", 0.0) is None


def test_what_is_refused_for_another_reason_costs_no_request():
    allowances = Allowances({"shop": service(requests_per_second=1)}, HandClock(), Memory(), lambda *_: 0.0)  # type: ignore[arg-type]
    allowances.check("shop", 0.0)
    allowances.give_back("shop")
    allowances.give_back("shop")
    assert passed(allowances, 5) == 1


def test_without_allowances_nothing_is_refused():
    unlimited = service(requests_per_second=0, spend_per_day=0, queue_depth=0)
    allowances = Allowances({"shop": unlimited}, HandClock(), Memory(), lambda *_: PRICE)  # type: ignore[arg-type]
    assert passed(allowances, 1000) == 1000
    allowances.give_back("shop")
    assert allowances.spent() == {}


def test_a_service_that_observes_is_told_and_not_refused(caplog):
    observing = service(requests_per_second=1, mode="observe")
    allowances = Allowances({"shop": observing}, HandClock(), Memory(), lambda *_: 0.0)  # type: ignore[arg-type]
    assert [allowances.check("shop", 0.0) for _ in range(3)] == [None, "requests_per_second", "requests_per_second"]
    assert caplog.records == []


def test_a_refusal_is_one_line_of_the_log(caplog):
    allowances = Allowances({"shop": service(requests_per_second=1)}, HandClock(), Memory(), lambda *_: 0.0)  # type: ignore[arg-type]
    caplog.set_level("INFO")
    allowances.check("shop", 0.0)
    refusal(allowances)
    assert [(item.__dict__["service"], item.__dict__["limit"]) for item in caplog.records] == [
        ("shop", "requests_per_second")
    ]


@settings(max_examples=60)
@given(
    rate=st.floats(0.1, 50, allow_nan=False),
    pauses=st.lists(st.floats(0, 3, allow_nan=False), min_size=1, max_size=60),
)
def test_a_bucket_lets_through_its_rate_and_one_burst_in_any_time(rate, pauses):
    bucket, now, taken = Bucket(rate, 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        wait = bucket.take(now)
        if wait:
            assert bucket.take(now + 0.99 * wait - 1e-6) > 0 or wait < 1e-5
            now += wait
            assert bucket.take(now + 1e-6) == 0
        taken += 1
    assert taken <= max(1.0, rate) + now * rate + 1 + 1e-6


def test_a_bucket_goes_on_with_another_share():
    bucket = Bucket(10.0, 0.0)
    bucket.share(2.0, 0.0)
    assert [bucket.take(0.0) == 0 for _ in range(3)] == [True, True, False]
    bucket.share(4.0, 0.0)
    assert bucket.take(0.25) == 0
    assert bucket.take(0.25) == pytest.approx(0.25)


async def test_a_days_spending_ends_at_its_allowance_and_begins_anew_at_midnight(make, clock):
    allowances = make(spend_per_day=0.3)
    for number in range(3):
        assert allowances.check("shop", PRICE) is None
        allowances.made(message(number))
        allowances.sent(message(number))
    found = refusal(allowances)
    assert found.extra == {"limit": "spend_per_day"}
    assert found.headers["RateLimit-Policy"] == '"spend_per_day";q=1;w=288000'
    assert allowances.check("shop", 0.0) is None
    assert allowances.check("desk", PRICE) is None
    assert allowances.spent() == {"shop": pytest.approx(0.3), "desk": 0.0}
    assert int(found.headers["Retry-After"]) == DAY - START % DAY
    clock.advance(float(found.headers["Retry-After"]) - 1)
    refusal(allowances)
    clock.advance(1)
    assert allowances.check("shop", PRICE) is None
    assert allowances.spent() == {"shop": 0.0, "desk": 0.0}


async def test_what_is_not_accepted_yet_is_reckoned_with_until_its_code_dies(make, clock):
    allowances = make(spend_per_day=0.2)
    allowances.made(message(1))
    allowances.made(message(2))
    refusal(allowances)
    allowances.sent(message(2))
    await allowances.tally()
    refusal(allowances)
    clock.advance(300)
    await allowances.tally()
    assert allowances.check("shop", PRICE) is None
    assert allowances.spent()["shop"] == pytest.approx(PRICE)


async def test_what_was_spent_today_outlives_a_restart(make, database, clock):
    before = make("a", spend_per_day=0.2)
    await before.tally()
    for number in range(2):
        before.made(message(number))
        before.sent(message(number))
    await before.tally()
    await before.tally()
    after = make("b", spend_per_day=0.2)
    assert after.check("shop", PRICE) is None
    await after.tally()
    refusal(after)
    assert await count(database, models.Tally) == 1
    clock.advance(DAY)
    await after.tally()
    assert after.check("shop", PRICE) is None


async def test_nodes_add_up_what_they_spent_and_what_they_are_about_to(make, clock):
    one, other = make("a", alone=False, spend_per_day=0.3), make("b", alone=False, spend_per_day=0.3)
    one.made(message(1))
    one.sent(message(1))
    one.made(message(2))
    other.made(message(3))
    for node in (one, other, one):
        await node.tally()
    refusal(one)
    refusal(other)
    clock.advance(FRESH)
    await other.tally()
    refusal(other)
    clock.advance(300)
    await other.tally()
    assert other.check("shop", PRICE) is None, (
        "what a dead node was about to have sent is dead; what it spent counts on"
    )
    assert other.spent()["shop"] == pytest.approx(PRICE)


async def test_what_one_made_and_another_sent_counts_once_though_its_maker_is_gone(make, clock):
    maker, sender, third = (make(name, alone=False, spend_per_day=0.3) for name in "abc")
    for number in range(2):
        maker.made(message(number))
    await maker.tally()
    for number in range(2):
        sender.sent(message(number))
    for node in (sender, third, sender):
        await node.tally()
    assert [node.check("shop", PRICE) for node in (sender, third)] == [None, None]
    for node in (sender, third):
        node.made(message(2))
        refusal(node)
    clock.advance(301)
    await sender.tally()
    assert sender.check("shop", PRICE) is None
    sender.made(message(3))
    refusal(sender)


async def test_nodes_that_are_asked_share_the_requests_and_a_dead_ones_part_returns(make, clock):
    one, other = make("a", alone=False, requests_per_second=10), make("b", alone=False, requests_per_second=10)
    idle = make("c", alone=False, requests_per_second=10)
    assert [passed(node, 1) for node in (one, other)] == [1, 1]
    for node in (one, other, one, idle):
        await node.tally()
    assert [passed(node, 20) for node in (one, other)] == [5, 5]
    clock.advance(FRESH)
    assert passed(one, 1) == 1
    await one.tally()
    clock.advance(1)
    assert passed(one, 20) == 10


async def test_a_full_queue_takes_nothing_more_until_messages_left(make, database, clock):
    allowances = make(queue_depth=3)
    assert allowances.check("shop", 0.0) is None
    await queue(database, 2)
    await queue(database, 1, channel="email")
    await queue(database, 5, status="sent")
    await queue(database, 5, of="desk")
    await allowances.tally()
    found = refusal(allowances, 0.0)
    assert (found.extra, found.headers["Retry-After"]) == ({"limit": "queue_depth"}, str(int(LONGEST_WAIT)))
    assert found.headers["RateLimit-Policy"] == '"queue_depth";q=3'
    allowances.sent(message(1))
    assert allowances.check("shop", 0.0) is None
    allowances.made(message(2))
    refusal(allowances, 0.0)


def test_what_is_prepared_together_does_not_all_find_the_same_room(make):
    """A chunk of a batch asks for all its items before the first of them is written."""
    allowances = make(queue_depth=2)
    for number in (1, 2):
        assert allowances.check("shop", 0.0) is None
        allowances.hold(message(number))
    refusal(allowances, 0.0)
    allowances.give_back("shop", message(1))
    assert allowances.check("shop", 0.0) is None
    allowances.made(message(2))
    allowances.hold(message(3))
    refusal(allowances, 0.0)


async def test_what_was_prepared_and_never_written_is_forgotten_at_the_next_look(make):
    allowances = make(queue_depth=1)
    assert allowances.check("shop", 0.0) is None
    allowances.hold(message(1))
    refusal(allowances, 0.0)
    await allowances.tally()
    assert allowances.check("shop", 0.0) is None


async def test_a_queue_nobody_asks_for_is_not_counted(make, database):
    allowances = make(queue_depth=1)
    await queue(database, 3)
    await allowances.tally()
    assert allowances.check("shop", 0.0) is None
    await allowances.tally()
    refusal(allowances, 0.0)


def test_the_wait_for_a_full_queue_goes_by_the_pace_of_late():
    queued = Queued()
    queued.count(100, 10.0)
    for number in range(20):
        queued.made(f"msg_{number}")
    queued.count(80, 14.0)
    assert queued.depth == 80
    assert queued.wait(71) == 1.0
    assert queued.wait(1) == 8.0
    queued.count(90, 15.0)
    assert queued.wait(50) == LONGEST_WAIT


def test_a_long_queue_is_counted_less_often():
    queued = Queued()
    queued.count(3 * COUNTED_A_SECOND, 10.0)
    assert queued.look_at == 13.0


async def test_without_channels_no_queue_is_counted(database):
    assert await Tallies(database, "a", (), alone=True).queued({"shop": 5}) == {"shop": 0}


async def test_tallies_of_other_days_are_deleted(make, database, clock):
    allowances = make(spend_per_day=1)
    allowances.made(message(1))
    allowances.sent(message(1))
    await allowances.tally()
    assert await allowances.forget() == 0
    clock.advance(KEPT)
    assert await allowances.forget() == 1
    assert await count(database, models.Tally) == 0


def test_a_service_that_was_taken_out_of_the_configuration_has_no_allowance(clock):
    allowances = Allowances({}, clock, Memory(), lambda *_: PRICE)  # type: ignore[arg-type]
    allowances.sent(message(1))
    assert allowances.spent() == {}


@pytest.fixture
def make_world(database, clock, sealer, hasher) -> Callable[..., World]:
    """Return a function that makes a gateway whose SMS cost ``PRICE`` and whose mails cost nothing."""

    def made(**limits: Any) -> World:
        settings = ServiceSettings(name="Shop", channels=("sms", "email"), limits=LimitSettings(**limits))
        channels = {"sms": Scripted("sms", ["phone"], prices={"DE": PRICE}), "email": Scripted("email", ["email"])}
        tallies = Tallies(database, "a", channels, alone=True)
        allowances = Allowances({"shop": settings}, clock, tallies, Prices(channels).of)
        return World(database, clock, sealer, hasher, channels, service=settings, allowances=allowances)

    return made


async def test_what_an_allowance_refuses_leaves_no_trace(make_world, database):
    world = make_world(requests_per_second=1)
    await world.start()
    with pytest.raises(RateLimited):
        await world.start({"phone": "+4915112345679"})
    assert await count(database, models.Verification) == 1


async def test_what_the_cooldown_refuses_costs_no_request(make_world, clock):
    world = make_world(requests_per_second=0.1)
    await world.start()
    for seconds in (10, 10):
        clock.advance(seconds)
        with pytest.raises(Cooldown):
            await world.start()
    assert (await world.start({"phone": "+4915112345679"})).status == "pending"


async def test_what_the_write_refuses_costs_no_request_in_a_transaction_of_the_callers_either(make_world, clock):
    world = make_world(requests_per_second=0.1)
    await world.start()
    clock.advance(10)
    prepared = await world.verifications.prepare("shop", Asked(to={"phone": PHONE}))
    with pytest.raises(Cooldown):
        await world.database.run(lambda connection: world.verifications.start_within(connection, prepared))
    world.verifications.dropped(prepared)
    assert (await world.start({"phone": "+4915112345679"})).status == "pending"


async def test_creates_resends_and_fallbacks_are_paid_for_once_a_provider_took_them(make_world, clock):
    world = make_world(spend_per_day=1.0)
    view = await world.start({"phone": PHONE, "email": EMAIL})
    assert world.allowances.spent() == {"shop": 0.0}
    await world.attempt()
    assert world.allowances.spent() == {"shop": pytest.approx(PRICE)}
    clock.advance(30)
    await world.verifications.resend("shop", view.id, None)
    world.channels["sms"].script = [refused()]
    await world.attempt()
    await world.attempt()
    assert await world.statuses(view) == [("sms", "sent"), ("sms", "failed"), ("email", "sent")]
    assert world.allowances.spent() == {"shop": pytest.approx(PRICE)}


async def test_where_the_day_is_spent_what_costs_nothing_is_still_sent(make_world):
    world = make_world(spend_per_day=0.05)
    with pytest.raises(RateLimited):
        await world.start()
    assert (await world.start({"email": EMAIL})).channel == "email"


async def test_a_limit_that_observes_is_an_event_of_the_verification(make_world, clock):
    world = make_world(spend_per_day=0.05, mode="observe")
    view = await world.start()
    told = [event for event in (await world.look(view)).events or () if event.name == "limit.observed"]
    assert [event.details["reason"] for event in told] == ["spend_per_day"]


def test_a_message_costs_what_its_country_does():
    bot = Scripted("bot", ["telegram"], price=0.01)
    sms = Scripted("sms", ["phone"], price=0.05, prices={"DE": 0.075})
    prices = Prices({"sms": sms, "bot": bot})
    assert [prices.of("sms", number) for number in (PHONE, "+436641234567", "chat 12")] == [0.075, 0.05, 0.05]
    assert (prices.of("bot", "42"), prices.of("gone", PHONE)) == (0.01, 0.0)
