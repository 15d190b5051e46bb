"""What came of a load as figures: a rate with its latencies, and these as lines of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from benchmarks.children import ChildError
from benchmarks.report import Row, compared
from benchmarks.rounds import Sample, Samples

#: Refused requests that are tolerated, of all: more, and something else was measured.
_TOLERATED: Final = 0.01


def sampled(done: Mapping[str, Any]) -> Sample:
    """Return requests per second, the median and the slowest hundredth in seconds, of a ``benchmarks.load.Load``.

    Raises ``ChildError`` where more than a hundredth was refused.
    """
    refused = sum(done["refused"].values())
    if refused > _TOLERATED * (done["created"] + refused):
        raise ChildError(f"requests were refused: {done['refused']}")
    return {"rate": done["created"] / done["seconds"], "median": done["median"], "slowest": done["slowest"]}


def rows(samples: Samples, yardstick: str) -> list[Row]:
    """Return the latencies of every arm, in milliseconds and beside the yardstick's."""
    return [
        Row(f"{row.name}, {name}", row.figure, row.ratio)
        for figure, name in (("median", "p50"), ("slowest", "p99"))
        for row in compared(samples, figure, yardstick, {}, scale=1000.0)
    ]
