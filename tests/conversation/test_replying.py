"""Answers are sent in order, by one node, and never a second time where the first may have arrived."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from channels.base import AmbiguousError, PermanentError, Reason, TransientError
from channels.chat import Reply
from gateway.conversation.replies import LEASE, MAX_AGE, Replies
from gateway.conversation.replying import LINE, MAX_TRIES, POLL, WORKERS, Replying
from gateway.delivery.dispatching.pacing import COURTESY, Pacer
from gateway.events.event import recorded
from gateway.storage.unit import StorageUnavailableError
from tests.conversation.conftest import CHAT, OTHER_CHAT, Bot


class Talking(Bot):
    """A bot that may be held up: it then says nothing before a test lets it."""

    def __init__(self) -> None:
        super().__init__("bot", ["telegram"])
        self.said: list[tuple[str, str]] = []
        self.faults: list[Exception] = []
        self.begun = asyncio.Semaphore(0)
        self.held: asyncio.Event | None = None
        self.together = 0

    async def say(self, chat: str, reply: Reply) -> None:
        self.together += 1
        self.begun.release()
        if self.held is not None:
            await self.held.wait()
        self.together -= 1
        self.said.append((chat, reply.text))
        if self.faults:
            raise self.faults.pop(0)


class Away(Replies):
    """Answers of a database that is away when a test says so."""

    away: frozenset[str] = frozenset()
    fault: Exception = StorageUnavailableError("SQLite: database is locked")
    before_release: Callable[[], Awaitable[None]] | None = None

    async def claim(self, channel, number):
        self._check("claim")
        return await super().claim(channel, number)

    async def done(self, *waiting):
        self._check("done")
        await super().done(*waiting)

    async def release(self, waiting, due_at):
        self._check("release")
        if self.before_release is not None:
            await self.before_release()
        await super().release(waiting, due_at)

    def _check(self, name: str) -> None:
        if name in self.away:
            raise self.fault


class Node:
    """One node's answering."""

    def __init__(self, database, sealer, clock, name="node-a", **options) -> None:
        self.database = database
        self.clock = clock
        self.bot = Talking()
        self.blocked: list[tuple[str, str]] = []
        self.replies = Away(database, sealer, clock, name)
        self.looks = asyncio.Semaphore(0)
        options = {"sleep": self._sleep, **options}
        self.replying = Replying(self.replies, {"bot": self.bot}, clock, self._on_blocked, **options)
        self.task: asyncio.Task[None] | None = None

    async def answer(self, *texts: str, chat: str = CHAT, channel: str = "bot") -> None:
        """Write answers down and hand them over."""
        for text in texts:
            waiting, write = self.replies.write(channel, chat, Reply(text), self.clock.now())
            await self.database.write(recorded(write, [], []))
            self.replying.hand_over([waiting])

    async def send(self) -> list[str]:
        """Send what there is; return the texts that went out."""
        before = len(self.bot.said)
        await self.replying.send_once("bot")
        return [text for _, text in self.bot.said[before:]]

    def start(self) -> None:
        self.task = asyncio.create_task(self.replying.run("bot"))

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def left(self) -> list[dict[str, Any]]:
        found: list[Any] = await self.database.fetch("SELECT lease, tries, due_at FROM reply ORDER BY id")
        return [dict(row) for row in found]

    async def _on_blocked(self, channel: str, chat: str) -> None:
        self.blocked.append((channel, chat))

    async def _sleep(self, seconds: float) -> None:
        assert seconds == POLL
        self.looks.release()
        await asyncio.Event().wait()


class Pace:
    """A pacer whose sleep moves the clock, and lets others run."""

    def __init__(self, clock, rate: float = 0.0, pause: float = 0.0) -> None:
        self.clock = clock
        self.slept = 0.0
        self.pacer = Pacer("bot", rate, pause, clock, self.sleep)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.slept += seconds
        self.clock.advance(seconds)


@pytest.fixture
async def make_node(database, sealer, clock) -> AsyncIterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def make(name: str = "node-a", **options) -> Node:
        nodes.append(Node(database, sealer, clock, name, **options))
        return nodes[-1]

    yield make
    for node in nodes:
        if node.task is not None and not node.task.done():
            await node.stop()


@pytest.fixture
def node(make_node: Callable[..., Node]) -> Node:
    return make_node()


async def test_answers_are_sent_in_order_and_their_rows_go(node):
    await node.answer("one", "two", "three")
    assert await node.send() == ["one", "two", "three"]
    assert await node.left() == []


async def test_what_cannot_be_sent_now_comes_later_with_those_behind_it(node, clock):
    node.bot.faults = [TransientError(Reason.UNAVAILABLE)]
    await node.answer("one", "two")
    await node.answer("other", chat=OTHER_CHAT)
    assert await node.send() == ["one", "other"]
    await node.answer("three")
    assert await node.send() == []
    assert [(row["lease"], row["tries"]) for row in await node.left()] == [("", 1), ("", 0), ("", 0)]
    clock.advance(1)
    assert await node.send() == ["one", "two", "three"]
    assert await node.left() == []


async def test_the_wait_doubles_and_the_last_try_is_the_end(node, clock, caplog):
    node.bot.faults = [TransientError(Reason.UNAVAILABLE) for _ in range(MAX_TRIES)]
    await node.answer("one")
    for wait in (1, 2, 4, 8, 16):
        assert await node.send() == ["one"]
        clock.advance(wait - 0.5)
        assert await node.send() == []
        clock.advance(0.5)
    assert await node.send() == ["one"]
    assert await node.left() == []
    assert "unavailable, 6 times" in caplog.text
    assert CHAT not in caplog.text


async def test_a_wait_that_the_provider_asks_for_is_kept(node, clock):
    node.bot.faults = [TransientError(Reason.RATE_LIMITED, retry_after=30.0)]
    await node.answer("one")
    await node.send()
    clock.advance(29)
    assert await node.send() == []
    clock.advance(1)
    assert await node.send() == ["one"]


async def test_a_wait_for_the_whole_channel_holds_for_everybody(node, clock):
    node.bot.faults = [TransientError(Reason.RATE_LIMITED, retry_after=5.0, whole_channel=True)]
    await node.answer("one")
    await node.answer("other", chat=OTHER_CHAT)
    assert await node.send() == ["one"]
    assert [row["tries"] for row in await node.left()] == [1, 0]
    clock.advance(5)
    assert sorted(await node.send()) == ["one", "other"]


@pytest.mark.parametrize(
    "fault",
    [AmbiguousError(Reason.TIMEOUT), PermanentError(Reason.REJECTED), ValueError("700170017001"), TimeoutError()],
    ids=["ambiguous", "permanent", "fault", "timeout"],
)
async def test_what_may_have_been_written_is_not_written_again(node, fault, clock, caplog):
    node.bot.faults = [fault]
    await node.answer("one", "two")
    assert await node.send() == ["one", "two"]
    assert await node.left() == []
    assert "is dropped" in caplog.text
    assert CHAT not in caplog.text
    assert node.blocked == []


async def test_a_chat_that_blocks_the_bot_is_told_of(node):
    node.bot.faults = [PermanentError(Reason.BLOCKED)]
    await node.answer("one")
    await node.send()
    assert node.blocked == [("bot", CHAT)]
    assert await node.left() == []


async def test_an_answer_takes_no_longer_than_its_time(make_node):
    node = make_node(timeout=0.05)
    node.bot.held = asyncio.Event()
    await node.answer("one")
    assert await node.send() == []
    assert await node.left() == []


async def test_an_old_answer_is_worth_nothing(node, clock, caplog):
    node.bot.faults = [TransientError(Reason.RATE_LIMITED, retry_after=MAX_AGE + 1)]
    await node.answer("one")
    await node.send()
    clock.advance(MAX_AGE + 1)
    assert await node.send() == []
    assert await node.left() == []
    assert "nobody waits" in caplog.text


async def test_old_answers_take_no_turn_from_those_behind_them(make_node, clock):
    pace = Pace(clock, pause=1.0)
    node = make_node(paces={"bot": pace.pacer}, sleep=pace.sleep)
    await node.answer(*(f"old {number}" for number in range(LINE - 1)))
    clock.advance(MAX_AGE + 1)
    await node.answer("new")
    before = clock.now()
    assert await node.send() == ["new"]
    assert (clock.now() - before, await node.left()) == (0.0, [])


async def test_of_answers_to_one_chat_beyond_its_line_the_latest_are_dropped_and_other_chats_wait_for_none(
    node, caplog
):
    """One person who makes the bot say hundreds of things at once would else have it work for nobody else, for hours."""
    texts = [f"answer {number}" for number in range(LINE + 30)]
    await node.answer(*texts)
    await node.answer("other", chat=OTHER_CHAT)
    assert await node.send() == [*texts[:LINE], "other"]
    assert await node.left() == []
    assert "30 answers on bot to chats with many already are dropped" in caplog.text


async def test_a_surplus_that_cannot_be_dropped_now_is_dropped_later(node, caplog):
    await node.answer(*(str(number) for number in range(LINE + 1)))
    node.replies.away = frozenset({"done"})
    await node.send()
    node.replies.away = frozenset()
    await node.send()
    assert "1 answers on bot to chats with many already are dropped" in caplog.text


async def test_an_answer_that_another_node_has_taken_is_left_to_it(make_node, clock):
    first, second = make_node("node-a"), make_node("node-b")
    await first.answer("one")
    clock.advance(LEASE)
    assert await second.send() == ["one"]
    assert await first.send() == []


async def test_an_answer_claimed_twice_by_its_node_is_held_once(node, clock):
    await node.answer("one")
    clock.advance(LEASE)
    assert await node.send() == ["one"]


async def test_different_chats_are_served_at_once_and_each_by_one(node):
    node.bot.held = asyncio.Event()
    node.start()
    for chat in range(WORKERS + 2):
        await node.answer("one", "two", chat=str(chat))
    for _ in range(WORKERS):
        await node.bot.begun.acquire()
    await node.looks.acquire()
    assert node.bot.together == WORKERS
    node.bot.held.set()
    for _ in range(2 * (WORKERS + 2) - WORKERS):
        await node.bot.begun.acquire()
    await node.stop()
    said = [text for chat, text in node.bot.said if chat == "0"]
    assert said == ["one", "two"]
    assert len(node.bot.said) == 2 * (WORKERS + 2)
    assert await node.left() == []


async def test_an_answer_handed_over_while_nothing_was_there_is_sent(node):
    node.start()
    await node.looks.acquire()
    for text in ("one", "two"):
        await node.answer(text)
        await node.bot.begun.acquire()
    await node.stop()
    assert [text for _, text in node.bot.said] == ["one", "two"]


async def test_at_a_stop_what_is_under_way_ends_and_the_rest_is_left_to_others(make_node, clock):
    first, second = make_node("node-a"), make_node("node-b")
    first.bot.held = asyncio.Event()
    first.start()
    await first.answer("one", "two")
    await first.bot.begun.acquire()
    assert first.task is not None
    first.task.cancel()
    await asyncio.sleep(0)
    first.bot.held.set()
    await asyncio.gather(first.task, return_exceptions=True)
    assert [text for _, text in first.bot.said] == ["one"]
    assert await first.left() == [{"lease": "", "tries": 0, "due_at": clock.now()}]
    await first.answer("three")
    assert await second.send() == ["two"]


async def test_at_a_stop_what_does_not_end_is_not_written_again(make_node, caplog):
    first, second = make_node("node-a", grace=0.05), make_node("node-b")
    first.bot.held = asyncio.Event()
    first.start()
    await first.answer("one", "two")
    await first.bot.begun.acquire()
    await first.stop()
    assert await second.send() == ["two"]
    assert await second.left() == []
    assert "is not known" in caplog.text


async def test_answers_of_a_channel_without_a_bot_here_are_left_to_others(node):
    await node.answer("one", channel="other")
    assert await node.send() == []
    assert len(await node.left()) == 1


async def test_what_memory_does_not_take_is_sent_from_the_database(make_node, clock):
    node = make_node(buffer=1)
    await node.answer("one", "two")
    await node.answer("other", chat=OTHER_CHAT)
    assert await node.send() == ["one", "two"]
    clock.advance(LEASE)
    assert await node.send() == ["other"]


async def test_a_full_memory_looks_for_nothing_more(make_node, clock):
    node = make_node(buffer=1)
    await node.answer("one")
    await node.answer("other", chat=OTHER_CHAT)
    clock.advance(LEASE)
    assert await node.send() == ["one"]
    assert await node.send() == ["other"]


@pytest.mark.parametrize("fault", [StorageUnavailableError("SQLite: database is locked"), ValueError(CHAT)])
async def test_a_look_that_fails_ends_no_loop(node, fault, caplog):
    node.replies.away, node.replies.fault = frozenset({"claim"}), fault
    node.start()
    await node.looks.acquire()
    await node.answer("one")
    await node.bot.begun.acquire()
    await node.stop()
    assert [text for _, text in node.bot.said] == ["one"]
    assert "could not be looked for" in caplog.text
    assert CHAT not in caplog.text


async def test_an_answer_that_cannot_be_settled_is_given_up_by_this_node(node, clock, caplog):
    node.replies.away = frozenset({"done"})
    await node.answer("one", "two")
    assert await node.send() == ["one"]
    assert "could not be settled" in caplog.text
    node.replies.away = frozenset()
    assert await node.send() == []
    clock.advance(LEASE)
    assert await node.send() == ["one", "two"]


async def test_answers_that_come_while_others_are_given_up_are_sent(node, clock, caplog):
    node.bot.faults = [TransientError(Reason.UNAVAILABLE)]

    async def failing() -> None:
        # Between the giving up and its failure.
        node.replies.before_release = None
        await node.answer("three")
        raise ValueError(CHAT)

    node.replies.before_release = failing
    await node.answer("one", "two")
    assert await node.send() == ["one"]
    assert "could not be settled: ValueError" in caplog.text
    assert CHAT not in caplog.text
    clock.advance(LEASE)
    assert await node.send() == ["one", "two", "three"]


async def test_what_cannot_be_let_go_at_a_stop_lapses(node, caplog):
    node.bot.held = asyncio.Event()
    node.start()
    await node.answer("one", "two")
    await node.bot.begun.acquire()
    node.replies.away = frozenset({"release"})
    assert node.task is not None
    node.task.cancel()
    await asyncio.sleep(0)
    node.bot.held.set()
    await asyncio.gather(node.task, return_exceptions=True)
    assert "lapse by themselves" in caplog.text
    assert [row["lease"] for row in await node.left()] == ["node-a"]


# -- the pace that codes share


async def test_answers_keep_to_the_channels_rate(make_node, clock):
    pace = Pace(clock, rate=2.0)
    node = make_node(paces={"bot": pace.pacer})
    await node.answer("one", "two", "three")
    assert await node.send() == ["one", "two", "three"]
    assert pace.slept == pytest.approx(1.0)
    assert pace.pacer.delay() == pytest.approx(0.5)


async def test_codes_go_before_answers_but_not_for_ever(make_node, clock):
    pace, waiting = Pace(clock, rate=100.0), [True, True, True]
    node = make_node(paces={"bot": pace.pacer}, urgent=lambda channel: channel == "bot" and waiting.pop())
    await node.answer("one")
    waiting.insert(0, False)
    assert await node.send() == ["one"]
    assert pace.slept == pytest.approx(0.3)
    hurried = make_node(paces={"bot": pace.pacer}, urgent=lambda _: True)
    await hurried.answer("two")
    assert await hurried.send() == ["two"]
    assert pace.slept == pytest.approx(0.3 + COURTESY, abs=0.2)


async def test_a_chat_whose_turn_is_later_steps_aside_for_other_chats(make_node, clock):
    pace = Pace(clock, pause=1.0)
    node = make_node(paces={"bot": pace.pacer}, sleep=pace.sleep)
    await node.answer("one", "two")
    await node.answer("other", chat=OTHER_CHAT)
    said = await node.send()
    for _ in range(99):
        await asyncio.sleep(0)
    assert [*said, *await node.send()] == ["one", "other", "two"]
    assert pace.slept == pytest.approx(1.0)
    assert await node.left() == []


async def test_a_code_just_sent_to_a_chat_delays_its_answer(make_node, clock):
    pace = Pace(clock, pause=1.0)
    node = make_node(paces={"bot": pace.pacer}, sleep=pace.sleep)
    await pace.pacer.turn(CHAT)
    await node.answer("one")
    assert await node.send() == []
    for _ in range(99):
        await asyncio.sleep(0)
    assert await node.send() == ["one"]


async def test_a_wait_for_the_whole_channel_holds_for_codes_too(make_node, clock):
    pace = Pace(clock)
    node = make_node(paces={"bot": pace.pacer})
    node.bot.faults = [TransientError(Reason.RATE_LIMITED, retry_after=5.0, whole_channel=True)]
    await node.answer("one")
    await node.send()
    assert pace.pacer.paused_for == 5.0


async def test_a_wait_for_one_chat_holds_for_its_codes_too(make_node, clock):
    pace = Pace(clock)
    node = make_node(paces={"bot": pace.pacer})
    node.bot.faults = [TransientError(Reason.RATE_LIMITED, retry_after=5.0)]
    await node.answer("one")
    await node.send()
    assert (pace.pacer.rests_for(CHAT), pace.pacer.rests_for(OTHER_CHAT), pace.pacer.paused_for) == (5.0, 0.0, 0.0)


async def test_answers_wait_in_the_database_while_codes_are_paused(make_node, clock):
    pace = Pace(clock)
    node = make_node(paces={"bot": pace.pacer})
    await pace.pacer.pause(30.0)
    await node.answer("one")
    assert await node.send() == []
    assert [row["due_at"] - clock.now() for row in await node.left()] == [30.0]


async def test_a_pause_that_comes_while_an_answer_waits_for_its_start_is_obeyed(make_node, clock):
    pace = Pace(clock, rate=1.0)
    node = make_node(paces={"bot": pace.pacer})
    await node.answer("one", "two")
    sleep = pace.pacer._sleep

    async def paused(seconds: float) -> None:
        await sleep(seconds)
        pace.pacer.pause_for(60.0)

    pace.pacer._sleep = paused
    assert await node.send() == ["one"]
    [row] = await node.left()
    assert (row["tries"], row["lease"], row["due_at"] > clock.now() + 50.0) == (0, "", True)


async def test_answers_that_stepped_aside_at_a_stop_are_left_to_others(make_node, clock):
    pace = Pace(clock, pause=1.0)
    first, second = make_node("node-a", paces={"bot": pace.pacer}), make_node("node-b")
    first.start()
    await first.answer("one", "two")
    await first.bot.begun.acquire()
    for _ in range(9):
        await asyncio.sleep(0)
    await first.stop()
    assert await second.send() == ["two"]
