"""Statistics of a few rounds: medians with their range, ratios to a yardstick, targets."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """What several rounds gave: the median, and how far it may be trusted."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for a figure."""

    bound: float
    #: Whether the figure must be at least the bound; else at most.
    at_least: bool

    def reached(self, value: float) -> bool:
        """Whether a figure keeps to the bound; the bound itself does."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


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
