"""Memory over a million messages: what ``serve`` holds after each hundred thousand that were accepted and sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.accepts import load
from benchmarks.carrying import settle
from benchmarks.figures import Target, spread
from benchmarks.mail_sinks import mail_sink
from benchmarks.parts import FULL_ONLY, Arm, Part, Scale, Shown, Stage
from benchmarks.report import Row, Section, number
from benchmarks.rounds import Sample, Samples, column, tell
from benchmarks.served import PATIENCE, Prepared, serving

GATEWAY = "gateway, SQLite"
#: Messages between two looks, and in all; a million leave some 4 GB of rows and log until the end of the run.
STEP: Final = 100_000
COUNT: Final = 1_000_000
#: Seconds it may take: a machine that sends fewer in that time looks at fewer.
LIMIT: Final = 1500.0
#: MiB at the end, and MiB that each further step adds.
HELD = Target(200.0, at_least=False)
GROWN = Target(1.0, at_least=False)
#: Steps before growth counts: caches fill, pools open, the allocator finds its size.
SETTLED: Final = 2
#: Seconds the mails of one step may take to arrive after the last request.
_ARRIVING = 120.0


@dataclass(frozen=True, slots=True)
class Growth:
    """How many messages are sent at most, and in how many seconds."""

    folder: Path
    prepared: Prepared
    count: int = COUNT
    step: int = STEP
    limit: float = LIMIT

    def arms(self) -> Mapping[str, Arm]:
        """Return what is measured, by name."""
        return {GATEWAY: self.gateway}

    def gateway(self) -> Sample:
        """Send step by step and look at the memory after each. Raises ``ChildError``."""
        with mail_sink(self.folder) as end, serving(self.prepared, sink=end.port) as served:

            def send(first: int) -> float:
                asked = ("--key", served.key, "--count", self.step, "--first", first, "--seconds", self.limit)
                load(self.folder, served.port, *asked, within=self.limit + PATIENCE)
                end.wait(first + self.step, _ARRIVING)
                settle(served.child)
                return served.child.memory.resident

            held = steps(send, self.count, self.step, self.limit, time.monotonic)
        return grown(held, self.step)


def steps(
    send: Callable[[int], float], count: int, step: int, limit: float, monotonic: Callable[[], float]
) -> list[float]:
    """Send ``count`` messages by steps; return what was held after each, in MiB.

    ``send`` is given the number of its first message. A step that would not end within the ``limit``, in seconds, as
    the longest before it took, is left out, and those after it.
    """
    began_at, longest, held = monotonic(), 0.0, list[float]()
    for first in range(0, count, step):
        asked_at = monotonic()
        if asked_at + longest > began_at + limit:
            break
        held.append(send(first))
        longest = max(longest, monotonic() - asked_at)
        tell(f"memory: {number(held[-1])} MiB after {first + step:,}, {monotonic() - began_at:.0f} s gone")
    return held


def grown(held: Sequence[float], step: int) -> Sample:
    """Return what was held at the end, and what each step added from the ``SETTLED``-th on; of fewer, from the first on.

    Raises ``ValueError`` for less than two steps.
    """
    if len(held) < 2:
        raise ValueError("memory cannot be seen to grow in less than two steps")
    settled = held[min(SETTLED, len(held) - 1) - 1 :]
    return {
        "messages": float(len(held) * step),
        "first": held[0],
        "settled": settled[0],
        "held": held[-1],
        "grown": (settled[-1] - settled[0]) / (len(settled) - 1),
    }


def _arms(stage: Stage) -> Mapping[str, Arm]:
    return Growth(stage.folder, stage.sqlite).arms()


def sections(samples: Samples, _scale: Scale) -> Sequence[Section]:
    """Return what was held, and by how much it grew."""
    taken = samples[GATEWAY]
    messages = int(min(column(taken, "messages")))
    rows = [
        Row(f"after {STEP:,} messages", spread(column(taken, "first"))),
        Row(f"after {SETTLED * STEP:,} messages", spread(column(taken, "settled"))),
        Row(f"after {messages:,} messages", spread(column(taken, "held")), None, HELD, on_ratio=False),
        Row(f"each further {STEP:,} messages", spread(column(taken, "grown")), None, GROWN, on_ratio=False),
    ]
    text = (
        f"VmRSS of one `serve` on SQLite after so many e-mails, each to another person, accepted from 32 connections and "
        f"sent; it is read once everything is settled. Growth counts from {SETTLED * STEP:,} messages on. "
        f"{COUNT:,} are sent where that takes no more than {LIMIT / 60:g} minutes."
    )
    return [Section("Memory over many messages", text, "MiB", rows)]


PART = Part("growth", _arms, sections, weight=1100, shown=Shown("held", " MiB"), rounds=1, extents=FULL_ONLY)
