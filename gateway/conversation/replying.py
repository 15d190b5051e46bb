"""Replying: sends what the bot answers, after it was written down, in order for each chat."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final

from channels.base import AmbiguousError, DeliveryError, Reason, TransientError
from channels.chat import Conversing
from gateway.clock import Clock
from gateway.conversation.replies import LEASE, MAX_AGE, Replies, Waiting
from gateway.delivery.dispatching.aside import Aside
from gateway.delivery.dispatching.pacing import Pacer, Sleep
from gateway.errors import loudness
from gateway.storage.unit import StorageError

_log = logging.getLogger(__name__)

#: Answers of one channel under way at once, each to another chat.
WORKERS: Final = 4
#: Seconds one answer may take. With at least half a lease left at its start, no other node sends it meanwhile.
TIMEOUT: Final = LEASE / 2
#: Seconds between two looks for answers that are due again, or were left by a node that died.
POLL: Final = 1.0
#: Answers claimed at once.
CLAIM: Final = 100
#: Chats of one channel with answers in this node's memory; further answers wait in the database.
BUFFER: Final = 1000
#: Answers to one chat in this node's memory, twenty seconds' worth in Telegram. Who makes the bot say more than that reads
#: none of it: what comes on top is dropped, or they would have it work for nobody else.
LINE: Final = 20
#: Tries at an answer.
MAX_TRIES: Final = 6
#: Seconds an answer under way may still take when the node stops.
GRACE: Final = 5.0


class _Lane:
    """What this node holds of one channel, by chat. A chat is served by one worker at a time."""

    def __init__(self, channel: Conversing, buffer: int, pacer: Pacer, clock: Clock, sleep: Sleep) -> None:
        self.channel = channel
        self.pacer = pacer
        self._buffer = buffer
        self._clock = clock
        self.chats: dict[str, OrderedDict[str, Waiting]] = {}
        #: Chats with answers that nobody is sending.
        self.ready: deque[str] = deque()
        #: Answers to chats that have too many already.
        self.surplus: list[Waiting] = []
        #: Answers that were begun and are not settled.
        self.under_way: set[str] = set()
        self.closing = False
        self._paused: dict[str, float] = {}
        #: Chats that wait for their turn, and the turns that were taken: monotonic seconds.
        self._aside = Aside(self._back, clock, sleep, name=f"reply:{pacer.channel} turns")
        self._turns: dict[str, float] = {}
        self._filled = asyncio.Event()

    @property
    def room(self) -> int:
        """How many more chats may wait in memory."""
        return max(0, self._buffer - len(self.chats))

    def put(self, waiting: Waiting) -> None:
        """Add an answer behind those of its chat, or to the surplus; one that is held already stays where it is."""
        queue = self.chats.get(waiting.chat)
        if queue is None:
            self.chats[waiting.chat] = OrderedDict({waiting.id: waiting})
            self.ready.append(waiting.chat)
            self._filled.set()
        elif waiting.id not in queue:
            if len(queue) < LINE:
                queue[waiting.id] = waiting
            else:
                self.surplus.append(waiting)

    async def take(self) -> str | None:
        """Wait for a chat to serve; ``None`` once the lane is closing."""
        while not self.closing:
            if self.ready:
                return self.ready.popleft()
            self._filled.clear()
            await self._filled.wait()
        return None

    def drain(self, chat: str) -> list[Waiting]:
        """Give up a chat; return what is left of it, in order."""
        self._turns.pop(chat, None)
        return list(self.chats.pop(chat, {}).values())

    def pause(self, chat: str, until: float) -> None:
        """Write nothing to a chat before a time in seconds since the Unix epoch."""
        self._paused[chat] = until

    def paused_until(self, chat: str, now: float) -> float | None:
        """Return until when a chat cannot be written to; ``None`` where it can."""
        until = max(self._paused.get(chat, 0.0), now + self.pacer.holds(chat))
        return until if until > now else None

    async def has_turn(self, chat: str) -> bool:
        """Whether it is a chat's turn to be written to."""
        at = self._turns.get(chat)
        if at is None:
            wait = await self.pacer.turn(chat)
            at = self._turns[chat] = self._clock.monotonic() + wait
        if at > self._clock.monotonic():
            return False
        del self._turns[chat]
        return True

    def steps_aside(self, chat: str) -> bool:
        """Whether a chat waits for its turn: it then comes back by itself, and nobody waits with it."""
        left = self._turns.get(chat, 0.0) - self._clock.monotonic()
        if left > 0:
            self._aside.put(chat, left)
        return left > 0

    def forget_pauses(self, now: float) -> None:
        """Drop what is over."""
        self._paused = {chat: until for chat, until in self._paused.items() if until > now}

    def close(self) -> None:
        """Start nothing more."""
        self.closing = True
        self._aside.drain()
        self._filled.set()

    def _back(self, chat: str) -> None:
        self.ready.append(chat)
        self._filled.set()


class Replying:
    """One loop a channel. ``on_blocked`` hears of the channel and the chat's address where the person blocks the bot.

    ``paces`` are the channels' pacers, which codes share; ``urgent`` says whether codes of a channel wait: they go
    first. ``timeout`` and ``grace`` are in seconds: for one answer, and for those under way when the loop is canceled.
    ``buffer`` is how many chats of a channel may wait in memory.
    """

    def __init__(
        self,
        replies: Replies,
        channels: Mapping[str, Conversing],
        clock: Clock,
        on_blocked: Callable[[str, str], Awaitable[None]],
        *,
        paces: Mapping[str, Pacer] | None = None,
        urgent: Callable[[str], bool] = lambda _: False,
        sleep: Sleep = asyncio.sleep,
        timeout: float = TIMEOUT,
        grace: float = GRACE,
        buffer: int = BUFFER,
    ) -> None:
        self._replies = replies
        self._clock = clock
        self._on_blocked = on_blocked
        self._sleep = sleep
        self._timeout = timeout
        self._grace = grace
        self._urgent = urgent
        paces = paces or {name: Pacer(name, 0.0, 0.0, clock, sleep) for name in channels}
        self._lanes = {name: _Lane(channel, buffer, paces[name], clock, sleep) for name, channel in channels.items()}

    @property
    def bots(self) -> Collection[str]:
        """The channels whose answers are sent here."""
        return self._lanes.keys()

    def hand_over(self, waiting: Sequence[Waiting]) -> None:
        """Take answers that this node holds and that are committed."""
        for item in waiting:
            lane = self._lanes.get(item.channel)
            # What is not taken lapses in the database, and is claimed from there.
            if lane is not None and not lane.closing and (lane.room or item.chat in lane.chats):
                lane.put(item)

    async def run(self, channel: str) -> None:
        """Send a channel's answers until canceled; then let go of those that are left."""
        lane = self._lanes[channel]
        workers = [asyncio.create_task(self._work(lane), name=f"reply:{channel}") for _ in range(WORKERS)]
        try:
            while True:
                await self._look(channel, lane)
                await self._sleep(POLL)
        finally:
            lane.close()
            await asyncio.wait(workers, timeout=self._grace)
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await self._give_up(channel, lane)

    async def send_once(self, channel: str) -> int:
        """Send what this node holds and what is due in the database; return to how many chats."""
        lane, served = self._lanes[channel], 0
        await self._look(channel, lane)
        while lane.ready:
            await self._serve(lane, lane.ready.popleft())
            served += 1
        return served

    async def _look(self, channel: str, lane: _Lane) -> None:
        lane.forget_pauses(self._clock.now())
        try:
            await self._drop_surplus(channel, lane)
            if not lane.room:
                return
            for waiting in await self._replies.claim(channel, min(CLAIM, lane.room)):
                lane.put(waiting)
        except Exception as error:  # noqa: BLE001 - the next look may succeed, and without it nothing is answered
            _log.log(loudness(error), "the answers of %s could not be looked for: %s", channel, _told(error))

    async def _drop_surplus(self, channel: str, lane: _Lane) -> None:
        if surplus := lane.surplus[:CLAIM]:
            await self._replies.done(*surplus)
            del lane.surplus[: len(surplus)]
            _log.warning("%d answers on %s to chats with many already are dropped", len(surplus), channel)

    async def _work(self, lane: _Lane) -> None:
        while (chat := await lane.take()) is not None:
            await self._serve(lane, chat)

    async def _serve(self, lane: _Lane, chat: str) -> None:
        """Send a chat's answers in order; where one must wait, those behind it wait with it."""
        queue = lane.chats[chat]
        try:
            while queue and not lane.closing:
                waiting = next(iter(queue.values()))
                if self._clock.now() - waiting.created_at > MAX_AGE:
                    # Without a turn, which it would keep from those behind it.
                    if await self._replies.hold(waiting):
                        await self._drop(waiting, "nobody waits for it any longer")
                    del queue[waiting.id]
                    continue
                until = lane.paused_until(chat, self._clock.now())
                if until is not None:
                    await self._replies.release(lane.drain(chat), until)
                    return
                if not lane.pacer.limited or await self._starts(lane, chat):
                    await self._send(lane, waiting)
                    del queue[waiting.id]
                elif lane.steps_aside(chat):
                    return
        except Exception as error:  # noqa: BLE001 - whatever fails, the worker goes on with other chats
            # They lapse in the database, and are claimed from there.
            _log.log(loudness(error), "an answer could not be settled: %s", _told(error))
            lane.under_way.difference_update(queue)
            queue.clear()
        # Once given up, the chat may have new answers, which are for whoever takes it next.
        if not queue and lane.chats.get(chat) is queue:
            lane.drain(chat)

    async def _starts(self, lane: _Lane, chat: str) -> bool:
        """Wait until the next answer may be written; return whether it may: not where its chat's turn is later."""
        if not await lane.has_turn(chat):
            return False
        started = await lane.pacer.wait(lambda: self._urgent(lane.pacer.channel))
        return started and not lane.closing

    async def _send(self, lane: _Lane, waiting: Waiting) -> None:
        if not await self._replies.hold(waiting):
            return
        lane.under_way.add(waiting.id)
        error = await self._said(lane.channel, waiting)
        await self._settle(lane, waiting, error)
        lane.under_way.discard(waiting.id)

    async def _said(self, channel: Conversing, waiting: Waiting) -> DeliveryError | None:
        """Write an answer into its chat; return how that failed."""
        try:
            async with asyncio.timeout(self._timeout):
                await channel.say(waiting.chat, waiting.reply)
        except DeliveryError as error:
            return error
        except TimeoutError:
            return AmbiguousError(Reason.TIMEOUT)
        except Exception as error:  # noqa: BLE001 - a fault of an adapter must not end the loop
            # By its type alone: its text may hold what was written.
            _log.error("answering on %s raised %s", waiting.channel, type(error).__name__)
            return AmbiguousError(Reason.UNKNOWN)
        return None

    async def _settle(self, lane: _Lane, waiting: Waiting, error: DeliveryError | None) -> None:
        """Only what surely was not written is tried again: a second answer is worse than none."""
        if isinstance(error, TransientError):
            await self._put_off(lane, waiting, error)
        elif error is None:
            await self._replies.done(waiting)
        else:
            await self._drop(waiting, str(error.reason))
            if error.reason is Reason.BLOCKED:
                await self._on_blocked(waiting.channel, waiting.chat)

    async def _put_off(self, lane: _Lane, waiting: Waiting, error: TransientError) -> None:
        if waiting.tries + 1 >= MAX_TRIES:
            await self._drop(waiting, f"{error.reason}, {MAX_TRIES} times")
            return
        wait = max(error.retry_after or 0.0, 2.0**waiting.tries)
        due_at = self._clock.now() + wait
        lane.pause(waiting.chat, due_at)
        if error.whole_channel:
            await lane.pacer.pause(wait)
        elif error.retry_after and error.reason is Reason.RATE_LIMITED:
            await lane.pacer.pause_recipient(waiting.chat, error.retry_after)
        await self._replies.again(waiting, due_at)

    async def _drop(self, waiting: Waiting, why: str) -> None:
        _log.warning("the answer %s on %s is dropped: %s", waiting.id, waiting.channel, why)
        await self._replies.done(waiting)

    async def _give_up(self, channel: str, lane: _Lane) -> None:
        now = self._clock.now()
        try:
            held = [waiting for chat in list(lane.chats) for waiting in lane.drain(chat)]
            for waiting in held:
                if waiting.id in lane.under_way:
                    await self._drop(waiting, "whether it was written is not known")
            await self._replies.release([item for item in held if item.id not in lane.under_way], now)
        except StorageError as error:
            _log.log(
                loudness(error), "the answers of %s could not be let go: %s; they lapse by themselves", channel, error
            )


def _told(error: Exception) -> str:
    """Return what may be logged of an error: the texts of storage hold no values, those of others may."""
    return str(error) if isinstance(error, StorageError) else type(error).__name__
