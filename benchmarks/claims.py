"""What a claim of 100 messages costs with few and with very many of them queued, on both engines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from sqlmodel import SQLModel

from benchmarks.figures import quantile
from benchmarks.rounds import Sample, rotated
from benchmarks.served import at_database
from gateway.clock import SystemClock
from gateway.config import SealingKey
from gateway.delivery.payload import Owner, Stop, seal_code, seal_route
from gateway.delivery.queue import Queue
from gateway.storage import models
from gateway.storage.database import Database, Engine
from gateway.storage.ids import new_id
from gateway.storage.migrations import Store
from gateway.storage.postgresql import PostgresqlEngine
from gateway.storage.sealing import Sealer
from gateway.storage.sqlite import SqliteEngine, connect
from gateway.storage.statement import Row, columns_of, insert_into, row_of
from gateway.storage.unit import Connection

#: Messages one claim takes, as the dispatcher does.
CLAIM = 100
#: Queued messages; the first is the yardstick, and is there twice for the noise.
SIZES, FULL_SIZES = (1_000, 10_000, 100_000), (1_000, 10_000, 100_000, 1_000_000)
#: Claims in a row before what they took is given back: the smallest table has 10 to give.
_IN_A_ROW = 8
_CHANNEL, _NODE = "email", "node"
_RECIPIENT, _CODE = "p•••@example.org", "123456"
_GIVE_BACK = "UPDATE message SET lease = '', due_at = :now WHERE lease = :node RETURNING 1"
#: Rows made and written at once.
_CHUNK = 10_000


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
    for verifications, messages in _chunks(sealer, now, size):
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
        for verifications, messages in _chunks(sealer, clock.now(), size):
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


def _chunks(sealer: Sealer, now: float, size: int) -> Iterator[tuple[list[Row], list[Row]]]:
    # One row of each is made by the model, which costs 100 µs, and the others are that one with their own values.
    verification, message = _pattern(now)
    for start in range(0, size, _CHUNK):
        verifications: list[Row] = []
        messages: list[Row] = []
        for number in range(start, min(start + _CHUNK, size)):
            owner = Owner(new_id("ver", now), "default", "verification")
            stops = [Stop(_CHANNEL, f"person-{number}@example.org", _RECIPIENT, "00" * 32)]
            own = {"route_sealed": seal_route(sealer, owner, stops), "code_sealed": seal_code(sealer, owner, 1, _CODE)}
            verifications.append(tuple({**verification, **own, "id": owner.id}.values()))
            # Due a moment ago, and the later the higher its number.
            own_message = {"id": new_id("msg", now), "verification_id": owner.id, "due_at": now - 100 + number * 1e-6}
            messages.append(tuple({**message, **own_message}.values()))
        yield verifications, messages


def _pattern(now: float) -> tuple[dict[str, object], dict[str, object]]:
    """Return a pending verification and its queued message, by column; what is each one's own is left open."""
    verification = models.Verification(
        id="",
        service="default",
        status="pending",
        purpose="verification",
        locale="en",
        to_masked=f'{{"email":"{_RECIPIENT}"}}',
        route='["email"]',
        generation=1,
        checks=0,
        max_checks=5,
        sends=1,
        created_at=now,
        expires_at=now + 600,
        resend_at=now,
    )
    message = models.Message(
        id="",
        verification_id="",
        service="default",
        channel=_CHANNEL,
        step=0,
        status="queued",
        attempts=0,
        skipped=0,
        due_at=now,
        lease="",
        generation=1,
        recipient=_RECIPIENT,
        created_at=now,
        expires_at=now + 600,
    )
    return _by_column(models.Verification, verification), _by_column(models.Message, message)


def _by_column(model: type[SQLModel], row: SQLModel) -> dict[str, object]:
    return dict(zip(columns_of(model), row_of(model)(row), strict=True))
