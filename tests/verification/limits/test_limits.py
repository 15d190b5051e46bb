"""Each limit as docs/limits.md tells it, with its default figures, on both engines."""

from __future__ import annotations

from typing import Any

import pytest

from channels.base import Reason
from gateway.config import CodeSettings
from gateway.errors import Cooldown, InvalidRequest, RateLimited, WrongCode
from gateway.verification.limits.claims import LOOK_BACK
from gateway.verification.limits.windows import DAY, HOUR
from tests.rows import put, row
from tests.world import EMAIL, PHONE, Scripted, World, refused, two_channels

BOTH = {"phone": PHONE, "email": EMAIL}
#: An IP address that many share.
OFFICE = "203.0.113.9"


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"


async def sent(world: World, to: Any = None, **asked: Any):
    view = await world.start(to, **asked)
    await world.attempt()
    return view


async def guess(world: World, view: Any, times: int) -> None:
    for _ in range(times):
        with pytest.raises(WrongCode):
            await world.checking.check("shop", view.id, wrong(world.code))


async def approve(world: World, view: Any) -> None:
    await world.checking.check("shop", view.id, world.code)


async def refusal(world: World, *args: Any, **asked: Any) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        await world.start(*args, **asked)
    return caught.value


async def obeyed(world: World, clock: Any, found: RateLimited, *args: Any, **asked: Any):
    """Come back a second before the time, in vain, and then at it."""
    wait = int(found.headers["Retry-After"])
    clock.advance(wait - 1)
    again = await refusal(world, *args, **asked)
    assert (again.extra["limit"], again.headers["Retry-After"]) == (found.extra["limit"], "1")
    clock.advance(1)
    return await world.start(*args, **asked)


async def test_five_sends_in_ten_minutes(make_world, clock):
    world = make_world(guesses_per_hour=0, guesses_per_day=0)
    left = []
    for _ in range(5):
        left.append((await sent(world)).sends_left)
        clock.advance(31)
    assert left == [4, 3, 2, 1, 0]
    found = await refusal(world)
    assert found.extra["limit"] == "sends_per_10m"
    assert found.headers == {
        "RateLimit-Policy": '"sends_per_10m";q=5;w=600',
        "RateLimit": '"sends_per_10m";r=0;t=445',
        "Retry-After": "445",
    }
    assert (await obeyed(world, clock, found)).sends_left == 4


@pytest.mark.parametrize(
    ("number", "limits", "key", "window"),
    [
        (10, {"sends_per_10m": 0}, "sends_per_hour", HOUR),
        (20, {"sends_per_10m": 0, "sends_per_hour": 0}, "sends_per_day", DAY),
    ],
)
async def test_sends_in_an_hour_and_in_a_day(make_world, clock, number, limits, key, window):
    world = make_world(guesses_per_hour=0, guesses_per_day=0, prefix_per_hour=0, **limits)
    for _ in range(number):
        await sent(world)
        clock.advance(31)
    found = await refusal(world)
    assert (found.extra["limit"], found.headers["Retry-After"]) == (key, str(int(window) - 31 * number))
    await obeyed(world, clock, found)


async def test_sends_are_counted_over_all_services(make_world, clock):
    shop, bank = make_world(), make_world(name="bank")
    for world in (shop, bank, shop, bank):
        await sent(world)
        clock.advance(31)
    assert (await sent(bank)).sends_left == 0
    clock.advance(31)
    assert (await refusal(shop)).extra["limit"] == "sends_per_10m"


async def test_a_resend_counts_and_is_refused_like_a_create(make_world, clock):
    world = make_world(sends_per_10m=2, cooldown=1)
    view = await sent(world)
    clock.advance(1)
    await world.verifications.resend("shop", view.id, None)
    await world.attempt()
    assert (await world.look(view)).sends_left == 0
    clock.advance(2)
    with pytest.raises(RateLimited) as caught:
        await world.verifications.resend("shop", view.id, None)
    assert (caught.value.extra["limit"], caught.value.headers["Retry-After"]) == ("sends_per_10m", "597")
    assert len((await world.look(view)).messages) == 2


async def test_what_never_left_is_given_back(make_world, clock):
    world = make_world(sends_per_10m=1)
    world.channels["sms"].script = [refused(Reason.BLOCKED)]
    await sent(world)
    assert (await world.start()).sends_left == 0


async def test_what_was_canceled_before_it_left_is_given_back_and_what_left_is_not(make_world, clock):
    world = make_world(sends_per_10m=2)
    unsent = await world.start()
    await world.checking.cancel("shop", unsent.id)
    await world.attempt()
    clock.advance(31)
    assert (await sent(world)).sends_left == 1
    clock.advance(31)
    view = await sent(world)
    assert view.sends_left == 0
    await world.checking.cancel("shop", view.id)
    assert (await world.look(view)).sends_left == 0
    clock.advance(31)
    assert (await refusal(world)).extra["limit"] == "sends_per_10m"


async def test_a_send_whose_answer_was_lost_counts(make_world, database, clock):
    world = make_world(sends_per_10m=1)
    world.channels["sms"].script = [TimeoutError("no answer")]
    view = await sent(world)
    await world.checking.cancel("shop", view.id)
    clock.advance(31)
    assert (await refusal(world)).extra["limit"] == "sends_per_10m"


async def test_twenty_wrong_codes_an_hour_with_what_pending_ones_hold_back(make_world, clock):
    world = make_world(sends_per_10m=0, sends_per_hour=0)
    for _ in range(3):
        await guess(world, await sent(world), 5)
        clock.advance(31)
    fourth = await sent(world)
    clock.advance(31)
    # 15 wrong and 5 held back are 20, until the fourth ends.
    found = await refusal(world)
    assert (found.extra["limit"], found.headers["Retry-After"]) == ("guesses_per_hour", str(302 - 31))
    await world.checking.cancel("shop", fourth.id)
    assert (await sent(world)).checks_left == 5


async def test_wrong_codes_outlive_resend_cancel_and_new_verifications_until_the_hour_ends(make_world, clock):
    world = make_world(sends_per_10m=0)
    started = clock.now()
    for _ in range(4):
        view = await sent(world)
        await guess(world, view, 4)
        await world.checking.cancel("shop", view.id)
        clock.advance(31)
    found = await refusal(world)
    assert (found.extra["limit"], found.headers["Retry-After"]) == ("guesses_per_hour", str(3600 - 31 * 4))
    await obeyed(world, clock, found)
    assert clock.now() == started + HOUR


async def test_thirty_wrong_codes_a_day(make_world, clock):
    world = make_world(sends_per_10m=0, sends_per_hour=0, sends_per_day=0)
    for _ in range(6):
        await guess(world, await sent(world), 5)
        clock.advance(1200)
    found = await refusal(world)
    assert (found.extra["limit"], found.headers["Retry-After"]) == ("guesses_per_day", str(86_400 - 7200))
    await obeyed(world, clock, found)


async def test_an_approval_wipes_wrong_codes(make_world, clock):
    world = make_world(sends_per_10m=0)
    for _ in range(3):
        await guess(world, await sent(world), 5)
        clock.advance(31)
    view = await sent(world)
    await guess(world, view, 4)
    await approve(world, view)
    views = []
    for _ in range(4):
        views.append(await sent(world))
        clock.advance(31)
    assert (await refusal(world)).extra["limit"] == "guesses_per_hour"


async def test_wrong_codes_are_counted_by_service_purpose_and_recipient(make_world, clock):
    shop, bank = make_world(), make_world(name="bank", cooldown=0)
    for _ in range(4):
        await guess(shop, await sent(shop), 5)
        clock.advance(31)
    assert (await refusal(shop)).extra["limit"] == "guesses_per_hour"
    assert (await sent(shop, purpose="payment")).status == "pending"
    clock.advance(700)
    assert (await sent(bank)).status == "pending"
    assert (await sent(shop, {"email": EMAIL})).status == "pending"


async def test_a_check_of_a_live_verification_is_never_refused_by_a_limit(make_world, clock):
    world = make_world(guesses_per_hour=5, guesses_per_day=5, sends_per_10m=1, lockout=(5, 600))
    view = await sent(world)
    await guess(world, view, 4)
    assert (await refusal(world, client_reference="elsewhere")).status == 429
    await approve(world, view)
    assert (await world.look(view)).status == "approved"


async def test_a_purpose_has_limits_of_its_own(make_world, clock):
    purposes = {"login": {"channels": ("sms",), "limits": {"sends_per_10m": 1, "cooldown": 1}}}
    world = make_world(purposes=purposes, cooldown=1)
    await sent(world, purpose="login")
    clock.advance(2)
    assert (await refusal(world, purpose="login")).extra["limit"] == "sends_per_10m"
    assert (await sent(world)).sends_left == 3


async def test_after_a_hundred_wrong_codes_in_a_row_there_is_one_create_a_day(make_world, database, clock):
    world = make_world(cooldown=1, guesses_per_hour=0, guesses_per_day=0, prefix_per_hour=0)
    view = await sent(world)
    clock.advance(DAY)
    await database.run(lambda connection: connection.fetch("UPDATE recipient SET wrong = 99"))
    view = await sent(world)
    await guess(world, view, 1)
    clock.advance(2)
    found = await refusal(world)
    assert (found.extra["limit"], found.headers["Retry-After"]) == ("consecutive_wrong", str(86_400 - 2))
    assert (await obeyed(world, clock, found)).status == "pending"
    clock.advance(2)
    assert (await refusal(world)).extra["limit"] == "consecutive_wrong"


async def test_a_resend_is_not_held_up_by_wrong_codes_in_a_row_and_an_approval_ends_them(make_world, database, clock):
    world = make_world(cooldown=1)
    view = await sent(world)
    await database.run(lambda connection: connection.fetch("UPDATE recipient SET wrong = 100"))
    clock.advance(2)
    await world.verifications.resend("shop", view.id, None)
    await world.attempt()
    await approve(world, view)
    assert [item["wrong"] for item in await database.fetch("SELECT wrong FROM recipient")] == [0]
    assert (await sent(world)).status == "pending"


async def test_a_trusted_device_is_not_held_up_by_others(make_world, clock):
    world = make_world(sends_per_10m=0)
    mine = {"client_reference": "device-7", "client_ip": "203.0.113.9"}
    await approve(world, await sent(world, **mine))
    for _ in range(4):
        await guess(world, await sent(world), 5)
        clock.advance(31)
    assert (await refusal(world)).extra["limit"] == "guesses_per_hour"
    assert (await refusal(world, client_reference="device-8")).extra["limit"] == "guesses_per_hour"
    for client in (mine, {"client_ip": "203.0.113.9"}):
        view = await sent(world, **client)
        await world.checking.cancel("shop", view.id)
        clock.advance(31)


async def test_a_trusted_device_has_ten_wrong_codes_an_hour_and_takes_none_from_others(make_world, clock):
    world = make_world(sends_per_10m=0)
    mine = {"client_reference": "device-7"}
    await approve(world, await sent(world, **mine))
    for _ in range(2):
        await guess(world, await sent(world, **mine), 4)
        clock.advance(301)
    found = await refusal(world, **mine)
    assert (found.extra["limit"], found.headers["RateLimit-Policy"]) == (
        "context_per_hour",
        '"context_per_hour";q=10;w=3600',
    )
    for _ in range(4):
        await sent(world)
        clock.advance(31)


async def test_trust_is_of_one_recipient_and_service_and_ends_after_30_days(make_world, clock, database):
    world = make_world(context_per_hour=5)
    await approve(world, await sent(world, client_ip="2001:db8:1:2::1"))
    assert (await sent(world, client_ip="2001:db8:1:2:ffff::1")).status == "pending"
    found = {item["context"] for item in await database.fetch("SELECT context FROM trusted")}
    assert found == {"ip:2001:db8:1:2::/64"}
    clock.advance(31)
    assert (await refusal(world, client_ip="2001:db8:1:2::1")).extra["limit"] == "context_per_hour"
    assert (await sent(world, {"email": EMAIL}, client_ip="2001:db8:1:2::1")).status == "pending"
    clock.advance(30 * DAY - 31)
    await guess(world, await sent(world, client_ip="2001:db8:1:2::1"), 4)
    contexts = {item["context"] for item in await database.fetch("SELECT context FROM guess")}
    assert contexts == {""}


async def test_only_whom_a_code_reached_trusts_the_context(make_world, database):
    world = make_world()
    world.channels["sms"].script = [refused(Reason.BLOCKED)]
    view = await sent(world, BOTH, client_reference="device-7")
    await world.attempt()
    await approve(world, view)
    trusted = await database.fetch("SELECT hash FROM trusted")
    email = world.hasher.hash("email", EMAIL)
    assert [bytes(item["hash"]) for item in trusted] == [email]


async def test_twenty_sends_to_a_block_without_an_approval(make_world, clock):
    world = make_world(prefix_per_hour=20)
    for n in range(20):
        view = await sent(world, {"phone": f"+49151123456{n:02}"})
        clock.advance(1)
        if n < 3:
            await approve(world, view)
    # Three of twenty were approved, more than a tenth: it does not rest, and 17 count against it.
    for n in range(20, 23):
        await sent(world, {"phone": f"+49151123456{n:02}"})
    found = await refusal(world, {"phone": "+4915112345699"})
    assert (found.extra["limit"], found.headers["Retry-After"]) == ("prefix_per_hour", str(3600 - 20))
    assert (await sent(world, {"phone": "+4915112355678"})).status == "pending"
    await obeyed(world, clock, found, {"phone": "+4915112345699"})


async def test_a_block_with_less_than_a_tenth_approved_rests_until_enough_are(make_world, clock):
    world = make_world(prefix_per_hour=100)
    views = [await sent(world, {"phone": f"+49151123456{n:02}"}) for n in range(20)]
    codes = [envelope.code for envelope in world.channels["sms"].sent]
    clock.advance(10)
    found = await refusal(world, {"phone": "+4915112345699"})
    assert (found.extra["limit"], found.headers["Retry-After"]) == ("prefix_per_hour", "3590")
    await world.checking.check("shop", views[0].id, codes[0])
    assert (await refusal(world, {"phone": "+4915112345699"})).extra["limit"] == "prefix_per_hour"
    await world.checking.check("shop", views[1].id, codes[1])
    assert (await sent(world, {"phone": "+4915112345699"})).status == "pending"


async def test_a_block_does_not_rest_for_what_never_left(make_world, clock, database):
    world = make_world(prefix_per_hour=100)
    world.channels["sms"].script = [refused(Reason.BLOCKED)] * 25
    for n in range(25):
        await sent(world, {"phone": f"+49151123456{n:02}"})
    assert [(item["sends"], item["rests_until"]) for item in await database.fetch("SELECT * FROM block")] == [(0, None)]


async def test_what_a_service_says_of_an_ip_address_refuses_nobody_at_another_and_tells_nothing_of_it(make_world):
    """It is claimed in a body: one could lock an office out of every other application."""
    shop, bank = make_world(ip_per_hour=2), make_world(name="bank", ip_per_hour=2)
    for world in (bank, shop, shop):
        await sent(world, {"email": f"u{world.name}{len(world.channels['email'].sent)}@example.org"}, client_ip=OFFICE)
    assert (await refusal(shop, client_ip=OFFICE)).extra["limit"] == "ip_per_hour"
    assert (await sent(bank, {"email": "ann@example.org"}, client_ip=OFFICE)).status == "pending"
    assert (await refusal(bank, {"email": "bob@example.org"}, client_ip=OFFICE)).extra["limit"] == "ip_per_hour"


async def test_twenty_verifications_an_hour_of_one_address(make_world, clock):
    world = make_world()
    for n in range(20):
        await sent(world, {"email": f"u{n}@example.org"}, client_ip="203.0.113.9")
    found = await refusal(world, client_ip="203.0.113.9")
    assert (found.extra["limit"], found.headers["Retry-After"]) == ("ip_per_hour", "3600")
    assert (await sent(world, client_ip="203.0.113.10")).status == "pending"
    clock.advance(31)
    assert (
        await obeyed(world, clock, await refusal(world, client_ip="203.0.113.9"), client_ip="203.0.113.9")
    ).status == "pending"


async def test_three_wrong_codes_lock_for_ten_minutes_and_it_opens_by_itself(make_world, clock):
    world = make_world(lockout=(3, 600), code=CodeSettings(max_checks=3))
    view = await sent(world)
    await guess(world, view, 2)
    await world.checking.cancel("shop", view.id)
    clock.advance(31)
    view = await sent(world)
    assert view.checks_left == 1
    clock.advance(31)
    # What is pending keeps the one check it has.
    found = await refusal(world)
    assert (found.extra["limit"], found.headers["Retry-After"]) == ("lockout", str(302 - 31))
    await guess(world, view, 1)
    found = await refusal(world)
    assert (found.extra["limit"], found.headers["Retry-After"]) == ("lockout", "600")
    assert found.headers["RateLimit-Policy"] == '"lockout";q=3;w=600'
    assert (await obeyed(world, clock, found)).checks_left == 3


async def test_a_resend_is_refused_while_locked_and_an_approval_unlocks(make_world, clock, database):
    world = make_world(lockout=(2, 600), cooldown=1, code=CodeSettings(max_checks=2))
    view = await sent(world, purpose="login")
    locked = clock.now() + 600
    guesses = "INSERT INTO guess (service, purpose, hash, context, hour, hour_until, day, day_until, streak, locked_until, forget_at) VALUES ('shop', 'login', :hash, '', 0, 0, 0, 0, 2, :locked, :locked)"
    hashed = world.hasher.hash("phone", PHONE)
    await database.run(lambda connection: connection.fetch(guesses, hash=hashed, locked=locked))
    clock.advance(2)
    with pytest.raises(RateLimited) as caught:
        await world.verifications.resend("shop", view.id, None)
    assert (caught.value.extra["limit"], caught.value.headers["Retry-After"]) == ("lockout", "598")
    await approve(world, view)
    assert (await sent(world, purpose="login")).checks_left == 2


async def test_who_asks_once_more_takes_over_the_checks_of_a_code_that_never_came(make_world, clock):
    world = make_world(lockout=(3, 600), code=CodeSettings(max_checks=3))
    views = []
    for left in (3, 2, 1):
        views.append(await sent(world))
        assert views[-1].checks_left == left
        clock.advance(31)
    assert [(await world.look(view)).checks_left for view in views] == [1, 1, 1]
    found = await refusal(world)
    assert (found.extra["limit"], found.headers["Retry-After"]) == ("lockout", str(302 - 93))
    assert {(await world.look(view)).status for view in views} == {"pending"}
    await approve(world, views[-1])
    assert (await sent(world)).checks_left == 1


async def test_no_more_is_taken_over_than_is_needed_and_the_oldest_gives_first(make_world, clock):
    world = make_world(lockout=(6, 600), code=CodeSettings(max_checks=3))
    views = []
    for _ in range(3):
        views.append(await sent(world))
        clock.advance(31)
    assert [(await world.look(view)).checks_left for view in views] == [1, 2, 3]


async def test_a_create_that_another_limit_refuses_takes_nothing_over(make_world, clock):
    world = make_world(lockout=(3, 600), sends_per_10m=1, code=CodeSettings(max_checks=3))
    view = await sent(world)
    clock.advance(31)
    assert (await refusal(world)).extra["limit"] == "sends_per_10m"
    assert (await world.look(view)).checks_left == 3


async def test_the_longest_of_several_waits_is_told(make_world, clock):
    world = make_world(sends_per_10m=1)
    await sent(world)
    found = await refusal(world)
    assert (found.extra["limit"], found.headers["Retry-After"]) == ("sends_per_10m", "600")
    bank = make_world(name="bank", sends_per_10m=2, cooldown=700)
    await bank.start()
    with pytest.raises(Cooldown):
        await bank.start()


async def test_a_new_code_differs_from_the_latest_five(make_world, clock, monkeypatch):
    world = make_world(cooldown=0, sends_per_10m=0, sends_per_hour=0, guesses_per_hour=0, guesses_per_day=0)
    drawn = iter([1, 1, 2, 1, 2, 3, 1, 2, 3, 4, 4, 5, 1, 2, 5, 6, 1])
    world.verifications._drafting._random_below = lambda _: next(drawn)
    views = [await sent(world) for _ in range(6)]
    assert len({view.id for view in views}) == 6
    assert [envelope.code for envelope in world.channels["sms"].sent] == [f"{n:06}" for n in (1, 2, 3, 4, 5, 6)]
    # The first is the sixth latest now.
    await sent(world)
    assert world.code == "000001"


async def test_where_every_code_was_had_before_the_request_is_told_to_come_back(make_world):
    from gateway.errors import Unavailable

    world = make_world(cooldown=0)
    world.verifications._drafting._random_below = lambda _: 1
    await sent(world)
    with pytest.raises(Unavailable):
        await world.start()


async def test_codes_of_yesterday_may_come_again(make_world, clock):
    world = make_world()
    world.verifications._drafting._random_below = lambda _: 1
    await sent(world)
    clock.advance(DAY)
    assert (await sent(world)).status == "pending"


async def test_a_resent_new_code_differs_too(make_world, clock):
    world = make_world(cooldown=1, code=CodeSettings(resend="new"))
    drawn = iter([1, 2, 1, 2, 3])
    world.verifications._drafting._random_below = lambda _: next(drawn)
    world.verifications._resending._random_below = lambda _: next(drawn)
    await approve(world, await sent(world))
    view = await sent(world)
    clock.advance(1)
    await world.verifications.resend("shop", view.id, None)
    await world.attempt()
    assert [envelope.code for envelope in world.channels["sms"].sent] == ["000001", "000002", "000003"]


async def test_a_services_own_code_that_was_had_lately_is_named(make_world, clock):
    world = make_world(cooldown=0, code=CodeSettings(custom=True))
    await sent(world, value="123456")
    with pytest.raises(InvalidRequest) as caught:
        await world.start(value="123456")
    assert [error.pointer for error in caught.value.errors] == ["/code/value"]
    assert (await sent(world, value="654321")).status == "pending"


async def test_a_fallback_counts_where_it_goes_to_another_address(make_world, clock):
    world = make_world()
    world.channels["sms"].script = [refused(Reason.BLOCKED)]
    view = await sent(world, BOTH)
    await world.attempt()
    assert await world.statuses(view) == [("sms", "failed"), ("email", "sent")]
    clock.advance(31)
    assert (await sent(world, {"email": EMAIL})).sends_left == 3
    assert (await sent(world, {"phone": PHONE})).sends_left == 4


async def test_a_fallback_to_a_full_recipient_is_skipped_and_told(make_world, clock):
    world = make_world(sends_per_10m=1)
    await sent(world, {"email": EMAIL})
    world.channels["sms"].script = [refused(Reason.BLOCKED)]
    view = await sent(world, BOTH)
    looked = await world.look(view)
    assert (looked.status, [message.channel for message in looked.messages]) == ("failed", ["sms"])
    told = [
        (event.details["channel"], event.details["reason"]) for event in looked.events if event.name == "limit.refused"
    ]
    assert told == [("email", "sends_per_10m")]


async def test_a_channel_after_the_one_that_was_skipped_is_tried(make_world, clock):
    other = Scripted("other", ["telegram"])
    world = make_world(sends_per_10m=1, channels={**two_channels(), "other": other})
    await sent(world, {"email": EMAIL})
    world.channels["sms"].script = [refused(Reason.BLOCKED)]
    view = await sent(world, {**BOTH, "telegram": "user-42"}, channels=["sms", "email", "other"])
    await world.attempt()
    assert await world.statuses(view) == [("sms", "failed"), ("other", "sent")]
    assert other.sent[0].code == world.channels["sms"].sent[-1].code


async def test_a_skipped_recipient_is_not_reached_by_another_channel_of_theirs(make_world):
    again = Scripted("again", ["email"])
    world = make_world(sends_per_10m=1, channels={**two_channels(), "again": again})
    await sent(world, {"email": EMAIL})
    world.channels["sms"].script = [refused(Reason.BLOCKED)]
    view = await sent(world, BOTH, channels=["sms", "email", "again"])
    assert (await world.look(view)).status == "failed"
    assert again.sent == []


async def test_guesses_at_whoever_a_route_turns_to_are_bounded_too(make_world, clock):
    world = make_world(sends_per_10m=0, sends_per_hour=0)
    for n in range(5):
        world.channels["sms"].script = [refused(Reason.BLOCKED)]
        view = await sent(world, {"phone": f"+49151123456{n:02}", "email": EMAIL})
        if n == 4:
            break
        await world.attempt()
        await guess(world, view, 5)
        clock.advance(31)
    events = (await world.look(view)).events
    assert [event.details["reason"] for event in events if event.name == "limit.refused"] == ["guesses_per_hour"]


async def test_whoever_is_only_named_on_a_route_is_held_nothing_back(make_world, clock):
    world = make_world(sends_per_10m=0, sends_per_hour=0, guesses_per_hour=5)
    for n in range(3):
        await sent(world, {"phone": f"+49151123456{n:02}", "email": EMAIL})
    assert (await sent(world, {"email": EMAIL})).checks_left == 5


async def test_a_resend_by_another_channel_counts_there(make_world, clock):
    world = make_world(sends_per_10m=1, cooldown=1)
    view = await sent(world, BOTH)
    clock.advance(2)
    await world.verifications.resend("shop", view.id, "email")
    clock.advance(2)
    assert (await refusal(world, {"email": EMAIL})).extra["limit"] == "sends_per_10m"


async def test_where_limits_observe_nothing_is_refused_and_all_is_told(make_world, clock, database):
    world = make_world(mode="observe", sends_per_10m=1, ip_per_hour=1, guesses_per_hour=6, prefix_per_hour=1)
    first = await sent(world, client_ip="203.0.113.9")
    second = await sent(world, client_ip="203.0.113.9")
    told = [
        [event.details["reason"] for event in (await world.look(view)).events if event.name == "limit.observed"]
        for view in (first, second)
    ]
    limits = ["cooldown", "sends_per_10m", "guesses_per_hour", "prefix_per_hour", "ip_per_hour"]
    assert [sorted(found) for found in told] == [[], sorted(limits)]
    assert second.sends_left == 0
    [counted] = await database.fetch("SELECT r.ten_minutes, b.sends, v.count FROM recipient r, block b, visitor v")
    assert (counted["ten_minutes"], counted["sends"], counted["count"]) == (2, 2, 2)


async def test_without_a_cooldown_no_other_purposes_refuses_and_none_that_runs_is_ended(make_world, clock):
    slow, quick = make_world(cooldown=700), make_world(cooldown=0)
    first = await sent(slow, purpose="payment")
    for _ in range(2):
        assert (await sent(quick, purpose="login")).status == "pending"
    with pytest.raises(Cooldown) as caught:
        await sent(slow, purpose="payment")
    assert (caught.value.extra["verification"], caught.value.headers["Retry-After"]) == (first.id, "700")
    # What else refuses is what is told, not a cooldown that it has no part in.
    assert (await refusal(make_world(cooldown=0, sends_per_10m=3), purpose="login")).extra["limit"] == "sends_per_10m"
    clock.advance(700)
    assert (await sent(slow, purpose="payment")).status == "pending"


@pytest.mark.parametrize("order", ["the longer first", "the shorter first"])
async def test_what_only_observes_shortens_no_cooldown(make_world, clock, order):
    slow, watching = make_world(cooldown=600), make_world(cooldown=30, mode="observe")
    worlds = [slow, watching] if order == "the longer first" else [watching, slow]
    if order == "the shorter first":
        await sent(worlds[0], purpose="login")
        clock.advance(30)
        await sent(worlds[1], purpose="payment")
    else:
        await sent(worlds[0], purpose="payment")
        await sent(worlds[1], purpose="login")
    clock.advance(599)
    with pytest.raises(Cooldown):
        await sent(slow, purpose="payment")
    clock.advance(1)
    assert (await sent(slow, purpose="payment")).status == "pending"


async def test_a_resend_is_observed_within_its_cooldown(make_world, clock):
    world = make_world(mode="observe")
    view = await sent(world)
    await world.verifications.resend("shop", view.id, None)
    events = (await world.look(view)).events
    assert [event.details["reason"] for event in events if event.name == "limit.observed"] == ["cooldown"]


async def test_where_limits_observe_nobody_is_locked_out_and_fallbacks_go_on(make_world, clock):
    world = make_world(mode="observe", lockout=(5, 600), sends_per_10m=1)
    await guess(world, await sent(world, {"email": EMAIL}), 5)
    assert (await sent(world, {"email": EMAIL})).checks_left == 5
    world.channels["sms"].script = [refused(Reason.BLOCKED)]
    view = await sent(world, BOTH)
    await world.attempt()
    assert await world.statuses(view) == [("sms", "failed"), ("email", "sent")]
    assert "limit.observed" in await world.events(view)


async def test_a_removed_services_fallback_is_counted_by_the_defaults(make_world, database):
    world = make_world()
    world.queue._sends._services = {}
    world.channels["sms"].script = [refused(Reason.BLOCKED)]
    await sent(world, BOTH)
    assert len(await database.fetch("SELECT 1 FROM recipient")) == 2


async def test_what_counts_no_more_is_forgotten(make_world, database, clock):
    from gateway.storage import models
    from gateway.verification.limits.counting import Forgetting

    tables = [models.Recipient, models.Guess, models.Block]
    for model in tables:
        for n, at in enumerate((clock.now(), clock.now() + 1)):
            await put(database, model, row(model, hash=bytes([n]), forget_at=at))
    # What was asked for while a context was trusted may be pending for as long as is looked back.
    for model, over in ((models.Trusted, clock.now() - LOOK_BACK), (models.Visitor, clock.now())):
        for n, at in enumerate((over, over + 1)):
            await put(database, model, row(model, hash=bytes([n]), until=at))
    forgetting = Forgetting(database, clock)
    duties = (forgetting.recipients, forgetting.guesses, forgetting.trusted, forgetting.blocks, forgetting.visitors)
    assert [await duty() for duty in duties] == [1] * 5
    assert [await duty() for duty in duties] == [0] * 5


async def test_a_lock_holds_although_its_service_has_become_more_patient(make_world, clock):
    world = make_world(lockout=(2, 600), cooldown=1, code=CodeSettings(max_checks=2))
    await guess(world, await sent(world), 2)
    clock.advance(2)
    patient = make_world(lockout=(9, 600), cooldown=1)
    assert (await refusal(patient)).headers["Retry-After"] == "598"
    clock.advance(598)
    assert (await sent(patient)).checks_left == 5


async def test_what_is_observed_is_told_although_another_code_had_to_be_made(make_world, clock):
    world = make_world(mode="observe", sends_per_10m=1)
    drawn = iter([1, 1, 2])
    world.verifications._drafting._random_below = lambda _: next(drawn)
    await sent(world)
    view = await sent(world)
    assert world.code == "000002"
    assert sorted(
        event.details["reason"] for event in (await world.look(view)).events if event.name == "limit.observed"
    ) == [
        "cooldown",
        "sends_per_10m",
    ]


async def test_a_resend_gives_up_where_every_code_was_had_before(make_world, clock):
    world = make_world(cooldown=1, code=CodeSettings(resend="new"))
    world.verifications._drafting._random_below = lambda _: 1
    world.verifications._resending._random_below = lambda _: 1
    view = await sent(world)
    clock.advance(1)
    with pytest.raises(Cooldown):
        await world.verifications.resend("shop", view.id, None)
    assert len((await world.look(view)).messages) == 1
