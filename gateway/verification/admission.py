"""Admission: a code that would be accepted only to die waiting is refused at once, and the caller told when to return."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from gateway.clock import Clock
from gateway.errors import Unavailable

#: Seconds that a code may be expected to wait: this part of the time it lives, and so many at most.
PART: Final = 1 / 4
LONGEST: Final = 30.0
#: Seconds after which a caller is told to return, at most, unless more of them are certain: by then more is known.
LONGEST_RETRY: Final = 60.0
#: Seconds for which an expected wait is remembered: what is taken on meanwhile adds as much to it at most.
REMEMBERED: Final = 0.005


class Admission:
    """Decides whether a code is taken on.

    ``expected_wait`` returns the seconds after which a message of a channel and service may start; ``usable`` says
    whether a channel would send it, rather than pass it on to the next one at once; ``rest`` for how many seconds a channel is
    known to send nothing. With a ``clock`` a wait is
    remembered for ``REMEMBERED`` seconds: a check is 0.5 µs in place of 2.9 while many ask at once.
    """

    def __init__(
        self,
        expected_wait: Callable[[str, str], float],
        usable: Callable[[str], bool],
        clock: Clock | None = None,
        *,
        rest: Callable[[str], float] = lambda _: 0.0,
    ) -> None:
        self._asked = expected_wait
        self._usable = usable
        self._rest = rest
        self._clock = clock
        #: Waits by channel and service, which are configured and so bound it, and until when (monotonic seconds).
        self._waits: dict[tuple[str, str], tuple[float, float]] = {}

    def check(self, service: str, route: Sequence[str], lives: float) -> None:
        """Refuse a code that lives so many seconds where its route's first usable channel is too busy for it.

        Raises ``Unavailable``.
        """
        channel, wait = self._wait(service, route)
        limit = min(lives * PART, LONGEST)
        if wait > limit:
            # What is certain is told whole: who came back sooner would be refused once more.
            raise Unavailable(
                "a code would wait too long for the channels of this route",
                retry_after=max(min(wait - limit, LONGEST_RETRY), self._rest(channel) - limit),
            )

    def _wait(self, service: str, route: Sequence[str]) -> tuple[str, float]:
        """Return the channel of a route that would send, and the seconds that are to be waited for it."""
        first = route[0]
        wait = self._expected_wait(first, service)
        if not wait or len(route) == 1 or self._usable(first):
            return first, wait
        channel = next((name for name in route[1:] if self._usable(name)), route[-1])
        return channel, self._expected_wait(channel, service)

    def _expected_wait(self, channel: str, service: str) -> float:
        if self._clock is None:
            return self._asked(channel, service)
        now = self._clock.monotonic()
        found = self._waits.get((channel, service))
        if found is not None and now < found[1]:
            return found[0]
        wait = self._asked(channel, service)
        self._waits[channel, service] = (wait, now + REMEMBERED)
        return wait
