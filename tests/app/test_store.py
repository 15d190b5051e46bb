"""A node follows the database's clock, and says so where that was stepped."""

from __future__ import annotations

from typing import Any, cast

import pytest

from gateway.app.store import sync_clock
from gateway.clock import SystemClock
from gateway.storage.database import Database


class Telling:
    """A database that knows what time it is, and nothing else."""

    def __init__(self, now: float) -> None:
        self.now = now

    async def fetch(self, sql: str, **_: Any) -> list[dict[str, float]]:
        assert "clock_timestamp()" in sql
        return [{"now": self.now}]


@pytest.mark.parametrize(("step", "told"), [(0.0, 0), (1.0, 0), (90.0, 1), (-90.0, 1)])
async def test_a_step_of_the_databases_clock_is_followed_and_told(caplog, step, told):
    clock = SystemClock()
    database = Telling(clock.now() + 3600)
    await sync_clock(cast("Database", database), clock, again=False)
    assert caplog.messages == []
    database.now = clock.now() + step
    await sync_clock(cast("Database", database), clock)
    assert clock.now() == pytest.approx(database.now, abs=0.5)
    assert len([line for line in caplog.messages if "the database's clock was stepped" in line]) == told
