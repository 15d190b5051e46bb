"""Two nodes, providers and people do anything to the queue in any order, on both engines; its promises hold."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from channels.base import Reason, Receipt, Report, ReportedStatus
from gateway.config import CodeSettings, LimitSettings, SealingKey, ServiceSettings
from gateway.delivery.lifecycle import MESSAGE_MOVES, OPEN, AttemptOutcome, MessageStatus
from gateway.delivery.message import LEASE, Message
from gateway.delivery.retry import MAX_TRIES
from gateway.delivery.telling import ENDINGS, Failure
from gateway.errors import GatewayError
from gateway.events.event import Event, EventName
from gateway.storage.database import Database
from gateway.storage.engine import Engine
from gateway.storage.postgresql import PostgresqlEngine
from gateway.storage.sealing import Hasher, Sealer
from gateway.storage.sqlite import SqliteEngine
from tests.conftest import HandClock, aside, empty
from tests.world import World, two_channels

T = TypeVar("T")
M = MessageStatus

#: The status an event tells of; ``message.unconfirmed`` tells of none.
TOLD = {
    EventName.MESSAGE_WAITING: M.WAITING,
    EventName.MESSAGE_QUEUED: M.QUEUED,
    EventName.MESSAGE_SENDING: M.SENDING,
    EventName.MESSAGE_RETRIED: M.QUEUED,
    EventName.MESSAGE_RESCUED: M.QUEUED,
    EventName.MESSAGE_RETURNED: M.QUEUED,
    **{event: status for status, event in ENDINGS.items()},
}

#: What a look into the database must never find.
NEVER = {
    "a message with more than its tries": f"SELECT id FROM message WHERE attempts - skipped > {MAX_TRIES}",
    "an attempt that is not counted": """SELECT id FROM message m
        WHERE attempts <> (SELECT count(*) FROM attempt WHERE message_id = m.id)""",
    "an attempt left open by a message that is not under way with it": """SELECT m.id FROM message m
        JOIN attempt a ON a.message_id = m.id
        WHERE a.outcome IS NULL AND (m.status <> 'sending' OR a.number <> m.attempts)""",
    "a message under way whose attempt has ended": """SELECT m.id FROM message m
        JOIN attempt a ON a.message_id = m.id AND a.number = m.attempts
        WHERE m.status = 'sending' AND a.outcome IS NOT NULL""",
    "a code that outlived its verification": "SELECT id FROM verification WHERE status <> 'pending' AND code_sealed IS NOT NULL",
    "an ended message that a node holds": "SELECT id FROM message WHERE finished_at IS NOT NULL AND lease <> ''",
    "a wait for the report of what is not sent": "SELECT id FROM message WHERE confirm_by IS NOT NULL AND status <> 'sent'",
    "a message sent by no attempt": """SELECT id FROM message m WHERE m.status IN ('sent', 'undelivered')
        AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.message_id = m.id AND a.outcome = 'sent')""",
    "two messages that may bring the code": """SELECT verification_id FROM message
        WHERE status IN ('waiting', 'queued', 'sending', 'sent') AND followed_at IS NULL
        GROUP BY verification_id HAVING count(*) > 1""",
    "a failed verification whose code may be on its way": """SELECT v.id FROM verification v WHERE v.status = 'failed'
        AND (EXISTS (SELECT 1 FROM attempt a WHERE a.verification_id = v.id
                     AND (a.outcome IS NULL OR a.outcome = 'unknown'))
             OR EXISTS (SELECT 1 FROM message m WHERE m.verification_id = v.id
                        AND m.status IN ('waiting', 'queued', 'sending', 'sent')))""",
}

#: Seconds the first channel is given to report a delivery.
CONFIRM_WITHIN = 15.0

_NEVER = " UNION ALL ".join(f"SELECT '{sentence}' AS sentence FROM ({sql}) AS found" for sentence, sql in NEVER.items())

#: What may happen, and how often.
DEEDS = {
    "start": 1,
    "wait": 2,
    "claim": 2,
    "begin": 8,
    "accept": 5,
    "retry": 4,
    "give_back": 1,
    "move_on": 3,
    "leave": 1,
    "rescue": 2,
    "take_over_unconfirmed": 2,
    "report": 6,
    "ask_again": 2,
    "end": 1,
}
OUTCOMES = (AttemptOutcome.UNKNOWN, AttemptOutcome.TRANSIENT, AttemptOutcome.PERMANENT)
SENT, DELIVERED, UNDELIVERED = ReportedStatus

deeds = st.sampled_from([deed for deed, often in DEEDS.items() for _ in range(often)])
nodes = st.integers(0, 1)
picks = st.integers(0, 7)
seldom = st.sampled_from([False, False, False, True])
choices = st.integers(0, 5)


class Life(RuleBasedStateMachine):
    """A life of the queue. What the nodes hold may be stale, and is often used again, as in life."""

    def __init__(self, make_engine: Callable[[], Engine]) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = HandClock()
        self.stack = contextlib.AsyncExitStack()
        #: Everything committed, in order.
        self.told: list[Event] = []
        self.databases = [self.run(self.stack.enter_async_context(self._database(make_engine()))) for _ in range(2)]
        self.phones = itertools.count()
        #: What each node holds, and what it has begun.
        self.held: list[tuple[World, Message]] = []
        self.begun: list[tuple[World, Message]] = []
        #: The token of every attempt.
        self.tokens: list[tuple[str, str]] = []
        self.verifications: list[str] = []
        self.codes: dict[str, str] = {}
        self.settled: Counter[tuple[str, int]] = Counter()
        #: The latest that was seen of attempts and of messages.
        self.outcomes: dict[tuple[str, int], str | None] = {}
        self.followed: dict[str, float] = {}
        #: How many events were told when it was last looked at.
        self.looked = 0

    def _database(self, engine: Engine) -> Database:
        return Database(engine, on_commit=self.told.extend)  # type: ignore[arg-type]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        try:
            self.run(self._drain())
            self._look()
        finally:
            self.run(self.stack.aclose())
            self.runner.close()

    @initialize(node=nodes, resend=st.sampled_from(["same", "new"]))
    def open_two_nodes(self, node, resend):
        service = ServiceSettings(
            name="Shop",
            channels=("sms", "email"),
            code=CodeSettings(resend=resend),
            limits=LimitSettings(cooldown=1),
        )
        sealer, hasher = Sealer([SealingKey("k1", bytes(32))]), Hasher(b"h" * 32)
        self.worlds = [
            World(
                database,
                self.clock,
                sealer,
                hasher,
                two_channels(),
                node=name,
                service=service,
                confirm_within=lambda *asked: CONFIRM_WITHIN if asked[-1] == "sms" else None,
            )
            for name, database in zip(("node-a", "node-b"), self.databases, strict=True)
        ]
        self._start(self.worlds[node], 0, False, 0)
        self._begin(self.worlds[node], 0, False, 0)

    @rule(deed=deeds, node=nodes, pick=picks, stale=seldom, choice=choices)
    def happen(self, deed, node, pick, stale, choice):
        """Let something happen at a node. ``stale`` leaves what is used where it was, so that it is used again."""
        getattr(self, f"_{deed}")(self.worlds[node], pick, stale, choice)

    # -- what nodes do

    def _start(self, world: World, pick: int, stale: bool, choice: int) -> None:
        if len(self.verifications) == 3:
            return
        world.has_room, number = choice != 5, next(self.phones)
        to = {"phone": f"+49151123{number:05}"} | ({"email": f"ann{number}@example.org"} if choice < 5 else {})
        self.verifications.append(self.run(world.start(to, ttl=(300, 300, 300, 120, 5, 300)[choice])).id)
        self._take_over(world)

    def _claim(self, world: World, pick: int, stale: bool, choice: int) -> None:
        room = (3, 2, 1, 3, 0, 3)[choice]
        for channel in ("sms", "email"):
            claimed = self.run(world.queue.claim(channel, {"shop": room, "other": 1}))
            assert len(claimed) <= room
            self._hold(world, claimed)

    def _wait(self, world: World, pick: int, stale: bool, choice: int) -> None:
        self.clock.advance((4.0, 0.5, 4.0, LEASE / 2, LEASE, 60.0)[choice])

    def _begin(self, world: World, pick: int, stale: bool, choice: int) -> None:
        if not self.held:
            self._claim(world, 0, False, 0)
        for holder, message in self._one_of(self.held, pick, stale):
            side = world if choice == 5 else holder
            begun = None if message.tries >= MAX_TRIES else self.run(side.queue.begin(message))
            if begun is None:
                self._hold(side, [self.run(side.queue.drop(message, Reason.UNKNOWN, leased=True))])
                return
            self._assert_wanted(begun[0], side.node)
            self.begun.append((side, begun[0]))
            self.tokens.append((message.channel, begun[1]))

    def _assert_wanted(self, message: Message, node: str) -> None:
        [row] = self._rows(
            f"""SELECT v.status, v.generation, v.expires_at, m.followed_at, m.lease FROM message m
            JOIN verification v ON v.id = m.verification_id WHERE m.id = '{message.id}'"""
        )
        assert (row["status"], row["generation"], row["followed_at"]) == ("pending", message.generation, None)
        assert (row["expires_at"] > self.clock.now(), row["lease"]) == (True, node)

    def _accept(self, world: World, pick: int, stale: bool, choice: int) -> None:
        for holder, message in self._one_of(self.begun, pick, stale):
            # Sometimes by another node than the one that made the attempt: it must be refused.
            side, delivered = (world if choice == 5 else holder), choice == 4
            done = self.run(side.queue.accept(message, Receipt("x", delivered=delivered), 1.0))
            self._ended(holder, side, message, done)

    def _retry(self, world: World, pick: int, stale: bool, choice: int) -> None:
        for holder, message in self._one_of(self.begun, pick, stale):
            outcome = AttemptOutcome.TRANSIENT if choice in (3, 4) else AttemptOutcome.UNKNOWN
            side, due_at = (world if choice == 5 else holder), self.clock.now() + 4.0 * (choice in (0, 3))
            done = self.run(side.queue.retry(message, Failure(outcome, Reason.TIMEOUT), due_at))
            self._ended(holder, side, message, done)

    def _give_back(self, world: World, pick: int, stale: bool, choice: int) -> None:
        for holder, message in self._one_of(self.begun, pick, stale):
            side = world if choice == 5 else holder
            self._ended(holder, side, message, self.run(side.queue.give_back(message)))

    def _move_on(self, world: World, pick: int, stale: bool, choice: int) -> None:
        for holder, message in self._one_of(self.begun, pick, stale):
            failure = Failure(OUTCOMES[choice % 3], Reason.UNREACHABLE)
            following = self.run(holder.queue.move_on(message, failure, alive=choice != 5, leased=choice != 4))
            self._hold(holder, [following])

    def _leave(self, world: World, pick: int, stale: bool, choice: int) -> None:
        """Release a message that was not begun, now or for later, or have it go to the next channel."""
        for holder, message in self._one_of(self.held, pick, stale):
            if choice < 3:
                self._hold(holder, [self.run(holder.queue.drop(message, Reason.UNAVAILABLE, leased=choice < 2))])
            else:
                self.run(holder.queue.release(message, None if choice < 5 else self.clock.now() + 2.0))

    def _rescue(self, world: World, pick: int, stale: bool, choice: int) -> None:
        """Let a lease pass, with a node that died before or renews what it holds; then rescue."""
        if choice == 5:
            self.held = [(holder, message) for holder, message in self.held if holder is not world]
            self.begun = [(holder, message) for holder, message in self.begun if holder is not world]
        for _ in range(2):
            self.clock.advance(LEASE / 2)
            if choice == 4:
                self.run(world.queue.renew({item.id for holder, item in self.held + self.begun if holder is world}))
        held = {message.id for holder, message in self.begun if holder is world and choice == 3}
        self.run(world.queue.rescue(held))

    def _take_over_unconfirmed(self, world: World, pick: int, stale: bool, choice: int) -> None:
        self.clock.advance(CONFIRM_WITHIN * (choice < 5))
        taken = self.run(world.queue.unconfirmed(leased=choice < 4))
        for message in taken:
            self._assert_wanted(message, world.node)
        self._hold(world, taken)

    # -- what providers and people do

    def _report(self, world: World, pick: int, stale: bool, choice: int) -> None:
        status = (UNDELIVERED, UNDELIVERED, UNDELIVERED, SENT, SENT, DELIVERED)[choice]
        # The latest attempts first, as in life.
        channel, token = self.tokens[-1 - pick % len(self.tokens)]
        report = Report(token, status, provider_id="x")
        assert not self.run(world.queue.report(f"not {channel}", report)), "another channel's report changed something"
        self.run(world.queue.report(channel, report))
        if stale:
            assert not self.run(world.queue.report(channel, report)), "a repeated report changed something"

    def _ask_again(self, world: World, pick: int, stale: bool, choice: int) -> None:
        self.clock.advance(1.0)
        channel = (None, None, None, "sms", "email", "email")[choice]
        with contextlib.suppress(GatewayError):  # ended, too soon, or not on its route
            self.run(world.verifications.resend("shop", self._verification(pick), channel))
        self._take_over(world)

    def _end(self, world: World, pick: int, stale: bool, choice: int) -> None:
        verification_id = self._verification(pick)
        with contextlib.suppress(GatewayError):  # ended otherwise, or the code was replaced
            if choice < 2:
                self.run(world.checking.cancel("shop", verification_id))
            elif choice < 4:
                self.run(world.checking.check("shop", verification_id, self.codes.get(verification_id, "000000")))
            else:
                self.run(world.checking.expire_overdue())

    # -- what is always true

    @invariant()
    def the_promises_hold(self):
        if len(self.told) > self.looked:
            self.looked = len(self.told)
            self._look()

    def _look(self) -> None:
        assert [row["sentence"] for row in self._rows(_NEVER)] == []
        self._assert_that_attempts_end_once()
        self._assert_that_events_tell_of_every_move()

    def _assert_that_attempts_end_once(self) -> None:
        assert max(self.settled.values(), default=0) <= 1
        for row in self._rows("SELECT message_id, number, outcome FROM attempt"):
            attempt, outcome = (row["message_id"], row["number"]), row["outcome"]
            before = self.outcomes.get(attempt)
            # Only a report says more of an attempt that has ended: that it was accepted after all.
            assert before in (None, outcome) or (before, outcome) == ("unknown", "sent")
            self.outcomes[attempt] = outcome

    def _assert_that_events_tell_of_every_move(self) -> None:
        now: dict[str, MessageStatus] = {}
        for event in self.told:
            if event.message_id is None or event.name not in TOLD:
                continue
            status, before = TOLD[event.name], now.get(event.message_id)
            assert before in MESSAGE_MOVES[status] if before is not None else status is M.QUEUED
            now[event.message_id] = status
        rows = self._rows("SELECT id, status, followed_at FROM message")
        assert {row["id"]: row["status"] for row in rows} == now
        for row in rows:
            if row["followed_at"] is not None:
                assert self.followed.setdefault(row["id"], row["followed_at"]) == row["followed_at"]

    async def _drain(self) -> None:
        """Let everything's time run out: nothing may be left in the queue, nor any verification open."""
        self.clock.advance(700.0)
        for world in self.worlds:
            await world.queue.rescue()
            assert await world.queue.unconfirmed() == []
        for world, channel in itertools.product(self.worlds, ("sms", "email")):
            for message in await world.queue.claim(channel, {"shop": 1000}):
                assert await world.queue.begin(message) is None
                assert await world.queue.drop(message, Reason.UNKNOWN, leased=True) is None
        for world in self.worlds:
            await world.checking.expire_overdue()
        assert {M(row["status"]) for row in await self.databases[0].fetch("SELECT status FROM message")} & OPEN == set()
        assert await self.databases[0].fetch("SELECT id FROM verification WHERE status = 'pending'") == []
        assert await self.databases[0].fetch("SELECT id FROM message WHERE confirm_by IS NOT NULL") == []

    # -- small things

    def _rows(self, sql: str) -> list[dict[str, Any]]:
        return [dict(row) for row in self.run(self.databases[0].fetch(sql))]  # type: ignore[call-overload]

    def _one_of(self, items: list[tuple[World, Message]], pick: int, stale: bool) -> list[tuple[World, Message]]:
        if not items:
            return []
        place = pick % len(items)
        return [items[place] if stale else items.pop(place)]

    def _verification(self, pick: int) -> str:
        return self.verifications[pick % len(self.verifications)]

    def _ended(self, holder: World, side: World, message: Message, done: bool) -> None:
        assert not done or side is holder, "a node settled another's attempt"
        self.settled[message.id, message.attempts] += done

    def _hold(self, world: World, messages: Iterable[Message | None]) -> None:
        for message in messages:
            if message is not None:
                self.held.append((world, message))
                if message.code:
                    self.codes[message.verification_id] = message.code

    def _take_over(self, world: World) -> None:
        self._hold(world, world.handed_over)
        world.handed_over.clear()


@pytest.fixture
def fresh_engines(engine_name, request) -> Iterable[Callable[[], Callable[[], Engine]]]:
    """Makes an empty database for each life, and returns what makes engines on it."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = itertools.count()

        def sqlite() -> Callable[[], Engine]:
            path = Path(folder) / f"{next(numbers)}.db"
            shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
            return lambda: SqliteEngine(path)

        def postgresql() -> Callable[[], Engine]:
            url = request.getfixturevalue("migrated_postgresql")
            aside(empty(url))
            return lambda: PostgresqlEngine(url)

        yield {"sqlite": sqlite, "postgresql": postgresql}[engine_name]


#: Lives and their length: what a few seconds allow on each engine.
LIVES = {"sqlite": (40, 60), "postgresql": (15, 60)}


def test_no_order_of_things_breaks_a_promise(engine_name, fresh_engines):
    lives, steps = LIVES[engine_name]
    # It takes whatever makes a machine, though it is typed to take a class.
    make = cast("type[Life]", lambda: Life(fresh_engines()))
    run_state_machine_as_test(make, settings=settings(max_examples=lives, stateful_step_count=steps))
