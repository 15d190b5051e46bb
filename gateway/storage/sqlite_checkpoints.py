"""Checkpoints while writing goes on: SQLite's log is copied into the file by a thread, and ended by the writer.

Left to itself SQLite copies the log in the middle of a commit, each time that it has a thousand pages: whoever waits for
that commit waits for the copying and its fsync too, and a page that many commits write is copied again and again. Here
nobody waits for the most of it, and the log is several times as long before it is copied (sqlite.org/wal.html#ckpt).

Nothing of this package is imported here: the process that writes beside us has no use for it (``sqlite_child``).
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Final

#: Pages of the log from which on it is copied, 4 MiB, and seconds from one copy to the next: a slow gateway's log stays
#: short, and a fast one's grows to some 30 MiB, of which each page is then copied once for many commits that wrote it.
PAGES: Final = 1_000
APART: Final = 0.25
#: Pages of 4 KiB that a commit writes, and more for each row, by what the log of accepts in ones and in sixteens held: the
#: ends of a dozen indexes are in each.
_OF_A_COMMIT: Final = 20
_OF_A_ROW: Final = 0.5
#: Pages of the log from which on SQLite copies by itself after all, in the middle of a commit: 120 MiB. For a disk that
#: copies more slowly than is written, and for what no row is counted of.
LAST_RESORT: Final = 30_000


class Checkpoints:
    """What one writing connection does for the log. ``connect`` opens another connection to the same file."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        pages: int = PAGES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._enough = pages
        self._clock = clock
        #: Who copies, from ``start`` on; whether it was asked to, and has not been seen to be done; and what is told each other.
        self._thread: threading.Thread | None = None
        self._copying = False
        self._asked, self._done = threading.Semaphore(0), threading.Event()
        self._closing = False
        #: How many rows the writer had written when it was last begun, when that was, and the commits since.
        self._written = 0
        self._begun = float("-inf")
        self._commits = 0

    def start(self) -> None:
        """Start the thread that copies, if the machine has one to give.

        Before there is anything to copy: of a thread that is started when memory has run out, and ends before it could say
        that it has begun, CPython waits for that word for ever, and with it whoever writes.
        """
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="sqlite-checkpoint", daemon=True)
            with suppress(RuntimeError):
                thread.start()
                self._thread = thread

    def due(self, writer: sqlite3.Connection) -> bool:
        """Whether there is something to do after the next commit, or something under way that keeps the disk busy."""
        return self._copying or self._is_long(writer)

    def committed(self) -> None:
        """Count a commit after which nothing is done, since nothing was ``due``."""
        self._commits += 1

    def wrote(self, writer: sqlite3.Connection) -> None:
        """Do what is due after a commit: begin a copy, or end one. Called by whoever writes, outside any transaction.

        A fault is none of the commit's, which is on the disk: what was not copied stays in the log, to be copied the
        next time. The house-keeper copies it each minute too, and tells of a fault that lasts.
        """
        self.committed()
        if self._copying:
            if self._done.is_set():
                self._copying = False
                # What was written during the copy: little, and no other writer comes between it and the next commit,
                # which begins the log anew.
                _copy(writer)
        elif self._is_long(writer):
            self._written, self._commits, self._begun = writer.total_changes, 0, self._clock()
            self.start()
            if self._thread is not None:
                self._copying = True
                self._done.clear()
                self._asked.release()

    def failed(self, writer: sqlite3.Connection, error: BaseException) -> None:
        """Do what is due after a transaction that failed: on a full disk the log's own space is used anew, once copied."""
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            _copy(writer)

    def close(self) -> None:
        """Wait for a copy that is under way, and end the thread."""
        if self._thread is not None:
            self._closing = True
            self._asked.release()
            self._thread.join()
            self._thread, self._closing, self._copying = None, False, False

    def _is_long(self, writer: sqlite3.Connection) -> bool:
        rows = abs(writer.total_changes - self._written)
        pages = _OF_A_COMMIT * self._commits + _OF_A_ROW * rows
        return pages >= self._enough and self._clock() - self._begun >= APART

    def _run(self) -> None:
        while True:
            self._asked.acquire()
            if self._copying and not self._done.is_set():
                # Out of memory: it is copied another time, and until then nobody may wait for a thread that has ended.
                with suppress(MemoryError):
                    self._copy_beside()
                self._done.set()
            if self._closing:
                return

    def _copy_beside(self) -> None:
        with suppress(sqlite3.Error), closing(self._connect()) as connection:
            _copy(connection)


def _copy(connection: sqlite3.Connection) -> None:
    # It waits for no reader and no writer: it copies what it can.
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
