"""A gateway whose limits a test writes down, and what is counted in its database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from gateway.config import CodeSettings, LimitSettings, ServiceSettings
from gateway.storage.database import Database
from tests.world import World, two_channels


def limited(*, purposes: Any = None, code: CodeSettings | None = None, **limits: Any) -> ServiceSettings:
    """Return a service with these limits; ``lockout`` is (after, for)."""
    if "lockout" in limits:
        after, seconds = limits["lockout"]
        limits["lockout"] = {"after": after, "for": seconds}
    return ServiceSettings(
        name="Shop",
        channels=("sms", "email"),
        code=code or CodeSettings(),
        limits=LimitSettings.model_validate(limits),
        purposes=purposes or {},
    )


@pytest.fixture
def make_world(database, clock, sealer, hasher) -> Callable[..., World]:
    def make(name: str = "shop", on: Database = database, channels: Any = None, **limits: Any) -> World:
        node = f"node-{name}-{id(on)}"
        return World(
            on, clock, sealer, hasher, channels or two_channels(), node=node, name=name, service=limited(**limits)
        )

    return make


COUNTED = ("recipient", "guess", "trusted", "block", "visitor", "cooldown", "message", "verification", "event")


async def everything(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Return every row of what limits count and what a send writes, in a fixed order."""
    return {
        table: sorted(
            (dict(cast("Any", item)) for item in await database.fetch(f"SELECT * FROM {table}")),
            key=lambda row: repr(sorted(row.items())),
        )
        for table in COUNTED
    }
