"""A lane: what one channel may do at once and per second, and the messages of this node that wait for it.

Each channel has a lane of its own, so a dead or slow one holds up nobody else (a bulkhead). Within it services take
turns, so that one's flood holds up no other's single message. While nothing limits the channel, a message is taken
without asking anybody; else one worker at a time waits for the next start and then chooses who gets it.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence

from channels.base import Channel
from gateway.clock import Clock
from gateway.delivery.births import Begun
from gateway.delivery.dispatching.aside import Aside
from gateway.delivery.dispatching.backlog import Backlog
from gateway.delivery.dispatching.breaker import Breaker, State
from gateway.delivery.dispatching.pacing import SLICE, Pacer, Sleep
from gateway.delivery.dispatching.rounds import Rounds
from gateway.delivery.dispatching.throughput import Throughput
from gateway.delivery.message import Message

#: Messages of one channel that a node holds in memory; further ones stay in the database, unleased.
BUFFER = 2000
#: Of those, what each service may have however many others wait.
FLOOR = 100
#: Messages of a service at which more of it are fetched, where there are more.
LOW = 100
#: Messages claimed by one statement at most, and of a service that is not known to have more.
CLAIM = 100
TASTE = 5
#: Seconds of a wait that a message spends in memory; a longer one it spends in the database, so that those behind it,
#: which may have another channel to go to, are not held up.
SHORT_PAUSE = 1.0
#: Seconds by which a pause's end is rounded up for what is due then.
TICK = 0.01
#: Seconds for which a worker's place is kept for a message that is being written, and within which one that has begun must
#: come to a worker: whether its code is wanted was asked when it was written.
KEPT = 0.25


class Lane:
    """One channel's buffer, pace, breaker and measured throughput."""

    def __init__(
        self, channel: Channel, clock: Clock, sleep: Sleep = asyncio.sleep, pacer: Pacer | None = None
    ) -> None:
        settings = channel.settings
        self.channel = channel
        self.pacer = pacer or Pacer(channel.name, settings.rate, channel.recipient_pause, clock, sleep)
        self.breaker = Breaker()
        self.throughput = Throughput(settings.concurrency)
        self._slots = settings.concurrency
        self._clock = clock
        self._sleep = sleep
        self._rounds = Rounds()
        #: Workers that wait for a message, who has waited longest first. Each message wakes one: they were all woken for
        #: each, and all but one for nothing.
        self._idle: deque[asyncio.Future[None]] = deque()
        #: Those that have begun already, and when they came; and when places of workers were promised to others.
        self._begun: deque[tuple[Begun, float]] = deque()
        self._promised: deque[float] = deque()
        #: Ids of what is buffered or under way: a message claimed twice by this node is held once.
        self._held: set[str] = set()
        #: What was claimed while an older copy of it was still held, which the queue may refuse: it had lost its lease.
        self._claimed_again: dict[str, Message] = {}
        #: Messages that wait for their recipient's turn.
        self._aside = Aside(self._back, clock, sleep, name=f"{channel.name} turns")
        #: Ids of those that have their turn.
        self._turned: set[str] = set()
        self._gate = asyncio.Lock()
        #: Set when one under way is settled, while not all slots may be used.
        self._freed = asyncio.Event()
        #: When the lane should look for what is due then, soonest first, each time once.
        self._due: list[float] = []
        self._dues: set[float] = set()
        #: Whether something was born while the channel is shut that does not wait for it: it is to go elsewhere.
        self.passing = False
        #: Set when the lane should look for due messages before its time.
        self.wake = asyncio.Event()
        #: Set when another node was told to pause, or may have been.
        self.told = asyncio.Event()
        #: Set once it is known how much of the channel's rate is this node's, and whether it is paused.
        self.ready = asyncio.Event()
        #: Services of which the database may hold more that is due than was taken, and how much, as far as is known.
        self.behind: dict[str, int] = {}
        #: How many nodes take from there.
        self.senders = 1

    @property
    def place(self) -> dict[str, str]:
        """What a line of the log about it names."""
        return {"channel": self.channel.name}

    @property
    def state(self) -> State:
        """How the channel is for this node."""
        self.breaker.part(self._clock.monotonic())
        state = self.breaker.state
        return State.PAUSED if state is State.OK and self.pacer.paused_for else state

    @property
    def waiting(self) -> int:
        """How many messages wait for a start."""
        return self._rounds.total + len(self._aside)

    @property
    def held(self) -> int:
        """How many messages wait or are under way."""
        return len(self._held)

    @property
    def held_ids(self) -> frozenset[str]:
        """The ids of what waits or is under way."""
        return frozenset(self._held)

    def room(self, service: str) -> int:
        """Return how many more messages of a service the buffer takes."""
        return max(BUFFER - self._rounds.total, FLOOR - self._rounds.count(service))

    def rooms(self, services: Iterable[str]) -> dict[str, int]:
        """Return how many messages of each service are to be claimed: of those that have few left here."""
        names = [service for service in services if self._rounds.count(service) <= LOW]
        if not (names and self.pacer.share):
            # Without a share what is claimed would only be kept from the nodes that have one.
            return {}
        taste, more = max(TASTE, CLAIM // len(names)), CLAIM // max(1, len(self.behind))
        wanted = {name: max(taste, more) if name in self.behind else taste for name in names}
        return {name: min(number, self.room(name)) for name, number in wanted.items() if self.room(name) > 0}

    def claimed(self, rooms: Mapping[str, int], messages: Sequence[Message]) -> None:
        """Take what was claimed, and note of which services the database may hold more."""
        found = Counter(message.service for message in messages)
        for service, room in rooms.items():
            if found[service] == room:
                self.behind[service] = max(0, self.behind.get(service, 0) - room)
            else:
                self.behind.pop(service, None)
        for message in messages:
            self.put(message)

    def left(self, message: Message) -> None:
        """Count a fresh message that is due in the database, behind others of its service; they are counted anew soon.

        Not one that waits for its person, nor while the channel is shut: that is due once it opens.
        """
        if message.service in self.behind and message.address and not self.shut(self._clock.monotonic()):
            self.behind[message.service] += 1

    async def measure(self, backlog: Backlog) -> None:
        """Measure what the channel settles, and count what is due in the database where that is more than is here.

        Raises ``StorageError``.
        """
        now = self._clock.monotonic()
        if self.breaker.refuses(now):
            self.throughput.forget()
        elif self.shut(now):
            self.throughput.stop()
        elif self._rounds.total:
            self.throughput.begin(now)
        self.throughput.look(now)
        for service in [*self.behind]:
            number = await backlog.due(self.channel.name, service, self._clock.now())
            if service in self.behind:
                self.behind[service] = number
        if self.behind:
            self.senders = max(1, await backlog.senders(self.channel.name, self._clock.now()))

    @property
    def idle(self) -> bool:
        """Whether a fresh message would start at once."""
        return not self._rounds.total and not self.behind and self.pacer.quiet and self.breaker.calm

    @property
    def wants_more(self) -> bool:
        """Whether a service has few messages left here and the database has more."""
        return any(self._rounds.count(service) <= LOW for service in self.behind)

    def put(self, message: Message) -> None:
        """Buffer a message that this node has leased."""
        if message.id in self._held:
            self._claimed_again[message.id] = message
            return
        self._held.add(message.id)
        self._rounds.put(message)
        self._rouse()
        if self._rounds.total > self._slots and not self.throughput.measuring:
            now = self._clock.monotonic()
            if not self.shut(now):
                # While nothing may start, nothing settled says nothing: codes would be refused for it.
                self.throughput.begin(now)

    def promise(self) -> bool:
        """Whether a fresh message would start at once: then a worker's place is kept for it, for ``KEPT`` seconds."""
        now = self._clock.monotonic()
        while self._promised and self._promised[0] <= now - KEPT:
            self._promised.popleft()
        if len(self._idle) <= len(self._promised) + len(self._begun) or not self.idle:
            return False
        self._promised.append(now)
        return True

    def put_begun(self, begun: Begun) -> None:
        """Have a worker go on with a message that is under way."""
        if self._promised:
            self._promised.popleft()
        self._held.add(begun.message.id)
        self._begun.append((begun, self._clock.monotonic()))
        self._rouse()

    def fresh(self, began_to_wait: float) -> bool:
        """Whether what has waited since then came to a worker in time."""
        return self._clock.monotonic() - began_to_wait <= KEPT

    def drain_begun(self) -> list[Message]:
        """Return the messages under way that no worker has taken up, and keep none."""
        left = [begun.message for begun, _ in self._begun]
        self._begun.clear()
        self._held.difference_update(message.id for message in left)
        return left

    def take_begun(self) -> tuple[Begun, float] | None:
        """Return what has begun already and since when it waits, if anything does: it goes first."""
        return self._begun.popleft() if self._begun else None

    def take_at_once(self) -> Message | None:
        """Return the next message where one waits and nothing limits the channel, else ``None``."""
        return self._next() if self._rounds.total and self.pacer.quiet and self.breaker.calm else None

    async def take(self) -> Message | None:
        """Wait for the next message that may start, or that cannot and should not wait here.

        ``None`` where one came that has begun already.
        """
        while True:
            while not self._rounds.total:
                await self._roused()
                if self._begun:
                    return None
            if self.pacer.quiet and self.breaker.calm:
                return self._next()
            message = await self._in_turn()
            if message is not None:
                return message

    def done(self, message: Message) -> None:
        """Let go of a message that is settled."""
        self._held.discard(message.id)
        if self._claimed_again and message.id in self._claimed_again:
            # Settled with that lease, it is refused now; lost before, it would wait for the lease's end.
            self.put(self._claimed_again.pop(message.id))
        if not self.breaker.calm:
            self._freed.set()
        if self._turned:
            self._turned.discard(message.id)

    def drain(self) -> list[Message]:
        """Empty the buffer and return what was in it."""
        left = self._rounds.drain() + self._aside.drain()
        self._held.difference_update(message.id for message in left)
        again, self._claimed_again = self._claimed_again, {}
        return [*left, *again.values()]

    def counts(self) -> Mapping[str, int]:
        """Return how many messages of each service wait, here and (as far as is known) in the database."""
        return {**self.behind, **{name: number + self.behind.get(name, 0) for name, number in self._rounds.counts()}}

    def shut(self, now: float) -> bool:
        """Whether nothing may start for so long that what waits is better put elsewhere."""
        return self.breaker.refuses(now) or self.pacer.paused_for > SHORT_PAUSE

    def announced(self) -> None:
        """Look for what has become due; while the channel is shut only for what is to go elsewhere, else at the next poll."""
        if self.passing or not self.shut(self._clock.monotonic()):
            self.passing = False
            self.wake.set()

    def holds(self, message: Message) -> float:
        """Return the seconds for which a message is not to be sent: for a pause, its recipient's, or other turns."""
        return self.pacer.holds(message.address, in_turn=message.id in self._turned)

    def expect(self, due_at: float) -> None:
        """Remember that a message of this channel is due then, so that it is not found a poll later."""
        if due_at not in self._dues:
            self._dues.add(due_at)
            heapq.heappush(self._due, due_at)

    def resumes_at(self, end: float) -> float:
        """Return when what waits for a pause that ends at ``end`` is due: the next tick."""
        return math.ceil(end / TICK) * TICK

    def until_next(self, poll: float) -> float:
        """Return the seconds until the lane should look again: the next expected message, at most ``poll``.

        At the end of a pause as well: other nodes have left there what they know to be due then.
        """
        now = self._clock.now()
        while self._due and self._due[0] <= now:
            self._dues.discard(heapq.heappop(self._due))
        if left := self.pacer.paused_for:
            poll = min(poll, left + TICK)
        return min(poll, self._due[0] - now) if self._due else poll

    def _next(self) -> Message:
        message = self._rounds.take()
        if not self._rounds.total and self.throughput.measuring:
            self.throughput.drained(self._clock.monotonic())
        if message.service in self.behind and self._rounds.count(message.service) <= LOW:
            self.wake.set()
        return message

    async def _in_turn(self) -> Message | None:
        """Return the next message once it may start; ``None`` to ask again."""
        async with self._gate:
            if not self._rounds.total:
                return None
            now = self._clock.monotonic()
            if self.shut(now):
                return self._next()
            if self._crowded(now):
                self._freed.clear()
                await woken(self._freed, SLICE)
                return None
            delay = self.pacer.delay()
            if delay > 0:
                await self._sleep(min(delay, SLICE))
                return None
            message = self._next()
            return message if await self._starts(message) else None

    def _crowded(self, now: float) -> bool:
        """Whether a channel that has just come back has as many sends under way as it may."""
        if self.breaker.state is not State.RAMPING:
            return False
        under_way = len(self._held) - self.waiting
        return under_way >= max(1, int(self._slots * self.breaker.part(now)))

    async def _starts(self, message: Message) -> bool:
        """Whether a message starts now. One whose recipient's turn is near steps aside, and the start is the next's."""
        address, wait = message.address, self.pacer.rests_for(message.address)
        if not wait and message.id not in self._turned:
            try:
                wait = await self.pacer.turn(address)
            except BaseException:
                # A stop: it goes with the others that wait.
                self._rounds.put_first(message)
                raise
            if wait > SHORT_PAUSE:
                self.pacer.put_off(address, wait)
            elif self.pacer.recipient_pause:
                self._turned.add(message.id)
        if not wait:
            self.pacer.book(self.breaker.part(self._clock.monotonic()))
        elif wait <= SHORT_PAUSE:
            self._aside.put(message, wait)
            return False
        return True

    def _back(self, message: Message) -> None:
        self._rounds.put_first(message)
        self._rouse()

    def _rouse(self) -> None:
        """Wake the worker that has waited longest."""
        while self._idle:
            waiter = self._idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def _roused(self) -> None:
        """Wait to be woken."""
        waiter = asyncio.get_running_loop().create_future()
        self._idle.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            # A stop. What it was woken for is another's.
            if waiter.done() and not waiter.cancelled():
                self._rouse()
            raise


async def woken(wake: asyncio.Event, seconds: float) -> None:
    """Wait until that is set, and no longer than so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        return
