"""A database that is away is told once, by the one who knows; what follows from it is told for debugging only."""

from __future__ import annotations

import ast
import logging
import sqlite3
from collections.abc import Awaitable, Callable

import pytest

from gateway.errors import loudness
from gateway.storage import models
from gateway.storage.absence import QUIET, REMINDER, SLOW, Absence, Part
from gateway.storage.database import Database
from gateway.storage.sqlite import SqliteEngine
from gateway.storage.statement import insert_into
from gateway.storage.unit import (
    Move,
    StorageContendedError,
    StorageDamagedError,
    StorageError,
    StorageInterruptedError,
    StorageUnavailableError,
)
from tests.conftest import HandClock
from tests.test_architecture import functions, place, sources

ADD = insert_into(models.Lease)
GONE = "PostgreSQL: ConnectionRefusedError"


class Uses:
    """Uses of a database at an address, whose absence is looked at."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.absence = Absence("PostgreSQL at db:5432", "see that it runs", clock.monotonic)

    async def work(self, part: Part = "written", seconds: float = 0.0) -> None:
        async def use() -> None:
            self.clock.advance(seconds)

        await self.absence.watched(part, use())

    async def fail(
        self,
        part: Part = "written",
        error: StorageError | None = None,
        meanwhile: Callable[[], Awaitable[None]] | None = None,
    ) -> StorageError:
        raised = error or StorageUnavailableError(GONE)

        async def use() -> None:
            if meanwhile is not None:
                await meanwhile()
            raise raised

        with pytest.raises(StorageError) as caught:
            await self.absence.watched(part, use())
        assert caught.value is raised
        return raised


@pytest.fixture
def uses(clock, caplog) -> Uses:
    caplog.set_level(logging.DEBUG)
    return Uses(clock)


def told(caplog) -> list[tuple[str, str]]:
    """The lines, by level and their first words."""
    return [(record.levelname.lower(), record.message.partition(":")[0]) for record in caplog.records]


async def test_the_first_failure_is_told_as_an_error_with_what_it_means_and_what_to_do(uses, caplog):
    await uses.fail("written")
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.message == (
        "the database is away: PostgreSQL at db:5432 cannot be written (ConnectionRefusedError); requests that need it are"
        " answered 503, no code is sent, and what was taken on is kept; it is tried again all the time: see that it runs"
    )
    assert uses.absence.away


async def test_what_fails_on_is_told_once_a_minute_with_all_that_fails(uses, caplog):
    for _ in range(int(2 * REMINDER)):
        await uses.fail("written")
        await uses.fail("read")
        uses.clock.advance(1.0)
    assert told(caplog) == [("error", "the database is away"), ("error", "the database is still away, for 60 s")]
    assert "cannot be read and written" in caplog.messages[1]


async def test_its_return_is_told_once_nothing_failed_for_a_while_with_the_seconds_it_took(uses, caplog):
    await uses.fail()
    uses.clock.advance(12.3)
    await uses.work()
    assert uses.absence.away
    for _ in range(20):
        uses.clock.advance(QUIET / 2)
        await uses.work()
    assert caplog.messages[1:] == ["the database is back after 12.3 s: PostgreSQL at db:5432"]
    assert caplog.records[1].levelno == logging.INFO
    assert not uses.absence.away


async def test_another_one_is_told_anew(uses, caplog):
    for _ in range(2):
        await uses.fail()
        await uses.work()
        uses.clock.advance(QUIET)
        await uses.work()
    assert told(caplog) == 2 * [("error", "the database is away"), ("info", "the database is back after 0.0 s")]


async def test_tries_that_succeed_and_fail_in_turns_are_one_absence(uses, caplog):
    for _ in range(50):
        await uses.fail()
        uses.clock.advance(0.5)
        await uses.work()
        uses.clock.advance(0.5)
    assert told(caplog) == [("error", "the database is away")]


async def test_reads_that_work_do_not_end_what_writes_began(uses, caplog):
    await uses.fail("written", StorageUnavailableError("SQLite: database or disk is full"))
    for _ in range(20):
        uses.clock.advance(1.0)
        await uses.work("read")
    assert "cannot be written (database or disk is full)" in caplog.messages[0]
    assert len(caplog.messages) == 1
    assert uses.absence.away


async def test_what_began_before_the_return_and_fails_later_belongs_to_what_is_over(uses, caplog):
    """A time-out on a connection of before: 10 s after the server is back."""

    async def meanwhile() -> None:
        await uses.fail()
        uses.clock.advance(1.0)
        await uses.work()
        uses.clock.advance(10.0)
        await uses.work()

    late = await uses.fail(error=StorageUnavailableError("PostgreSQL: TimeoutError"), meanwhile=meanwhile)
    assert told(caplog) == [("error", "the database is away"), ("info", "the database is back after 1.0 s")]
    assert loudness(late) == logging.DEBUG


async def test_a_slow_use_that_fails_while_later_ones_work_is_no_absence(uses, caplog):
    async def meanwhile() -> None:
        uses.clock.advance(SLOW)
        await uses.work("read")

    slow = await uses.fail("read", StorageUnavailableError("PostgreSQL: TimeoutError"), meanwhile)
    assert (caplog.messages, loudness(slow), uses.absence.away) == ([], logging.WARNING, False)


@pytest.mark.parametrize(
    "error",
    [
        StorageContendedError("PostgreSQL: DeadlockDetectedError 40P01"),
        StorageError("PostgreSQL: UniqueViolationError 23505"),
        StorageInterruptedError("SQLite: the process that writes beside this one ended"),
    ],
    ids=["contended", "refused", "interrupted"],
)
async def test_what_fails_alone_is_no_absence_and_stays_as_loud_as_it_was(uses, caplog, error):
    await uses.fail(error=error)
    assert (caplog.messages, uses.absence.away) == ([], False)
    assert (loudness(error), loudness(error, logging.ERROR)) == (logging.WARNING, logging.ERROR)


async def test_while_it_is_away_what_follows_from_it_is_for_debugging_and_other_errors_are_as_loud_as_ever(uses):
    first = await uses.fail()
    again = await uses.fail("read", StorageUnavailableError(GONE))
    cut = await uses.fail(error=StorageInterruptedError("SQLite: the process that writes beside this one ended"))
    refused = await uses.fail(error=StorageError("PostgreSQL: UniqueViolationError 23505"))
    contended = await uses.fail(error=StorageContendedError("PostgreSQL: DeadlockDetectedError 40P01"))
    assert [loudness(error) for error in (first, again, cut)] == 3 * [logging.DEBUG]
    assert [loudness(error) for error in (refused, contended)] == 2 * [logging.WARNING]


async def test_of_a_damaged_file_its_own_remedy_is_told(uses, caplog):
    damaged = StorageDamagedError("SQLite: database disk image is malformed; stop the gateway and restore a backup")
    await uses.fail("read", damaged)
    assert "(database disk image is malformed; stop the gateway and restore a backup)" in caplog.text
    assert "see that it runs" not in caplog.text


async def test_a_file_that_another_program_locks_is_told_once_and_again_when_it_is_free(migrated_path, clock, caplog):
    caplog.set_level(logging.INFO)
    absence = Absence("the SQLite file", "see to other programs", clock.monotonic)
    other = sqlite3.connect(migrated_path, isolation_level=None)
    async with Database(SqliteEngine(migrated_path, busy_timeout=0.01), absence=absence) as database:
        other.execute("BEGIN IMMEDIATE")
        for number in range(3):
            with pytest.raises(StorageUnavailableError) as caught:
                await database.write(Move(None, [(ADD, (str(number), "", 0.0))]))
            assert loudness(caught.value) == logging.DEBUG
            assert await database.fetch("SELECT name FROM lease") == []
            clock.advance(1.0)
        other.execute("COMMIT")
        for name in "ab":
            await database.write(Move(None, [(ADD, (name, "", 0.0))]))
            clock.advance(QUIET)
    other.close()
    assert told(caplog) == [("error", "the database is away"), ("info", "the database is back after 3.0 s")]
    assert "the SQLite file cannot be written (database is locked)" in caplog.messages[0]


@pytest.fixture
def migrated_path(migrated_sqlite, tmp_path):
    path = tmp_path / "gateway.db"
    path.write_bytes(migrated_sqlite.read_bytes())
    return path


def test_whoever_logs_an_error_of_the_database_goes_by_its_loudness():
    loud = {
        place(path, call)
        for path in sources()
        for function in functions(path)
        for handler in ast.walk(function)
        if isinstance(handler, ast.ExceptHandler)
        and handler.type
        # Of what is merely contended nobody else has told.
        and "StorageContendedError" not in ast.unparse(handler.type)
        and "Storage" in ast.unparse(handler.type)
        for call in ast.walk(handler)
        if isinstance(call, ast.Call) and ast.unparse(call.func) in {"_log.warning", "_log.error"}
    }
    assert loud == set()
