"""What comes after a message: the next channel of its route takes over, once, or the route has ended."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol

from gateway.delivery import statements as sql
from gateway.delivery.lifecycle import MessageStatus
from gateway.delivery.message import LEASE, Message, topic
from gateway.delivery.payload import Owner, Stop
from gateway.delivery.person import Unwanted
from gateway.delivery.rows import comes_back, following, route, row_of
from gateway.delivery.sends import AS_SEND, Sends
from gateway.delivery.telling import told
from gateway.events.event import Event, EventName, recorded
from gateway.storage.sealing import Sealer, UnsealError
from gateway.storage.unit import Connection, Move, Record, Write

_log = logging.getLogger(__name__)

# Kept, for an enum's member is looked up by a function each time.
_QUEUED: Final = MessageStatus.QUEUED
_TOLD: Final = EventName.MESSAGE_QUEUED


class OnRouteEnd(Protocol):
    """What the owner of a message does when no channel is left to try. Runs in the queue's transaction."""

    def __call__(self, connection: Connection, verification_id: str, now: float, /) -> Awaitable[None]:
        """End what waits for the message, unless another of its messages may still arrive."""
        ...


class Against(Protocol):
    """What people say against a further send. Runs in the queue's transaction."""

    def __call__(
        self, connection: Connection, service: str, stops: Sequence[Stop], step: int, now: float, /
    ) -> Awaitable[Unwanted | None]:
        """Return why a service's code is not to go to a step of its route, ``None`` where it may."""
        ...


async def nothing(_c: Connection, _service: str, _stops: Sequence[Stop], _step: int, _now: float, /) -> None:
    """Say nothing against anything: there is no bot to say it to."""


class Succession:
    """The steps of every route, as ``node`` takes them; ``against`` tells of which their person wants none."""

    def __init__(
        self, sealer: Sealer, node: str, on_route_end: OnRouteEnd, sends: Sends, against: Against = nothing
    ) -> None:
        self._sealer = sealer
        self._node = node
        self._on_route_end = on_route_end
        self._sends = sends
        self._against = against

    def born(self, message: Message, now: float, *, leased: bool, due_at: float | None = None) -> tuple[Write, Event]:
        """Return the write and the event of a fresh message.

        ``leased``: born in this node's hands and due to others only when the lease lapses; else due at ``due_at``, now
        where that is ``None``.
        """
        due_at, lease = (now + LEASE, self._node) if leased else (now if due_at is None else due_at, "")
        row = row_of(message, _QUEUED, due_at=due_at, lease=lease)
        return (sql.INSERT_MESSAGE, row), told(_TOLD, now, message)

    async def step(
        self, connection: Connection, message: Message, now: float, *, alive: bool, leased: bool
    ) -> Message | None:
        """Have the next channel take over from a message that ended, within the transaction that ended it.

        It does if the code is ``alive`` long enough and still wanted, and nothing newer has taken the message's place
        (another channel did, or the person asked for the code once more). Its message is returned if this node is to
        have it (``leased``). Otherwise the route has ended.
        """
        if alive:
            for record in await connection.fetch(sql.STANDING, id=message.id):
                follow = recorded((sql.FOLLOW, (message.id, now)), [], [])
                successor = await self.follow(connection, message, record, now, follow, leased=leased)
                if successor is not None:
                    return successor if leased else None
        await self.end(connection, message.verification_id, now)
        return None

    async def follow(
        self, connection: Connection, message: Message, record: Record, now: float, move: Move, *, leased: bool
    ) -> Message | None:
        """Have the next channel take over that may, if ``move`` holds: it says that one does, once.

        One that its person has left or muted is passed over, as is one that its limits refuse; none follows where they
        have locked codes. Returns its message. ``None`` where none is left, or the move did not hold; then ``message``
        was not followed.
        """
        stops = self._stops(message, record)
        if not stops or not await connection.apply(move):
            return None
        left = await _left(connection, message, stops)
        for step in range(message.step + 1, len(stops)):
            unwanted = await self._against(connection, message.service, stops, step, now)
            if unwanted is Unwanted.LOCKED:
                break
            successor = following(message, stops, step, record["locale"], now, left)
            if unwanted is None and await self._sends.allow(connection, successor, stops[0], now) is None:
                write, event = self.born(successor, now, leased=leased)
                wakes = () if leased else (topic(successor.channel),)
                await connection.apply(recorded(None, [write], [event], wakes=wakes))
                return successor
        await connection.apply(Move(None, [(sql.UNFOLLOW, (message.id,))]))
        return None

    def _stops(self, message: Message, record: Record) -> Sequence[Stop]:
        """Return the route that a message is on; nothing where it was the last there, or the route cannot be opened."""
        if message.step + 1 >= message.steps:
            return ()
        try:
            return route(self._sealer, Owner(message.verification_id, message.service, message.purpose), record)
        except UnsealError as error:
            # Its addresses were erased since, or its key has left the ring: nobody else could go on either.
            _log.error("a route cannot be opened: %s", error, extra={"message_id": message.id})
            return ()

    def refusing(self, message: Message, now: float) -> Callable[[Connection], Awaitable[bool]]:
        """Return what asks whether the person refuses one more attempt at a message: they locked, muted or left since."""
        return partial(self.refused, message, now)

    async def refused(self, message: Message, now: float, connection: Connection) -> bool:
        """Return whether the person refuses another attempt; of a first one they are not asked. Raises ``UnsealError``."""
        if not message.attempts:
            return False
        for record in await connection.fetch(sql.STANDING, id=message.id):
            if record["route_sealed"] is not None:
                owner = Owner(message.verification_id, message.service, message.purpose)
                stops = route(self._sealer, owner, record)
                return await self._against(connection, message.service, stops, message.step, now) is not None
        return False

    async def end(self, connection: Connection, verification_id: str, now: float) -> None:
        """Say that a message ended and nothing follows it."""
        await self._on_route_end(connection, verification_id, now)


async def _left(connection: Connection, message: Message, stops: Sequence[Stop]) -> Sequence[int]:
    """Return the steps of what may have left and counts as one send with a message; it matters where a route comes back.

    That is what came since the latest that counted: it went out in its place, uncounted. The message at hand is one of them
    whatever its id, for ids go by the clock of who made them.
    """
    if not comes_back(stops, message.step):
        return ()
    found = await connection.fetch(sql.MAY_HAVE_LEFT, verification_id=message.verification_id)
    since = max((record["id"] for record in found if record["counted"] == AS_SEND), default=None)
    ours = [item for item in found if item["id"] == message.id or (since is not None and item["id"] >= since)]
    return [item["step"] for item in ours if item["may_have_left"]]
