"""Accepts where every commit waits 4 ms longer for the disk, beside the same without: whether the wait is hidden.

How the disk is made slower needs no compiler and no right over the machine: the gateway is started by the program
``python -m benchmarks.slow_disk SECONDS serve …`` of this module, which first puts a connection of its own in the place
of ``sqlite3.connect``'s; the process that writes long batches beside it is started by the same program. That connection sleeps before each ``COMMIT``, in the thread that commits, and lets the
interpreter go meanwhile, as an fsync does; then SQLite commits and syncs as ever. The gateway's code is as it is. What a
checkpoint writes is not made slower. Both arms run by this program, so that what it costs itself is in both.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks import latencies
from benchmarks.accepts import load, sink
from benchmarks.children import program
from benchmarks.figures import Target, again
from benchmarks.latencies import sampled
from benchmarks.parts import Arm, Part, Scale, Stage
from benchmarks.report import Section, compared
from benchmarks.rounds import Sample, Samples
from benchmarks.served import PATIENCE, Prepared, serving

YARDSTICK = "as the disk is"
AGAIN = again(YARDSTICK)
SLOWED = "4 ms longer a commit"
#: Seconds a commit takes longer.
LONGER: Final = 0.004
#: Of the yardstick's rate.
TARGET = Target(0.80, at_least=True, aim=0.90)
#: What the program says on standard error once it has held up a commit: a run without that line measured nothing.
_TOLD: Final = "commits are held up"
#: What the launcher is told in place of a verb: be the process that writes beside the gateway.
_BESIDE: Final = "beside"


@dataclass(frozen=True, slots=True)
class SlowDisk:
    """How long each arm is loaded, in seconds, and what it is run on."""

    folder: Path
    prepared: Prepared
    seconds: float
    warm_up: float

    def arms(self) -> Mapping[str, Arm]:
        """Return what is measured, by name, the yardstick first."""
        return {YARDSTICK: self._plain, SLOWED: partial(self._loaded, LONGER), AGAIN: self._plain}

    def _plain(self) -> Sample:
        return self._loaded(0.0)

    def _loaded(self, longer: float) -> Sample:
        command = program("slow_disk", longer)
        times = ("--seconds", self.seconds, "--warm-up", self.warm_up)
        with (
            sink(self.folder) as (_, port),
            serving(self.prepared, sink=port, paused=True, program=command) as served,
        ):
            within = self.seconds + self.warm_up + PATIENCE
            done = load(self.folder, served.port, "--key", served.key, *times, within=within)
            if longer:
                served.child.error_line(_TOLD, PATIENCE)
        return sampled(done)


def held_up(
    seconds: float, sleep: Callable[[float], object], tell: Callable[[str], object]
) -> type[sqlite3.Connection]:
    """Return a connection whose commits begin so many ``seconds`` later; the first one is told of. 0 s is as ever."""
    told = False

    class HeldUp(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            nonlocal told
            if seconds and sql == "COMMIT":
                if not told:
                    told = True
                    tell(_TOLD)
                sleep(seconds)
            return super().execute(sql, *values)

    return HeldUp


def replaced(connection: type[sqlite3.Connection]) -> Callable[..., sqlite3.Connection]:
    """Return what takes the place of ``sqlite3.connect`` and opens such connections."""
    return partial(sqlite3.connect, factory=connection)


def _arms(stage: Stage) -> Mapping[str, Arm]:
    return SlowDisk(stage.folder, stage.sqlite, stage.scale.seconds, stage.scale.warm_up).arms()


def sections(samples: Samples, _scale: Scale) -> Sequence[Section]:
    """Return accepts per second and their latencies."""
    rates = compared(samples, "rate", YARDSTICK, {SLOWED: TARGET})
    text = (
        "E-mail accepts by 32 connections, nothing being sent, on the disk as it is and where each commit waits "
        f"{LONGER * 1000:g} ms longer for it. The wait is made in the benchmark's own launcher: before it runs the "
        "gateway it puts a connection in the place of `sqlite3.connect`'s that sleeps before each `COMMIT`, in the "
        "thread that commits, without the interpreter's lock, as an fsync would (`benchmarks/slow_disk.py`). Both arms "
        "run by this launcher."
    )
    return [
        Section("Accepts on a slower disk", text, "accepts/s", rates),
        Section(
            "Latency of accepts on a slower disk", "Of the same requests.", "ms", latencies.rows(samples, YARDSTICK)
        ),
    ]


PART = Part("slow disk", _arms, sections, weight=70)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _main() -> None:
    seconds = sys.argv.pop(1)
    made = held_up(float(seconds), time.sleep, _tell)
    # Before the gateway is imported: whatever way it names the function, this is the one it finds.
    sqlite3.connect = replaced(made)  # type: ignore[assignment]
    if sys.argv[1:] == [_BESIDE]:
        from gateway.storage import sqlite_child

        sqlite_child.run()
        return
    from gateway.cli import main
    from gateway.storage import sqlite_beside

    # The process that writes long batches is started by this program as well.
    sqlite_beside.PROGRAM = ("-m", "benchmarks.slow_disk", seconds, _BESIDE)
    main()


if __name__ == "__main__":
    _main()
