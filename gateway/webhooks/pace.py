"""How much one receiver is given at once, and when: a pure function of how its answers went.

A receiver that is not known to be well is tried one webhook at a time, so that one that never answers holds one place
and no more; one that says it has too much is left alone for a while.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: Webhooks under way to one receiver that is well.
WIDTH: Final = 8
#: Seconds a receiver is left alone that says it has too much and not for how long; doubled each time in a row.
REST: Final = 5.0
MAX_REST: Final = 300.0
#: The longest rest that a receiver may ask for, in seconds. What it asked for longer holds for that one webhook.
MAX_ASKED: Final = 3600.0


class Pace:
    """One receiver's, of one node. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._under_way = 0
        self._width = 1
        self._rests_until = 0.0
        self._rests = 0

    @property
    def under_way(self) -> int:
        """How many webhooks are under way to it."""
        return self._under_way

    def room(self, now: float) -> int:
        """Return how many more webhooks it may be given."""
        return 0 if now < self._rests_until else max(0, self._width - self._under_way)

    def rest(self, now: float) -> float:
        """Return the seconds for which it is left alone; 0 where it is not."""
        return max(0.0, self._rests_until - now)

    def begin(self) -> None:
        """One more is under way."""
        self._under_way += 1

    def end(self) -> None:
        """One of them is not any more, however it ended."""
        self._under_way -= 1

    def well(self) -> None:
        """It took one."""
        self._width, self._rests = min(2 * self._width, WIDTH), 0

    def failed(self) -> None:
        """It did not take one."""
        self._width = 1

    def throttled(self, now: float, retry_after: float | None) -> None:
        """It has too much, and asks for ``retry_after`` seconds, or for no time in particular."""
        self.failed()
        own = min(REST * 2.0**self._rests, MAX_REST)
        # Sixteen doublings are far beyond the longest rest.
        self._rests = min(self._rests + 1, 16)
        asked = min(retry_after or 0.0, MAX_ASKED)
        self._rests_until = max(self._rests_until, now + max(own, asked))


def shares(free: int, paces: Mapping[str, Pace], now: float) -> dict[str, int]:
    """Return how many of ``free`` places each receiver gets: one by one, always to who has the fewest."""
    rooms = {service: pace.room(now) for service, pace in paces.items()}
    given = dict.fromkeys(rooms, 0)
    for _ in range(free):
        open_ones = [service for service, room in rooms.items() if given[service] < room]
        if not open_ones:
            break
        given[min(open_ones, key=lambda service: paces[service].under_way + given[service])] += 1
    return {service: number for service, number in given.items() if number}
