"""Attempts to have the process that writes long batches lose, bend or refuse what it is given."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.storage.database import Database
from gateway.storage.sqlite import SqliteEngine
from gateway.storage.sqlite_beside import ENOUGH, Beside
from gateway.storage.statement import Statement
from gateway.storage.unit import Guard, Move, StorageError
from gateway.verification.limits import statements as sql

PUT = Statement(
    "visitor.put",
    {"hash": "bytea", "at": "double precision", "most": "bigint"},
    """INSERT INTO visitor (hash, count, until) SELECT r.hash, r.most, r.at FROM r WHERE true
    ON CONFLICT (hash) DO NOTHING RETURNING hash""",
    key=(0,),
)
_NAMED = "SELECT {} FROM visitor WHERE CAST(hash AS text) LIKE :like"
LARGEST = (1 << 63) - 1


def put(name: str, at: float = 1.0, most: int = 1) -> Move:
    return Move((PUT, (name.encode(), at, most)))


async def written(database: Database, moves: list[Move]) -> list[Any]:
    return await asyncio.gather(*map(database.write, moves), return_exceptions=True)


@pytest.fixture
async def busy(migrated_sqlite, tmp_path: Path) -> AsyncIterator[tuple[Database, Beside]]:
    """A database beside which a process writes already."""
    engine = SqliteEngine(Path(shutil.copy(migrated_sqlite, tmp_path / "gateway.db")), beside=True)
    async with Database(engine) as database:
        assert engine.beside is not None
        await written(database, [put(f"first {n}") for n in range(2 * ENOUGH)])
        assert await engine.beside.started()
        yield database, engine.beside


async def test_one_value_that_cannot_be_held_fails_alone_and_ends_no_process(busy):
    database, beside = busy
    process = beside.process
    # The other process was not told of it yet.
    fresh = Statement("visitor.put_fresh", PUT.columns, PUT.body, key=(0,))
    for name, write in (
        ("sqlite", (PUT, (b"big", 1.0, LARGEST + 1))),
        ("messagepack", (fresh, (b"huge", 1.0, 1 << 64))),
    ):
        outcomes = await written(database, [*(put(f"{name} {n}") for n in range(4 * ENOUGH)), Move(write)])
        assert outcomes[:-1] == [True] * 4 * ENOUGH
        assert isinstance(outcomes[-1], StorageError)
    after = [Move((fresh, (f"after {n}".encode(), 1.0, 1))) for n in range(2 * ENOUGH)]
    assert (await written(database, after), beside.process) == ([True] * 2 * ENOUGH, process)


@pytest.mark.filterwarnings("default::ResourceWarning")
async def test_one_that_died_while_nothing_was_written_fails_nobody(busy):
    database, beside = busy
    died = beside._pipe
    os.kill(beside.process, signal.SIGKILL)
    await died.ended()
    assert await written(database, [put(f"idle {n}") for n in range(4 * ENOUGH)]) == [True] * 4 * ENOUGH


async def test_numbers_are_the_same_whoever_writes_them(busy):
    database, _ = busy
    for value in (0.0, -0.0, 1e308, 5e-324, 1777891200.123456, math.inf, -math.inf):
        moves = [put(f"{value} {n}", value, -LARGEST - 1 if n % 2 else LARGEST) for n in range(ENOUGH)]
        assert await written(database, [*moves, *moves]) == [True] * ENOUGH + [False] * ENOUGH
        assert await database.write(put(f"{value} alone", value, LARGEST))
        rows = await database.fetch(_NAMED.format("until, count"), like=f"{value} %")
        assert {repr(row["until"]) for row in rows} == {repr(value or 0.0)}
        assert {row["count"] for row in rows} == {LARGEST, -LARGEST - 1}


async def test_of_many_moves_for_one_place_in_one_batch_so_many_hold_as_there_are_places(busy):
    database, _ = busy

    def move(block: str, visitor: str) -> Move:
        first = Guard(sql.CLAIM_VISITOR, (visitor.encode(), 5.0, 10), (sql.VISITOR_BACK, (visitor.encode(), 5.0)))
        return Move((sql.CLAIM_BLOCK, (block.encode(), 5.0, 20)), first=(first,))

    assert (await written(database, [move(f"block {n}", "one") for n in range(40)])).count(True) == 10
    assert (await written(database, [move("one", f"visitor {n}") for n in range(40)])).count(True) == 20
    [left] = await database.fetch(_NAMED.format("sum(count) AS n"), like="visitor %")
    assert left["n"] == 20


def variables(process: int | None) -> bytes:
    """Return a process's environment, where the system tells it."""
    told = Path(f"/proc/{process}/environ")
    return told.read_bytes() if told.exists() else b""


async def test_it_imports_nothing_from_the_working_directory_and_is_told_no_secret(
    migrated_sqlite, tmp_path, monkeypatch
):
    folder = tmp_path / "here"
    (folder / "gateway").mkdir(parents=True)
    for trap in ("msgspec.py", "sqlite3.py", "gateway/__init__.py"):
        (folder / trap).write_text(
            "import pathlib; pathlib.Path(__file__).with_suffix('.ran').touch(); raise SystemExit\n"
        )
    monkeypatch.chdir(folder)
    monkeypatch.setenv("OTP_GATEWAY_SECRETS__CODE_KEY", "a-secret")
    beside = Beside(Path(shutil.copy(migrated_sqlite, tmp_path / "gateway.db")), 1.0)
    assert not beside.takes(ENOUGH)
    assert await beside.started()
    assert b"OTP_GATEWAY" not in variables(beside.process)
    await beside.close()
    assert [*folder.rglob("*.ran")] == []
