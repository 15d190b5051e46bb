"""The limits in memory are the limits in the database: whatever happens, both refuse the same, and name the same limit."""

from __future__ import annotations

import random
from typing import Any

import pytest

from channels.kinds import KINDS
from gateway.config import CodeSettings, LimitSettings, ServiceSettings
from gateway.config.services import LockoutSettings
from gateway.errors import Problem, Refused, WrongCode
from gateway.verification.limits.past import Cause, Past, Place, Send
from gateway.verification.limits.replay import Replay
from gateway.verification.limits.trust import contexts_of
from tests.world import World, two_channels

NUMBERS = ("+4915112345678", "+4915112345679", "+4915212345678")
LOCKOUT = LockoutSettings.model_validate({"after": 4, "for": 300})
LIMITS: dict[str, dict[str, Any]] = {
    "sends": {"sends_per_10m": 2, "sends_per_hour": 4, "sends_per_day": 9},
    "guesses": {"guesses_per_hour": 8, "guesses_per_day": 12, "context_per_hour": 6},
    "lockout": {"lockout": LOCKOUT},
    "blocks": {"prefix_per_hour": 4, "ip_per_hour": 6},
}
OFF = dict.fromkeys(("sends_per_10m", "sends_per_hour", "sends_per_day", "guesses_per_hour", "guesses_per_day",
                     "context_per_hour", "prefix_per_hour", "ip_per_hour"), 0)  # fmt: skip


class Told:
    """A verification that was asked for: what became of it, and what the log would say of it had it been let through."""

    def __init__(self, number: str, limit: str | None, view: Any, past: dict[str, Any]) -> None:
        self.number = number
        self.limit = limit
        self.view = view
        self.past = past


class Scene:
    """Somebody asks for codes at random, and answers some of them."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.told: list[Told] = []

    async def go_on(self) -> None:
        """Do one thing after a while."""
        self.world.clock.advance(self.random.choice((1, 7, 31, 65, 130)))
        alive = [item for item in self.told if item.past["ended_at"] > self.world.clock.now() and item.view]
        if alive and self.random.random() < 0.5:
            await self.check(self.random.choice(alive))
        else:
            await self.ask()

    async def ask(self) -> None:
        clock, number = self.world.clock, self.random.choice(NUMBERS)
        known = {
            "client_ip": self.random.choice((None, "203.0.113.9")),
            "client_reference": self.random.choice((None, "device-7")),
        }
        own = f"{self.random.randrange(10**6):06}" if self.random.random() < 0.3 else None
        view, limit = None, None
        try:
            view = await self.world.start({"phone": number}, value=own, **known)
            await self.world.attempt()
        except Refused as refusal:
            limit = str(refusal.extra["limit"])
        address = KINDS["phone"](number)
        place = Place(number.encode(), address.masked, address.block, address.country, address.number_type)
        past = {
            "id": view.id if view else f"ver_{len(self.told)}",
            "service": "shop",
            "purpose": "verification",
            "created_at": clock.now(),
            "expires_at": clock.now() + 120,
            "places": [place],
            "sends": [Send(clock.now(), Cause.CREATE, "sms", place, 1)],
            "wrong": [],
            "ended_at": clock.now() + 120,
            "contexts": contexts_of(known["client_reference"], known["client_ip"]),
            "visitor": known["client_ip"],
            "own_code": own is not None,
        }
        code = self.world.code if view else ""
        self.told.append(Told(number, limit, view, past | {"code": code}))

    async def check(self, item: Told) -> None:
        """Give the right code or a wrong one."""
        code, now = item.past["code"], self.world.clock.now()
        right = self.random.random() < 0.2
        try:
            await self.world.checking.check(
                "shop", item.view.id, code if right else f"{(int(code) + 1) % 1_000_000:06}"
            )
        except WrongCode as wrong:
            item.past["wrong"].append(now)
            if wrong.extra["checks_left"] == 0:
                item.past["ended_at"] = now
        except Problem:
            item.view = None
        else:
            item.past.update(ended_at=now, approved=True)
            item.view = None

    def pasts(self) -> list[Past]:
        return [Past(**{name: value for name, value in item.past.items() if name != "code"}) for item in self.told]


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("engine_name", ["sqlite"], indirect=True)
async def test_memory_and_database_refuse_the_same(database, clock, sealer, hasher, limits):
    settings = LimitSettings(**{**OFF, "cooldown": 30, **LIMITS[limits]})
    code = CodeSettings(ttl=120, max_checks=4, custom=True)
    service = ServiceSettings(name="Shop", channels=("sms",), code=code, limits=settings)
    scene = Scene(World(database, clock, sealer, hasher, two_channels(), service=service), seed=7)
    for _ in range(120):
        await scene.go_on()
    replay = Replay({"shop": service}, lambda *_: 0.0)
    for past in scene.pasts():
        replay.take(past)
    report = replay.finish()
    found = {limit: counts.requests for limit, counts in report.limits.items()}
    expected: dict[str, int] = {}
    for item in scene.told:
        if item.limit is not None:
            expected[item.limit] = expected.get(item.limit, 0) + 1
    assert found == expected
    assert len(expected) > 1
