"""Triage: whether a message may be sent by its channel now, or goes to the next one, or waits in the database."""

from __future__ import annotations

from collections.abc import Callable

from channels.base import Reason
from gateway.clock import Clock
from gateway.delivery.dispatching.breaker import Entry, State
from gateway.delivery.dispatching.calling import share_ends_at
from gateway.delivery.dispatching.lane import Lane
from gateway.delivery.message import Message
from gateway.delivery.queue import Queue
from gateway.delivery.retry import CHANNEL_SHARE, MAX_TRIES, min_life

#: Seconds over which those who wait for one probe come back, for the channel is given more only from second to second;
#: and in how many groups, each claimed together.
SPREAD = 5.0
GROUPS = 10
#: Seconds a message waits at least for a probe that is under way.
PROBE_WAIT = 1.0


def free(lane: Lane, message: Message) -> bool:
    """Whether nothing is to be decided: the message has tries left, and nothing holds up its channel or recipient."""
    return message.tries < MAX_TRIES and lane.breaker.calm and not lane.holds(message)


class Triage:
    """Decides before an attempt. ``follow`` takes what follows from a message that goes to the next channel.

    ``leased`` says whether that is born in this node's hands; ``jitter`` returns 0 … 1.
    """

    def __init__(
        self,
        queue: Queue,
        clock: Clock,
        jitter: Callable[[], float],
        follow: Callable[[Message | None], None],
        leased: Callable[[], bool],
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._jitter = jitter
        self._follow = follow
        self._leased = leased
        #: By channel: the probe that a message was already told to come back for.
        self._probes: dict[str, float] = {}

    async def enter(self, lane: Lane, message: Message) -> Entry:
        """Say whether the message may be sent; where not, it is somewhere else now. Raises ``StorageError``."""
        if message.tries >= MAX_TRIES:
            await self.drop(message, Reason.UNKNOWN)
            return Entry.REFUSED
        wait = lane.holds(message)
        if wait:
            await self._wait(lane, message, self._clock.now() + wait, self._patience(message), Reason.RATE_LIMITED)
            return Entry.REFUSED
        breaker = lane.breaker
        if breaker.calm:
            return Entry.FREE
        entry = breaker.admit(self._clock.monotonic())
        if entry is Entry.REFUSED:
            patience = 0.0 if self._may_pass(message) else float("inf")
            reason = Reason.MISCONFIGURED if breaker.state is State.STOPPED else Reason.UNAVAILABLE
            await self._wait(lane, message, self._comes_back(lane), patience, reason)
        return entry

    def put_off(self, lane: Lane, message: Message) -> float | None:
        """Return when a fresh message is due whose channel is shut, in seconds since the Unix epoch.

        ``None`` where the channel is not, and where the message does not wait for it: it passes on, or its code dies first.
        The lane will look for it then.
        """
        now, wait = self._clock.now(), lane.pacer.paused_for
        if wait:
            # The same for all that wait for it, so that they are looked for once.
            due_at, patience = lane.resumes_at(now + wait), self._patience(message)
        elif lane.breaker.refuses(self._clock.monotonic()):
            due_at, patience = self._comes_back(lane), 0.0 if self._may_pass(message) else float("inf")
        else:
            return None
        if due_at - now > patience or due_at >= message.expires_at:
            lane.passing = True
            return None
        lane.expect(due_at)
        return due_at

    async def drop(self, message: Message, reason: Reason | None) -> None:
        """End a message that was not begun; the next channel takes over where there is one."""
        self._follow(await self._queue.drop(message, reason, leased=self._leased()))

    async def _wait(self, lane: Lane, message: Message, due_at: float, patience: float, reason: Reason) -> None:
        """Have it wait in the database till ``due_at``, if it has the patience and its code lives to be sent then."""
        life = min_life(message.ttl) if message.tries else 0.0
        if due_at - self._clock.now() > patience or due_at + life >= message.expires_at:
            await self.drop(message, reason)
        elif await self._queue.release(message, due_at):
            lane.expect(due_at)

    def _may_pass(self, message: Message) -> bool:
        """Whether the next channel would take it: there is one, and the code lives long enough for it."""
        return message.another_follows and self._clock.now() + min_life(message.ttl) <= message.expires_at

    def _patience(self, message: Message) -> float:
        """Return the seconds a message can wait for its channel before the next one is nearer."""
        if not self._may_pass(message):
            return float("inf")
        ends_at = share_ends_at(message)
        return CHANNEL_SHARE if ends_at is None else max(0.0, ends_at - self._clock.now())

    def _comes_back(self, lane: Lane) -> float:
        """Return when a message that waits for the channel's next probe is due: one then, the others after it."""
        breaker, name, now = lane.breaker, lane.channel.name, self._clock.monotonic()
        wait = breaker.wait(now)
        if breaker.state is State.PROBING:
            return self._clock.now() + PROBE_WAIT + self._spread()
        first = self._probes.get(name) != breaker.probe_at
        self._probes[name] = breaker.probe_at
        return self._clock.now() + wait + (0.0 if first else self._spread())

    def _spread(self) -> float:
        return SPREAD / GROUPS * int(GROUPS * self._jitter())
