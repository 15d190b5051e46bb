"""Sessions: what is bound to one ends with it, and nothing else does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.config import LimitSettings, ServiceSettings
from gateway.errors import AlreadyApproved, Gone
from gateway.storage.line import HEAVY
from gateway.verification.sessions import Sessions
from tests.world import Talker, World, two_channels


@pytest.fixture
def world(database, clock, sealer, hasher) -> World:
    service = ServiceSettings(channels=("sms", "email"), limits=LimitSettings(cooldown=0, prefix_per_hour=0))
    return World(database, clock, sealer, hasher, two_channels(), service=service)


def to(number: int) -> dict[str, str]:
    return {"phone": f"+49151123456{number:02d}"}


async def test_what_is_bound_to_a_session_ends_with_it(world):
    bound = [await world.start(to(number), bind={"session": "s-91"}) for number in range(3)]
    others = [await world.start(to(10), bind={"session": "s-92"}), await world.start(to(11), bind={"amount": "s-91"})]
    assert await world.sessions.end("shop", "s-91") == 3
    assert [(await world.look(view)).status for view in bound] == ["canceled"] * 3
    assert [(await world.look(view)).status for view in others] == ["pending"] * 2
    assert await world.sessions.end("shop", "s-91") == 0


async def test_nothing_is_sent_afterwards_and_no_code_of_it_works(world):
    view = await world.start(bind={"session": "s-91"})
    code = world.handed_over[-1].code
    await world.sessions.end("shop", "s-91")
    await world.attempt()
    assert world.channels["sms"].sent == []
    with pytest.raises(Gone) as caught:
        await world.checking.check("shop", view.id, code, {"session": "s-91"})
    assert caught.value.code == "canceled"


async def test_the_timeline_says_why(world):
    view = await world.start(bind={"session": "s-91"})
    await world.sessions.end("shop", "s-91")
    [event] = [item for item in (await world.look(view)).events if item.name == "verification.canceled"]
    assert event.details == {"reason": "session"}


async def test_a_session_of_another_service_is_another_session(world):
    view = await world.start(bind={"session": "s-91"})
    assert await world.sessions.end("bank", "s-91") == 0
    assert (await world.look(view)).status == "pending"


async def test_what_is_over_stays_as_it_ended(world, clock):
    used = await world.start(to(1), bind={"session": "s-91"})
    await world.attempt()
    await world.checking.check("shop", used.id, world.code, {"session": "s-91"})
    await world.start(to(2), bind={"session": "s-91"})
    clock.advance(300)
    assert await world.sessions.end("shop", "s-91") == 0
    assert (await world.look(used)).status == "approved"


async def test_a_reverse_verification_ends_with_its_session_too(database, clock, sealer, hasher):
    channels = {"bot": Talker("bot", ["phone"])}
    service = ServiceSettings(channels=("bot",), limits=LimitSettings(cooldown=0, prefix_per_hour=0))
    world = World(database, clock, sealer, hasher, channels, service=service)
    view = await world.start(mode="inbound", bind={"session": "s-91", "amount": "12.00 EUR"})
    assert await world.sessions.end("shop", "s-91") == 1
    assert (await world.look(view)).status == "canceled"


async def test_many_end_in_small_bites(world, database, clock, hasher):
    for number in range(5):
        await world.start(to(number), bind={"session": "s-91"})
    sessions = Sessions(database, world.queue, hasher, clock, bite=2)
    assert await sessions.end("shop", "s-91") == 5


async def test_a_check_at_the_same_moment_is_approved_or_canceled_never_both(world):
    view = await world.start(bind={"session": "s-91"})
    await world.attempt()
    check = world.checking.check("shop", view.id, world.code, {"session": "s-91"})
    outcomes: tuple[Any, Any] = await asyncio.gather(check, world.sessions.end("shop", "s-91"), return_exceptions=True)
    checked, ended = outcomes
    status = (await world.look(view)).status
    if isinstance(checked, str):
        assert (status, ended) == ("approved", 0)
    else:
        assert (status, ended, checked.code) == ("canceled", 1, "canceled")
    with pytest.raises((AlreadyApproved, Gone)):
        await world.checking.check("shop", view.id, world.code, {"session": "s-91"})


@pytest.fixture
def bites(database, monkeypatch) -> list[int]:
    """What each work that was asked for weighed."""
    found: list[int] = []
    run = database.run

    async def weighed(work, *, weight=1):
        found.append(weight)
        return await run(work, weight=weight)

    monkeypatch.setattr(database, "run", weighed)
    return found


async def test_of_many_who_end_a_session_at_once_one_does_and_each_is_told_its_own(world, bites):
    views = [await world.start(to(number), bind={"session": "s-91"}) for number in range(HEAVY)]
    bites.clear()
    ended = await asyncio.gather(*(world.sessions.end("shop", "s-91") for _ in range(20)))
    assert sorted(ended) == [0] * 19 + [HEAVY]
    # The others had nothing to end, and asked the writer for nothing; many ends in one are a transaction of its own.
    assert bites == [HEAVY]
    assert {(await world.look(view)).status for view in views} == {"canceled"}


async def test_a_session_that_nothing_is_bound_to_ends_without_the_writer(world, bites):
    assert await world.sessions.end("shop", "s-91") == 0
    assert bites == []


async def test_what_came_after_the_last_look_of_one_end_is_canceled_by_the_next(world, database, monkeypatch):
    """The second comes while the first is under way, and after it has looked: to share its outcome would be to miss this."""
    first = await world.start(to(1), bind={"session": "s-91"})
    run, later = database.run, []

    async def with_another(work, *, weight=1):
        monkeypatch.setattr(database, "run", run)
        later.append(await world.start(to(2), bind={"session": "s-91"}))
        later.append(asyncio.create_task(world.sessions.end("shop", "s-91")))
        await asyncio.sleep(0)
        return await run(work, weight=weight)

    monkeypatch.setattr(database, "run", with_another)
    assert await world.sessions.end("shop", "s-91") == 1
    second, ended = later
    assert await ended == 1
    assert [(await world.look(view)).status for view in (first, second)] == ["canceled"] * 2


async def test_who_gives_up_ends_it_for_nobody_else(world):
    views = [await world.start(to(number), bind={"session": "s-91"}) for number in range(3)]
    ends = [asyncio.create_task(world.sessions.end("shop", "s-91")) for _ in range(3)]
    await asyncio.sleep(0)
    ends[0].cancel()
    ends[1].cancel()
    outcomes = await asyncio.gather(*ends, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, asyncio.CancelledError, int]
    assert {(await world.look(view)).status for view in views} == {"canceled"}


async def test_a_session_that_was_ended_is_remembered_no_more(world):
    await world.start(bind={"session": "s-91"})
    await asyncio.gather(*(world.sessions.end("shop", session) for session in ("s-91", "s-91", "s-92")))
    assert len(world.sessions._turns) == 0


async def test_who_finds_that_another_node_ends_the_session_lets_it(world, database, monkeypatch):
    for number in range(3):
        await world.start(to(number), bind={"session": "s-91"})
    run, asked = database.run, []

    async def behind_another(work, *, weight=1):
        monkeypatch.setattr(database, "run", run)
        other = Sessions(database, world.queue, world.sessions._hasher, world.clock)
        assert await other.end("shop", "s-91") == 3

        async def counted(connection):
            class Counting:
                fetch = connection.fetch

                async def apply(self, move):
                    asked.append(move)
                    return await connection.apply(move)

            return await work(Counting())

        return await run(counted, weight=weight)

    monkeypatch.setattr(database, "run", behind_another)
    assert await world.sessions.end("shop", "s-91") == 0
    assert len(asked) == 1
