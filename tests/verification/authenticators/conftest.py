"""People with devices, and a service that enrols them."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.errors import Problem
from gateway.verification.authenticators.otp import Device, Kind, code_at, step_at
from gateway.verification.authenticators.parts import Authenticators, built
from gateway.verification.authenticators.view import AuthenticatorView, Wanted

SERVICE = "shop"
BRANDS = {"shop": "Shop", "bank": "Bank: private"}


@dataclass
class App:
    """A device that holds a secret, as its person sees it."""

    view: AuthenticatorView
    clock: Any
    device: Device = field(init=False)

    def __post_init__(self) -> None:
        assert self.view.secret is not None
        secret = base64.b32decode(self.view.secret)
        self.device = Device(Kind(self.view.kind), secret, self.view.algorithm, self.view.digits, self.view.period)

    @property
    def id(self) -> str:
        return self.view.id

    def code(self, counter: int = 0) -> str:
        """The code of a counter; with the time, of a step counted from now."""
        first = 0 if self.device.period is None else step_at(self.clock.now(), self.device.period)
        return code_at(self.device, first + counter)

    def wrong(self) -> str:
        """A code of none of the near counters."""
        near = {self.code(counter) for counter in range(-2, 200) if self.device.period is not None or counter >= 0}
        return next(code for code in (f"{number:06d}" for number in range(1000)) if code not in near)


@dataclass
class Enrolled:
    """The parts, and short ways to use them."""

    parts: Authenticators
    clock: Any
    database: Any

    async def enrol(
        self, kind: str = "totp", *, service: str = SERVICE, reference: str = "user-42", **more: Any
    ) -> App:
        enrolling = self.parts.enrolling
        prepared = enrolling.prepare(service, Wanted(kind, reference, "ann@example.org", **more))
        return App(await enrolling.create(prepared), self.clock)

    async def active(self, kind: str = "totp", **more: Any) -> App:
        """Enrol and give the first code; the time goes on, so that the next one is another."""
        app = await self.enrol(kind, **more)
        await self.check(app, app.code(), service=more.get("service", SERVICE))
        self.clock.advance(60)
        return app

    async def check(self, app: App, code: str, *, service: str = SERVICE) -> int:
        """Return how many recovery codes are left."""
        return (await self.parts.checking.check(service, app.id, code=code)).recovery_codes_left

    async def recover(self, app: App, code: str) -> int:
        return (await self.parts.checking.check(SERVICE, app.id, recovery_code=code)).recovery_codes_left

    async def outcome(self, app: App, code: str, *, service: str = SERVICE) -> str:
        """``approved``, or the problem's code."""
        try:
            await self.check(app, code, service=service)
        except Problem as problem:
            return problem.code
        return "approved"

    async def fail(self, app: App, times: int) -> list[str]:
        return [await self.outcome(app, app.wrong()) for _ in range(times)]

    async def status(self, app: App) -> str:
        return (await self.parts.enrolling.one(SERVICE, app.id)).status

    async def events(self) -> list[str]:
        """What was told, in order, less the names' first word."""
        found = await self.database.fetch("SELECT name FROM event ORDER BY id")
        return [record["name"].removeprefix("authenticator.") for record in found]


@pytest.fixture
def enrolled(database, sealer, hasher, clock) -> Enrolled:
    return Enrolled(built(database, sealer, hasher, clock, BRANDS), clock, database)
