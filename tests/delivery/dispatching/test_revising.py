"""What people see once their code is over, on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from channels.base import AmbiguousError, PermanentError, Reason, TransientError
from channels.chat import Reply
from gateway.delivery.dispatching.pacing import Pacer
from gateway.delivery.dispatching.revising import (
    AT_ONCE,
    BACKOFF_CAP,
    CLAIM,
    LEAST_REST,
    LOOK,
    MAX_AGE,
    MAX_TRIES,
    TIME,
    Reviser,
)
from gateway.delivery.lifecycle import VerificationStatus
from gateway.delivery.queue import LOOK_AFTER
from gateway.delivery.revisions import HOLD, Revisions
from gateway.errors import WrongCode
from gateway.storage.database import Database
from gateway.storage.unit import StorageUnavailableError
from gateway.verification import ending
from tests.delivery.conftest import CHAT
from tests.world import Scripted, Talker, instantly

AWAY = TransientError(Reason.UNAVAILABLE)
BLOCKED = PermanentError(Reason.BLOCKED, provider_code="403")
REFUSED = PermanentError(Reason.REJECTED, provider_code="400")
SECRET = "+4915112345678"


def ended(service: str, locale: str, outcome: str, verification_id: str, /) -> Reply:
    return Reply(f"{service} {locale} {outcome} {verification_id}")


@pytest.fixture
def make_reviser(chatty, revisions, clock, bot) -> Callable[..., Reviser]:
    def make(
        seen: Revisions = revisions,
        *,
        busy: Callable[[str], bool] = lambda _: False,
        channel: Any = bot,
        sleep: Any = instantly,
        **more: Any,
    ) -> Reviser:
        return Reviser(seen, {"telegram": channel}, ended, busy, clock, sleep=sleep, **more)

    return make


@pytest.fixture
def reviser(make_reviser: Callable[..., Reviser]) -> Reviser:
    return make_reviser()


@pytest.fixture
def several(chatty):
    """Sends a number of codes and cancels them."""

    async def several(number: int):
        views = [await chatty.start({"telegram": f"user-{n}"}, channels=("telegram",)) for n in range(number)]
        for view in views:
            await chatty.attempt()
            await chatty.checking.cancel("shop", view.id)
        return views

    return several


def verbs(bot: Talker) -> list[str]:
    return [verb for verb, *_ in bot.did]


async def approve(world, view) -> None:
    await world.checking.check("shop", view.id, world.code)


async def cancel(world, view) -> None:
    await world.checking.cancel("shop", view.id)


async def guess(world, view) -> None:
    wrong = "000000" if world.code != "000000" else "000001"
    for _ in range(5):
        with pytest.raises(WrongCode):
            await world.checking.check("shop", view.id, wrong)


async def outlive(world, view) -> None:
    world.clock.advance(300)
    await world.checking.expire_overdue()


async def fail(world, view) -> None:
    async def work(connection):
        await ending.end(connection, world.queue, view.id, "shop", VerificationStatus.FAILED, world.clock.now())

    await world.database.run(work)


# -- what is done


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (approve, "approved"),
        (cancel, "canceled"),
        (guess, "max_attempts_reached"),
        (outlive, "expired"),
        (fail, "failed"),
    ],
)
async def test_every_end_is_shown_once(chatty, reviser, bot, ask, clock, end, outcome):
    view = await ask()
    await end(chatty, view)
    assert await reviser.look_once("telegram") == 1
    assert bot.did == [("revise", CHAT, "telegram-1", Reply(f"shop en {outcome} {view.id}"))]
    assert (await chatty.events(view))[-1] == "message.edited"
    clock.advance(600)
    await chatty.checking.expire_overdue()
    assert await reviser.look_once("telegram") == 0


async def test_a_code_that_died_is_shown_as_expired_before_anybody_wrote_it_down(chatty, reviser, bot, ask, clock):
    view = await ask()
    clock.advance(300)
    assert await reviser.look_once("telegram") == 1
    await chatty.checking.expire_overdue()
    assert await reviser.look_once("telegram") == 0
    assert bot.did == [("revise", CHAT, "telegram-1", Reply(f"shop en expired {view.id}"))]


async def test_a_living_code_is_left_alone_until_it_dies(reviser, bot, ask, clock):
    await ask()
    clock.advance(LOOK_AFTER)
    assert await reviser.look_once("telegram") == 1
    clock.advance(300 - LOOK_AFTER - 0.1)
    assert await reviser.look_once("telegram") == 0
    assert bot.did == []
    clock.advance(0.1)
    assert await reviser.look_once("telegram") == 1
    assert verbs(bot) == ["revise"]


async def test_a_resend_replaces_what_was_sent_before(chatty, reviser, bot, ask, clock):
    view = await ask()
    for sends in (1, 2):
        clock.advance(30.0 * sends)
        await chatty.verifications.resend("shop", view.id, None)
        await chatty.attempt()
        await reviser.look_once("telegram")
    assert bot.did == [("remove", CHAT, "telegram-1"), ("remove", CHAT, "telegram-2")]
    await cancel(chatty, view)
    await reviser.look_once("telegram")
    assert bot.did[2:] == [("revise", CHAT, "telegram-3", Reply(f"shop en canceled {view.id}"))]
    names = [name for name in await chatty.events(view) if name in {"message.deleted", "message.edited"}]
    assert names == ["message.deleted", "message.deleted", "message.edited"]


async def test_what_cannot_be_edited_is_deleted(chatty, reviser, bot, ask):
    view = await ask()
    await cancel(chatty, view)
    bot.failures["revise"] = [REFUSED]
    await reviser.look_once("telegram")
    assert verbs(bot) == ["revise", "remove"]
    assert (await chatty.events(view))[-1] == "message.deleted"


async def test_what_can_be_neither_edited_nor_deleted_is_left(chatty, reviser, bot, ask):
    view = await ask()
    await cancel(chatty, view)
    bot.failures = {"revise": [REFUSED], "remove": [REFUSED]}
    await reviser.look_once("telegram")
    *_, told = (await chatty.look(view)).events
    assert (told.name, told.details["reason"]) == ("message.left", "rejected")
    assert await reviser.look_once("telegram") == 0


async def test_nothing_more_is_tried_in_a_chat_that_is_closed_to_the_bot(chatty, reviser, bot, ask):
    view = await ask()
    await cancel(chatty, view)
    bot.failures["revise"] = [BLOCKED]
    await reviser.look_once("telegram")
    assert verbs(bot) == ["revise"]
    *_, told = (await chatty.look(view)).events
    assert (told.name, told.details["reason"]) == ("message.left", "blocked")


# -- what fails for now


async def test_a_failure_is_tried_again_after_longer_and_longer(chatty, reviser, bot, ask, clock):
    await cancel(chatty, await ask())
    bot.failures["revise"] = [AWAY, AmbiguousError(Reason.TIMEOUT)]
    for wait in (2.0, 4.0):
        assert await reviser.look_once("telegram") == 1
        clock.advance(wait - 0.1)
        assert await reviser.look_once("telegram") == 0
        clock.advance(0.1)
    assert await reviser.look_once("telegram") == 1
    assert verbs(bot) == ["revise"] * 3


async def test_a_provider_that_says_when_is_not_asked_before(chatty, reviser, bot, ask, clock):
    await cancel(chatty, await ask())
    bot.failures["revise"] = [TransientError(Reason.RATE_LIMITED, retry_after=7.0)]
    await reviser.look_once("telegram")
    clock.advance(6.9)
    assert await reviser.look_once("telegram") == 0
    clock.advance(0.1)
    assert await reviser.look_once("telegram") == 1


async def test_a_wait_for_all_chats_is_kept_for_all(reviser, bot, several, clock):
    await several(2)
    bot.failures["revise"] = [TransientError(Reason.RATE_LIMITED, retry_after=7.0, whole_channel=True)]
    await reviser.look_once("telegram")
    done = len(bot.did)
    clock.advance(6.9)
    assert await reviser.look_once("telegram") == 0
    assert len(bot.did) == done
    clock.advance(0.1)
    assert await reviser.look_once("telegram") > 0


async def test_a_message_is_left_after_so_many_tries(chatty, reviser, bot, ask, clock):
    view = await ask()
    await cancel(chatty, view)
    bot.failures["revise"] = [AWAY] * (MAX_TRIES + 1)
    for _ in range(MAX_TRIES + 1):
        await reviser.look_once("telegram")
        clock.advance(BACKOFF_CAP)
    assert len(bot.did) == MAX_TRIES
    *_, told = (await chatty.look(view)).events
    assert (told.name, told.details["reason"]) == ("message.left", "unavailable")


async def test_a_look_at_a_living_code_is_no_try(chatty, reviser, bot, ask, clock):
    view = await ask()
    clock.advance(LOOK_AFTER)
    await reviser.look_once("telegram")
    await cancel(chatty, view)
    bot.failures["revise"] = [AWAY] * MAX_TRIES
    for _ in range(MAX_TRIES):
        await reviser.look_once("telegram")
        clock.advance(BACKOFF_CAP)
    assert len(bot.did) == MAX_TRIES


async def test_a_message_too_old_to_be_deleted_is_tried_once(chatty, reviser, bot, ask, clock):
    view = await ask()
    clock.advance(MAX_AGE)
    bot.failures["revise"] = [AWAY]
    await reviser.look_once("telegram")
    assert verbs(bot) == ["revise"]
    assert (await chatty.events(view))[-1] == "message.left"


class Faulty(Scripted):
    """A channel whose edits end in any way."""

    def __init__(self, revise) -> None:
        super().__init__("telegram", ["telegram"])
        self._revise = revise

    async def revise(self, address, provider_id, reply) -> None:
        await self._revise()

    async def remove(self, address, provider_id) -> None:
        raise AssertionError("nothing is to be removed")


async def test_an_adapters_own_fault_is_tried_again_and_told_without_values(chatty, make_reviser, ask, clock, caplog):
    async def broken():
        raise ValueError(SECRET)

    view = await ask()
    await cancel(chatty, view)
    reviser = make_reviser(channel=Faulty(broken))
    for _ in range(MAX_TRIES):
        assert await reviser.look_once("telegram") == 1
        clock.advance(BACKOFF_CAP)
    assert "ValueError at broken" in caplog.text
    assert SECRET not in caplog.text
    *_, told = (await chatty.look(view)).events
    assert (told.name, told.details["reason"]) == ("message.left", "unknown")


async def test_a_provider_that_never_answers_holds_nobody_up(chatty, make_reviser, ask, clock):
    never = asyncio.Event()
    view = await ask()
    await cancel(chatty, view)
    reviser = make_reviser(channel=Faulty(never.wait), timeout=0.01)
    for _ in range(MAX_TRIES):
        assert await reviser.look_once("telegram") == 1
        clock.advance(BACKOFF_CAP)
    *_, told = (await chatty.look(view)).events
    assert (told.name, told.details["reason"]) == ("message.left", "timeout")


# -- when it is done


async def test_nothing_is_begun_while_codes_wait(chatty, make_reviser, bot, ask):
    await cancel(chatty, await ask())
    reviser = make_reviser(busy=chatty.dispatcher.busy)
    other = await chatty.start({"telegram": "user-2"}, channels=("telegram",))
    chatty.dispatcher.hand_over(chatty.handed_over[0])
    assert await reviser.look_once("telegram") == 0
    assert bot.did == []
    await chatty.dispatcher._lanes["telegram"].take()
    await chatty.attempt()
    assert await chatty.statuses(other) == [("telegram", "sent")]
    assert await reviser.look_once("telegram") == 1
    assert verbs(bot) == ["revise"]


async def test_codes_that_come_meanwhile_go_first_and_what_waits_for_them_was_not_tried(
    make_reviser, revisions, bot, several
):
    await several(4)
    asked = 0

    def busy(_):
        nonlocal asked
        asked += 1
        return asked > 2

    assert await make_reviser(busy=busy).look_once("telegram") == 1
    assert len(bot.did) == 1
    left = await revisions.claim("telegram", CLAIM)
    assert [item.revisions for item in left] == [1, 1, 1]


async def test_a_failure_ends_the_round_and_the_rest_was_not_tried(make_reviser, revisions, bot, several):
    await several(6)
    bot.failures["revise"] = [AWAY] * 6
    assert await make_reviser().look_once("telegram") == AT_ONCE
    assert len(bot.did) == AT_ONCE
    left = await revisions.claim("telegram", CLAIM)
    assert [item.revisions for item in left] == [1] * (6 - AT_ONCE)


async def test_what_cannot_be_done_before_the_hold_lapses_is_not_begun(make_reviser, revisions, several, clock):
    await several(6)

    async def slow():
        clock.advance(HOLD - TIME + 1)

    assert await make_reviser(channel=Faulty(slow)).look_once("telegram") <= AT_ONCE
    assert len(await revisions.claim("telegram", CLAIM)) >= 6 - AT_ONCE


async def test_of_two_nodes_one_puts_a_message_right(make_engine, make_reviser, make_revisions, bot, several):
    views = await several(10)
    async with Database(make_engine()) as second:
        nodes = [make_reviser(), make_reviser(make_revisions(second))]
        begun = await asyncio.gather(*(node.look_once("telegram") for node in nodes))
    assert sum(begun) == len(views)
    edited = sorted(provider_id for _, _, provider_id, _ in bot.did)
    assert edited == sorted(f"telegram-{number}" for number in range(1, 11))


async def test_what_a_dead_node_had_begun_is_done_again(chatty, make_reviser, bot, ask, clock):
    """An edit that was made already changes nothing: the channel takes it for a success."""
    await cancel(chatty, await ask())
    entered, never = asyncio.Event(), asyncio.Event()

    async def stuck():
        entered.set()
        await never.wait()

    dying = asyncio.ensure_future(make_reviser(channel=Faulty(stuck)).look_once("telegram"))
    await entered.wait()
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    reviser = make_reviser()
    clock.advance(HOLD - 0.1)
    assert await reviser.look_once("telegram") == 0
    clock.advance(0.1)
    assert await reviser.look_once("telegram") == 1
    assert verbs(bot) == ["revise"]


class Away:
    """A database whose next writes fail, in front of the real one."""

    def __init__(self, database) -> None:
        self.database = database
        self._engine = database._engine
        self.failures = 0

    def __getattr__(self, name):
        return getattr(self.database, name)

    async def write(self, move):
        if self.failures:
            self.failures -= 1
            raise StorageUnavailableError("SQLite: database is locked")
        return await self.database.write(move)


async def test_what_could_not_be_written_down_is_done_again(
    chatty, make_reviser, make_revisions, database, bot, ask, clock, caplog
):
    away = Away(database)
    reviser = make_reviser(make_revisions(away))
    view = await ask()
    await cancel(chatty, view)
    away.failures = 1
    assert await reviser.look_once("telegram") == 1
    assert "a message was not settled" in caplog.text
    clock.advance(HOLD)
    assert await reviser.look_once("telegram") == 1
    assert verbs(bot) == ["revise", "revise"]
    assert (await chatty.events(view)).count("message.edited") == 1


# -- the pace that codes share


class Pace:
    """A pacer whose sleep moves the clock."""

    def __init__(self, clock, rate: float = 0.0, pause: float = 0.0) -> None:
        self.clock = clock
        self.slept = 0.0
        self.pacer = Pacer("telegram", rate, pause, clock, self.sleep)
        self.paces = {"telegram": self.pacer}

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.slept += seconds
        self.clock.advance(seconds)


async def test_edits_keep_to_the_channels_rate(make_reviser, bot, several, clock):
    await several(3)
    pace = Pace(clock, rate=2.0)
    assert await make_reviser(paces=pace.paces, sleep=pace.sleep).look_once("telegram") == 3
    assert len(bot.did) == 3
    assert pace.pacer.delay() == pytest.approx(0.5)
    assert pace.slept == pytest.approx(1.0)


async def test_an_edit_waits_for_its_chats_turn(chatty, make_reviser, bot, ask, clock):
    await cancel(chatty, await ask())
    pace = Pace(clock, pause=1.0)
    await pace.pacer.turn(CHAT)
    assert await make_reviser(paces=pace.paces, sleep=pace.sleep).look_once("telegram") == 1
    assert (verbs(bot), pace.slept) == (["revise"], 1.0)


async def test_an_edit_whose_chats_turn_is_late_comes_back_then(chatty, make_reviser, bot, ask, clock):
    await cancel(chatty, await ask())
    pace = Pace(clock, pause=1.0)
    await pace.pacer.pause_recipient(CHAT, 30.0)
    reviser = make_reviser(paces=pace.paces, sleep=pace.sleep)
    assert await reviser.look_once("telegram") == 1
    clock.advance(29.9)
    assert await reviser.look_once("telegram") == 0
    clock.advance(2.0)
    assert await reviser.look_once("telegram") == 1
    assert verbs(bot) == ["revise"]
    [record] = await chatty.database.fetch("SELECT revisions FROM message")
    assert record["revisions"] == 1


async def test_a_look_at_a_living_code_takes_no_turn(make_reviser, bot, ask, clock):
    await ask()
    pace = Pace(clock, pause=1.0)
    clock.advance(LOOK_AFTER)
    assert await make_reviser(paces=pace.paces, sleep=pace.sleep).look_once("telegram") == 1
    assert await pace.pacer.turn(CHAT) == 0.0


async def test_an_edit_that_waited_till_codes_came_lets_them_go_first(chatty, make_reviser, bot, ask, clock):
    await cancel(chatty, await ask())
    pace = Pace(clock, pause=1.0)
    await pace.pacer.turn(CHAT)
    reviser = make_reviser(paces=pace.paces, sleep=pace.sleep, busy=lambda _: pace.slept > 0)
    assert await reviser.look_once("telegram") == 1
    assert bot.did == []
    pace.slept = 0.0
    clock.advance(1.0)
    assert await make_reviser().look_once("telegram") == 1
    assert verbs(bot) == ["revise"]


async def test_a_wait_that_edits_are_asked_for_holds_for_codes_too(make_reviser, bot, several, clock):
    await several(2)
    pace = Pace(clock)
    bot.failures["revise"] = [TransientError(Reason.RATE_LIMITED, whole_channel=True)]
    await make_reviser(paces=pace.paces).look_once("telegram")
    assert pace.pacer.paused_for == LEAST_REST


async def test_a_wait_for_one_chat_holds_for_its_codes_too(chatty, make_reviser, bot, ask, clock):
    await cancel(chatty, await ask())
    pace = Pace(clock)
    bot.failures["revise"] = [TransientError(Reason.RATE_LIMITED, retry_after=7.0)]
    await make_reviser(paces=pace.paces).look_once("telegram")
    assert (pace.pacer.rests_for(CHAT), pace.pacer.paused_for) == (7.0, 0.0)


# -- the loop


class Slept:
    """Sleeps of a loop, which ends with the last of them."""

    def __init__(self, number: int) -> None:
        self.seconds: list[float] = []
        self._number = number

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if len(self.seconds) == self._number:
            raise asyncio.CancelledError


async def test_the_loop_looks_every_second_and_at_once_where_there_is_more(make_reviser, bot, several):
    await several(CLAIM + 3)
    slept = Slept(2)
    with pytest.raises(asyncio.CancelledError):
        await make_reviser(sleep=slept).run("telegram")
    assert len(bot.did) == CLAIM + 3
    assert slept.seconds == [LOOK, LOOK]


async def test_the_loop_outlives_any_fault(chatty, make_reviser, bot, ask, caplog):
    await cancel(chatty, await ask())
    faults = [ZeroDivisionError(SECRET)]

    def busy(_):
        if faults:
            raise faults.pop()
        return False

    with pytest.raises(asyncio.CancelledError):
        await make_reviser(busy=busy, sleep=Slept(2)).run("telegram")
    assert verbs(bot) == ["revise"]
    assert "ZeroDivisionError at busy" in caplog.text
    assert SECRET not in caplog.text
