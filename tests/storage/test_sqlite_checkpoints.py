"""The log is copied into the file beside the writer, and begun anew once the writer has ended the copy."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from gateway.storage.sqlite_checkpoints import APART, Checkpoints
from gateway.storage.sqlite_file import connect

#: Rows with which one commit makes the log long enough, and pages that are enough.
ROWS = 50
PAGES = 45


@pytest.fixture
def path(tmp_path) -> Path:
    found: Path = tmp_path / "gateway.db"
    return found


@pytest.fixture
def writer(path) -> Iterator[sqlite3.Connection]:
    opened = connect(path)
    opened.execute("CREATE TABLE line (text TEXT)")
    opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    yield opened
    opened.close()


def write(writer: sqlite3.Connection, rows: int) -> None:
    writer.execute("BEGIN IMMEDIATE")
    writer.executemany("INSERT INTO line VALUES (?)", [("x" * 100,)] * rows)
    writer.execute("COMMIT")


def log_size(path: Path) -> int:
    return path.with_name("gateway.db-wal").stat().st_size


def in_file(path: Path, copy: Path) -> int:
    """Return how many rows the file has without its log."""
    copy.write_bytes(path.read_bytes())
    # Its header says that there is a log, which was left behind.
    with sqlite3.connect(f"file:{copy}?immutable=1", uri=True) as alone:
        return int(alone.execute("SELECT count(*) FROM line").fetchone()[0])


def test_enough_rows_are_copied_beside_and_the_log_is_begun_anew_by_the_next_commit(path, writer, tmp_path):
    checkpoints = Checkpoints(partial(connect, path), PAGES)
    write(writer, ROWS - 1)
    checkpoints.wrote(writer)
    assert in_file(path, tmp_path / "copy") == 0
    write(writer, 1)
    checkpoints.wrote(writer)
    checkpoints.close()
    assert in_file(path, tmp_path / "copy") == ROWS
    length = log_size(path)
    write(writer, 1)
    assert log_size(path) == length


def test_many_small_commits_are_copied_as_few_large_ones_are_and_not_again_at_once(path, writer, tmp_path):
    now = 0.0
    checkpoints = Checkpoints(partial(connect, path), PAGES, lambda: now)
    for rows in (1, 2):
        write(writer, 1)
        checkpoints.wrote(writer)
        checkpoints.close()
        assert in_file(path, tmp_path / "copy") == 0
        assert (rows, checkpoints.due(writer)) == (rows, False)
    write(writer, ROWS)
    checkpoints.wrote(writer)
    checkpoints.close()
    assert in_file(path, tmp_path / "copy") == ROWS + 2
    now = APART / 2
    write(writer, ROWS)
    checkpoints.wrote(writer)
    assert not checkpoints.due(writer)
    now = APART
    assert checkpoints.due(writer)
    write(writer, 1)
    checkpoints.wrote(writer)
    checkpoints.close()
    assert in_file(path, tmp_path / "copy") == 2 * ROWS + 3


def test_what_was_written_during_the_copy_is_copied_by_the_writer(path, writer, tmp_path):
    begun, goes_on = threading.Event(), threading.Event()

    def slowly() -> sqlite3.Connection:
        begun.set()
        assert goes_on.wait(10)
        return connect(path)

    checkpoints = Checkpoints(slowly, PAGES)
    write(writer, ROWS)
    checkpoints.wrote(writer)
    assert begun.wait(10)
    write(writer, 1)
    checkpoints.wrote(writer)
    assert in_file(path, tmp_path / "copy") == 0
    goes_on.set()
    assert checkpoints._done.wait(10)
    write(writer, 2)
    checkpoints.wrote(writer)
    assert in_file(path, tmp_path / "copy") == ROWS + 3


def test_a_copy_that_fails_is_no_fault_of_the_commit_and_is_tried_again(path, writer, tmp_path):
    connections = iter([sqlite3.OperationalError("unable to open database file"), None])

    now = iter(range(100))

    def clock() -> float:
        return float(next(now))

    def once_not() -> sqlite3.Connection:
        if (error := next(connections)) is not None:
            raise error
        return connect(path)

    checkpoints = Checkpoints(once_not, PAGES, clock)
    for _ in range(2):
        write(writer, ROWS)
        checkpoints.wrote(writer)
        checkpoints.close()
    assert in_file(path, tmp_path / "copy") == 2 * ROWS


def test_a_machine_without_threads_leaves_the_log_as_it_is(path, writer, tmp_path, monkeypatch):
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    checkpoints = Checkpoints(partial(connect, path), PAGES)
    write(writer, ROWS)
    checkpoints.wrote(writer)
    checkpoints.close()
    assert (in_file(path, tmp_path / "copy"), log_size(path) > 0) == (0, True)


def test_what_fails_in_the_thread_ends_it_not_and_nobody_waits_for_it(path, writer, tmp_path):
    """Out of memory, for a moment: the writer went on waiting for a thread that had ended."""
    connections: list[BaseException | None] = [MemoryError(), None]

    def connected() -> sqlite3.Connection:
        if (error := connections.pop(0)) is not None:
            raise error
        return connect(path)

    checkpoints = Checkpoints(connected, PAGES, clock=iter(map(float, range(100))).__next__)
    checkpoints.start()
    thread = checkpoints._thread
    for _ in range(2):
        write(writer, ROWS)
        checkpoints.wrote(writer)
        assert checkpoints._done.wait(10)
        checkpoints._copying = False
    assert (checkpoints._thread is thread, connections) == (True, [])
    checkpoints.close()
    assert in_file(path, tmp_path / "copy") == 2 * ROWS


def test_no_thread_is_started_once_there_is_something_to_copy(path, writer, tmp_path, monkeypatch):
    checkpoints = Checkpoints(partial(connect, path), PAGES)
    checkpoints.start()
    monkeypatch.setattr(threading.Thread, "start", pytest.fail)
    write(writer, ROWS)
    checkpoints.wrote(writer)
    assert checkpoints._done.wait(10)
    checkpoints.close()
    assert in_file(path, tmp_path / "copy") == ROWS


def test_on_a_full_disk_the_log_is_copied_and_begun_anew(path, writer, tmp_path):
    checkpoints = Checkpoints(partial(connect, path), PAGES)
    write(writer, 1)
    locked = sqlite3.OperationalError("database is locked")
    locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
    checkpoints.failed(writer, locked)
    assert in_file(path, tmp_path / "copy") == 0
    # No more pages than there are, as on a disk that has none left.
    writer.execute("PRAGMA max_page_count=1")
    with pytest.raises(sqlite3.OperationalError, match="full") as full:
        write(writer, 1000)
    checkpoints.failed(writer, full.value)
    assert in_file(path, tmp_path / "copy") == 1
