"""The dispatcher: takes messages from the queue, renders them, hands them to their channel and settles the outcome.

Fresh messages reach it in memory, right after the commit that made them; the database is asked only for retries,
for what a full buffer left there, and for what a dead node held.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from channels.base import Channel, Envelope, Reason, TransientError
from gateway.clock import Clock
from gateway.delivery.lane import LOW, Lane, Sleep
from gateway.delivery.lifecycle import AttemptOutcome
from gateway.delivery.message import Message
from gateway.delivery.outcome import Accepted, Failed, failed, where
from gateway.delivery.queue import LEASE, Queue
from gateway.delivery.rendering import Render
from gateway.delivery.retry import CHANNEL_SHARE, MAX_TRIES, Budget, attempt_time
from gateway.delivery.telling import Failure
from gateway.rhythm import every
from gateway.storage.unit import StorageError, StorageUnavailableError

T = TypeVar("T")

_log = logging.getLogger(__name__)

#: Seconds between looks for messages that nobody announced.
POLL = 1.0
#: Messages claimed by one statement at most.
CLAIM = 100
#: Seconds of a channel's pause that a message waits for in memory; a longer one it waits for in the database, so that
#: those behind it, which may have another channel to go to, are not held up.
SHORT_PAUSE = 1.0
#: Seconds between tries to write down an attempt while the database is away: within the lease, all in all.
SETTLE_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
#: Seconds after a channel's own timeout before it is cut off. A canceled adapter cannot tell what had left; one that
#: bounds itself by that timeout can, and says so in this time.
VERDICT_TIME = 0.25
#: Seconds that deliveries under way may take to end when the gateway stops.
GRACE = 11.0


class Dispatcher:
    """Walks messages through their channels. Run it with ``start`` and ``stop``."""

    def __init__(
        self,
        queue: Queue,
        channels: Mapping[str, Channel],
        render: Render,
        clock: Clock,
        *,
        jitter: Callable[[], float] = random.random,
        sleep: Sleep = asyncio.sleep,
        grace: float = GRACE,
    ) -> None:
        self._queue = queue
        self._render = render
        self._clock = clock
        self._jitter = jitter
        self._sleep = sleep
        self._grace = grace
        self._lanes = {name: Lane(channel, clock, sleep) for name, channel in channels.items()}
        self._tasks: list[asyncio.Task[None]] = []
        self._workers: list[asyncio.Task[None]] = []
        self._busy: set[asyncio.Task[None]] = set()
        self._stopping = False

    def start(self) -> None:
        """Begin to work, on the running loop."""
        for lane in self._lanes.values():
            count = lane.channel.settings.concurrency
            self._workers += [
                asyncio.create_task(self._work(lane), name=f"{lane.channel.name} {n}") for n in range(count)
            ]
            self._tasks.append(asyncio.create_task(self._look(lane), name=f"{lane.channel.name} claims"))
        self._tasks.append(asyncio.create_task(every(LEASE / 4, self._renew), name="lease renewal"))
        self._tasks.append(asyncio.create_task(every(POLL, self._rescue), name="rescue"))

    async def stop(self) -> None:
        """Stop taking messages, let what is under way end, give the rest back."""
        self._stopping = True
        claims, self._tasks = self._tasks, []
        renewal = [task for task in claims if task.get_name() == "lease renewal"]
        await _cancel([task for task in claims if task not in renewal])
        idle = [worker for worker in self._workers if worker not in self._busy]
        await _cancel(idle)
        await self._release_buffered()
        if self._busy:
            await asyncio.wait(self._busy, timeout=self._grace)
        await _cancel([*self._workers, *renewal])
        # What followed from the last attempts.
        await self._release_buffered()

    @property
    def held(self) -> int:
        """How many messages this node holds in memory."""
        return sum(lane.held for lane in self._lanes.values())

    def has_room(self, channel: str) -> bool:
        """Whether a fresh message of that channel may be born in this node's hands."""
        lane = self._lanes[channel]
        if lane.room <= 0:
            lane.behind = True
        return not self._stopping and lane.room > 0

    def hand_over(self, message: Message) -> None:
        """Take a message that this node has leased."""
        self._lanes[message.channel].put(message)

    def announce(self, channel: str) -> None:
        """Say that a message of that channel has become due in the database."""
        if channel in self._lanes:
            self._lanes[channel].wake.set()

    def busy(self, channel: str) -> bool:
        """Whether codes of that channel wait, or it rests: what is less urgent than they are waits as well."""
        lane = self._lanes[channel]
        return lane.waiting > 0 or lane.paused_for > 0

    async def look_once(self, channel: str) -> int:
        """Claim what is due of one channel, as far as there is room; return how many there were."""
        lane = self._lanes[channel]
        number = min(CLAIM, lane.room)
        if number <= 0 or lane.held > LOW:
            return 0
        claimed = await self._queue.claim(channel, number)
        lane.behind = len(claimed) == number
        for message in claimed:
            lane.put(message)
        return len(claimed)

    async def attempt(self, message: Message) -> None:
        """Make one attempt at a message this node holds, and settle it. Whatever goes wrong is logged."""
        lane = self._lanes[message.channel]
        try:
            await self._attempt(lane, message)
        except StorageError as error:
            # Nothing was settled: the lease lapses and the message is rescued, here or on another node.
            _log.warning("a message could not be settled", extra={"message_id": message.id, "error": str(error)})
        except Exception as error:  # noqa: BLE001 - a worker outlives any fault: its channel would stop without it
            _log.error("a message could not be settled: %s", where(error), extra={"message_id": message.id})
        finally:
            lane.done(message)

    async def _work(self, lane: Lane) -> None:
        worker = _current()
        while not self._stopping:
            message = await lane.take()
            try:
                await self.attempt(message)
            finally:
                self._busy.discard(worker)

    async def _look(self, lane: Lane) -> None:
        while True:
            lane.wake.clear()
            found = 0
            try:
                found = await self.look_once(lane.channel.name)
            except Exception as error:  # noqa: BLE001 - the same: without its claims a channel never retries
                _log.warning("claiming failed: %s", where(error), extra={"channel": lane.channel.name})
            if found < CLAIM:
                await _wait(lane.wake, lane.until_next(POLL))

    async def _attempt(self, lane: Lane, message: Message) -> None:
        if not await self._may_begin(lane, message) or not await self._paced(lane, message):
            return
        # From here to the settled outcome a stop waits: what was begun must be told how it ended.
        self._busy.add(_current())
        begun = await self._written(lambda: self._queue.begin(message))
        if begun is None:
            self._follow(await self._queue.drop(message, Reason.UNKNOWN, leased=self._leased))
            return
        message, token = begun
        if self._stopping:
            await self._queue.give_back(message)
            return
        outcome = await self._deliver_or_return(lane, message, token)
        # The provider has answered: forgetting that would send the message twice.
        await self._written(lambda: self._settle(lane, message, outcome))

    async def _may_begin(self, lane: Lane, message: Message) -> bool:
        """Whether an attempt may be made now; else the message goes where it can wait, or to the next channel."""
        if message.tries >= MAX_TRIES:
            self._follow(await self._queue.drop(message, Reason.UNKNOWN, leased=self._leased))
            return False
        pause = lane.paused_for
        if pause > self._patience(message):
            self._follow(await self._queue.drop(message, Reason.RATE_LIMITED, leased=self._leased))
            return False
        if pause > SHORT_PAUSE:
            due_at = self._clock.now() + pause
            if await self._queue.release(message, due_at):
                lane.expect(due_at)
            return False
        return True

    async def _written(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write something down, patiently: while the database is away, tries go on for most of a lease."""
        for pause in SETTLE_PAUSES:
            try:
                return await write()
            except StorageUnavailableError:
                await self._sleep(pause)
        return await write()

    async def _paced(self, lane: Lane, message: Message) -> bool:
        try:
            await lane.pace()
        except asyncio.CancelledError:
            await self._queue.release(message)
            raise
        if self._stopping:
            await self._queue.release(message)
        return not self._stopping

    async def _deliver_or_return(self, lane: Lane, message: Message, token: str) -> Accepted | Failed:
        try:
            return await self._deliver(lane, message, token)
        except asyncio.CancelledError:
            # The stop waits no longer. Whether the request left is not known; who takes over need not wait for the lease.
            failure = Failure(AttemptOutcome.UNKNOWN, Reason.TIMEOUT)
            await self._queue.retry(message, failure, self._clock.now())
            raise

    async def _deliver(self, lane: Lane, message: Message, token: str) -> Accepted | Failed:
        """Call the channel once and put what came of it into words. Nothing but a cancel gets past it."""
        started = self._clock.monotonic()
        try:
            envelope = self._envelope(lane.channel, message, token)
            limit = attempt_time(
                timeout=lane.channel.settings.timeout + VERDICT_TIME,
                now=self._clock.now(),
                expires_at=message.expires_at,
                share_ends_at=_share_ends_at(message),
            )
            if limit <= 0:
                # A timeout of nothing would still let the call write its request.
                return failed(TransientError(Reason.EXPIRED if envelope.lifetime <= 0 else Reason.TIMEOUT), 0.0)
            async with asyncio.timeout(limit):
                receipt = await lane.channel.deliver(envelope)
        except Exception as error:  # noqa: BLE001 - an adapter may fail in any way; every one is settled
            return failed(error, (self._clock.monotonic() - started) * 1000)
        return Accepted(receipt, (self._clock.monotonic() - started) * 1000)

    def _envelope(self, channel: Channel, message: Message, token: str) -> Envelope:
        lifetime = message.expires_at - self._clock.now()
        rendered = self._render(message, channel, lifetime)
        return Envelope(
            message_id=message.id,
            attempt_token=token,
            address=message.address,
            parts=rendered.parts,
            code=message.code,
            brand=rendered.brand,
            locale=message.locale,
            lifetime=lifetime,
            report=rendered.report,
        )

    async def _settle(self, lane: Lane, message: Message, outcome: Accepted | Failed) -> None:
        """Decide what follows: the one place where retrying is decided."""
        if isinstance(outcome, Accepted):
            if not await self._queue.accept(message, outcome.receipt, outcome.milliseconds):
                _log.warning("an answer came after the message was settled", extra={"message_id": message.id})
            return
        if outcome.whole_channel and outcome.retry_after:
            lane.pause(outcome.retry_after)
        failure = outcome.failure
        budget = Budget(
            now=self._clock.now(),
            tries=message.tries,
            expires_at=message.expires_at,
            ttl=message.ttl,
            share_ends_at=_share_ends_at(message),
        )
        due_at = None
        if failure.outcome is not AttemptOutcome.PERMANENT:
            due_at = budget.next_try(jitter=self._jitter(), retry_after=outcome.retry_after)
        if due_at is None:
            self._follow(await self._queue.move_on(message, failure, alive=budget.alive, leased=self._leased))
        elif await self._queue.retry(message, failure, due_at):
            lane.expect(due_at)

    @property
    def _leased(self) -> bool:
        # While stopping, the next channel's message is left to another node.
        return not self._stopping

    def _follow(self, following: Message | None) -> None:
        if following is not None:
            self.hand_over(following)

    def _patience(self, message: Message) -> float:
        """Seconds a message can wait for its channel before the next one, or its death, is nearer."""
        left = message.expires_at - self._clock.now()
        return min(left, CHANNEL_SHARE) if message.another_follows else left

    async def _renew(self) -> None:
        await self._queue.renew([item for lane in self._lanes.values() for item in lane.held_ids])

    async def _rescue(self) -> None:
        held = frozenset().union(*(lane.held_ids for lane in self._lanes.values()))
        if await self._queue.rescue(held):
            for lane in self._lanes.values():
                lane.wake.set()

    async def _release_buffered(self) -> None:
        left = [message for lane in self._lanes.values() for message in lane.drain()]
        await asyncio.gather(*(self._released(message) for message in left))

    async def _released(self, message: Message) -> None:
        try:
            await self._queue.release(message)
        except StorageError as error:
            # Its lease lapses by itself within 20 s.
            _log.warning("a message could not be released", extra={"message_id": message.id, "error": str(error)})


def _share_ends_at(message: Message) -> float | None:
    if not message.another_follows or message.started_at is None:
        return None
    return message.started_at + CHANNEL_SHARE


def _current() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def _wait(wake: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        return


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
