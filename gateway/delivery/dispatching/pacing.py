"""Pacing: when the next send by a channel may start, over codes, answers and edits, and over all nodes.

A start waits for three things: the end of the pause a provider asked for, this node's share of the channel's rate, and
the recipient's turn. Only the last differs between messages, so it is asked for last, and who must wait for it steps
aside. What is known of other nodes comes from the database, looked at every two seconds and when one of them wakes us;
where that is away, a share that lapsed is not used: the others may have it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from channels.base import Channel
from gateway.clock import Clock
from gateway.errors import loudness
from gateway.storage.unit import StorageError

_log = logging.getLogger(__name__)

Sleep = Callable[[float], Awaitable[object]]

#: Seconds between two looks at the share and the pause, and seconds for which a share is this node's (as leased).
REFRESH: Final = 2.0
SHARE_LEASE: Final = 6.0
#: Seconds slept at most before asking again: a pause or a stop may have come meanwhile.
SLICE: Final = 0.1
#: Seconds for which an answer or an edit lets codes go first: then it takes its turn among them, for people wait too.
COURTESY: Final = 5.0
#: Seconds of a pause at most: a provider that names a later time is asked once a day.
LONGEST_PAUSE: Final = 86_400.0
#: Seconds by which a pause must outlast the one that is known for the other nodes to be told.
TOLD_FROM: Final = 0.5
#: Recipients remembered as resting before those who rest no more are dropped.
RESTING: Final = 1000


class Shares(Protocol):
    """What part of a channel's rate each node has."""

    async def take(self, channel: str, rate: float, now: float, /) -> float:
        """Take or renew this node's part of ``rate`` starts a second, for 6 s. Raises ``StorageError``."""
        ...

    async def give(self, channel: str, /) -> None:
        """Give it back. Raises ``StorageError``."""
        ...


class Turns(Protocol):
    """When each recipient may be written to again."""

    async def take(self, channel: str, address_hash: bytes, gap: float, now: float, /) -> float:
        """Return from when the caller may write, in seconds since the Unix epoch: ``gap`` s after the turn before.

        Raises ``StorageError``.
        """
        ...


class Pauses(Protocol):
    """Until when providers asked for nothing more."""

    async def put(self, channel: str, until: float, now: float, /) -> None:
        """Tell every node, in seconds since the Unix epoch. Raises ``StorageError``."""
        ...

    async def until(self, channel: str, /) -> float:
        """Return until when; a time gone by where there is no pause. Raises ``StorageError``."""
        ...


class OwnTurns:
    """The turns of one node alone, in memory."""

    def __init__(self) -> None:
        self._at: dict[tuple[str, bytes], float] = {}
        self._purge_at = RESTING

    async def take(self, channel: str, address_hash: bytes, gap: float, now: float, /) -> float:
        """Return from when the caller may write."""
        if len(self._at) >= self._purge_at:
            self._at = {key: at for key, at in self._at.items() if at + gap > now}
            self._purge_at = max(RESTING, 2 * len(self._at))
        key = (channel, address_hash)
        at = self._at[key] = max(now, self._at.get(key, now - gap) + gap)
        return at


def plainly_hashed(address: str) -> bytes:
    """Return what stands for an address in memory; in a database it must be keyed."""
    return hashlib.blake2b(address.encode(), digest_size=16).digest()


class Pacer:
    """One channel's pace on this node, for all who send by it.

    ``rate`` is in starts per second over all nodes, 0 for no limit; ``recipient_pause`` in seconds. Without ``shares``
    the whole rate is this node's, without ``pauses`` it alone knows of a pause. ``hashed`` makes of an address what
    turns are kept by.
    """

    def __init__(
        self,
        channel: str,
        rate: float,
        recipient_pause: float,
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
        shares: Shares | None = None,
        turns: Turns | None = None,
        pauses: Pauses | None = None,
        *,
        hashed: Callable[[str], bytes] = plainly_hashed,
    ) -> None:
        self.channel = channel
        self.rate = rate
        self.recipient_pause = recipient_pause
        self._clock = clock
        self._sleep = sleep
        self._shares = shares
        self._turns = turns if turns is not None else OwnTurns()
        self._pauses = pauses
        self._hashed = hashed
        #: Whether starts are limited at all.
        self.limited = rate > 0 or recipient_pause > 0
        #: Whether there is nothing to wait for: no limit and no pause.
        self.quiet = not self.limited
        # With others about, nothing is this node's before it was asked for.
        self._share = rate if shares is None else 0.0
        self._share_until = float("inf") if shares is None else 0.0
        self._next_start = 0.0
        self._paused_until = 0.0
        #: Addresses that a provider asked not to write to, till when. Monotonic, as all times here.
        self._resting: dict[str, float] = {}
        self._purge_at = RESTING
        #: Turns that were too far off to be waited for in memory, by address: the next to ask gets it.
        self._kept: dict[str, float] = {}

    @property
    def share(self) -> float:
        """Starts per second that are this node's; 0 where it has none, infinite without a limit."""
        if not self.rate:
            return float("inf")
        return self._share if self._clock.monotonic() < self._share_until else 0.0

    @property
    def paused_for(self) -> float:
        """Seconds the pause still lasts; 0 when there is none."""
        if not self._paused_until:
            return 0.0
        left = self._paused_until - self._clock.monotonic()
        if left > 0:
            return left
        self._paused_until = 0.0
        self.quiet = not self.limited
        return 0.0

    def delay(self) -> float:
        """Return the seconds until the pause is over and the rate allows another start; at least, for it may move."""
        wait = self.paused_for
        if self.rate:
            now = self._clock.monotonic()
            if not self.share:
                return max(wait, SLICE)
            wait = max(wait, self._next_start - now)
        return wait

    def book(self, part: float = 1.0) -> None:
        """Count a start that is made now, at ``part`` of the rate. One that waited for nothing saves no turns up."""
        if self.rate:
            pace = (self._share or self.rate) * part
            self._next_start = max(self._clock.monotonic(), self._next_start) + 1.0 / pace

    def pause_for(self, seconds: float) -> None:
        """Start nothing for that long, on this node. A shorter pause does not end a longer one."""
        until = self._clock.monotonic() + min(seconds, LONGEST_PAUSE)
        if seconds > 0 and until > self._paused_until:
            self._paused_until = until
            self.quiet = False

    async def pause(self, seconds: float) -> None:
        """Start nothing for that long, and tell every node: the provider asked for it."""
        known = self.paused_for
        self.pause_for(seconds)
        # Requests that were under way together are refused together: the first one's wait is told, and a longer one.
        if self._pauses is None or seconds < known + TOLD_FROM:
            return
        now = self._clock.now()
        try:
            await self._pauses.put(self.channel, now + min(seconds, LONGEST_PAUSE), now)
        except StorageError as error:
            # The others will be asked to wait by the provider themselves.
            _log.log(loudness(error), "a pause could not be told: %s", error, extra={"channel": self.channel})

    def rests_for(self, address: str) -> float:
        """Return the seconds for which a recipient is not to be written to, as far as this node knows."""
        if not self._resting:
            return 0.0
        left = self._resting.get(address, 0.0) - self._clock.monotonic()
        if left <= 0:
            self._resting.pop(address, None)
        return max(0.0, left)

    def holds(self, address: str, *, in_turn: bool = False) -> float:
        """Return the seconds for which nothing may be sent to a recipient, for the pause's or its own sake.

        What is ``in_turn`` has a turn of its own, which comes before those that were put off.
        """
        if not (self._paused_until or self._resting or self._kept):
            return 0.0
        put_off = 0.0 if in_turn else self._kept.get(address, 0.0) - self._clock.monotonic()
        return max(self.paused_for, self.rests_for(address), put_off)

    def rest(self, address: str, seconds: float) -> None:
        """Remember on this node that a recipient is not to be written to for that long."""
        now = self._clock.monotonic()
        self._forget(now)
        self._resting[address] = max(self._resting.get(address, 0.0), now + min(seconds, LONGEST_PAUSE))

    async def pause_recipient(self, address: str, seconds: float) -> None:
        """Write nothing to one recipient for that long: the provider asked for it."""
        self.rest(address, seconds)
        if self.recipient_pause:
            # A turn taken then is one that nobody comes before, on any node.
            earliest = self._clock.now() + min(seconds, LONGEST_PAUSE)
            self.put_off(address, await self._turn(address, earliest))

    async def turn(self, address: str) -> float:
        """Take a recipient's next turn, or the one that was put off; return the seconds until it comes."""
        if not self.recipient_pause:
            return 0.0
        if self._kept and (at := self._kept.pop(address, None)) is not None:
            left = at - self._clock.monotonic()
            # Afterwards it is the turn of whoever came next.
            if left + self.recipient_pause > 0:
                return max(0.0, left)
        return await self._turn(address, self._clock.now())

    def put_off(self, address: str, seconds: float) -> None:
        """Keep a turn that was taken for whoever asks next; until it comes, nobody without a turn of their own writes.

        Thrown away, it would be taken anew when it comes, behind those of other nodes, which do the same: of several
        nodes with messages for one recipient none would ever write.
        """
        now = self._clock.monotonic()
        self._forget(now)
        self._kept[address] = now + seconds

    async def wait(self, urgent: Callable[[], bool] = lambda: False) -> bool:
        """Wait for a start and count it; return whether there is one, which a longer pause would put off too far.

        While something is ``urgent``, it goes first, for ``COURTESY`` at most.
        """
        until = self._clock.monotonic() + COURTESY
        while self.paused_for <= COURTESY:
            delay = self.delay()
            if delay <= 0 and (self._clock.monotonic() >= until or not urgent()):
                self.book()
                return True
            await self._sleep(min(delay, SLICE) if delay > 0 else SLICE)
        return False

    async def refresh(self) -> None:
        """Renew the share and look for a pause that another node, or this one before a restart, was asked for.

        Raises ``StorageError``.
        """
        now, asked = self._clock.now(), self._clock.monotonic()
        if self.rate and self._shares is not None:
            share = await self._shares.take(self.channel, self.rate, now)
            self._rescale(share)
            self._share, self._share_until = share, asked + SHARE_LEASE
        if self._pauses is not None:
            until = await self._pauses.until(self.channel)
            self.pause_for(until - self._clock.now())

    async def give(self) -> None:
        """Give the share back: others need not wait for its end. Raises ``StorageError``."""
        if self.rate and self._shares is not None:
            self._share_until = 0.0
            await self._shares.give(self.channel)

    def _rescale(self, share: float) -> None:
        """Have the next start wait for the same part of a turn at a new share: one that was tiny does not last."""
        now = self._clock.monotonic()
        if share > 0 and self._next_start > now:
            self._next_start = now + (self._next_start - now) * (self._share or self.rate) / share

    def _forget(self, now: float) -> None:
        """Forget rests and turns that are over, where there are many."""
        if len(self._resting) + len(self._kept) < self._purge_at:
            return
        self._resting = {key: until for key, until in self._resting.items() if until > now}
        self._kept = {key: at for key, at in self._kept.items() if at + self.recipient_pause > now}
        self._purge_at = max(RESTING, 2 * (len(self._resting) + len(self._kept)))

    async def _turn(self, address: str, earliest: float) -> float:
        try:
            at = await self._turns.take(self.channel, self._hashed(address), self.recipient_pause, earliest)
        except StorageError as error:
            # A message a little early may be refused, and then waits; one that is never sent is worse.
            _log.log(loudness(error), "a recipient's turn is not known: %s", error, extra={"channel": self.channel})
            return 0.0
        return max(0.0, at - self._clock.now())


def pacers(
    channels: Mapping[str, Channel],
    clock: Clock,
    *,
    sleep: Sleep = asyncio.sleep,
    shares: Shares | None = None,
    turns: Turns | None = None,
    pauses: Pauses | None = None,
    hashed: Callable[[str], bytes] = plainly_hashed,
) -> dict[str, Pacer]:
    """Return a pacer for each channel: the one that its codes, answers and edits share."""
    return {
        name: Pacer(
            name,
            channel.settings.rate,
            channel.recipient_pause,
            clock,
            sleep,
            shares,
            turns,
            pauses,
            hashed=hashed,
        )
        for name, channel in channels.items()
    }
