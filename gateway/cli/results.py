"""What became of a list of people: a CSV file that grows as codes are taken on, and by which a stopped run goes on."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from gateway.durable import sync
from gateway.errors import ConfigError
from gateway.value import Value


class Status(StrEnum):
    """What became of a row."""

    #: Taken on: a node sends it.
    QUEUED = "queued"
    #: Taken on: it is sent once the person has opened the bot.
    WAITING = "waiting"
    #: Not taken on, and it would not be another time.
    REFUSED = "refused"
    #: Not taken on now (a limit, a busy gateway): the same command tries it again.
    DEFERRED = "deferred"
    #: The line cannot be used.
    FAULTY = "faulty"


class Result(Value, frozen=True):
    """One row of the file."""

    #: The line in the list of people, from 1.
    line: int
    #: Masked.
    to: str
    #: The verification; empty where there is none.
    id: str
    status: str
    channel: str
    #: Why it was not taken on: a problem's code and its sentence.
    error: str


#: The columns: a result's fields, and which run it belongs to.
COLUMNS: Final = (*Result.__struct_fields__, "run")
_HEAD: Final = (",".join(COLUMNS) + "\n").encode()
_AGAIN: Final = frozenset({Status.DEFERRED})


class Results:
    """The results file of one run. ``run`` names the run: the list's content and what is asked for all of it.

    Open it with ``with``. What ``write`` was given is on the disk when it returns: a killed process has lost nothing
    that it wrote, and of a line cut in half by the kill nothing is kept.
    """

    def __init__(self, path: Path, run: str) -> None:
        self._path = path
        self._run = run
        self._file: IO[bytes] | None = None
        #: Lines that need nothing more, by what became of them.
        self.finished: dict[int, str] = {}

    def __enter__(self) -> Self:
        """Open the file and read what is in it. Raises ``ConfigError`` where it is another run's or cannot be written."""
        try:
            self._file = self._path.open("a+b")
            self._file.seek(0)
            self._read(self._file)
        except OSError as error:
            raise ConfigError([f"{self._path}: {error.strerror or error}"]) from None
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            # What a full disk did not take is in its buffer still, and closing would fail by it once more. Nothing else
            # is in there: every row was on the disk when it was written.
            with suppress(OSError):
                self._file.close()

    def write(self, results: Iterable[Result]) -> None:
        """Add results, and wait until they are on the disk. Raises ``ConfigError`` where it is full."""
        rows = [{name: getattr(result, name) for name in Result.__struct_fields__} for result in results]
        try:
            self._append([{**row, "run": self._run} for row in rows])
        except OSError as error:
            raise ConfigError([f"{self._path}: {error.strerror}; the same command goes on from here"]) from None

    def _append(self, rows: Iterable[Mapping[str, object]]) -> None:
        assert self._file is not None, "the file is open"
        text = io.StringIO(newline="")
        csv.DictWriter(text, COLUMNS, lineterminator="\n").writerows(rows)
        self._file.write(text.getvalue().encode())
        self._file.flush()
        os.fsync(self._file.fileno())

    def _read(self, file: IO[bytes]) -> None:
        raw = file.read()
        if _HEAD.startswith(raw):
            # New, or cut off while it was made.
            file.truncate(0)
            self._append([dict(zip(COLUMNS, COLUMNS, strict=True))])
            sync(self._path.absolute().parent)
            return
        if not raw.startswith(_HEAD):
            raise ConfigError([f"{self._path} is no results file; name another one with --results"])
        whole = raw[: raw.rfind(b"\n") + 1]
        try:
            for row in csv.DictReader(io.StringIO(whole.decode(errors="replace"), newline="")):
                self._take(row)
        except (csv.Error, ValueError):
            # A cell beyond what a line of ours can hold, or no number: changed by somebody, or never ours.
            told = f"{self._path} is of another list, or of other options"
            raise ConfigError([f"{told}; move it away, or name another file with --results"]) from None
        file.truncate(len(whole))

    def _take(self, row: Mapping[str, str]) -> None:
        """Remember what became of a line. Raises ``ValueError`` for what this run has not written."""
        if row["run"] != self._run or not row["line"].isdecimal():
            raise ValueError("not of this run")
        if row["status"] not in _AGAIN:
            self.finished[int(row["line"])] = row["status"]
