"""Services and people do anything to verifications in any order, on both engines, against a model in plain Python.

The messages have a machine of their own (``tests/delivery/test_queue_machine.py``), and so have the limits.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.config import CodeSettings, LimitSettings, ServiceSettings
from gateway.delivery.lifecycle import VERIFICATION_MOVES, VerificationStatus
from gateway.errors import Problem
from gateway.storage.database import Database
from tests.conftest import HandClock
from tests.verification.limits.test_limits_machine import wiped
from tests.world import World, refused, two_channels

CHECKS, LIFE = 3, 100
BIND = {"session": "s-1", "amount": "12.00 EUR"}
OFF = LimitSettings(
    cooldown=0,
    sends_per_10m=0,
    sends_per_hour=0,
    sends_per_day=0,
    guesses_per_hour=0,
    guesses_per_day=0,
    context_per_hour=0,
    prefix_per_hour=0,
    ip_per_hour=0,
)

steps = st.lists(
    st.one_of(
        st.tuples(st.just("create"), st.sampled_from(["bound", "free", "unreachable"])),
        st.tuples(
            st.just("check"), st.sampled_from(["right", "right", "wrong", "wrong", "old", "unbound", "malformed"])
        ),
        st.tuples(st.sampled_from(["cancel", "resend", "resend", "end_session", "sweep"]), st.just("")),
        st.tuples(st.just("advance"), st.sampled_from(["1", "50", "99", "100"])),
    ).flatmap(lambda step: st.tuples(st.just(step), st.integers(0, 3))),
    min_size=6,
    max_size=24,
)

_GUESS = (("check", "wrong"), 0)
GUESSED_OUT = [(("create", "bound"), 0), _GUESS, _GUESS, (("resend", ""), 0), _GUESS, (("check", "right"), 0)]
USED_TWICE = [(("create", "free"), 0), (("check", "right"), 0), (("check", "right"), 0), (("resend", ""), 0)]
TOO_LATE = [(("create", "free"), 0), (("advance", "100"), 0), (("check", "right"), 0), (("sweep", ""), 0)]


@dataclass
class Known:
    """What a person with pencil and paper knows of a verification."""

    id: str
    code: str
    bind: dict[str, str]
    expires_at: float
    status: str = "pending"
    checks: int = CHECKS
    old: list[str] = field(default_factory=list)


class Life:
    """One life of both: the gateway, and the model it is compared with."""

    def __init__(self, world: World, clock: HandClock) -> None:
        self.world, self.clock = world, clock
        self.known: list[Known] = []

    async def take(self, step: tuple[tuple[str, str], int]) -> None:
        (deed, how), number = step
        if deed in {"create", "advance", "end_session", "sweep"}:
            await getattr(self, deed)(how)
        elif self.known:
            await getattr(self, deed)(self.known[number % len(self.known)], how)
        await self.compare()

    def status(self, item: Known) -> str:
        over = item.status == "pending" and item.expires_at <= self.clock.now()
        return "expired" if over else item.status

    async def create(self, how: str) -> None:
        bind = BIND if how == "bound" else {}
        self.world.channels["sms"].script = [refused()] if how == "unreachable" else []
        view = await self.world.start({"phone": f"+49151123{len(self.known):05}"}, bind=bind)
        code = self.world.handed_over[-1].code
        await self.world.attempt()
        item = Known(view.id, code, bind, self.clock.now() + LIFE)
        item.status = "failed" if how == "unreachable" else "pending"
        self.known.append(item)

    async def check(self, item: Known, how: str) -> None:
        wrong = next(code for code in ("000000", "000001") if code != item.code)
        given = {"wrong": wrong, "old": (item.old or [wrong])[-1], "malformed": "12é456"}.get(how, item.code)
        bind = {"amount": "12.00 EUR"} if how == "unbound" else item.bind
        told = await self.told(self.world.checking.check("shop", item.id, given, bind))
        if how == "malformed":
            assert told == "invalid_request"
        elif self.status(item) != "pending":
            assert told == self.end_of(item)
        elif given == item.code and bind == item.bind:
            assert told == ""
            item.checks, item.status = item.checks - 1, "approved"
        else:
            assert told == "wrong_code"
            item.checks -= 1
            item.status = "pending" if item.checks else "max_attempts_reached"

    async def cancel(self, item: Known, _: str) -> None:
        told = await self.told(self.world.checking.cancel("shop", item.id))
        if self.status(item) in {"pending", "canceled"}:
            assert told == ""
            item.status = "canceled"
        else:
            assert told == self.end_of(item)

    async def resend(self, item: Known, _: str) -> None:
        self.world.channels["sms"].script = []
        told = await self.told(self.world.verifications.resend("shop", item.id, None))
        if self.status(item) != "pending":
            assert told == self.end_of(item)
            return
        assert told == ""
        code = self.world.handed_over[-1].code
        await self.world.attempt()
        if self.world.service.code.resend == "new":
            item.old.append(item.code)
        assert (code == item.code) == (self.world.service.code.resend == "same")
        item.code = code

    async def end_session(self, _: str) -> None:
        bound = [item for item in self.known if item.bind and self.status(item) == "pending"]
        assert await self.world.sessions.end("shop", "s-1") == len(bound)
        for item in bound:
            item.status = "canceled"

    async def sweep(self, _: str) -> None:
        overdue = [item for item in self.known if item.status == "pending" and self.status(item) == "expired"]
        assert await self.world.checking.expire_overdue() == len(overdue)
        for item in overdue:
            item.status = "expired"

    async def advance(self, seconds: str) -> None:
        self.clock.advance(float(seconds))

    def end_of(self, item: Known) -> str:
        return "already_approved" if self.status(item) == "approved" else self.status(item)

    async def told(self, call: Any) -> str:
        """Return the code of the problem a call raises, ``""`` where it raises none."""
        try:
            await call
        except Problem as problem:
            return problem.code
        return ""

    async def compare(self) -> None:
        """Compare every verification; what is over has no code left, and has told of one end."""
        now = self.clock.now()
        for row in await self.world.database.fetch("SELECT * FROM verification"):
            [item] = [item for item in self.known if item.id == row["id"]]
            expired = row["status"] == "pending" and row["expires_at"] <= now
            assert ("expired" if expired else row["status"], row["checks"]) == (self.status(item), CHECKS - item.checks)
            assert (row["code_sealed"] is None) == (row["status"] != "pending")
            assert (row["bind_sealed"] is None) == (row["status"] != "pending" or not item.bind)
        told = await self.world.database.fetch(
            "SELECT verification_id, name FROM event WHERE name IN ('verification.approved', 'verification.expired', "
            "'verification.canceled', 'verification.max_attempts_reached', 'verification.failed')"
        )
        ends = {row["verification_id"]: row["name"] for row in told}
        assert len(ends) == len(told)
        assert ends == {item.id: f"verification.{item.status}" for item in self.known if item.status != "pending"}


def test_no_order_of_things_leads_out_of_the_machine(make_engine, sealer, hasher):
    with asyncio.Runner() as runner:
        database = Database(make_engine())
        runner.run(database.__aenter__())

        @settings(max_examples=12, suppress_health_check=list(HealthCheck))
        @given(steps, st.sampled_from(["same", "new"]))
        @example(GUESSED_OUT, "new")
        @example(USED_TWICE, "same")
        @example(TOO_LATE, "same")
        def lives(taken: list[tuple[tuple[str, str], int]], resend: str) -> None:
            async def live() -> None:
                await wiped(database)
                clock = HandClock()
                code = CodeSettings(max_checks=CHECKS, ttl=LIFE, resend=resend, allow_guessable=True)
                service = ServiceSettings(channels=("sms",), code=code, limits=OFF)
                life = Life(World(database, clock, sealer, hasher, two_channels(), service=service), clock)
                for step in taken:
                    await life.take(step)

            runner.run(live())

        try:
            lives()
        finally:
            runner.run(database.__aexit__(None, None, None))


def test_every_end_is_reached_from_pending_alone_and_nothing_follows_it():
    ends = set(VerificationStatus) - {VerificationStatus.PENDING}
    assert {end: VERIFICATION_MOVES[end] for end in ends} == {end: {VerificationStatus.PENDING} for end in ends}
    assert VERIFICATION_MOVES[VerificationStatus.PENDING] == set()
