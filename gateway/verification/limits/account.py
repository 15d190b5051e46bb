"""What one service has used of its allowances, as one node knows it: requests, messages that wait, money spent and about to be."""

from __future__ import annotations

from typing import Final

from gateway.config import LimitSettings

#: Seconds between two tallies.
LOOK: Final = 1.0
#: Rows of the queue counted in a second at most: of a long queue, which says little new each second, there are fewer looks.
COUNTED_A_SECOND: Final = 20_000
#: Seconds after which a caller is told to return to a full queue, at most: by then more is known.
LONGEST_WAIT: Final = 60.0
#: Prices are sums of floats: so little more than the allowance is the allowance.
ROUNDING: Final = 1e-9


class Bucket:
    """A token bucket: ``rate`` tokens come each second, up to one second's worth and never less than one.

    All times are monotonic seconds.
    """

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._tokens = self._most
        self._at = now

    def share(self, rate: float, now: float) -> None:
        """Go on with another rate."""
        self._fill(now)
        self._rate = rate
        self._tokens = min(self._tokens, self._most)

    def take(self, now: float) -> float:
        """Take a token and return 0, or return the seconds until there is one and take none."""
        self._fill(now)
        if self._tokens < 1 - ROUNDING:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0

    def give_back(self) -> None:
        """Return a token that was taken for nothing."""
        self._tokens = min(self._tokens + 1, self._most)

    @property
    def _most(self) -> float:
        return max(1.0, self._rate)

    def _fill(self, now: float) -> None:
        self._tokens = min(self._most, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now


class Queued:
    """How many messages of a service wait: counted in the database now and then, and reckoned on from there."""

    def __init__(self) -> None:
        #: Whether anybody asked since the last look.
        self.asked = False
        #: When to look again, in monotonic seconds.
        self.look_at = 0.0
        self._counted = 0
        self._counted_at = 0.0
        #: Messages prepared and not written yet, by their ids: else the many of a chunk would all find the same room.
        self._prepared: set[str] = set()
        self._made = 0
        self._left = 0
        self._pace = 0.0

    @property
    def depth(self) -> int:
        """How many wait now, as far as this node knows."""
        return max(0, self._counted + self._made - self._left) + len(self._prepared)

    def prepared(self, message_id: str) -> None:
        """One more is about to wait."""
        self._prepared.add(message_id)

    def dropped(self, message_id: str) -> None:
        """It does not, after all."""
        self._prepared.discard(message_id)

    def made(self, message_id: str) -> None:
        """One more waits."""
        self._prepared.discard(message_id)
        self._made += 1

    def left(self) -> None:
        """One was sent by this node."""
        self._left += 1

    def count(self, number: int, now: float) -> None:
        """Begin anew from what a look found."""
        if self._counted_at:
            gone = self._counted + self._made - number
            self._pace = max(0.0, gone / max(now - self._counted_at, LOOK))
        self._counted, self._counted_at, self._made, self._left = number, now, 0, 0
        # What is prepared is written within the second, or its caller is gone.
        self._prepared.clear()
        self.asked, self.look_at = False, now + number / COUNTED_A_SECOND

    def wait(self, most: int) -> float:
        """Return the seconds after which fewer than ``most`` may wait, at the pace of late."""
        over = self.depth - most + 1
        return min(over / self._pace, LONGEST_WAIT) if self._pace > 0 else LONGEST_WAIT


class Reckoned:
    """Prices of messages, each until its code dies."""

    def __init__(self) -> None:
        self.sum = 0.0
        self._of: dict[str, tuple[float, float]] = {}

    def add(self, message_id: str, price: float, until: float) -> None:
        """Reckon with a message until then, in place of what was said of it before."""
        self.drop(message_id)
        self._of[message_id] = price, until
        self.sum += price

    def drop(self, message_id: str) -> bool:
        """Reckon with a message no longer; tell whether it was reckoned with."""
        price, until = self._of.pop(message_id, (0.0, 0.0))
        self.sum = self.sum - price if self._of else 0.0
        return until > 0

    def forget(self, now: float) -> None:
        """Let go of what is dead."""
        for message_id in [name for name, (_, until) in self._of.items() if until <= now]:
            self.drop(message_id)

    @property
    def ends(self) -> tuple[float, float]:
        """When the first of these codes dies, and the last."""
        untils = [until for _, until in self._of.values()]
        return min(untils, default=0.0), max(untils, default=0.0)


class Account:
    """What one service has used."""

    def __init__(self, limits: LimitSettings, now: float) -> None:
        self.limits = limits
        self.bucket = Bucket(limits.requests_per_second, now) if limits.requests_per_second else None
        #: When the service asked here last, in monotonic seconds.
        self.asked_at = float("-inf")
        self.queued = Queued()
        #: The day that ``spent`` and ``others`` are of.
        self.day = 0.0
        #: What this node's accepted sends of the day cost, and what the other nodes' did.
        self.spent = 0.0
        self.others = 0.0
        #: What was made here and is not accepted yet.
        self.held = Reckoned()
        #: What was accepted here and made elsewhere, where it is reckoned with still: it is to count once.
        self.lent = Reckoned()
        #: The same of the other nodes, together.
        self.held_elsewhere = 0.0

    def turn(self, day: float) -> None:
        """Begin a day, if it is another one."""
        if day != self.day:
            self.day, self.spent, self.others = day, 0.0, 0.0

    @property
    def committed(self) -> float:
        """What was spent, and what is about to be."""
        about = self.held.sum + self.held_elsewhere - self.lent.sum
        return self.spent + self.others + max(0.0, about)

    def forget(self, now: float) -> None:
        """Let go of what is dead: nobody reckons with it any more."""
        self.held.forget(now)
        self.lent.forget(now)
