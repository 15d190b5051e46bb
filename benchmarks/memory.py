"""Memory of the gateway at the end of every run that measured it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.figures import Target, spread
from benchmarks.report import Row, Section
from benchmarks.rounds import Samples, column

_TEXT = "Of `serve` with the process it may write with, at the end of each run; what the two share is counted for both."
#: MiB, as after a million messages (``benchmarks.growth``).
RESIDENT = Target(200.0, at_least=False)


def memory(measured: Mapping[str, Samples]) -> Sequence[Section]:
    """Return what ``serve`` held, of the samples by their part's title that have a figure ``resident``; else nothing."""
    rows = []
    for title, samples in measured.items():
        for arm, taken in samples.items():
            if "resident" in taken[0]:
                name = f"{title}: {arm}"
                rows.append(Row(f"{name}, VmRSS", spread(column(taken, "resident")), None, RESIDENT, on_ratio=False))
                rows.append(Row(f"{name}, VmHWM", spread(column(taken, "peak"))))
    return [Section("Memory", _TEXT, "MiB", rows)] if rows else []
