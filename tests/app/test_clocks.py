"""Whoever works on a database lives at one time: nodes by PostgreSQL's clock, commands by that of SQLite's node."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from gateway.app import clocks, opened_store
from gateway.clock import SystemClock
from gateway.config import Settings, load_settings
from gateway.storage import models, told_clock
from gateway.storage.database import Database
from gateway.storage.rings import SEND, Rings
from tests.conftest import HandClock
from tests.rows import put, row


class Telling:
    """A database that knows what time it is, and takes its time to say so; nothing else."""

    def __init__(self, now: float, elapsed: HandClock | None = None, *took: float) -> None:
        self.now = now
        self._elapsed = elapsed
        self._took = list(took)

    async def fetch(self, sql: str, **_: Any) -> list[dict[str, float]]:
        assert "clock_timestamp()" in sql
        if self._elapsed is not None and self._took:
            seconds = self._took.pop(0)
            self._elapsed.advance(seconds)
            self.now += seconds
        return [{"now": self.now}]


def carried(elapsed: HandClock) -> SystemClock:
    return SystemClock(wall=elapsed.now, elapsed=elapsed.monotonic)


@pytest.mark.parametrize(("step", "told"), [(0.0, 0), (1.0, 0), (90.0, 1), (-90.0, 1)])
async def test_a_step_of_the_databases_clock_is_followed_and_told(caplog, step, told):
    clock = SystemClock()
    database = Telling(clock.now() + 3600)
    await clocks.begin_with(cast("Database", database), clock)
    assert caplog.messages == []
    database.now = clock.now() + step
    await clocks.follow(cast("Database", database), clock)
    assert clock.now() == pytest.approx(database.now, abs=0.5)
    assert len([line for line in caplog.messages if "the database's clock was stepped" in line]) == told


@pytest.mark.parametrize("took", [1.5, 4.0, 8.0])
async def test_a_look_that_took_long_moves_nothing(caplog, took):
    """Else the clock is ahead by half of that until the next look: 3.9 s were measured while all readers were busy."""
    elapsed = HandClock()
    clock = carried(elapsed)
    await clocks.follow(cast("Database", Telling(clock.now(), elapsed, took)), clock)
    assert clock.now() == pytest.approx(elapsed.now(), abs=0.01)
    assert caplog.messages == []


@pytest.mark.parametrize(("took", "looks", "off"), [((0.2,), 1, 0.1), ((4.0, 0.2), 2, 0.1), ((4.0, 3.0, 6.0), 3, 1.5)])
async def test_at_the_start_the_quickest_look_counts(took, looks, off):
    elapsed = HandClock()
    clock = carried(elapsed)
    database = Telling(clock.now() + 3600, elapsed, *took, 99.0)
    await clocks.begin_with(cast("Database", database), clock)
    assert clock.now() - database.now == pytest.approx(off, abs=0.01)
    assert len(took) + 1 - len(database._took) == looks


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "config.toml"
    path.write_text('[channels.console]\nadapter = "console"\n[services.default]\nchannels = ["console"]\n', "utf-8")
    return load_settings(path)


async def aside(settings: Settings, monkeypatch: pytest.MonkeyPatch, *, live: str, step: float) -> float:
    """Return by how many seconds a command's time differs from a node's, where the clock was stepped in between."""
    async with opened_store(settings, node=True) as node:
        if live:
            await Rings(node.database).tell(live, ["k1"], node.clock.now())
        wall = SystemClock().ahead()
        monkeypatch.setattr(
            "gateway.app.store.SystemClock",
            lambda: SystemClock(wall=lambda: wall + step + SystemClock().monotonic()),
        )
        async with opened_store(settings) as command:
            return command.clock.now() - node.clock.now()


@pytest.mark.parametrize("step", [-7200.0, 90.0, 7200.0])
async def test_a_command_lives_at_the_time_of_the_node_beside_it(settings, monkeypatch, step):
    """Else it took a node for gone that lives, and sent codes that the node took for dead or for not yet due."""
    assert await aside(settings, monkeypatch, live="node", step=step) == pytest.approx(0, abs=0.5)


async def test_a_command_does_not_live_by_another_command(settings, monkeypatch):
    """``send`` tells of its keys as a node does; the clock that is told was of a node that is gone."""
    live = f"{SEND}command"
    assert await aside(settings, monkeypatch, live=live, step=7200.0) == pytest.approx(7200, abs=0.5)


async def test_a_command_without_a_node_lives_at_the_machines_time(settings, monkeypatch):
    assert await aside(settings, monkeypatch, live="", step=7200.0) == pytest.approx(7200, abs=0.5)


@pytest.mark.parametrize("boot", ["another boot", None])
async def test_seconds_since_another_boot_say_nothing(settings, monkeypatch, tmp_path, boot):
    """A machine that was started anew counts from zero again; one that names no boots cannot tell."""
    file = tmp_path / "boot_id"
    if boot is not None:
        file.write_text(boot, "ascii")
    told = clocks.tell

    async def tell(database: Database, clock: SystemClock) -> None:
        await told(database, clock)
        monkeypatch.setattr(told_clock, "_BOOT", file)

    monkeypatch.setattr(clocks, "tell", tell)
    assert await aside(settings, monkeypatch, live="node", step=7200.0) == pytest.approx(7200, abs=0.5)


@pytest.mark.parametrize(("ahead", "ended"), [(0.0, 0), (7200.0, 1)])
async def test_what_was_begun_by_a_clock_that_was_ahead_ends_at_the_next_start(settings, ahead, ended, caplog):
    """Else a code of five minutes lives for two hours more, once the machine's clock was put right."""
    async with opened_store(settings) as store:
        database, later = store.database, store.clock.now() + ahead + 300
        values = {"id": "ver_1", "status": "pending", "expires_at": later}
        await put(database, models.Verification, row(models.Verification, **values))
        values = {"id": "msg_1", "verification_id": "ver_1", "status": "queued", "expires_at": later, "due_at": later}
        await put(database, models.Message, row(models.Message, **values))
        await put(database, models.Lease, row(models.Lease, name="house", until=later))
    async with opened_store(settings, node=True) as store:
        now = store.clock.now()
        codes = await store.database.fetch("SELECT expires_at FROM verification")
        messages = await store.database.fetch("SELECT expires_at, due_at FROM message")
        leases = await store.database.fetch("SELECT until FROM lease WHERE name = 'house'")
    times = [
        codes[0]["expires_at"],
        messages[0]["expires_at"],
        messages[0]["due_at"],
        *(each["until"] for each in leases),
    ]
    assert times == ([pytest.approx(now, abs=5.0)] * 3 if ended else [later] * 4)
    assert len([line for line in caplog.messages if line.startswith("3 codes, messages and leases")]) == ended


async def test_a_start_looks_for_that_by_the_indexes(settings):
    async with opened_store(settings, node=True) as store:
        plans = [
            str(step["detail"])
            for sql in clocks._CUT_SHORT[:2]
            for step in await store.database.fetch(f"EXPLAIN QUERY PLAN {sql}", now=1.0, latest=2.0)
        ]
    assert [plan for plan in plans if plan.startswith("SCAN")] == []
