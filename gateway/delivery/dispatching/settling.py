"""Settling: what follows from the outcome of an attempt. The one place where retrying is decided."""

from __future__ import annotations

from collections.abc import Callable

from channels.base import Reason
from gateway.clock import Clock
from gateway.delivery.dispatching.breaker import Change, Verdict
from gateway.delivery.dispatching.calling import share_ends_at
from gateway.delivery.dispatching.lane import Lane
from gateway.delivery.dispatching.outages import Outages
from gateway.delivery.dispatching.outcome import Accepted, Failed
from gateway.delivery.lifecycle import AttemptOutcome
from gateway.delivery.message import Message
from gateway.delivery.queue import Queue
from gateway.delivery.retry import Budget

#: Seconds of a pause at least where a provider asks a whole channel to slow down and does not say for how long: as
#: long as a message waits for its own next try.
LEAST_PAUSE = 1.0


class Settling:
    """Settles attempts. ``follow``, ``leased`` and ``jitter`` are those of ``Triage``."""

    def __init__(
        self,
        queue: Queue,
        clock: Clock,
        outages: Outages,
        jitter: Callable[[], float],
        follow: Callable[[Message | None], None],
        leased: Callable[[], bool],
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._outages = outages
        self._jitter = jitter
        self._follow = follow
        self._leased = leased

    def hear(self, lane: Lane, outcome: Accepted | Failed, *, probe: bool) -> None:
        """Take in what an outcome says of the channel."""
        lane.throughput.settled += 1
        if probe and isinstance(outcome, Failed) and not outcome.asked:
            # Else one service's broken template could spend every probe, and the channel never come back for the others.
            lane.breaker.abandon(self._clock.monotonic())
            return
        verdict = Verdict.WORKED if isinstance(outcome, Accepted) else outcome.verdict
        change = lane.breaker.record(verdict, self._clock.monotonic(), probe=probe)
        if change is not None:
            # What works again may do so by refusing a recipient.
            worse = change in (Change.OPENED, Change.STOPPED)
            reason = outcome.failure.reason if worse and isinstance(outcome, Failed) else None
            self._outages.tell(lane.channel.name, change, reason)

    async def slow_down(self, lane: Lane, message: Message, outcome: Failed) -> None:
        """Obey a provider that asks to wait: with the whole channel, or with one recipient."""
        if outcome.whole_channel:
            await lane.pacer.pause(max(outcome.retry_after or 0.0, LEAST_PAUSE))
        elif outcome.retry_after and outcome.failure.reason is Reason.RATE_LIMITED:
            await lane.pacer.pause_recipient(message.address, outcome.retry_after)

    async def settle(self, lane: Lane, message: Message, outcome: Failed) -> None:
        """Write down how an attempt failed and what follows. Raises ``StorageError``."""
        failure = outcome.failure
        budget = Budget(
            now=self._clock.now(),
            tries=message.tries,
            expires_at=message.expires_at,
            ttl=message.ttl,
            share_ends_at=share_ends_at(message),
            unknowns=message.unknowns,
            outcome=failure.outcome,
            reports=lane.channel.reports,
        )
        due_at = None
        if not self._passes_on(lane, message, failure.outcome, budget):
            due_at = budget.next_try(jitter=self._jitter(), retry_after=outcome.retry_after)
        if due_at is None:
            following = await self._queue.move_on(message, failure, alive=budget.alive, leased=self._leased())
            self._follow(following)
        elif await self._queue.retry(message, failure, due_at):
            lane.expect(due_at)

    def _passes_on(self, lane: Lane, message: Message, outcome: AttemptOutcome, budget: Budget) -> bool:
        """Whether the next channel takes over though another try is left: this one's breaker has opened.

        Not where the answer was lost: the message may have arrived, and a report of that may come yet.
        """
        if lane.breaker.calm or outcome is not AttemptOutcome.TRANSIENT:
            return False
        return message.another_follows and budget.alive and lane.breaker.refuses(self._clock.monotonic())
