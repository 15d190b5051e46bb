"""A process of its own writes long batches as this one would, and nothing acknowledged is lost with it."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from subprocess import Popen
from typing import Any

import msgspec
import pytest

from gateway.storage import models, sqlite_beside, sqlite_child, sqlite_pipe
from gateway.storage.absence import Absence
from gateway.storage.database import AT_ONCE, UNDER_WAY, Database
from gateway.storage.sqlite import SqliteEngine
from gateway.storage.sqlite_beside import ENOUGH, Beside, several_cores
from gateway.storage.sqlite_child import Answer, Fault
from gateway.storage.sqlite_file import translated
from gateway.storage.statement import Statement, insert_into
from gateway.storage.unit import (
    Connection,
    Guard,
    Move,
    StorageDamagedError,
    StorageError,
    StorageInterruptedError,
    StorageUnavailableError,
)

ADD = insert_into(models.Lease)
#: Takes one of what a name has left, and tells what remains.
TAKE = Statement(
    "lease.take_one",
    {"name": "text"},
    """UPDATE lease SET until = lease.until - 1 FROM r WHERE lease.name = r.name AND lease.until > 0
    RETURNING name, until""",
    key=(0,),
)
PUT_BACK = Statement(
    "lease.put_back",
    {"name": "text"},
    "UPDATE lease SET until = lease.until + 1 FROM r WHERE lease.name = r.name",
)
ENCODE = msgspec.msgpack.encode


def add(name: str, left: float = 0.0) -> Move:
    return Move(None, [(ADD, (name, "", left))], notes=[name])


def take(name: str, then: str) -> Move:
    return Move((TAKE, (name,)), [(ADD, (then, "", 0.0))])


async def names(database: Database) -> set[str]:
    return {item["name"] for item in await database.fetch("SELECT name FROM lease")}


@pytest.fixture
def path(migrated_sqlite, tmp_path) -> Path:
    return Path(shutil.copy(migrated_sqlite, tmp_path / "gateway.db"))


@asynccontextmanager
async def busy(path: Path, *, busy_timeout: float = 5.0, **more: Any) -> AsyncIterator[tuple[Database, Beside]]:
    """Open a database beside which a process writes already."""
    engine = SqliteEngine(path, busy_timeout=busy_timeout, beside=True)
    async with Database(engine, **more) as database:
        assert engine.beside is not None
        await asyncio.gather(*(database.write(add(f"first {n}")) for n in range(ENOUGH)))
        assert await engine.beside.started()
        yield database, engine.beside


@contextmanager
def stopped(beside: Beside) -> Iterator[int]:
    """Stop the process that writes, and let it go on at the end, if it is still there."""
    process = beside.process
    assert process is not None
    os.kill(process, signal.SIGSTOP)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)


async def write_many(database: Database, name: str) -> list[Any]:
    return await asyncio.gather(*(database.write(add(f"{name} {n}")) for n in range(ENOUGH)), return_exceptions=True)


async def test_a_long_batch_is_written_by_the_other_process_and_read_by_this_one(path):
    told: list[object] = []
    async with busy(path, on_commit=told.extend) as (database, beside):
        before = beside.process
        assert await write_many(database, "beside") == [True] * ENOUGH
        assert {f"beside {n}" for n in range(ENOUGH)} <= await names(database)
        assert told[-ENOUGH:] == [f"beside {n}" for n in range(ENOUGH)]
        assert beside.process == before


async def test_a_process_that_cannot_be_spoken_to_is_ended(monkeypatch):
    started: list[Popen[bytes]] = []

    def begin(*arguments: Any, **more: Any) -> Popen[bytes]:
        started.append(Popen(*arguments, **more))
        return started[0]

    async def refused(*_: object) -> None:
        raise OSError("no room for another")

    monkeypatch.setattr(sqlite_pipe, "Popen", begin)
    monkeypatch.setattr(asyncio.get_running_loop(), "connect_read_pipe", refused)
    with pytest.raises(OSError, match="no room"):
        await sqlite_pipe.Pipe.start(["cat"], os.environ)
    with started[0] as process:
        assert await asyncio.to_thread(process.wait, 5) == -signal.SIGKILL


async def test_short_batches_start_no_process(path):
    engine = SqliteEngine(path, beside=True)
    async with Database(engine) as database:
        await asyncio.gather(*(database.write(add(str(n))) for n in range(ENOUGH - 1)))
        assert engine.beside is not None
        assert not await engine.beside.started()


async def test_for_a_moment_after_a_long_batch_and_after_no_other_short_ones_are_written_there_too(path):
    async with busy(path) as (database, beside):
        beside.busy = 60.0
        assert await write_many(database, "beside") == [True] * ENOUGH
        beside.busy = 0.0
        for name in ("soon", "after a short one"):
            with stopped(beside):
                written = database.submit(add(name))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                assert beside.under_way == 1
            assert await written
        assert await write_many(database, "later") == [True] * ENOUGH
        with stopped(beside):
            assert await database.write(add("here"))


async def test_guards_hold_and_fall_there_as_here(path):
    async with busy(path) as (database, _):
        await asyncio.gather(database.write(add("many", 99.0)), database.write(add("one", 1.0)))
        undone = Move(
            (TAKE, ("nobody",)), [(ADD, ("never", "", 0.0))], first=[Guard(TAKE, ("many",), (PUT_BACK, ("many",)))]
        )
        names_left = [*(f"first {n}" for n in range(ENOUGH)), "one"]
        asked = [database.claim(undone), *(database.claim(take(name, f"after {name}")) for name in names_left)]
        fallen, *others, one = await asyncio.gather(*asked)
        assert (fallen, others) == (None, [None] * ENOUGH)
        assert one is not None
        assert (one["name"], one["until"]) == ("one", 0.0)
        left = {item["name"]: item["until"] for item in await database.fetch("SELECT name, until FROM lease")}
        assert (left["many"], left["after one"], "never" in left) == (99.0, 0.0, False)


async def test_works_of_the_same_batch_are_done_here_after_it(path):
    async def count(connection: Connection) -> int:
        return int((await connection.fetch("SELECT count(*) AS number FROM lease"))[0]["number"])

    async with busy(path) as (database, _):
        counted, *_ = await asyncio.gather(database.run(count), write_many(database, "more"))
        assert counted == 2 * ENOUGH


async def test_a_move_that_fails_there_fails_alone(path):
    async with busy(path) as (database, beside):
        twice = Move(None, [(ADD, ("first 0", "", 0.0))])
        outcomes = await asyncio.gather(write_many(database, "good"), database.write(twice), return_exceptions=True)
        assert outcomes[0] == [True] * ENOUGH
        assert isinstance(outcomes[1], StorageError)
        assert "UNIQUE" in str(outcomes[1])
        assert beside.process is not None


async def test_with_the_process_its_batch_fails_and_the_next_is_written_again(path):
    async with busy(path) as (database, beside):
        assert beside.process is not None
        os.kill(beside.process, signal.SIGKILL)
        outcomes = await write_many(database, "lost")
        assert {type(outcome) for outcome in outcomes} == {StorageInterruptedError}
        # A fault may last: for a second, no other process is started.
        assert await write_many(database, "meanwhile") == [True] * ENOUGH
        assert not await beside.started()
        beside.pause, beside.patient_until = 0.0, 0.0
        assert await write_many(database, "here") == [True] * ENOUGH
        assert await beside.started()
        assert await write_many(database, "there") == [True] * ENOUGH
        assert len(await names(database)) == 4 * ENOUGH


#: The program on a disk whose syncs fail.
UNSYNCED = """
import os
def failing(descriptor):
    raise OSError(5, "Input/output error")
os.fdatasync = failing
from gateway.storage import sqlite_child
sqlite_child.run()
"""


def alone(path: Path, copy: Path) -> set[str]:
    """Return the names that are in the file without its log."""
    copy.write_bytes(path.read_bytes())
    with sqlite3.connect(f"file:{copy}?immutable=1", uri=True) as connection:
        return {name for [name] in connection.execute("SELECT name FROM lease")}


async def unsynced(database: Database, beside: Beside) -> None:
    """Have a batch be committed there and not synced, as with ``UNSYNCED``."""
    lost = await asyncio.gather(*(database.write(add(f"first {n}")) for n in range(ENOUGH)))
    assert lost == [True] * ENOUGH
    assert await beside.started()
    outcomes = await write_many(database, "lost")
    assert {str(outcome) for outcome in outcomes} == {sqlite_beside.ENDED}
    assert beside.unsynced


async def test_after_a_sync_that_failed_nothing_is_acknowledged_before_the_log_is_copied(path, tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite_beside, "PROGRAM", ("-P", "-c", UNSYNCED))
    engine = SqliteEngine(path, busy_timeout=0.05, beside=True)
    async with Database(engine) as database:
        assert engine.beside is not None
        await unsynced(database, engine.beside)
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM lease").fetchone()
        # Whoever reads the log keeps it from being begun anew, and from being copied where more is written meanwhile.
        with pytest.raises(StorageUnavailableError, match="could not be put on the disk yet"):
            await database.write(add("behind it"))
        assert "behind it" not in await names(database)
        reader.close()
        assert await database.write(add("afterwards"))
        assert not engine.beside.unsynced
        assert {f"lost {n}" for n in range(ENOUGH)} <= alone(path, tmp_path / "copy")


#: The program on a disk that hangs and then fails, when nobody can be told any more.
HUNG = """
import os, signal
def hanging(descriptor):
    signal.pause()
os.fdatasync = hanging
from gateway.storage import sqlite_child
sqlite_child.run()
"""


async def test_a_process_that_hangs_in_a_sync_counts_as_one_whose_sync_failed(path, tmp_path, monkeypatch):
    """It has committed: behind what a failed sync lost, the system would lose what is written next."""
    monkeypatch.setattr(sqlite_beside, "PROGRAM", ("-P", "-c", HUNG))
    engine = SqliteEngine(path, busy_timeout=0.05, beside=True)
    async with Database(engine) as database:
        assert engine.beside is not None
        engine.beside.timeout = 0.5
        await unsynced(database, engine.beside)
        assert await database.write(add("afterwards"))
        assert not engine.beside.unsynced
        assert {f"lost {n}" for n in range(ENOUGH)} <= alone(path, tmp_path / "copy")


async def test_a_path_may_be_a_link_to_the_file(path, tmp_path):
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    async with busy(link) as (database, beside):
        assert await write_many(database, "there") == [True] * ENOUGH
        assert (beside.unsynced, beside.process is not None) == (False, True)
    assert [entry.name for entry in link.parent.iterdir()] == ["link.db"]


async def test_one_that_is_stopped_is_ended_and_keeps_no_lock(path):
    async with busy(path) as (database, beside):
        assert beside.process is not None
        beside.timeout = 0.05
        os.kill(beside.process, signal.SIGSTOP)
        outcomes = await write_many(database, "stuck")
        assert {str(outcome) for outcome in outcomes} == {sqlite_beside.ENDED}
        assert await database.write(add("afterwards"))


async def test_more_batches_are_handed_over_while_the_first_is_written_up_to_a_number(path):
    told: list[object] = []
    async with busy(path, on_commit=told.extend) as (database, beside):
        with stopped(beside):
            waiting = [database.submit(add(f"{n:02}")) for n in range(AT_ONCE)]
            assert (beside.under_way, database.waiting) == (1, 0)
            waiting += [database.submit(add(f"{n:02}")) for n in range(AT_ONCE, (UNDER_WAY + 1) * AT_ONCE)]
            assert (beside.under_way, database.waiting) == (UNDER_WAY, AT_ONCE)
        assert await asyncio.gather(*waiting) == [True] * (UNDER_WAY + 1) * AT_ONCE
        assert told[ENOUGH:] == [f"{n:02}" for n in range((UNDER_WAY + 1) * AT_ONCE)]


async def test_a_work_is_not_kept_waiting_by_moves_that_come_after_it(path):
    async def count(connection: Connection) -> int:
        return int((await connection.fetch("SELECT count(*) AS number FROM lease"))[0]["number"])

    async with busy(path) as (database, beside):
        with stopped(beside):
            before = [database.submit(add(f"before {n}")) for n in range(AT_ONCE)]
            counted = asyncio.create_task(database.run(count))
            await asyncio.sleep(0)
            after = [database.submit(add(f"after {n}")) for n in range(2 * AT_ONCE)]
            assert (beside.under_way, database.waiting) == (1, 2 * AT_ONCE + 1)
        # Moves come first in a batch, so it sees those that waited with it.
        assert await counted == ENOUGH + 3 * AT_ONCE
        assert await asyncio.gather(*before, *after) == [True] * 3 * AT_ONCE


async def test_a_move_that_fails_in_the_first_of_two_batches_fails_alone(path):
    async with busy(path) as (database, beside):
        with stopped(beside):
            twice = database.submit(add("first 0"))
            waiting = [database.submit(add(f"{n}")) for n in range(2 * AT_ONCE - 1)]
            assert beside.under_way == 2
        assert await asyncio.gather(*waiting) == [True] * (2 * AT_ONCE - 1)
        with pytest.raises(StorageError, match="UNIQUE"):
            await twice
        assert beside.process is not None


async def test_with_the_process_both_batches_fail_and_the_next_is_written_here(path):
    async with busy(path) as (database, beside):
        with stopped(beside) as process:
            waiting = [database.submit(add(f"lost {n}")) for n in range(2 * AT_ONCE)]
            assert beside.under_way == 2
            os.kill(process, signal.SIGKILL)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert {str(outcome) for outcome in outcomes} == {sqlite_beside.ENDED}
        assert await write_many(database, "here") == [True] * ENOUGH
        assert not await beside.started()


async def test_one_that_met_a_fault_answers_for_what_it_was_given_and_is_given_no_more(path):
    other = sqlite3.connect(path, isolation_level=None)
    async with busy(path, busy_timeout=0.05) as (database, beside):
        other.execute("BEGIN IMMEDIATE")
        waiting = [database.submit(add(f"locked {n}")) for n in range(2 * AT_ONCE)]
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert {str(outcome) for outcome in outcomes} == {"SQLite: database is locked"}
        assert (beside.process, beside.under_way) == (None, 0)
        other.execute("COMMIT")
        assert await write_many(database, "free") == [True] * ENOUGH
    other.close()


async def test_a_value_that_no_frame_holds_fails_its_move_alone(path):
    async with busy(path) as (database, _):
        waiting = [database.submit(Move(None, [(ADD, (object(), "", 0.0))]))]
        waiting += [database.submit(add(f"good {n}")) for n in range(AT_ONCE)]
        bad, *good = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(bad, StorageError)
        assert good == [True] * AT_ONCE


async def test_a_writer_that_is_stopped_leaves_nobody_waiting(path):
    async with busy(path) as (database, beside):
        with stopped(beside):
            waiting = [database.submit(add(f"{n}")) for n in range(2 * AT_ONCE)]
            await asyncio.sleep(0)
            assert database._writer is not None
            database._writer.cancel()
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {StorageUnavailableError}
        database._writer = None


async def test_signals_to_the_group_do_not_end_it(path):
    async with busy(path) as (database, beside):
        assert beside.process is not None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(beside.process, number)
        assert await write_many(database, "still") == [True] * ENOUGH


async def test_it_ends_with_the_database(path):
    async with busy(path) as (_, beside):
        process = beside.process
        assert process is not None
    assert beside.process is None
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whether a process was stopped")
async def test_one_that_stands_still_is_ended_long_before_its_time(path):
    async with busy(path) as (database, beside):
        pipe = beside._pipe
        assert pipe is not None
        os.kill(pipe.pid, signal.SIGSTOP)
        waiting = [database.submit(add(f"stuck {n}")) for n in range(ENOUGH)]
        pipe.look_again(0.0, stood=False)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert {str(outcome) for outcome in outcomes} == {sqlite_beside.ENDED}
        assert await write_many(database, "afterwards") == [True] * ENOUGH


async def test_one_that_is_stopped_does_not_hold_up_the_end(path):
    async with busy(path) as (_, beside):
        assert beside.process is not None
        process, beside.timeout = beside.process, 0.05
        os.kill(process, signal.SIGSTOP)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


async def test_it_waits_for_another_process_as_this_one_does(path):
    other = sqlite3.connect(path, isolation_level=None)
    async with busy(path, busy_timeout=0.05) as (database, beside):
        other.execute("BEGIN IMMEDIATE")
        outcomes = await write_many(database, "locked")
        assert {str(outcome) for outcome in outcomes} == {"SQLite: database is locked"}
        other.execute("COMMIT")
        assert not await beside.started()
        assert await write_many(database, "free") == [True] * ENOUGH
    other.close()


async def test_where_none_can_be_started_this_one_writes_and_says_so_once(path, monkeypatch, caplog):
    monkeypatch.setattr(sys, "executable", str(path.parent / "nowhere"))
    engine = SqliteEngine(path, beside=True)
    async with Database(engine) as database:
        assert engine.beside is not None
        for name in ("a", "b", "c"):
            assert await write_many(database, name) == [True] * ENOUGH
            assert not await engine.beside.started()
    assert [item.levelname for item in caplog.records if "no process" in item.message] == ["WARNING"]


async def gone() -> None:
    raise StorageUnavailableError("SQLite: disk I/O error")


@pytest.mark.parametrize(("away", "level"), [(False, "WARNING"), (True, "DEBUG")], ids=["well", "away"])
async def test_a_file_it_cannot_open_is_told_unless_it_is_away_and_no_process_stays(tmp_path, caplog, away, level):
    caplog.set_level(logging.DEBUG)
    absence = Absence("the SQLite file", "", lambda: 0.0)
    if away:
        with pytest.raises(StorageUnavailableError):
            await absence.watched("written", gone())
    beside = Beside(tmp_path / "no" / "such.db", 1.0, absence=absence)
    assert not beside.takes(ENOUGH)
    assert not await beside.started()
    [told] = [item for item in caplog.records if "unable to open database file" in item.message]
    assert told.levelname == level
    await beside.close()


def frame(value: object) -> bytes:
    encoded = ENCODE(value)
    return len(encoded).to_bytes(sqlite_child.HEADER, "big") + encoded


def answers(*frames: bytes) -> list[Answer]:
    """Return what the program answers, run in this process."""
    sink = io.BytesIO()
    sqlite_child.main(io.BytesIO(b"".join(frames)), sink, pytest.fail)
    told, found = sink.getvalue(), []
    while told:
        length = int.from_bytes(told[: sqlite_child.HEADER], "big")
        found.append(msgspec.msgpack.decode(told[sqlite_child.HEADER :][:length], type=Answer))
        told = told[sqlite_child.HEADER + length :]
    return found


def opening(path: Path) -> bytes:
    return frame([str(path), 0.05, ["journal_mode=WAL", "synchronous=NORMAL"]])


def test_the_program_answers_each_frame_and_remembers_statements(path):
    first = frame([[ADD.sqlite, TAKE.sqlite], [[[], None, [[0, ["a", "", 1.0]]]]]])
    second = frame([[], [[[], [1, ["a"]], []], [[], [1, ["b"]], []]]])
    assert answers(opening(path), first, second) == [
        Answer([]),
        Answer([True]),
        Answer([{"name": "a", "until": 0.0}, None]),
    ]


def test_nothing_of_a_batch_that_fails_is_kept(path):
    batch = [[ADD.sqlite], [[[], None, [[0, ["a", "", 1.0]]]], [[], None, [[0, ["a", "", 1.0]]]]]]
    _, fallen = answers(opening(path), frame(batch))
    assert fallen.fault == Fault(
        "IntegrityError", "UNIQUE constraint failed: lease.name", sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
    )
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM lease").fetchone() == (0,)


def test_a_frame_that_cannot_be_read_is_the_end(path):
    # Its statements were not learnt: what the numbers of the next frame mean, nobody knows.
    sink = io.BytesIO()
    frames = opening(path) + frame([[ADD.sqlite], "no moves"]) + frame([[TAKE.sqlite], []])
    with pytest.raises(msgspec.ValidationError):
        sqlite_child.main(io.BytesIO(frames), sink, pytest.fail)
    assert sink.getvalue() == frame([[], None])


@pytest.mark.parametrize("torn", [b"", b"\0", b"\0\0\0\1", b"\0\0\0\5abc"])
def test_a_torn_frame_is_the_end(path, torn):
    assert answers(opening(path), torn) == [Answer([])]


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        (Fault("OperationalError", "database or disk is full", sqlite3.SQLITE_FULL), StorageUnavailableError, "full"),
        (Fault("OperationalError", "disk I/O error", sqlite3.SQLITE_IOERR), StorageUnavailableError, "disk I/O"),
        (Fault("DatabaseError", "file is not a database", sqlite3.SQLITE_NOTADB), StorageDamagedError, "damaged|not a"),
        (Fault("IntegrityError", "UNIQUE constraint failed", sqlite3.SQLITE_CONSTRAINT), StorageError, "UNIQUE"),
        (Fault("OSError", "No space left on device", 28), StorageUnavailableError, "No space"),
        (Fault("MemoryError", "", None), StorageUnavailableError, "out of memory"),
        (Fault("InterfaceError", "bad parameter", None), StorageError, "bad parameter"),
    ],
)
def test_a_fault_there_is_the_same_fault_here(fault, kind, text):
    raised = translated(sqlite_beside.raised(fault))
    assert type(raised) is kind
    assert raised.args[0]
    with pytest.raises(kind, match=text):
        raise raised


def test_an_error_of_the_system_is_told_in_its_words(path):
    assert sqlite_child.fault_of(OSError(28, "No space left on device")) == Fault(
        "OSError", "No space left on device", 28
    )
    assert sqlite_child.fault_of(MemoryError()) == Fault("MemoryError", "", None)
    assert sqlite_child.fault_of(OverflowError("with a value")) == Fault("OverflowError", "", None)


def test_there_must_be_a_core_to_write_on(monkeypatch):
    for cores, several in (({0}, False), ({0, 1}, True)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: cores)
        assert several_cores() is several
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert not several_cores()
