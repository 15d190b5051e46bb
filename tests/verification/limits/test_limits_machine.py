"""Creates, resends, checks and clock steps in any order, on both engines, against a model of the table in plain Python."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from channels.base import Reason
from gateway.config import CodeSettings
from gateway.errors import Cooldown, RateLimited, WrongCode
from gateway.storage.database import Database
from tests.conftest import HandClock
from tests.verification.limits.conftest import COUNTED, limited
from tests.world import World, refused, two_channels

PEOPLE = ("+4915112345670", "+4915112345671")
CHECKS, LIFE, COOLDOWN = 2, 300, 20
SENDS = {"ten_minutes": (600, 3), "hour": (3600, 5), "day": (86_400, 6)}
GUESSES = {"hour": (3600, 4), "day": (86_400, 6)}
BLOCK = 4
KEYS = {"ten_minutes": "sends_per_10m", "hour": "sends_per_hour", "day": "sends_per_day"}
SERVICE = limited(
    cooldown=COOLDOWN,
    sends_per_10m=3,
    sends_per_hour=5,
    sends_per_day=6,
    guesses_per_hour=4,
    guesses_per_day=6,
    prefix_per_hour=BLOCK,
    code=CodeSettings(max_checks=CHECKS, ttl=LIFE),
)

steps = st.lists(
    st.one_of(
        st.tuples(st.just("create"), st.integers(0, 1), st.sampled_from([True, True, True, False])),
        st.tuples(
            st.sampled_from(["resend", "wrong", "wrong", "wrong", "right", "cancel"]), st.integers(0, 9), st.just(True)
        ),
        st.tuples(st.just("advance"), st.sampled_from([1, 20, 41, 41, 300, 600, 3600, 86_400]), st.just(True)),
    ),
    min_size=15,
    max_size=60,
)


_GUESSED = [("create", 0, True), ("wrong", 0, True), ("wrong", 0, True), ("advance", 3600, True)]
A_DAY_OF_GUESSING = [*_GUESSED * 3, ("create", 0, True), ("advance", 86_400, True), ("create", 0, True)]
APPROVED_ALL_ALONG = [("create", 0, True), ("right", 0, True), ("create", 1, True), ("right", 0, True)] * 3


@dataclass
class Counts:
    """A count in a fixed window."""

    number: int = 0
    until: float = 0.0

    def at(self, now: float) -> int:
        return self.number if now < self.until else 0

    def add(self, now: float, length: float) -> None:
        self.number, self.until = (self.number + 1, self.until) if now < self.until else (1, now + length)


@dataclass
class Person:
    """What is counted for one recipient."""

    sends: dict[str, Counts] = field(default_factory=lambda: {name: Counts() for name in SENDS})
    guesses: dict[str, Counts] = field(default_factory=lambda: {name: Counts() for name in GUESSES})
    #: When the cooldown ends, and of which verification it is.
    cooldown: tuple[float, str] = (0.0, "")


@dataclass
class Pending:
    """A verification that has not ended."""

    id: str
    person: Person
    expires_at: float
    resend_at: float
    code: str
    checks: int = CHECKS
    sends: int = 1
    #: When it was sent to, in the block's hour.
    sent_at: list[float] = field(default_factory=list)


class Model:
    """The table of limits, as its reader would keep it with pencil and paper."""

    def __init__(self) -> None:
        self.people = [Person(), Person()]
        self.pending: list[Pending] = []
        self.block, self.approved = Counts(), 0

    def in_the_way(self, person: Person, now: float, need: int) -> set[str]:
        held = sum(item.checks for item in self.pending if item.person is person and item.expires_at > now)
        found = {KEYS[name] for name, (_, most) in SENDS.items() if person.sends[name].at(now) >= most}
        for name, (_, most) in GUESSES.items():
            if person.guesses[name].at(now) + held + need > most:
                found.add(f"guesses_per_{name}")
        if self.block.at(now) - (self.approved if now < self.block.until else 0) >= BLOCK:
            found.add("prefix_per_hour")
        return found | ({"cooldown"} if person.cooldown[0] > now else set())

    def send(self, person: Person, now: float) -> None:
        for name, (length, _) in SENDS.items():
            person.sends[name].add(now, length)
        if now >= self.block.until:
            self.approved = 0
        self.block.add(now, 3600)

    def approve(self, item: Pending) -> None:
        item.person.guesses = {name: Counts() for name in GUESSES}
        for at in item.sent_at:
            self.approved += at < self.block.until <= at + 3600
        if item.person.cooldown[1] == item.id:
            item.person.cooldown = (0.0, "")


class Life:
    """One life of both: the gateway, and the model it is compared with."""

    def __init__(self, world: World, clock: HandClock) -> None:
        self.world, self.clock, self.model = world, clock, Model()

    async def take(self, step: tuple[str, int, bool]) -> None:
        deed, number, arrives = step
        if deed == "create":
            await self.create(number, arrives)
        elif deed == "advance":
            self.clock.advance(number)
            await self.world.checking.expire_overdue()
            now = self.clock.now()
            self.model.pending = [item for item in self.model.pending if item.expires_at > now]
        elif self.model.pending:
            await getattr(self, deed)(self.model.pending[number % len(self.model.pending)])

    async def create(self, number: int, arrives: bool) -> None:
        now, person = self.clock.now(), self.model.people[number]
        expected = self.model.in_the_way(person, now, CHECKS)
        self.world.channels["sms"].script = [] if arrives else [refused(Reason.BLOCKED)]
        view = await self.tried(self.world.start({"phone": PEOPLE[number]}), expected)
        if view is None:
            return
        await self.world.attempt()
        if not arrives:
            # Nothing left: no count, no cooldown, and it has ended.
            return
        self.model.send(person, now)
        person.cooldown = (now + COOLDOWN, view.id)
        assert view.sends_left == min(most - person.sends[name].at(now) for name, (_, most) in SENDS.items())
        pending = Pending(view.id, person, now + LIFE, now + COOLDOWN, self.world.code, sent_at=[now])
        self.model.pending.append(pending)

    async def resend(self, item: Pending) -> None:
        now = self.clock.now()
        expected = self.model.in_the_way(item.person, now, 0)
        if item.resend_at > now:
            expected.add("cooldown")
        self.world.channels["sms"].script = []
        if await self.tried(self.resent(item), expected) is None:
            return
        await self.world.attempt()
        self.model.send(item.person, now)
        item.sends += 1
        item.sent_at.append(now)
        item.resend_at = now + COOLDOWN * min(item.sends, 4)
        item.person.cooldown = (item.resend_at, item.id)

    async def resent(self, item: Pending) -> bool:
        await self.world.verifications.resend("shop", item.id, None)
        return True

    async def wrong(self, item: Pending) -> None:
        given = f"{(int(item.code) + 1) % 10**6:06}"
        with contextlib.suppress(WrongCode):
            await self.world.checking.check("shop", item.id, given)
            raise AssertionError("a wrong code was taken")
        item.checks -= 1
        for name, (length, _) in GUESSES.items():
            item.person.guesses[name].add(self.clock.now(), length)
        if not item.checks:
            self.model.pending.remove(item)

    async def right(self, item: Pending) -> None:
        await self.world.checking.check("shop", item.id, item.code)
        self.model.pending.remove(item)
        self.model.approve(item)

    async def cancel(self, item: Pending) -> None:
        await self.world.checking.cancel("shop", item.id)
        self.model.pending.remove(item)

    async def tried(self, attempt: Any, expected: set[str]) -> Any:
        limit = None
        try:
            found = await attempt
        except (Cooldown, RateLimited) as problem:
            limit = problem.extra["limit"]
        assert (limit in expected) if expected else limit is None
        return found if limit is None else None

    async def compare(self) -> None:
        """Compare every count there is."""
        now = self.clock.now()
        for number, person in zip(PEOPLE, self.model.people, strict=True):
            hashed = self.world.hasher.hash("phone", number)
            for table, counts in (("recipient", person.sends), ("guess", person.guesses)):
                rows = await self.world.database.fetch(f"SELECT * FROM {table} WHERE hash = :hash", hash=hashed)
                found = {
                    name: row[name] if row[f"{name}_until"] > now else 0 for row in rows for name in counts
                } or dict.fromkeys(counts, 0)
                assert found == {name: window.at(now) for name, window in counts.items()}, table


def test_no_order_of_things_leads_away_from_the_table(make_engine, sealer, hasher):
    with asyncio.Runner() as runner:
        database = Database(make_engine())
        runner.run(database.__aenter__())

        @settings(max_examples=15, suppress_health_check=list(HealthCheck))
        @given(steps)
        @example(A_DAY_OF_GUESSING)
        @example(APPROVED_ALL_ALONG)
        def lives(taken: list[tuple[str, int, bool]]) -> None:
            async def live() -> None:
                await wiped(database)
                clock = HandClock()
                life = Life(World(database, clock, sealer, hasher, two_channels(), service=SERVICE), clock)
                for step in taken:
                    await life.take(step)
                await life.compare()

            runner.run(live())

        lives()
        runner.run(database.__aexit__(None, None, None))


async def wiped(database: Database) -> None:
    async def work(connection: Any) -> None:
        for table in (*COUNTED, "attempt", "address"):
            await connection.fetch(f"DELETE FROM {table}")

    await database.run(work)
