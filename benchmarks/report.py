"""Figures as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Spread, Target, Verdict, again, noise, ratios, spread
from benchmarks.rounds import Samples, column


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
    #: By what part the yardstick differs from itself in this run (``figures.noise``); 0 where it was measured once.
    floor: float = 0.0

    @property
    def judged(self) -> Spread:
        """What the target is for. Raises ``ValueError`` where that was not measured."""
        measured = self.ratio if self.on_ratio else self.figure
        if measured is None:
            raise ValueError(f"{self.name}: a target for a ratio needs one")
        return measured

    @property
    def reached(self) -> Verdict | None:
        """What the median is to the target; ``None`` without one."""
        return None if self.target is None else self.target.verdict(self.judged.median, self.floor)

    @property
    def verdict(self) -> str:
        """The target and whether it is reached; empty without one."""
        return f"{self.target}: {self.reached}" if self.target else ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing that stands in a section."""

    #: Its file's name in docs/images: ``latency-over-load.svg``.
    name: str
    #: What it shows, for who cannot see it.
    alternative: str
    #: The file's content.
    svg: str


@dataclass(frozen=True, slots=True)
class Section:
    """One table with what must be known to read it."""

    title: str
    text: str
    #: The unit of the figures: ``accepts/s``.
    unit: str
    rows: Sequence[Row]
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """docs/benchmarks.md and its pictures."""

    #: Properties by name.
    machine: Mapping[str, str]
    #: How many there were: ``7``, or ``3 to 7``.
    rounds: str
    sections: Sequence[Section]
    #: What was not measured, and why.
    skipped: Mapping[str, str]

    @property
    def text(self) -> str:
        """The page."""
        properties = "\n".join(f"| {name} | {value} |" for name, value in self.machine.items())
        machine = f"## The machine\n\n| | |\n|---|---|\n{properties}\n| Rounds | {self.rounds} |"
        left_out = [f"## Left out\n\n{_items(self.skipped)}"] if self.skipped else []
        parts = [_HEAD.rstrip(), targets(self.sections), *left_out, machine, *map(_shown, self.sections), _FOOT]
        return "\n\n".join(parts)

    def write(self, page: Path) -> None:
        """Write the page, and the pictures into the folder ``images`` beside it. Raises ``OSError``."""
        page.write_text(self.text, "utf-8")
        for section in self.sections:
            for picture in section.pictures:
                (page.parent / "images" / picture.name).write_text(picture.svg, "utf-8")


def compared(
    samples: Samples, figure: str, yardstick: str, targets: Mapping[str, Target], *, scale: float = 1.0
) -> list[Row]:
    """Return one line an arm that measures the figure; the yardstick's own has no ratio.

    ``targets`` are for the ratios, by arm. ``scale`` is what the figure is multiplied by: 1000 for seconds shown in
    milliseconds. Where the yardstick was measured again, the rows know the noise.
    """
    beside = column(samples[yardstick], figure)
    floor = floor_of(samples, figure, yardstick)
    rows = []
    for name, taken in samples.items():
        if figure not in taken[0]:
            continue
        values = column(taken, figure)
        ratio = None if name == yardstick else spread(ratios(values, beside))
        shown = spread([value * scale for value in values])
        rows.append(Row(name, shown, ratio, targets.get(name), floor=floor))
    return rows


def floor_of(samples: Samples, figure: str, yardstick: str) -> float:
    """Return by what part a yardstick differs from itself in a figure; 0 where it was measured once."""
    if (repeated := again(yardstick)) not in samples:
        return 0.0
    return noise(ratios(column(samples[repeated], figure), column(samples[yardstick], figure)))


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


def targets(sections: Sequence[Section]) -> str:
    """Return the section with every target there is, and whether it is reached."""
    lines = ["| what | median | reach | aim | noise | |", "|---|---|---|---|---|---|"]
    lines += [line for section in sections for line in _judged(section)]
    return f"## Reached or not\n\n{_TARGETS}\n\n" + "\n".join(lines)


def _judged(section: Section) -> Iterator[str]:
    for row in section.rows:
        if row.target is None:
            continue
        unit = "" if row.on_ratio else f" {section.unit}"
        aim = "" if row.target.aim is None else f"{row.target.aim:.4g}"
        floor = f"±{row.floor:.0%}" if row.floor else ""
        measured = f"{ranged(row.judged)}{unit}"
        yield f"| {section.title}: {row.name} | {measured} | {row.target} | {aim} | {floor} | {row.reached} |"


def _shown(section: Section) -> str:
    pictures = [f"![{picture.alternative}](images/{picture.name})" for picture in section.pictures]
    return "\n\n".join((f"## {section.title}", section.text, *pictures, table(section)))


def _items(left_out: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {reason}" for name, reason in left_out.items())


_HEAD = """\
<!-- Written by `make bench`: change benchmarks/, not this file. -->
# Benchmarks

Absolute figures say more of a machine than of a program. So each figure stands beside a yardstick, the least that any
program of this kind must do, measured in the same run; **the ratio is the result**. Medians over the rounds, with the
lowest and the highest in brackets. The yardstick is measured twice a round: its second line ("again") against its
first is the noise, and a difference smaller than that means nothing.
"""

_TARGETS = """\
*Reach* is what a release is held to, *aim* what is possible. The noise is by how much the yardstick differs from
itself: half of the range of the second line's ratios, or the median's distance from 1 where that is more. What misses a
target by less is *within the noise*."""

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
- Noise of the machine hides small losses, so instructions are counted besides: `make bench-check` fails where an
  accept, a send or a check costs over 5% more of them than `benchmarks/instructions/counts.json` says.

## How to repeat it

```sh
make bench                               # at most 15 minutes; rewrites this file and its pictures
make bench-full                          # with other programs and a million messages: an hour and a half at most
make bench-check                         # instructions alone, at most 5 minutes; says whether they have become more
python -m benchmarks --quick             # at most 2 minutes, fewer rounds; writes nothing without --write
python -m benchmarks --only accepts      # one part of it
python -m benchmarks --full --resume X   # keeps each part's figures in a folder X, to go on from after a stop
```

Linux is needed (CPU time and memory are read from `/proc`), and a machine with nothing else to do.
"""
