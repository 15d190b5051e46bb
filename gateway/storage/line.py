"""The line before the writer: what waits to be written, and what of it goes into one transaction.

What is light goes together. What is heavy is a transaction of its own, and takes turns with the rest by time: however many
wait, a light unit waits for one of them and what it takes itself.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from gateway.storage.unit import Move, Unit

#: Units in one transaction at most: bounds the time a single commit can hold everybody up (measured 20 µs a row).
MAX_BATCH: Final = 500
#: What the works of one transaction weigh at most. A usual one weighs 1: it reads before it decides, five round trips to
#: PostgreSQL. Behind 300 that were asked for at once everybody else waited for four seconds.
MAX_WEIGHT: Final = 16
#: What a unit weighs from which on it is heavy. Sixteen of a hundred each were eight thousand round trips in one commit.
HEAVY: Final = 5


@dataclass(slots=True, eq=False)
class Waiting:
    """A unit that waits, and who is told how it went."""

    unit: Unit
    done: asyncio.Future[Any]
    #: In usual works; what a light move weighs nobody reckons.
    weight: int = 1


class Line:
    """What waits. Times are the loop's, in seconds."""

    def __init__(self) -> None:
        #: What waits of each sort, in the order it came. Only to be looked at.
        self.light: deque[Waiting] = deque()
        self.heavy: deque[Waiting] = deque()
        #: How many of the light ones are works.
        self.works = 0
        #: Until when light units go first, and whether any has gone since the last heavy one.
        self._rests_until = -math.inf
        self._light_had_turn = True

    def __len__(self) -> int:
        return len(self.light) + len(self.heavy)

    def add(self, item: Waiting) -> None:
        """Have a unit wait behind those of its sort."""
        if item.weight >= HEAVY:
            self.heavy.append(item)
            return
        self.light.append(item)
        if not isinstance(item.unit, Move):
            self.works += 1

    def heavy_is_next(self, now: float) -> bool:
        """Whether a heavy unit is to be written before any light one."""
        if not self.heavy:
            return False
        return not self.light or (self._light_had_turn and now >= self._rests_until)

    def take_heavy(self) -> Waiting:
        """Take the heavy unit that has waited longest."""
        self._light_had_turn = False
        return self.heavy.popleft()

    def rest(self, began: float, ended: float) -> None:
        """Have light units go first for as long as a heavy one took: a busy node has half its time for them."""
        self._rests_until = ended + (ended - began)

    def gather(self) -> list[Waiting]:
        """Take light units for a batch, less what would write a row of it twice or weigh too much: that is for the next."""
        batch: list[Waiting] = []
        later: list[Waiting] = []
        seen: set[tuple[object, ...]] = set()
        weight = 0
        light = self.light
        self._light_had_turn = True
        while light and len(batch) < MAX_BATCH:
            item = light.popleft()
            if not isinstance(item.unit, Move):
                weight += item.weight
                if weight > MAX_WEIGHT:
                    later.append(item)
                    continue
                self.works -= 1
            elif identities := item.unit.identities:
                if not seen.isdisjoint(identities):
                    later.append(item)
                    continue
                seen.update(identities)
            batch.append(item)
        light.extendleft(reversed(later))
        return batch

    def clear(self) -> list[Waiting]:
        """Take everything."""
        items = [*self.light, *self.heavy]
        self.light.clear()
        self.heavy.clear()
        self.works = 0
        return items
