"""Wakes between nodes, by PostgreSQL's LISTEN and NOTIFY over a connection of their own.

A NOTIFY within the writing transaction would have all nodes' commits wait for each other (PostgreSQL takes one lock
for the whole database from there to the end of the commit), so it is sent right after, by a transaction that holds
nothing else and waits for no disk. What a node that dies in between did not tell, the others find by looking.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection

from gateway.storage.absence import Absence
from gateway.storage.connecting import FAILURES, Connected
from gateway.storage.wakes import Wakes

_log = logging.getLogger(__name__)

#: The channel all nodes listen on; the payload is the topic.
CHANNEL = "otp_gateway"
#: Seconds between two tellings of one topic: what is told in between is told once, at their end.
RHYTHM = 0.1
#: Seconds of silence after which the connection is tried, and seconds that may take.
HEARTBEAT = 5.0
#: Seconds before the first attempt to connect anew, doubled with each up to the second figure.
BACKOFF = (0.1, 1.0)
#: Seconds that what is still to be told may take when the node stops.
FAREWELL = 1.0

_NOTIFY = "SELECT pg_notify($1, topic) FROM unnest($2::text[]) AS told(topic)"


class Owed:
    """What is to be told and when: each topic at once, then at most every ``RHYTHM`` seconds. Times are monotonic."""

    def __init__(self) -> None:
        self._owed: set[str] = set()
        self._told: dict[str, float] = {}

    def add(self, topics: Collection[str]) -> bool:
        """Owe these topics; return whether any of them was not owed yet."""
        before = len(self._owed)
        self._owed.update(topics)
        return len(self._owed) > before

    def take(self, now: float) -> list[str]:
        """Return the topics to tell now, which are owed no more."""
        due = [topic for topic in self._owed if self._due_at(topic) <= now]
        self._owed.difference_update(due)
        self._told.update(dict.fromkeys(due, now))
        return due

    def due_at(self) -> float | None:
        """Return when the next topic is to be told, ``None`` if none is owed."""
        return min(map(self._due_at, self._owed), default=None)

    def clear(self) -> list[str]:
        """Return all that is owed, due or not; then nothing is."""
        owed, self._owed = list(self._owed), set()
        return owed

    def _due_at(self, topic: str) -> float:
        return self._told[topic] + RHYTHM if topic in self._told else 0.0


class Listener:
    """Tells other nodes what became due here, and this node's ``wakes`` what became due there.

    While there is no connection nothing is heard; once there is one again, everything is woken once. That none can be
    made is logged, unless ``absence`` knows why: then the server is away for everybody.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connected]],
        wakes: Wakes,
        *,
        heartbeat: float = HEARTBEAT,
        absence: Absence | None = None,
    ) -> None:
        self._connect = connect
        self._wakes = wakes
        self._absence = absence
        self._heartbeat = heartbeat
        self._owed = Owed()
        self._stirred = asyncio.Event()
        self._connection: Connected | None = None

    def tell(self, topics: Collection[str]) -> None:
        """Tell the other nodes of these topics as soon as possible; wait for nothing."""
        if self._owed.add(topics):
            self._stirred.set()

    def reconnect(self) -> None:
        """End the connection; while ``run`` goes on, another is made: the server is not the one to ask any more."""
        if self._connection is not None:
            self._connection.terminate()

    async def open(self) -> None:
        """Connect and listen. Raises one of ``FAILURES``."""
        connection = await self._connect()
        connection.add_termination_listener(lambda _: self._stirred.set())
        self._connection = connection
        await connection.add_listener(CHANNEL, self._hear)

    async def run(self) -> None:
        """Listen and tell until canceled, connecting anew where needed; then tell what is still owed."""
        shortest, longest = BACKOFF
        pause, deaf = shortest, False
        while True:
            try:
                if self._connection is None:
                    await self.open()
                    self._wakes.wake_all()
                pause, deaf = shortest, False
                await self._serve()
            except asyncio.CancelledError:
                await self._say_farewell()
                raise
            except Exception as error:  # noqa: BLE001 - without it every wake would be missed until a restart
                # Not at once: a connection that was ended is made anew in a moment, and where the server is away, whoever
                # asks it something finds out meanwhile.
                if pause == longest and not deaf and not self._away():
                    deaf = True
                    _log.warning("not told of other nodes' work for now (%s)", type(error).__name__)
            finally:
                self._hang_up()
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    async def _serve(self) -> None:
        connection = self._connection
        while connection is not None and not connection.is_closed():
            self._stirred.clear()
            await self._tell(connection, self._owed.take(asyncio.get_running_loop().time()))
            await self._rest(connection)
        raise ConnectionResetError

    async def _rest(self, connection: Connected) -> None:
        due_at = self._owed.due_at()
        until = asyncio.get_running_loop().time() + self._heartbeat if due_at is None else due_at
        try:
            async with asyncio.timeout_at(until):
                await self._stirred.wait()
        except TimeoutError:
            if due_at is None:
                # A server that hangs closes nothing: an answer is the only sign of life.
                await connection.execute("SELECT 1", timeout=HEARTBEAT)

    async def _tell(self, connection: Connected, topics: list[str], seconds: float = HEARTBEAT) -> None:
        if not topics:
            return
        try:
            await connection.execute(_NOTIFY, CHANNEL, topics, timeout=seconds)
        except BaseException:
            self._owed.add(topics)
            raise

    def _hear(self, _connection: object, node: int, _channel: str, topic: object) -> None:
        # A connection hears itself as well; this node's own subscribers were woken by its commit.
        if self._connection is not None and node != self._connection.get_server_pid():
            self._wakes.wake(str(topic))

    async def _say_farewell(self) -> None:
        if self._connection is None or self._connection.is_closed():
            return
        try:
            await self._tell(self._connection, self._owed.clear(), FAREWELL)
        except FAILURES as error:
            level = logging.DEBUG if self._away() else logging.WARNING
            _log.log(level, "left without telling the other nodes (%s); they look by themselves", type(error).__name__)

    def _away(self) -> bool:
        return self._absence is not None and self._absence.away

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
