"""What a claim of 100 messages costs with few and with very many of them queued, on both engines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import asyncpg

from benchmarks.figures import Target, across, again, quantile, spread
from benchmarks.parts import EVERY, Arm, Part, Scale, Shown, Stage
from benchmarks.plots import Axis, Line, plot
from benchmarks.report import Picture, Row, Section, compared, floor_of
from benchmarks.rounds import Sample, Samples, column
from benchmarks.served import at_database
from benchmarks.waiting import chunks
from gateway.clock import SystemClock
from gateway.config import SealingKey
from gateway.delivery.queue import Queue
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.engine import Engine
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
#: The dearest of a round's claims over the cheapest, by engine.
TARGETS = {"SQLite": Target(1.3, at_least=False, aim=1.15), "PostgreSQL": Target(1.6, at_least=False, aim=1.3)}
_GIVE_BACK = "UPDATE message SET lease = '', due_at = :now WHERE lease = :node RETURNING 1"


@dataclass(frozen=True, slots=True)
class Table:
    """A filled queue and how to look at it."""

    name: str
    queue: Queue
    database: Database
    clock: SystemClock
    #: What the engine's own housekeeping would do by and by.
    tidy: Callable[[], Awaitable[None]]


def names(sizes: Sequence[int]) -> dict[str, int]:
    """Return the tables' names and sizes, the yardstick first and once more at the end."""
    found = {f"{size:,} queued": size for size in sizes}
    return {**found, again(next(iter(found))): sizes[0]}


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


def arms(
    runner: asyncio.Runner, engine: str, opened: Mapping[str, Table], repeats: int
) -> Mapping[str, Callable[[], Sample]]:
    """Return the arms of an engine's tables, by engine and table; all run on the one loop that opened them."""
    return {f"{engine}, {name}": partial(_run, runner, table, repeats) for name, table in opened.items()}


def _run(runner: asyncio.Runner, table: Table, repeats: int) -> Sample:
    return runner.run(measured(table, repeats))


async def measured(table: Table, repeats: int) -> Sample:
    """Return the median seconds of a claim, of as many turns of eight; what they took is given back after each."""
    await table.tidy()
    taken: list[float] = []
    for _ in range(repeats):
        taken += [await _claim(table) for _ in range(_IN_A_ROW)]
        await _give_back(table)
    return {"median": quantile(taken, 0.5)}


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


async def _sqlite(
    path: Path, sealer: Sealer, clock: SystemClock, size: int
) -> tuple[Engine, Callable[[], Awaitable[None]]]:
    await Store(path=path).upgrade()
    await asyncio.to_thread(_fill_sqlite, path, sealer, clock.now(), size)
    return SqliteEngine(path), _leave


async def _leave() -> None:
    """SQLite tidies as it writes."""


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
) -> tuple[Engine, Callable[[], Awaitable[None]]]:
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


# --- The part ------------------------------------------------------------------------------------------------


def section(engine: str, samples: Samples, sizes: Sequence[int]) -> Section:
    """Return what a claim costs on an engine."""
    mine = {name.removeprefix(f"{engine}, "): taken for name, taken in samples.items() if name.startswith(engine)}
    yardstick, *_ = distinct = list(names(sizes))[: len(sizes)]
    rows = compared(mine, "median", yardstick, {}, scale=1000.0)
    factors = spread(across([column(mine[name], "median") for name in distinct]))
    floor = floor_of(mine, "median", yardstick)
    rows.append(Row("dearest over cheapest", factors, factors, TARGETS[engine], floor=floor))
    return Section(
        f"Claims on {engine}",
        f"`Queue.claim` of {CLAIM} messages, rows opened, from tables with that many messages due. The yardstick "
        "is the smallest table.",
        "ms",
        rows,
    )


def _arms(stage: Stage) -> Mapping[str, Arm]:
    runner = stage.stack.enter_context(asyncio.Runner())
    found: dict[str, Arm] = {}
    for engine, url in (("SQLite", None), ("PostgreSQL", stage.url)):
        if engine == "SQLite" or url is not None:
            opened = _entered(runner, stage.stack, tables(stage.folder, url, stage.scale.sizes))
            found |= arms(runner, engine, opened, stage.scale.repeats)
    return found


def _entered(
    runner: asyncio.Runner, stack: ExitStack, context: AbstractAsyncContextManager[dict[str, Table]]
) -> Mapping[str, Table]:
    """Enter what is asynchronous on a loop that outlives the call, and leave it there when the stack is closed."""
    opened = runner.run(context.__aenter__())
    stack.callback(lambda: runner.run(context.__aexit__(None, None, None)))
    return opened


def _sections(samples: Samples, scale: Scale) -> Sequence[Section]:
    engines = [engine for engine in TARGETS if any(name.startswith(engine) for name in samples)]
    first, *others = (section(engine, samples, scale.sizes) for engine in engines)
    picture = Picture(
        "claims-over-length.svg",
        f"Milliseconds of a claim of {CLAIM} messages over the length of the queue, by engine",
        drawn(samples, engines, scale.sizes),
    )
    # One picture of both engines, where the first is told of.
    return [replace(first, pictures=(picture,)), *others]


def drawn(samples: Samples, engines: Sequence[str], sizes: Sequence[int]) -> str:
    """Return the plot of a claim's cost over the length of the queue."""
    lines = [
        Line(
            engine,
            [
                (size, spread(column(samples[f"{engine}, {name}"], "median")).median * 1000)
                for name, size in zip(names(sizes), sizes, strict=False)
            ],
            colour=colour,
        )
        for colour, engine in enumerate(engines)
    ]
    x, y = Axis("queued messages", logarithmic=True), Axis(f"a claim of {CLAIM} (ms)")
    return plot("What a claim costs over the length of the queue", x, y, lines)


PART = Part("claims", _arms, _sections, weight=75, shown=Shown("median", " ms", 1000.0), extents=EVERY)
