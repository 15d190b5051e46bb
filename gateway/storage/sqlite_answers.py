"""Answers of the process that writes beside us, each told once what it is of is on the disk.

A batch is committed into the log without waiting for the disk; a thread waits, for all that were committed by then, and
tells their answers. So the next batch is written while the disk takes the last: a slow disk delays answers and holds up
no statement. What is acknowledged is as safe as with ``synchronous=FULL``, by which SQLite itself waits in each commit:
the log is on the disk as far as that commit, and with it all before. Only who reads meanwhile may see, for the length of
one sync, what a power cut can still take back.

Nothing of this package is imported here: the process that writes beside us has no use for it (``sqlite_child``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import IO, Final

#: Waits for a file's content and length.
SYNC: Final[Callable[[int], object]] = getattr(os, "fdatasync", os.fsync)


class Answers:
    """Tells answers to ``sink``, in the order in which they are given. ``log`` is the path of SQLite's log.

    Where the disk, whoever listens or anything else fails, ``end`` ends this process: whether its last batches were kept is not known,
    and a second sync would not tell what the first one lost.
    """

    def __init__(
        self, sink: IO[bytes], log: str, end: Callable[[], object], sync: Callable[[int], object] = SYNC
    ) -> None:
        self._sink = sink
        self._log = log
        self._end = end
        self._sync = sync
        self._opened: int | None = None
        self._given: SimpleQueue[tuple[bytes, bool] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="answers")
        self._thread.start()

    def tell(self, answer: bytes, *, written: bool) -> None:
        """Tell an answer; one to what was ``written`` once that is on the disk."""
        self._given.put((answer, written))

    def close(self) -> None:
        """Tell all that was given, and wait for that."""
        self._given.put(None)
        self._thread.join()
        if self._opened is not None:
            os.close(self._opened)

    def _run(self) -> None:
        try:
            while self._tell_all():
                pass
        except Exception:  # noqa: BLE001 - whatever it was: from here on nobody would be told anything
            self._end()

    def _tell_all(self) -> bool:
        """Wait for an answer and tell all that are given by then; return whether more may come."""
        given = [self._given.get()]
        while not self._given.empty():
            given.append(self._given.get())
        answers = [item for item in given if item is not None]
        if any(written for _, written in answers):
            self._sync(self._descriptor())
        self._sink.write(b"".join([answer for answer, _ in answers]))
        self._sink.flush()
        return None not in given

    def _descriptor(self) -> int:
        if self._opened is None:
            # SQLite's locks are on other files: to close this one loses none.
            self._opened = os.open(self._log, os.O_RDWR)
        return self._opened
