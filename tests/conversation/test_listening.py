"""Of any number of nodes one listens to a bot; when it ends, another takes over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from channels.base import AmbiguousError, PermanentError, Reason, TransientError
from channels.chat import HandleInbound, Menu
from gateway.conversation.listening import LEASE, RENEWAL, listen
from gateway.storage.leases import Leases
from gateway.storage.unit import StorageUnavailableError
from tests.conftest import HandClock
from tests.conversation.conftest import CHAT, Bot
from tests.world import Scripted


class Listener(Bot):
    """A bot whose people write when a test says so."""

    def __init__(self) -> None:
        super().__init__("bot", ["telegram"])
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.times = 0
        self.failing = False
        self.fault: Exception = ConnectionError(CHAT)
        self.handle: HandleInbound | None = None

    async def listen(self, handle: HandleInbound) -> None:
        self.times += 1
        self.handle = handle
        self.ended.clear()
        self.started.set()
        try:
            if self.failing:
                raise self.fault
            await asyncio.Event().wait()
        finally:
            self.ended.set()


class Shaky(Leases):
    """Leases of a database that is away when a test says so."""

    away = False

    async def take(self, name: str, now: float, seconds: float) -> bool:
        if self.away:
            raise StorageUnavailableError("SQLite: database is locked")
        return await super().take(name, now, seconds)

    async def give(self, name: str) -> None:
        if self.away:
            raise StorageUnavailableError("SQLite: database is locked")
        await super().give(name)


class Rounds:
    """A sleep that ends when a test calls ``next``."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.asleep = asyncio.Event()
        self.awake = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        assert seconds == RENEWAL
        self.asleep.set()
        await self.awake.wait()
        self.awake.clear()

    async def next(self, seconds: float = RENEWAL) -> None:
        await self.asleep.wait()
        self.asleep.clear()
        self.clock.advance(seconds)
        self.awake.set()
        await self.asleep.wait()


MENU: Menu = {"": [("help", "Help")], "de": [("help", "Hilfe")]}


class Node:
    """One node's listening."""

    def __init__(self, talk, leases, clock: HandClock, *, bot: Listener | None = None, menu: Menu = MENU) -> None:
        self.bot = bot or Listener()
        self.rounds = Rounds(clock)
        self.leases = leases
        self.task = asyncio.create_task(
            listen(self.bot, partial(talk.inbox.handle, self.bot.name), leases, clock, menu=menu, sleep=self.rounds)
        )

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def make_node(talk, clock, database) -> AsyncIterator[Callable[..., Awaitable[Node]]]:
    nodes: list[Node] = []

    async def make(**options: Any) -> Node:
        nodes.append(Node(talk, Leases(database, f"node-{len(nodes)}"), clock, **options))
        await nodes[-1].rounds.asleep.wait()
        await asyncio.sleep(0)
        return nodes[-1]

    yield make
    for node in nodes:
        await node.stop()


async def test_what_people_write_reaches_the_inbox(make_node, talk):
    node = await make_node()
    await node.bot.handle(talk.inbound(command="start"))
    assert [row["channel"] for row in await talk.rows("reply")] == ["bot"]


async def test_the_holder_alone_shows_the_commands_and_once(make_node):
    first, second = await make_node(), await make_node()
    for _ in range(2):
        await first.rounds.next(0.0)
        await second.rounds.next(0.0)
    assert (first.bot.did, second.bot.did) == ([("introduce", MENU)], [])


async def test_without_commands_none_are_shown(make_node):
    node = await make_node(menu={})
    assert node.bot.did == []
    assert node.bot.times == 1


async def test_commands_that_could_not_be_shown_are_shown_at_the_next_renewal(make_node, caplog):
    bot = Listener()
    bot.failures["introduce"] = [TransientError(Reason.UNAVAILABLE)]
    node = await make_node(bot=bot)
    for _ in range(2):
        await node.rounds.next()
    assert bot.did == [("introduce", MENU)] * 2
    told = "the menu of the bot bot could not be set: its provider cannot be reached, or has a fault of its own (unavailable)"
    assert [(item.levelname, item.getMessage()) for item in caplog.records] == [("WARNING", f"{told}; tried again")]
    assert bot.times == 1


@pytest.mark.parametrize(
    ("error", "level", "told"),
    [
        (AmbiguousError(Reason.TIMEOUT), "WARNING", "could not be set: its provider did not answer in time (timeout)"),
        (PermanentError(Reason.MISCONFIGURED, provider_code="401"), "ERROR", "token or settings (misconfigured (401))"),
        (PermanentError(Reason.REJECTED), "ERROR", "could not be set: its provider refused it (rejected)"),
        (ConnectionError(CHAT), "ERROR", "setting the menu of the bot bot failed by ConnectionError"),
    ],
)
async def test_what_does_not_mend_itself_is_an_error(make_node, caplog, error, level, told):
    bot = Listener()
    bot.failures["introduce"] = [error]
    node = await make_node(bot=bot)
    await node.rounds.next()
    [item] = caplog.records
    assert (item.levelname, told in item.getMessage(), CHAT in item.getMessage()) == (level, True, False)


async def test_who_stops_while_showing_the_commands_stops_that_too(make_node):
    class Slow(Listener):
        async def introduce(self, menu: Menu) -> None:
            await super().introduce(menu)
            await asyncio.Event().wait()

    node = await make_node(bot=Slow())
    await node.rounds.next()
    assert node.bot.did == [("introduce", MENU)]
    assert node.bot.times == 1
    await node.stop()
    assert node.bot.ended.is_set()


async def test_a_channel_that_shows_no_commands_is_listened_to_as_well(talk, clock, database):
    class Plain(Scripted):
        def __init__(self) -> None:
            super().__init__("plain", ["telegram"])
            self.started = asyncio.Event()

        async def listen(self, handle: HandleInbound) -> None:
            self.started.set()

    channel = Plain()
    task = asyncio.create_task(
        listen(channel, partial(talk.inbox.handle, "plain"), Leases(database, "node-0"), clock, menu=MENU)
    )
    await channel.started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_one_node_listens_and_another_takes_over_when_it_stops(make_node):
    first, second = await make_node(), await make_node()
    assert (first.bot.times, second.bot.times) == (1, 0)
    await second.rounds.next()
    assert second.bot.times == 0
    await first.stop()
    assert first.bot.ended.is_set()
    await second.rounds.next()
    await second.bot.started.wait()


async def test_the_holder_goes_on_while_it_renews(make_node):
    first, second = await make_node(), await make_node()
    for _ in range(6):
        await first.rounds.next()
        await second.rounds.next(0.0)
    assert (first.bot.times, second.bot.times) == (1, 0)
    assert not first.bot.ended.is_set()


async def test_a_node_that_slept_past_its_lease_stops_listening(make_node):
    first, second = await make_node(), await make_node()
    await second.rounds.next(LEASE)
    await second.bot.started.wait()
    await first.rounds.next(0.0)
    assert first.bot.ended.is_set()


async def test_a_listener_that_ended_by_a_fault_is_started_again(talk, clock, database, caplog):
    node = Node(talk, Leases(database, "node-0"), clock)
    node.bot.failing = True
    await node.bot.started.wait()
    await node.rounds.next()
    assert node.bot.times >= 2
    assert "listening on bot ended by ConnectionError" in caplog.text
    assert CHAT not in caplog.text
    await node.stop()


async def test_a_listener_that_ended_because_the_database_is_away_has_no_loud_line_of_its_own(
    talk, clock, database, caplog
):
    caplog.set_level(logging.INFO)
    node = Node(talk, Leases(database, "node-0"), clock)
    node.bot.failing, node.bot.fault = True, StorageUnavailableError("PostgreSQL: ConnectionRefusedError")
    node.bot.fault.told = True
    await node.bot.started.wait()
    await node.rounds.next()
    assert node.bot.times >= 2
    assert "ended by" not in caplog.text
    await node.stop()


@pytest.fixture
async def shaky(talk, clock, database) -> AsyncIterator[Node]:
    """A node whose database may be away."""
    node = Node(talk, Shaky(database, "node-0"), clock)
    yield node
    await node.stop()


async def test_a_node_that_cannot_renew_stops_before_another_may_start(shaky, caplog):
    await shaky.bot.started.wait()
    shaky.leases.away = True
    await shaky.rounds.next()
    await shaky.rounds.next()
    assert not shaky.bot.ended.is_set()
    await shaky.rounds.next()
    assert shaky.bot.ended.is_set()
    assert "could not be renewed" in caplog.text


async def test_a_lease_that_cannot_be_given_back_is_told(shaky, caplog):
    await shaky.bot.started.wait()
    shaky.leases.away = True
    await shaky.stop()
    assert "could not be given back" in caplog.text


async def test_without_a_database_nobody_listens_until_it_is_back(talk, clock, database):
    leases = Shaky(database, "node-0")
    leases.away = True
    node = Node(talk, leases, clock)
    await node.rounds.asleep.wait()
    assert node.bot.times == 0
    leases.away = False
    await node.rounds.next()
    await node.bot.started.wait()
    await node.stop()
