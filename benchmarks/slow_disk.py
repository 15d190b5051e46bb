"""Accepts where every commit waits 4 ms longer for the disk, beside the same without: whether the wait is hidden.

So many callers ask that the loop they close does not bound the rate: an answer that takes 4 ms longer leaves 32 of them
32 / (32 / 6,000 s + 4 ms), 0.57 of 6,000 a second, were nothing lost but the wait (Little's law), and 256 of them 0.91.
The rates of 32 are shown beside, without a target.

How the disk is made slower needs no compiler and no right over the machine: the gateway is started by the program
``python -m benchmarks.slow_disk SECONDS serve …`` of this module, which first puts a connection of its own in the place
of ``sqlite3.connect``'s; the process that writes long batches beside it is started by the same program. That connection
sleeps before each ``COMMIT``, in the thread that commits, and lets the interpreter go meanwhile, as an fsync does; then
SQLite commits and syncs as ever. The other process syncs by itself, and sleeps before that. The gateway's code is as it is. What a checkpoint writes is not made slower. All arms
run by this program, so that what it costs itself is in each.
"""

from __future__ import annotations

import os
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
from benchmarks.load import CONNECTIONS
from benchmarks.parts import Arm, Part, Scale, Stage
from benchmarks.report import Section, compared
from benchmarks.rounds import Sample, Samples
from benchmarks.served import PATIENCE, Prepared, serving

YARDSTICK = "as the disk is"
AGAIN = again(YARDSTICK)
SLOWED = "4 ms longer a commit"
#: The same with as many callers as the other parts have.
FEW, FEW_SLOWED = "as the disk is, 32 callers", "4 ms longer a commit, 32 callers"
#: Callers, each with one request under way.
CALLERS: Final = 256
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
        plain = partial(self._loaded, 0.0, CALLERS)
        return {
            YARDSTICK: plain,
            SLOWED: partial(self._loaded, LONGER, CALLERS),
            FEW: partial(self._loaded, 0.0, CONNECTIONS, 0.5),
            FEW_SLOWED: partial(self._loaded, LONGER, CONNECTIONS, 0.5),
            AGAIN: plain,
        }

    def _loaded(self, longer: float, callers: int, part: float = 1.0) -> Sample:
        """Load for ``part`` of the seconds; what has no target need not be as certain."""
        seconds = self.seconds * part
        command = program("slow_disk", longer)
        how = ("--connections", callers, "--seconds", seconds, "--warm-up", self.warm_up)
        with (
            sink(self.folder) as (_, port),
            serving(self.prepared, sink=port, paused=True, program=command) as served,
        ):
            within = seconds + self.warm_up + PATIENCE
            done = load(self.folder, served.port, "--key", served.key, *how, within=within)
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


def synced_later(
    seconds: float, sync: Callable[[int], object], sleep: Callable[[float], object]
) -> Callable[[int], object]:
    """Return a sync of a file that begins so many ``seconds`` later."""

    def synced(descriptor: int) -> object:
        sleep(seconds)
        return sync(descriptor)

    return synced


def replaced(connection: type[sqlite3.Connection]) -> Callable[..., sqlite3.Connection]:
    """Return what takes the place of ``sqlite3.connect`` and opens such connections."""
    return partial(sqlite3.connect, factory=connection)


def _arms(stage: Stage) -> Mapping[str, Arm]:
    return SlowDisk(stage.folder, stage.sqlite, stage.scale.seconds, stage.scale.warm_up).arms()


def sections(samples: Samples, _scale: Scale) -> Sequence[Section]:
    """Return accepts per second and their latencies; those of 32 callers beside their own yardstick."""
    few = {name: taken for name, taken in samples.items() if name in {FEW, FEW_SLOWED}}
    many = {name: taken for name, taken in samples.items() if name not in few}
    rates = [*compared(many, "rate", YARDSTICK, {SLOWED: TARGET}), *compared(few, "rate", FEW, {})]
    text = (
        f"E-mail accepts by {CALLERS} connections, nothing being sent, on the disk as it is and where each commit waits "
        f"{LONGER * 1000:g} ms longer for it. So many, for callers who wait for their answers ask less often where these "
        f"take longer: {CONNECTIONS} of them who are answered in 5 ms can keep no more than 0.56 of their rate when an "
        f"answer takes {LONGER * 1000:g} ms more, whatever the program; theirs is shown beside, each ratio to the line "
        "before. The wait is made in the benchmark's own launcher: before it runs the "
        "gateway it puts a connection in the place of `sqlite3.connect`'s that sleeps before each `COMMIT`, in the "
        "thread that commits, without the interpreter's lock, as an fsync would (`benchmarks/slow_disk.py`). All arms "
        "run by this launcher."
    )
    return [
        Section("Accepts on a slower disk", text, "accepts/s", rates),
        Section(
            "Latency of accepts on a slower disk",
            "Of the same requests.",
            "ms",
            [*latencies.rows(many, YARDSTICK), *latencies.rows(few, FEW)],
        ),
    ]


PART = Part("slow disk", _arms, sections, weight=85)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _main() -> None:
    seconds = sys.argv.pop(1)
    # Before the gateway is imported: whatever way it names a function, this is the one it finds.
    if sys.argv[1:] == [_BESIDE]:
        os.fdatasync = synced_later(float(seconds), os.fdatasync, time.sleep)  # type: ignore[assignment]
        from gateway.storage import sqlite_child

        sqlite_child.run()
        return
    made = held_up(float(seconds), time.sleep, _tell)
    sqlite3.connect = replaced(made)  # type: ignore[assignment]
    from gateway.cli import main
    from gateway.storage import sqlite_beside

    # The process that writes long batches is started by this program as well.
    sqlite_beside.PROGRAM = ("-m", "benchmarks.slow_disk", seconds, _BESIDE)
    main()


if __name__ == "__main__":
    _main()
