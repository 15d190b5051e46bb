"""The parts of a run: what each measures, on what, for how long, and how its figures are shown.

A part is a module with a ``PART``; ``benchmarks.__main__.PARTS`` lists them in the order of the report.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from benchmarks.children import ChildError
from benchmarks.kept import Kept
from benchmarks.report import Section, number
from benchmarks.rounds import Budget, Sample, Samples, measure, tell
from benchmarks.served import Prepared

#: Measures once and returns the figures by name.
Arm = Callable[[], Sample]


class Extent(StrEnum):
    """How much of everything a run measures."""

    #: A look, two minutes.
    QUICK = "quick"
    #: ``make bench``, 15 minutes.
    BENCH = "bench"
    #: ``make bench-full``, an hour and more.
    FULL = "full"


#: The runs a part belongs to: all; all but a look; the long one alone.
EVERY = frozenset(Extent)
BENCH_AND_FULL = frozenset({Extent.BENCH, Extent.FULL})
FULL_ONLY = frozenset({Extent.FULL})


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    extent: Extent
    #: Rounds of a part that does not want fewer.
    rounds: int
    #: Seconds of everything; rounds that do not fit are left out.
    budget: float
    #: Seconds of one load, and before it counts.
    seconds: float
    warm_up: float
    #: Mails of one end-to-end run: more than the 2,000 a gateway holds in memory, so that some go through the queue.
    mails: int
    #: Requests of one idle run.
    requests: int
    #: Turns of eight claims a round.
    repeats: int
    #: Queued messages of the tables that are claimed from.
    sizes: Sequence[int]


@dataclass(frozen=True, slots=True)
class Stage:
    """What a part is run on."""

    #: For databases and logs, on the disk that is measured.
    folder: Path
    scale: Scale
    #: A migrated SQLite file with a key in it, to start gateways on copies of (``benchmarks.served.serving``).
    sqlite: Prepared
    #: The same on PostgreSQL; ``None`` where no server could be started.
    postgresql: Prepared | None
    #: The URL of that server, ``None`` as well.
    url: str | None
    #: Closed when the part is over: for what its arms share.
    stack: ExitStack = field(default_factory=ExitStack)


class SkippedError(Exception):
    """Raised by ``Part.arms`` where a part cannot be measured here; its text is the reason, and is in the report."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The figure that a progress line shows of each arm."""

    figure: str = "rate"
    unit: str = "/s"
    #: What it is multiplied by: 1000 for seconds shown in milliseconds.
    scale: float = 1.0

    def __call__(self, latest: Mapping[str, Sample]) -> str:
        """Return the line; arms that do not measure the figure are left out."""
        return "; ".join(
            f"{name} {number(sample[self.figure] * self.scale)}{self.unit}"
            for name, sample in latest.items()
            if self.figure in sample
        )


@dataclass(frozen=True, slots=True)
class Part:
    """One measurement with all its arms."""

    #: As progress lines and the list of what was left out name it.
    title: str
    #: Returns the arms by name, the yardstick first and again (``figures.again``); may raise ``SkippedError``.
    arms: Callable[[Stage], Mapping[str, Arm]]
    #: Returns the tables that are made of it.
    sections: Callable[[Samples, Scale], Sequence[Section]]
    #: Seconds it takes, about: its share of the run's budget, together with what parts before it left over.
    weight: float
    shown: Shown = Shown()
    #: Rounds at most, for a part whose rounds are long; ``None`` for as many as the run makes.
    rounds: int | None = None
    #: The runs it belongs to.
    extents: frozenset[Extent] = BENCH_AND_FULL


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the parts."""

    #: The samples of those that were measured, by title.
    samples: Mapping[str, Samples]
    sections: Sequence[Section]
    #: Why the others were not, by title.
    skipped: Mapping[str, str]
    #: Which of these were failures.
    failed: Sequence[str]

    @property
    def rounds(self) -> str:
        """How many rounds were made: ``7``, or ``3 to 7``."""
        made = sorted(len(next(iter(taken.values()))) for taken in self.samples.values())
        if not made:
            return "0"
        return str(made[0]) if made[0] == made[-1] else f"{made[0]} to {made[-1]}"


def chosen(parts: Sequence[Part], extent: Extent, only: Sequence[str] = ()) -> list[Part]:
    """Return the parts of a run; where ``only`` names some, those whatever the extent.

    Raises ``KeyError`` with a name that no part has.
    """
    titles = {part.title for part in parts}
    for name in only:
        if name not in titles:
            raise KeyError(name)
    if only:
        return [part for part in parts if part.title in only]
    return [part for part in parts if extent in part.extents]


def measure_all(parts: Sequence[Part], stage: Stage, budget: Budget, kept: Kept | None = None) -> Outcome:
    """Measure the parts one after the other. One that fails is named and the others are measured all the same.

    What is ``kept`` of an earlier run is not measured again, and what is measured is kept.
    """
    samples: dict[str, Samples] = {}
    sections: list[Section] = []
    skipped: dict[str, str] = {}
    failed: list[str] = []
    total, until = sum(part.weight for part in parts), 0.0
    for part in parts:
        until += part.weight
        try:
            taken = _kept_or_measured(part, stage, budget, until / total, kept)
            sections += part.sections(taken, stage.scale)
            samples[part.title] = taken
        except SkippedError as reason:
            skipped[part.title] = str(reason)
            tell(f"{part.title}: left out, {reason}")
        except Exception as error:  # noqa: BLE001 - whatever hinders one, an hour of other figures is wanted
            traceback.print_exception(error)
            said = str(error).splitlines() if isinstance(error, ChildError) else []
            skipped[part.title] = f"it failed: {(said or [type(error).__name__])[0]}"
            failed.append(part.title)
            tell(f"{part.title}: failed")
    return Outcome(samples, sections, skipped, failed)


def _kept_or_measured(part: Part, stage: Stage, budget: Budget, share: float, kept: Kept | None) -> Samples:
    if kept is None:
        return _measured(part, stage, budget, share)
    if (found := kept.read(part.title)) is not None:
        tell(f"{part.title}: as it was measured before")
        return found
    taken = _measured(part, stage, budget, share)
    kept.write(part.title, taken)
    return taken


def _measured(part: Part, stage: Stage, budget: Budget, share: float) -> Samples:
    rounds = min(stage.scale.rounds, part.rounds or stage.scale.rounds)
    with ExitStack() as stack:
        arms = part.arms(replace(stage, stack=stack))
        return measure(part.title, arms, rounds=rounds, budget=budget, share=share, summary=part.shown)
