"""The log is read as it happened: what was sent where and why, what was wrong, how it ended."""

from __future__ import annotations

from typing import Any

import pytest

from channels.kinds import KINDS
from gateway.config import CodeSettings, LimitSettings, SealingKey, ServiceSettings
from gateway.errors import Refused, WrongCode
from gateway.storage.sealing import Sealer
from gateway.verification.limits.history import History
from gateway.verification.limits.past import Cause, Past
from gateway.verification.limits.replay import Replay
from tests.conftest import START
from tests.verification.limits.test_counting import linked
from tests.world import EMAIL, PHONE, Scripted, Talker, World, refused, two_channels

BOTH = {"phone": PHONE, "email": EMAIL}


@pytest.fixture
def world(database, clock, sealer, hasher) -> World:
    return World(database, clock, sealer, hasher, two_channels())


@pytest.fixture
def history(database, sealer, hasher) -> History:
    return History(database.fetch, sealer, hasher, KINDS)


async def everything(history: History, since: float = 0.0) -> list[Past]:
    return [past async for page in history.read(since) for past in page.pasts]


async def one(history: History) -> Past:
    [found] = await everything(history)
    return found


async def test_a_verification_is_told_with_its_sends_and_how_it_ended(world, history, clock, hasher):
    view = await world.start(BOTH, purpose="login", client_ip="2001:db8::1", client_reference="device-7")
    await world.attempt()
    clock.advance(7)
    with pytest.raises(WrongCode):
        await world.checking.check("shop", view.id, "000000" if world.code != "000000" else "111111")
    clock.advance(1)
    await world.checking.check("shop", view.id, world.code)
    found = await one(history)
    [send] = found.sends
    assert (found.id, found.service, found.purpose, found.created_at) == (view.id, "shop", "login", START)
    assert (found.approved, found.undelivered, found.ended_at, found.wrong) == (True, False, START + 8, [START + 7])
    assert found.contexts == ["reference:device-7", "ip:2001:db8::/64"]
    assert found.visitor == "2001:db8::/64"
    assert (send.at, send.cause, send.channel, send.accepted, send.returned_at) == (START, Cause.CREATE, "sms", 1, None)
    assert send.place == found.places[0]
    phone, email = found.places
    assert (phone.hash, phone.block) == (hasher.hash("phone", PHONE), PHONE[:-4])
    assert (phone.country, phone.number_type) == ("DE", "mobile")
    assert (email.hash, email.country, email.block) == (hasher.hash("email", EMAIL), None, None)


async def test_resends_and_fallbacks_are_told_apart(world, history, clock):
    world.channels["sms"].script = [refused()]
    view = await world.start(BOTH)
    await world.attempt()
    await world.attempt()
    clock.advance(30)
    await world.verifications.resend("shop", view.id, "email")
    await world.attempt()
    sends = (await one(history)).sends
    assert [(send.cause, send.channel, send.accepted) for send in sends] == [
        (Cause.CREATE, "sms", 0),
        (Cause.FALLBACK, "email", 1),
        (Cause.RESEND, "email", 1),
    ]
    assert [send.returned_at for send in sends] == [START, None, None]


async def test_a_number_that_was_sent_to_before_its_chat_counts_twice_in_the_database_and_where_its_log_is_tried(
    database, clock, sealer, hasher, history
):
    channels = {"sms": Scripted("sms", ["phone"]), "bot": Talker("bot", ["phone"]), "flat": Scripted("flat", ["phone"])}
    limits = LimitSettings(cooldown=0, sends_per_10m=1, sends_per_hour=9, mode="observe")
    service = ServiceSettings(name="Shop", channels=tuple(channels), limits=limits)
    reached: dict[str, Any] = {"service": service, "resolve": linked, "confirm_within": lambda *_: 5.0}
    world = World(database, clock, sealer, hasher, channels, **reached)
    channels["bot"].script = [refused()]
    view = await world.start()
    await world.attempt()
    clock.advance(6)
    for message in await world.queue.unconfirmed():
        await world.dispatcher.attempt(message)
    for lane in world.dispatcher._lanes.values():
        world.handed_over.extend(lane.drain())
    await world.attempt()
    assert await world.statuses(view) == [("sms", "sent"), ("bot", "failed"), ("flat", "sent")]
    [recipient] = await database.fetch("SELECT ten_minutes FROM recipient")
    observed = [event.details for event in (await world.look(view)).events or () if event.name == "limit.observed"]
    replay = Replay({"shop": service}, lambda *_: 0.0)
    replay.take(await one(history))
    found = {limit: counts.requests for limit, counts in replay.finish().limits.items()}
    assert (recipient["ten_minutes"], [item["reason"] for item in observed]) == (2, ["sends_per_10m"])
    assert found == {"sends_per_10m": 1}


async def test_what_no_channel_could_deliver_says_so(world, history):
    world.channels["sms"].script = [refused()]
    await world.start()
    await world.attempt()
    found = await one(history)
    assert (found.undelivered, found.approved, found.ended_at) == (True, False, START)


async def test_what_is_pending_ends_with_its_code(world, history, clock):
    await world.start()
    assert (await one(history)).ended_at == START + 300


async def test_it_is_read_from_a_time_on_in_order_and_by_pages(world, history, clock):
    ids = []
    for number in range(3):
        ids.append((await world.start({"email": f"ann{number}@example.org"})).id)
        clock.advance(60)
    assert [past.id for past in await everything(history)] == ids
    assert [past.id for past in await everything(history, START + 60)] == ids[1:]
    assert [await history.count(since) for since in (0.0, START + 60, START + 61)] == [3, 2, 1]
    small = History(world.database.fetch, world.sealer, world.hasher, KINDS, page=2)
    assert [(page.read, len(page.pasts)) async for page in small.read(0.0)] == [(2, 2), (1, 1)]


async def test_what_cannot_be_opened_is_counted_and_left_out(world, database, hasher):
    await world.start()
    other = History(database.fetch, Sealer((SealingKey("k1", b"x" * 32),)), hasher, KINDS)
    assert await everything(other) == []
    assert other.unreadable == 1


async def test_an_address_that_is_none_of_the_kinds_is_known_by_its_hash_alone(world, database, sealer, hasher):
    await world.start()
    [found] = await everything(History(database.fetch, sealer, hasher, {}))
    assert (found.places[0].hash, found.places[0].country) == (hasher.hash("phone", PHONE), None)
    assert found.places[0].masked == "+49••••••••678"


async def test_the_policy_that_was_in_force_refuses_nobody_of_its_own_log(database, clock, sealer, hasher):
    """What was let through passes again: the rules that are tried are those that were asked."""
    code = CodeSettings(ttl=60)
    service = ServiceSettings(name="Shop", channels=("sms", "email"), code=code, limits=LimitSettings())
    world = World(database, clock, sealer, hasher, two_channels(), service=service)
    passed = 0
    for number in range(40):
        passed += await started(world, number)
        clock.advance(97)
    assert 0 < passed < 40
    history, replay = History(database.fetch, sealer, hasher, KINDS), Replay({"shop": service}, lambda *_: 0.0)
    async for page in history.read(0.0):
        for past in page.pasts:
            replay.take(past)
    report = replay.finish()
    assert (report.log.verifications, report.limits) == (passed, {})


async def started(world: World, number: int) -> bool:
    """Start a verification, give a wrong code or the right one; return whether it was let through."""
    try:
        view = await world.start({"phone": PHONE} if number % 3 else BOTH)
    except Refused:
        return False
    await world.attempt()
    if number % 5 == 0:
        await world.checking.check("shop", view.id, world.code)
    elif number % 2:
        with pytest.raises(WrongCode):
            await world.checking.check("shop", view.id, "000000" if world.code != "000000" else "111111")
    return True
