"""Statuses move as the diagram says, whatever order two nodes, providers and people do things in."""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random
from typing import ClassVar, TypeVar

import pytest

from channels.base import Reason, Receipt, Report, ReportedStatus
from gateway.delivery.lifecycle import (
    MESSAGE_MOVES,
    OPEN,
    VERIFICATION_MOVES,
    AttemptOutcome,
    MessageStatus,
    VerificationStatus,
    sources,
)
from gateway.delivery.message import Message
from gateway.delivery.queue import LEASE
from gateway.delivery.retry import MAX_TRIES
from gateway.delivery.telling import Failure
from gateway.errors import GatewayError
from gateway.storage.database import Database
from gateway.storage.sqlite import SqliteEngine
from gateway.storage.unit import Connection
from tests.conftest import HandClock
from tests.world import World, two_channels

T = TypeVar("T")
M = MessageStatus

#: The arrows of the diagram in lifecycle.py.
DRAWN = {
    (M.WAITING, M.QUEUED),
    (M.QUEUED, M.SENDING),
    (M.SENDING, M.QUEUED),
    (M.SENDING, M.SENT),
    (M.SENT, M.DELIVERED),
    (M.SENT, M.UNDELIVERED),
    (M.UNDELIVERED, M.DELIVERED),
    *((source, M.EXPIRED) for source in OPEN),
    *((source, M.CANCELED) for source in OPEN),
    (M.QUEUED, M.FAILED),
    (M.SENDING, M.FAILED),
}


def test_the_moves_of_a_message_are_the_drawn_ones_and_a_late_receipt_wins():
    moves = {(source, target) for target, froms in MESSAGE_MOVES.items() for source in froms}
    late = {(source, target) for source, target in moves - DRAWN}
    assert DRAWN - moves == set()
    assert {target for _, target in late} == {M.DELIVERED}
    assert (M.WAITING, M.DELIVERED) not in moves


def test_every_status_of_a_message_has_its_moves():
    assert set(MESSAGE_MOVES) == set(MessageStatus)


def test_a_verification_leaves_pending_and_nothing_else():
    assert set(VERIFICATION_MOVES) == set(VerificationStatus)
    for status, froms in VERIFICATION_MOVES.items():
        expected = set() if status is VerificationStatus.PENDING else {VerificationStatus.PENDING}
        assert froms == expected


@pytest.mark.parametrize(
    ("status", "listed"),
    [
        (M.SENT, "'sending'"),
        (M.EXPIRED, "'queued', 'sending', 'waiting'"),
        (VerificationStatus.APPROVED, "'pending'"),
        (VerificationStatus.PENDING, ""),
    ],
)
def test_sources_are_written_as_a_sql_list(status, listed):
    assert sources(status) == listed


WATCH = (
    "CREATE TABLE moved (message_id text, source text, target text)",
    """CREATE TRIGGER born AFTER INSERT ON message
        BEGIN INSERT INTO moved VALUES (NEW.id, NULL, NEW.status); END""",
    """CREATE TRIGGER moves AFTER UPDATE OF status ON message WHEN OLD.status <> NEW.status
        BEGIN INSERT INTO moved VALUES (NEW.id, OLD.status, NEW.status); END""",
)


class Walk:
    """Two nodes on one queue, doing anything in any order. What they hold may be stale, as in life."""

    #: What may happen next, and how often.
    STEPS: ClassVar[dict[str, int]] = {
        "start": 4,
        "time_passes": 4,
        "claim": 5,
        "begin": 12,
        "accept": 4,
        "retry": 7,
        "give_back": 2,
        "move_on": 3,
        "release": 2,
        "drop": 1,
        "rescue": 2,
        "renew": 2,
        "end_or_resend": 2,
        "report": 3,
    }

    def __init__(self, seed: int, worlds: Sequence[World], clock: HandClock) -> None:
        self.random = Random(seed)
        self.worlds = worlds
        self.clock = clock
        self.phones = 0
        #: What each node holds, and what it has begun, with the attempt's token.
        self.held: list[tuple[World, Message]] = []
        self.begun: list[tuple[World, Message, str]] = []
        self.verifications: list[str] = []
        self.accepted: Counter[tuple[str, int]] = Counter()

    async def go(self, steps: int) -> None:
        names, weights = list(self.STEPS), list(self.STEPS.values())
        for name in self.random.choices(names, weights, k=steps):
            await getattr(self, name)()
            await self.check()

    def node(self) -> World:
        return self.random.choice(self.worlds)

    def one_of(self, items: list[T]) -> list[T]:
        """One item, or none; often it stays where it is, so that it is used again."""
        if not items:
            return []
        item = self.random.choice(items)
        if self.random.random() < 0.7:
            items.remove(item)
        return [item]

    def follow(self, world: World, message: Message | None) -> None:
        if message is not None:
            self.held.append((world, message))

    def take_over(self, world: World) -> None:
        self.held += [(world, message) for message in world.handed_over]
        world.handed_over.clear()

    async def start(self) -> None:
        world, self.phones = self.node(), self.phones + 1
        world.has_room = self.random.random() < 0.7
        number = f"{self.phones:05}"
        to = {"phone": f"+49151123{number}"}
        if self.random.random() < 0.5:
            to["email"] = f"ann{number}@example.org"
        self.verifications.append((await world.start(to, ttl=self.random.choice([5, 60, 300]))).id)
        self.take_over(world)

    async def time_passes(self) -> None:
        self.clock.advance(self.random.choice([0.5, 0.5, 1.0, 4.0, LEASE, 60.0]))

    async def claim(self) -> None:
        world = self.node()
        for channel in ("sms", "email"):
            self.held += [(world, message) for message in await world.queue.claim(channel, 3)]

    async def begin(self) -> None:
        for world, message in self.one_of(self.held):
            begun = None if message.tries >= MAX_TRIES else await world.queue.begin(message)
            if begun is None:
                self.follow(world, await world.queue.drop(message, Reason.UNKNOWN, leased=True))
                return
            self.begun.append((world, *begun))
            sql = "SELECT status, expires_at FROM verification WHERE id = :id"
            [row] = await self.worlds[0].database.fetch(sql, id=message.verification_id)
            assert row["status"] == "pending"
            assert row["expires_at"] > self.clock.now()

    async def accept(self) -> None:
        for world, message, _ in self.one_of(self.begun):
            receipt = Receipt("x", delivered=self.random.random() < 0.3)
            if await world.queue.accept(message, receipt, 1.0):
                self.accepted[message.id, message.attempts] += 1

    async def retry(self) -> None:
        for world, message, _ in self.one_of(self.begun):
            due_at = self.clock.now() + self.random.choice([0.5, 4.0])
            await world.queue.retry(message, Failure(AttemptOutcome.UNKNOWN, Reason.TIMEOUT), due_at)

    async def give_back(self) -> None:
        for world, message, _ in self.one_of(self.begun):
            await world.queue.give_back(message)

    async def move_on(self) -> None:
        for world, message, _ in self.one_of(self.begun):
            outcome = self.random.choice([AttemptOutcome.TRANSIENT, AttemptOutcome.UNKNOWN, AttemptOutcome.PERMANENT])
            failure, alive = Failure(outcome, Reason.UNREACHABLE), self.random.random() < 0.7
            self.follow(world, await world.queue.move_on(message, failure, alive=alive, leased=True))

    async def release(self) -> None:
        for world, message in self.one_of(self.held):
            await world.queue.release(message)

    async def drop(self) -> None:
        for world, message in self.one_of(self.held):
            self.follow(world, await world.queue.drop(message, Reason.RATE_LIMITED, leased=True))

    async def rescue(self) -> None:
        await self.node().queue.rescue()

    async def renew(self) -> None:
        world = self.node()
        await world.queue.renew({message.id for holder, message in self.held if holder is world})

    async def end_or_resend(self) -> None:
        world = self.node()
        if not self.verifications:
            return
        verification_id = self.random.choice(self.verifications)
        with contextlib.suppress(GatewayError):  # ended already, or too soon
            match self.random.choice(["cancel", "resend", "sweep"]):
                case "cancel":
                    await world.checking.cancel("shop", verification_id)
                case "resend":
                    await world.verifications.resend("shop", verification_id, None)
                case _:
                    await world.checking.expire_overdue()
        self.take_over(world)

    async def report(self) -> None:
        for world, _, token in self.one_of(self.begun):
            status = self.random.choice(list(ReportedStatus))
            await world.queue.report(Report(token, status, provider_id="x"))

    async def check(self) -> None:
        """What must be true after every step."""
        assert all(count == 1 for count in self.accepted.values()), "an attempt was accepted twice"
        for sentence, sql in NEVER.items():
            assert len(await self.worlds[0].database.fetch(sql)) == 0, sentence


_MOVES = ", ".join(f"('{source}', '{target}')" for target, froms in MESSAGE_MOVES.items() for source in froms)

#: What a look into the database must never find.
NEVER = {
    "a change of status that is no move": f"""SELECT * FROM moved
        WHERE source IS NOT NULL AND (source, target) NOT IN (VALUES {_MOVES})""",
    "a change without its one event": """SELECT id FROM message m WHERE
        (SELECT count(*) FROM moved WHERE message_id = m.id)
        <> (SELECT count(*) FROM event WHERE message_id = m.id AND name LIKE 'message.%')""",
    "a message with more than its tries": f"SELECT id FROM message WHERE attempts - skipped > {MAX_TRIES}",
    "an attempt that is not counted": """SELECT id FROM message m
        WHERE attempts <> (SELECT count(*) FROM attempt WHERE message_id = m.id)""",
    "an attempt left open by a message that is not under way": """SELECT m.id FROM message m
        JOIN attempt a ON a.message_id = m.id WHERE a.outcome IS NULL AND m.status <> 'sending'""",
    "a code that outlived its verification": "SELECT id FROM verification WHERE status <> 'pending' AND code_sealed IS NOT NULL",
    "an ended message in somebody's hands": "SELECT id FROM message WHERE finished_at IS NOT NULL AND lease <> ''",
}


@pytest.fixture
async def worlds(migrated_sqlite, tmp_path, clock, sealer, hasher) -> AsyncIterator[list[World]]:
    path = Path(shutil.copy(migrated_sqlite, tmp_path / "walk.db"))
    async with Database(SqliteEngine(path)) as one, Database(SqliteEngine(path)) as two:

        async def watch(connection: Connection) -> None:
            for statement in WATCH:
                await connection.fetch(statement)

        await one.run(watch)
        yield [
            World(one, clock, sealer, hasher, two_channels(), node="node-a"),
            World(two, clock, sealer, hasher, two_channels(), node="node-b"),
        ]


@pytest.mark.parametrize("seed", range(12))
async def test_no_order_of_things_breaks_the_queue(seed, worlds, clock):
    """A random walk; the seed in the test's name repeats it."""
    await Walk(seed, worlds, clock).go(steps=300)
