"""What a claim of 100 messages costs with few and with very many of them queued, on both engines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from benchmarks.figures import quantile
from benchmarks.rounds import Sample, rotated
from benchmarks.served import at_database
from benchmarks.waiting import chunks
from gateway.clock import SystemClock
from gateway.config import SealingKey
from gateway.delivery.queue import Queue
from gateway.storage import models
from gateway.storage.database import Database, Engine
from gateway.storage.migrations import Store
from gateway.storage.postgresql import PostgresqlEngine
from gateway.storage.sealing import Sealer
from gateway.storage.sqlite import SqliteEngine, connect
from gateway.storage.statement import columns_of, insert_into
from gateway.storage.unit import Connection

#: Messages one claim takes, as the dispatcher does.
CLAIM = 100
#: Queued messages; the first is the yardstick, and is there twice for the noise.
SIZES, FULL_SIZES = (1_000, 10_000, 100_000), (1_000, 10_000, 100_000, 1_000_000)
#: Claims in a row before what they took is given back: the smallest table has 10 to give.
_IN_A_ROW = 8
_CHANNEL, _NODE = "email", "node"
_GIVE_BACK = "UPDATE message SET lease = '', due_at = :now WHERE lease = :node RETURNING 1"


@dataclass(frozen=True, slots=True)
class Table:
    """A filled queue and how to look at it."""

    name: str
    queue: Queue
    database: Database
    clock: SystemClock
    #: What the engine's own housekeeping would do by and by.
    tidy: Callable[[], object]


def names(sizes: Sequence[int]) -> dict[str, int]:
    """Return the tables' names and sizes, the yardstick first and once more at the end."""
    return {**{f"{size:,} queued": size for size in sizes}, f"{sizes[0]:,} queued, again": sizes[0]}


@asynccontextmanager
async def tables(folder: Path, url: str | None, sizes: Sequence[int]) -> AsyncIterator[dict[str, Table]]:
    """Fill a table of each size, in SQLite files in ``folder`` or in databases of the server at ``url``; yield them by name."""
    async with AsyncExitStack() as stack:
        opened = {}
        for number, (name, size) in enumerate(names(sizes).items()):
            sealer, clock = Sealer([SealingKey("k1", bytes(32))]), SystemClock()
            if url is None:
                engine, tidy = await _sqlite(folder / f"claims-{number}.db", sealer, clock, size)
            else:
                engine, tidy = await _postgresql(url, f"claims_{number}", sealer, clock, size)
                stack.push_async_callback(_execute, url, f"DROP DATABASE claims_{number} WITH (FORCE)")
            database = await stack.enter_async_context(Database(engine))
            queue = Queue(
                database, sealer, clock, node=_NODE, on_route_end=_nothing_follows, several_nodes=url is not None
            )
            opened[name] = Table(name, queue, database, clock, tidy)
        yield opened


async def measure_round(opened: Mapping[str, Table], number: int, repeats: int) -> dict[str, Sample]:
    """Claim from every table, in turns, and return the median seconds of a claim of each."""
    taken: dict[str, list[float]] = {name: [] for name in opened}
    for table in opened.values():
        tidied = table.tidy()
        if asyncio.iscoroutine(tidied):
            await tidied
    for repeat in range(repeats):
        for table in rotated(list(opened.values()), number + repeat):
            taken[table.name] += [await _claim(table) for _ in range(_IN_A_ROW)]
            await _give_back(table)
    return {name: {"median": quantile(seconds, 0.5)} for name, seconds in taken.items()}


async def _claim(table: Table) -> float:
    began_at = time.perf_counter()
    claimed = await table.queue.claim(_CHANNEL, {"default": CLAIM})
    seconds = time.perf_counter() - began_at
    if len(claimed) != CLAIM:
        raise RuntimeError(f"{table.name}: a claim found {len(claimed)} messages")
    return seconds


async def _give_back(table: Table) -> None:
    """Queue what was claimed behind the others."""
    now = table.clock.now()
    await table.database.run(lambda connection: connection.fetch(_GIVE_BACK, now=now, node=_NODE))


async def _nothing_follows(_connection: Connection, _verification_id: str, _now: float) -> None:
    raise AssertionError("a claim ends no route")


# --- Filling -------------------------------------------------------------------------------------------------


async def _sqlite(path: Path, sealer: Sealer, clock: SystemClock, size: int) -> tuple[Engine, Callable[[], object]]:
    await Store(path=path).upgrade()
    await asyncio.to_thread(_fill_sqlite, path, sealer, clock.now(), size)
    return SqliteEngine(path), lambda: None


def _fill_sqlite(path: Path, sealer: Sealer, now: float, size: int) -> None:
    connection = connect(path)
    connection.execute("BEGIN")
    for verifications, messages in chunks(sealer, _CHANNEL, now, size):
        connection.executemany(insert_into(models.Verification).sqlite, verifications)
        connection.executemany(insert_into(models.Message).sqlite, messages)
    connection.execute("COMMIT")
    connection.close()


async def _postgresql(
    url: str, name: str, sealer: Sealer, clock: SystemClock, size: int
) -> tuple[Engine, Callable[[], object]]:
    await _execute(url, f"CREATE DATABASE {name}")
    own = at_database(url, name)
    await Store(url=own).upgrade()
    connection = await asyncpg.connect(own)
    try:
        for verifications, messages in chunks(sealer, _CHANNEL, clock.now(), size):
            for model, rows in ((models.Verification, verifications), (models.Message, messages)):
                table = str(model.__tablename__)
                await connection.copy_records_to_table(table, records=rows, columns=list(columns_of(model)))
    finally:
        await connection.close()
    return PostgresqlEngine(own), lambda: _execute(own, "VACUUM ANALYZE message, verification")


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
