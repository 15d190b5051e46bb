"""Rounds: everything is measured once a round, in an order that moves on, so that no arm always goes first."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")

#: What one measurement of one arm gave, by the figure's name.
Sample = Mapping[str, float]
#: The samples of each arm, round by round.
Samples = Mapping[str, Sequence[Sample]]


def rotated(items: Sequence[T], by: int) -> list[T]:
    """Return the items from place ``by`` on, the ones before it at the end; ``by`` may exceed their number."""
    if not items:
        return []
    start = by % len(items)
    return [*items[start:], *items[:start]]


def column(samples: Sequence[Sample], figure: str) -> list[float]:
    """Return one figure, round by round."""
    return [sample[figure] for sample in samples]


class Budget:
    """The seconds a run may take. A round that would not fit any more is left out."""

    def __init__(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._began = monotonic()
        self._seconds = seconds

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return self._monotonic() - self._began

    def fits(self, seconds: float, share: float) -> bool:
        """Whether ``seconds`` more end within the first ``share`` (0 to 1) of the budget."""
        return self.spent + seconds <= self._seconds * share


def measure(
    title: str,
    arms: Mapping[str, Callable[[], Sample]],
    *,
    rounds: int,
    budget: Budget,
    share: float,
    summary: Callable[[Mapping[str, Sample]], str],
) -> Samples:
    """Measure every arm once a round and tell a line a round on standard error.

    Fewer rounds are made where the next one would go beyond ``share`` of the budget; there is always one.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in arms}
    longest = 0.0
    for number in range(rounds):
        if number and not budget.fits(longest, share):
            tell(f"{title}: stopped after {number} of {rounds} rounds, the time is used up")
            break
        began = budget.spent
        for name in rotated(list(arms), number):
            samples[name].append(arms[name]())
        longest = max(longest, budget.spent - began)
        latest = {name: taken[-1] for name, taken in samples.items()}
        tell(f"{title}: round {number + 1} of {rounds}, {budget.spent:.0f} s gone: {summary(latest)}")
    return samples


def tell(line: str) -> None:
    """Tell one line of progress."""
    print(line, file=sys.stderr, flush=True)
