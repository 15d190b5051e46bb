"""Figures as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.figures import Spread, Target


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table."""

    name: str
    #: What was measured, in the table's unit.
    figure: Spread
    #: The same over the yardstick, round by round.
    ratio: Spread | None = None
    target: Target | None = None
    #: Whether the target is for the ratio; else for the figure.
    on_ratio: bool = True

    @property
    def verdict(self) -> str:
        """Whether the target is reached, by the median; empty without a target."""
        if self.target is None:
            return ""
        measured = self.ratio if self.on_ratio else self.figure
        assert measured is not None, "a target for a ratio needs one"
        return f"{self.target}: {'reached' if self.target.reached(measured.median) else '**missed**'}"


@dataclass(frozen=True, slots=True)
class Section:
    """One table with what must be known to read it."""

    title: str
    text: str
    #: The unit of the figures: ``accepts/s``.
    unit: str
    rows: Sequence[Row]


def number(value: float) -> str:
    """Return a figure with the decimals that make three digits, thousands apart: ``0.214``, ``12.5``, ``9,810``."""
    # Rounded first: 99.96 has no decimals, for it is shown as 100.
    size = abs(float(f"{value:.3g}"))
    decimals = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{decimals}f}"


def ranged(spread: Spread | None) -> str:
    """Return the median with its range in brackets, a dash where there is nothing."""
    if spread is None:
        return "-"
    return f"{number(spread.median)} ({number(spread.low)} to {number(spread.high)})"


def table(section: Section) -> str:
    """Return a section's table."""
    lines = [f"| what | {section.unit} | ratio to the yardstick | target |", "|---|---|---|---|"]
    lines += [f"| {row.name} | {ranged(row.figure)} | {ranged(row.ratio)} | {row.verdict} |" for row in section.rows]
    return "\n".join(lines)


def document(machine: Mapping[str, str], rounds: str, sections: Sequence[Section]) -> str:
    """Return docs/benchmarks.md."""
    properties = "\n".join(f"| {name} | {value} |" for name, value in machine.items())
    tables = "\n\n".join(f"## {section.title}\n\n{section.text}\n\n{table(section)}" for section in sections)
    return f"{_HEAD}\n## The machine\n\n| | |\n|---|---|\n{properties}\n| Rounds | {rounds} |\n\n{tables}\n\n{_FOOT}"


_HEAD = """\
<!-- Written by `make bench`: change benchmarks/, not this file. -->
# Benchmarks

Absolute figures say more of a machine than of a program. So each figure stands beside a yardstick, the least that any
program of this kind must do, measured in the same run; **the ratio is the result**. Medians over the rounds, with the
lowest and the highest in brackets. The yardstick is measured twice a round: its second line ("again") against its
first is the noise, and a difference smaller than that means nothing.
"""

_FOOT = """\
## How it is measured

- Server, load and sink are processes of their own on one machine and share its cores. Loads go to 127.0.0.1 only.
- The arms of a measurement take turns within a round, and each round begins with another one. A ratio is taken round
  by round: what slowed both down cancels out.
- Every measurement starts a fresh server on a fresh copy of a migrated database. The gateway is `otp-gateway serve`
  as anybody would run it, its log written to a file, with the limits a service has by default (each request is for
  another person).
- The load is a raw HTTP/1.1 client on uvloop (`benchmarks/load.py`) with 32 keep-alive connections, one request under
  way on each; it sends both servers the same bytes. Only answers 201 count.

## How to repeat it

```sh
make bench                          # all of it, at most 10 minutes; rewrites this file
python -m benchmarks --quick        # at most 2 minutes, fewer rounds; shows the tables, writes nothing without --write
python -m benchmarks --full         # with a million queued messages; takes longer
```

Linux is needed (CPU time and memory are read from `/proc`), and a machine with nothing else to do.
"""
