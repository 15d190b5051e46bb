"""Statistics of a few rounds: medians with their range, ratios to a yardstick, targets."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Spread:
    """What several rounds gave: the median, and how far it may be trusted."""

    median: float
    low: float
    high: float


class Verdict(StrEnum):
    """What a figure is to its target."""

    #: The aim is kept to as well.
    AIM = "reached, and the aim"
    REACHED = "reached"
    #: Missed by no more than the same program differs from itself in this run.
    NOISE = "within the noise"
    MISSED = "**missed**"


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for a figure."""

    bound: float
    #: Whether the figure must be at least the bound; else at most.
    at_least: bool
    #: What it should be some day; ``None`` where the bound is all that is wanted.
    aim: float | None = None

    def reached(self, value: float) -> bool:
        """Whether a figure keeps to the bound; the bound itself does."""
        return self._keeps(value, self.bound)

    def verdict(self, value: float, floor: float = 0.0) -> Verdict:
        """Return what a figure is to it where a measurement differs from its repetition by ``floor`` (0.1 is 10 %)."""
        if self.aim is not None and self._keeps(value, self.aim):
            return Verdict.AIM
        if self.reached(value):
            return Verdict.REACHED
        kindly = value * (1 + floor) if self.at_least else value / (1 + floor)
        return Verdict.NOISE if self.reached(kindly) else Verdict.MISSED

    def _keeps(self, value: float, bound: float) -> bool:
        return value >= bound if self.at_least else value <= bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:.4g}"


def spread(values: Sequence[float]) -> Spread:
    """Return median, lowest and highest. Raises ``ValueError`` where there is no value."""
    if not values:
        raise ValueError("no value was measured")
    return Spread(statistics.median(values), min(values), max(values))


def ratios(values: Sequence[float], yardstick: Sequence[float]) -> list[float]:
    """Return each round's value over the same round's yardstick: what slows both down cancels out.

    Raises ``ValueError`` where the rounds do not match or a yardstick is 0.
    """
    if 0 in yardstick:
        raise ValueError("the yardstick measured nothing")
    return [value / beside for value, beside in zip(values, yardstick, strict=True)]


def again(name: str) -> str:
    """Return the name of the arm that measures the yardstick ``name`` a second time."""
    return f"{name}, again"


def noise(values: Sequence[float]) -> float:
    """Return by what part a program differs from itself, of the ratios of its two measurements round by round.

    Half of the way from the lowest to the highest over the median, or the median's own distance from 1 where that is
    more. With seven rounds the half range is about three standard errors of a median, so what goes beyond it is
    hardly chance.
    """
    found = spread(values)
    return max(abs(found.median - 1), (found.high - found.low) / 2 / found.median)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank quantile: the smallest value that ``share`` of all do not exceed.

    Raises ``ValueError`` where there is no value or ``share`` is not in (0, 1].
    """
    if not values or not 0 < share <= 1:
        raise ValueError("a quantile needs values and a share above 0 and up to 1")
    return sorted(values)[math.ceil(share * len(values)) - 1]


def across(columns: Sequence[Sequence[float]]) -> list[float]:
    """Return, round by round, the largest of the columns' values over the smallest."""
    return [max(row) / min(row) for row in zip(*columns, strict=True)]
