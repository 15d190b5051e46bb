"""The dispatcher: takes messages from the queue, renders them, hands them to their channel and settles the outcome.

Fresh messages reach it in memory, right after the commit that made them; the database is asked only for retries,
for what a full buffer left there, and for what a dead node held.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Mapping

from channels.base import Channel, Reason
from gateway.clock import Clock
from gateway.delivery.births import Begun
from gateway.delivery.dispatching.acceptances import Acceptances, undone
from gateway.delivery.dispatching.backlog import Backlog, Uncounted
from gateway.delivery.dispatching.breaker import Entry
from gateway.delivery.dispatching.calling import VERDICT_TIME, Caller, Lost
from gateway.delivery.dispatching.expecting import Outlook
from gateway.delivery.dispatching.lane import Lane, woken
from gateway.delivery.dispatching.outages import Outages, Write, unwritten
from gateway.delivery.dispatching.outcome import Accepted, Failed, where
from gateway.delivery.dispatching.pacing import REFRESH, Pacer, Sleep, pacers
from gateway.delivery.dispatching.patience import patiently
from gateway.delivery.dispatching.rescuing import Rescuing
from gateway.delivery.dispatching.settling import Settling
from gateway.delivery.dispatching.triage import Triage, free
from gateway.delivery.lifecycle import AttemptOutcome
from gateway.delivery.message import LEASE, Message
from gateway.delivery.queue import Queue
from gateway.delivery.telling import Failure
from gateway.delivery.writing.rendering import Render
from gateway.errors import loudness
from gateway.rhythm import every
from gateway.storage.unit import StorageError, StorageUnavailableError

__all__ = ["GRACE", "POLL", "VERDICT_TIME", "Dispatcher"]

_log = logging.getLogger(__name__)

#: Seconds between looks for messages that nobody announced.
POLL = 1.0
#: Seconds that deliveries under way may take to end when the gateway stops.
GRACE = 11.0
#: Seconds it then takes at most to tell others what they would find out by themselves.
FAREWELL = 1.0


class Dispatcher:
    """Walks messages through their channels. Run it with ``start`` and ``stop``.

    ``services`` are those whose messages are claimed. ``paces`` are the channels' pacers, shared with who else sends
    by them; ``write`` is the database's, for what becomes of a channel; ``backlog`` counts what is due there.
    """

    def __init__(
        self,
        queue: Queue,
        channels: Mapping[str, Channel],
        render: Render,
        clock: Clock,
        services: Collection[str],
        *,
        paces: Mapping[str, Pacer] | None = None,
        write: Write = unwritten,
        backlog: Backlog | None = None,
        jitter: Callable[[], float] = random.random,
        sleep: Sleep = asyncio.sleep,
        grace: float = GRACE,
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._services = services
        self._backlog = backlog or Uncounted()
        self._sleep = sleep
        self._grace = grace
        paces = paces or pacers(channels, clock, sleep=sleep)
        self._lanes = {name: Lane(channel, clock, sleep, paces[name]) for name, channel in channels.items()}
        #: What a fresh message may expect here.
        self.outlook = Outlook(self._lanes, clock)
        self._caller = Caller(render, clock)
        self._outages = Outages(write, clock)
        self._triage = Triage(queue, clock, jitter, self._follow, self._leased)
        self._settling = Settling(queue, clock, self._outages, jitter, self._follow, self._leased)
        self._acceptances = Acceptances(queue, clock, sleep)
        self._rescuing = Rescuing(queue, clock)
        queue.put_off_by(lambda message: self._triage.put_off(self._lanes[message.channel], message))
        self._tasks: list[asyncio.Task[None]] = []
        self._workers: list[asyncio.Task[None]] = []
        self._busy: set[asyncio.Task[object]] = set()
        self._stopping = False

    def start(self) -> None:
        """Begin to work, on the running loop."""
        for name, lane in self._lanes.items():
            slots = range(lane.channel.settings.concurrency)
            self._workers += [asyncio.create_task(self._work(lane), name=f"{name} {n}") for n in slots]
            self._tasks.append(asyncio.create_task(self._look(lane), name=f"{name} claims"))
            self._tasks.append(asyncio.create_task(self._keep_pace(lane), name=f"{name} pace"))
            self._tasks.append(asyncio.create_task(every(POLL, self._measuring(lane)), name=f"{name} measure"))
        self._tasks.append(asyncio.create_task(every(LEASE / 4, self._renew), name="lease renewal"))
        self._tasks.append(asyncio.create_task(every(POLL, self._rescue), name="rescue"))
        self._tasks.append(asyncio.create_task(every(POLL, self._confirm), name="confirmations"))

    async def stop(self) -> None:
        """Stop taking messages, let what is under way end, give the rest back."""
        self._stopping = True
        claims, self._tasks = self._tasks, []
        renewal = [task for task in claims if task.get_name() == "lease renewal"]
        await _cancel([task for task in claims if task not in renewal])
        idle = [worker for worker in self._workers if worker not in self._busy]
        await _cancel(idle)
        await self._release_buffered()
        until = asyncio.get_running_loop().time() + self._grace
        if self._busy:
            await asyncio.wait(self._busy, timeout=self._grace)
        await self._acceptances.stop(until)
        await _cancel([*self._workers, *renewal])
        # What followed from the last attempts.
        await self._release_buffered()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await self._outages.told()
                await asyncio.gather(*(self._give_share(lane) for lane in self._lanes.values()))

    @property
    def held(self) -> int:
        """How many messages this node holds in memory."""
        return sum(lane.held for lane in self._lanes.values())

    def has_room(self, channel: str, service: str) -> bool:
        """Whether a fresh message of that channel and service may be born in this node's hands.

        Not while the channel is shut: it would only be given back, a second write for each.
        """
        lane = self._lanes[channel]
        if self._stopping or lane.shut(self._clock.monotonic()):
            return False
        if service not in lane.behind and lane.room(service) > 0 and lane.pacer.share:
            return True
        # What is due in the database already goes first, or it would wait for ever behind what comes.
        lane.behind.setdefault(service, 0)
        return False

    def left(self, message: Message) -> None:
        """Reckon with a fresh message that was left to the database."""
        self._lanes[message.channel].left(message)

    def hand_over(self, message: Message) -> None:
        """Take a message that this node has leased."""
        self._lanes[message.channel].put(message)

    def reserve(self, channel: str) -> bool:
        """Whether a fresh message of that channel may be born under way: a worker waits, whose place is kept for it."""
        return not self._stopping and self._lanes[channel].promise()

    def hand_over_begun(self, begun: Begun) -> None:
        """Take a message that was born under way, right after the commit that made it."""
        self._lanes[begun.message.channel].put_begun(begun)

    def announce(self, channel: str) -> None:
        """Say that a message of that channel has become due in the database."""
        if channel in self._lanes:
            self._lanes[channel].announced()

    def busy(self, channel: str) -> bool:
        """Whether codes of that channel wait, or it rests: what is less urgent than they are waits as well."""
        lane = self._lanes[channel]
        return lane.waiting > 0 or lane.pacer.paused_for > 0 or lane.breaker.refuses(self._clock.monotonic())

    def urgent(self, channel: str) -> bool:
        """Whether codes of that channel wait to be sent."""
        return self._lanes[channel].waiting > 0

    def states(self) -> dict[str, str]:
        """Return how each channel is for this node: ``ok open probing ramping stopped paused``."""
        return {name: lane.state.value for name, lane in self._lanes.items()}

    def pause_told(self, channel: str) -> None:
        """Say that a provider asked a node to pause that channel."""
        if channel in self._lanes:
            self._lanes[channel].told.set()

    async def look_once(self, channel: str) -> int:
        """Claim what is due of one channel, as far as there is room; return how many there were."""
        lane = self._lanes[channel]
        rooms = lane.rooms(self._services)
        if not rooms:
            return 0
        claimed = await self._queue.claim(channel, rooms)
        lane.claimed(rooms, claimed)
        return len(claimed)

    async def attempt(self, message: Message) -> None:
        """Make one attempt at a message this node holds, and settle it. Whatever goes wrong is logged."""
        lane = self._lanes[message.channel]
        await self._guarded(lane, message, self._first(lane, message))
        while (ending := self._acceptances.under_way.get(message.id)) is not None:
            await asyncio.wait((ending,))

    async def _guarded(self, lane: Lane, message: Message, attempt: Awaitable[bool]) -> None:
        """Make an attempt, which says whether its end is being written down. Whatever goes wrong is logged."""
        ends = True
        try:
            ends = not await attempt
        except StorageError as error:
            # Nothing was settled: the lease lapses and the message is rescued, here or on another node.
            undone("settled", message, error)
        except Exception as error:  # noqa: BLE001 - a worker outlives any fault: its channel would stop without it
            _log.error("a message could not be settled: %s", where(error), extra={"message_id": message.id})
        finally:
            if ends:
                lane.done(message)

    async def _first(self, lane: Lane, message: Message) -> bool:
        """Make an attempt at a message that waited for it, if it may be sent by its channel now."""
        entry = Entry.FREE if free(lane, message) else await self._triage.enter(lane, message)
        return entry is not Entry.REFUSED and await self._attempt(lane, message, probe=entry is Entry.PROBE)

    async def _go_on(self, lane: Lane, begun: Begun, since: float) -> bool:
        """Make the attempt that a message was born with, unless what was true when it was written may be true no more."""
        if self._stopping or not lane.fresh(since) or not free(lane, begun.message):
            await self._queue.give_back(begun.message)
            return False
        outcome = await self._called(lane, begun)
        return outcome is not None and await self._settled(lane, begun.message, outcome, probe=False)

    async def _work(self, lane: Lane) -> None:
        worker = asyncio.current_task()
        assert worker is not None
        await lane.ready.wait()
        while not self._stopping:
            begun = lane.take_begun()
            message = begun[0].message if begun else lane.take_at_once() or await lane.take()
            if message is None:
                continue
            attempt = self._go_on(lane, *begun) if begun else self._first(lane, message)
            # From here a stop waits: what is begun must be told how it ended.
            self._busy.add(worker)
            try:
                await self._guarded(lane, message, attempt)
            finally:
                self._busy.discard(worker)

    async def _look(self, lane: Lane) -> None:
        while True:
            lane.wake.clear()
            found = 0
            try:
                found = await self.look_once(lane.channel.name)
            except Exception as error:  # noqa: BLE001 - the same: without its claims a channel never retries
                _log.log(loudness(error), "claiming failed: %s", where(error), extra=lane.place)
            if not (found and lane.wants_more):
                await woken(lane.wake, lane.until_next(POLL))

    async def _keep_pace(self, lane: Lane) -> None:
        while True:
            lane.told.clear()
            had = lane.pacer.share
            try:
                await lane.pacer.refresh()
                lane.ready.set()
                if lane.pacer.share and not had:
                    lane.wake.set()
            except Exception as error:  # noqa: BLE001 - the same: without its share a channel sends nothing
                _log.log(loudness(error), "a channel's pace is not known: %s", where(error), extra=lane.place)
            await woken(lane.told, REFRESH)

    async def _attempt(self, lane: Lane, message: Message, *, probe: bool) -> bool:
        """Make an attempt and settle it; return whether that is still being written down. Raises ``StorageError``."""
        sent = None
        try:
            sent = await self._sent(lane, message)
        finally:
            if probe and sent is None:
                # All others wait for it: the next message's attempt may be the probe.
                lane.breaker.abandon(self._clock.monotonic())
        return sent is not None and await self._settled(lane, *sent, probe=probe)

    async def _settled(self, lane: Lane, message: Message, outcome: Accepted | Failed, *, probe: bool) -> bool:
        """Settle an attempt; return whether that is still being written down. Raises ``StorageError``."""
        self._settling.hear(lane, outcome, probe=probe)
        if isinstance(outcome, Accepted):
            self._acceptances.write(lane, message, outcome)
            return True
        await self._settling.slow_down(lane, message, outcome)
        try:
            await self._settling.settle(lane, message, outcome)
        except StorageUnavailableError:
            # The provider has answered: forgetting that would send the message twice.
            await patiently(lambda: self._settling.settle(lane, message, outcome), self._sleep)
        return False

    async def _sent(self, lane: Lane, message: Message) -> tuple[Message, Accepted | Failed] | None:
        """Begin an attempt and call the channel; return the message as begun and its outcome, if that was done."""
        asked = self._clock.monotonic()
        try:
            begun = await self._queue.begin(message)
        except StorageUnavailableError:
            asked, begun = await self._begun(message)
        if begun is None:
            await self._triage.drop(message, None)
            return None
        message, token = begun
        if self._stopping or lane.holds(message):
            await self._queue.give_back(message)
            return None
        outcome = await self._called(lane, Begun(message, token, asked))
        return None if outcome is None else (message, outcome)

    async def _begun(self, message: Message) -> tuple[float, tuple[Message, str] | None]:
        """Write an attempt down once the database is back.

        Returns when that was asked for, in monotonic seconds, and what the queue said.
        """

        async def begin() -> tuple[float, tuple[Message, str] | None]:
            asked = self._clock.monotonic()
            return asked, await self._queue.begin(message)

        return await patiently(begin, self._sleep)

    async def _called(self, lane: Lane, begun: Begun) -> Accepted | Failed | None:
        """Call the channel; return the outcome, or ``None`` where the message was given back instead."""
        message = begun.message
        try:
            return await self._caller.call(lane.channel, message, begun.token, begun.asked)
        except Lost:
            _log.warning("an attempt was given up: this node stood still", extra={"message_id": message.id})
            await self._queue.give_back(message)
            return None
        except asyncio.CancelledError:
            # The stop waits no longer. Whether the request left is not known; who takes over need not wait for the lease.
            failure = Failure(AttemptOutcome.UNKNOWN, Reason.TIMEOUT)
            await self._queue.retry(message, failure, self._clock.now())
            raise

    def _leased(self) -> bool:
        # While stopping, the next channel's message is left to another node.
        return not self._stopping

    def _follow(self, following: Message | None) -> None:
        # One for a channel that this node does not have lapses, for a node that does.
        if following is not None and following.channel in self._lanes:
            self.hand_over(following)

    def _measuring(self, lane: Lane) -> Callable[[], Awaitable[None]]:
        return lambda: lane.measure(self._backlog)

    async def _renew(self) -> None:
        await self._queue.renew([item for lane in self._lanes.values() for item in lane.held_ids])

    async def _rescue(self) -> None:
        held = frozenset().union(*(lane.held_ids for lane in self._lanes.values()))
        if await self._rescuing.look(held):
            for lane in self._lanes.values():
                lane.wake.set()

    async def _confirm(self) -> None:
        for following in await self._queue.unconfirmed():
            self._follow(following)

    async def _release_buffered(self) -> None:
        left = [(message, self._queue.release) for lane in self._lanes.values() for message in lane.drain()]
        begun = [(message, self._queue.give_back) for lane in self._lanes.values() for message in lane.drain_begun()]
        await asyncio.gather(*(self._released(message, release) for message, release in [*left, *begun]))

    async def _released(self, message: Message, release: Callable[[Message], Awaitable[bool]]) -> None:
        try:
            await release(message)
        except StorageError as error:
            # Its lease lapses by itself within 20 s.
            undone("released", message, error)

    async def _give_share(self, lane: Lane) -> None:
        try:
            await lane.pacer.give()
        except StorageError as error:
            # It lapses by itself within 6 s.
            _log.log(loudness(error), "a share could not be given back: %s", error, extra=lane.place)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
