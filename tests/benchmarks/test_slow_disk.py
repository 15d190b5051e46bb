from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from benchmarks import slow_disk
from benchmarks.__main__ import NORMAL
from benchmarks.slow_disk import held_up
from gateway.storage.database import Database
from gateway.storage.sqlite import SqliteEngine


def written(seconds: float, path) -> tuple[list[float], list[str], int]:
    """Write two rows on such a connection; return its sleeps, what it told, and the rows that are there."""
    slept, told = list[float](), list[str]()
    connection = sqlite3.connect(path, isolation_level=None, factory=held_up(seconds, slept.append, told.append))
    connection.execute("CREATE TABLE t (a)")
    for value in (1, 2):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t VALUES (?)", (value,))
        connection.execute("COMMIT")
    connection.close()
    with closing(sqlite3.connect(path)) as reader:
        [count] = reader.execute("SELECT count(*) FROM t").fetchone()
    return slept, told, count


def test_every_commit_is_held_up_and_the_first_is_told_of(tmp_path):
    assert written(0.004, tmp_path / "a.db") == ([0.004, 0.004], ["commits are held up"], 2)


def test_without_a_wait_nothing_is_held_up(tmp_path):
    assert written(0.0, tmp_path / "a.db") == ([], [], 2)


async def test_what_the_gateway_commits_is_held_up(tmp_path, monkeypatch):
    """What the launcher replaces is what the gateway opens its file with, and its commits are said by that word."""
    slept = list[float]()
    monkeypatch.setattr(sqlite3, "connect", slow_disk.replaced(held_up(0.004, slept.append, lambda _: None)))
    async with Database(SqliteEngine(tmp_path / "a.db")) as database:
        await database.run(lambda connection: connection.fetch("CREATE TABLE t (a)"))
    assert slept == [0.004]


@pytest.mark.parametrize(("rate", "verdict"), [(950.0, "aim"), (850.0, "reached"), (700.0, "missed")])
def test_the_slower_disk_is_judged_beside_the_faster_one(rate, verdict):
    plain = {"rate": 1000.0, "median": 0.01, "slowest": 0.02}
    few = {**plain, "rate": 500.0}
    samples = {
        slow_disk.YARDSTICK: [plain],
        slow_disk.SLOWED: [{**plain, "rate": rate}],
        slow_disk.FEW: [few],
        slow_disk.FEW_SLOWED: [few],
        slow_disk.AGAIN: [plain],
    }
    rates, latencies = slow_disk.sections(samples, NORMAL)
    assert [verdict in row.verdict for row in rates.rows] == [False, True, False, False, False]
    # Those of 32 callers stand beside their own yardstick.
    assert [row.ratio.median for row in rates.rows if row.ratio is not None] == [rate / 1000, 1.0, 1.0]
    assert len(latencies.rows) == 10
