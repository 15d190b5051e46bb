"""Sending a verification's code once more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping, Sequence

from gateway.config import ServiceSettings
from gateway.delivery.lifecycle import MessageStatus, VerificationStatus
from gateway.delivery.message import Message, topic
from gateway.delivery.payload import Owner, Stop, open_code, open_params, open_route, seal_code
from gateway.delivery.person import IsTheirs, Locked
from gateway.delivery.queue import Queue
from gateway.errors import InvalidRequest
from gateway.events.event import EventName, event, recorded
from gateway.storage.ids import new_id
from gateway.storage.sealing import Hasher, Sealer
from gateway.storage.unit import Connection, Move, Record
from gateway.verification import codes, cooldown, ending, refusing
from gateway.verification import statements as sql
from gateway.verification.admission import Admission
from gateway.verification.view import status_at

_LATEST = "SELECT step FROM message WHERE verification_id = :id ORDER BY id DESC LIMIT 1"


class Resending:
    """Makes a verification's next message, within a transaction of the caller's.

    ``channels`` are the configured ones: a route may be older than the configuration. ``chats`` are those whose addresses
    are chats with a bot; without any, nobody can refuse in one.
    """

    def __init__(
        self,
        queue: Queue,
        sealer: Sealer,
        hasher: Hasher,
        services: Mapping[str, ServiceSettings],
        channels: Container[str],
        chats: Collection[str],
        has_room: Callable[[str, str], bool],
        locked: Locked,
        is_theirs: IsTheirs,
        random_below: codes.RandomBelow,
        admission: Admission | None = None,
    ) -> None:
        self._queue = queue
        self._sealer = sealer
        self._hasher = hasher
        self._services = services
        self._channels = channels
        self._chats = chats
        self._has_room = has_room
        self._locked = locked
        self._is_theirs = is_theirs
        self._random_below = random_below
        self._admission = admission

    async def resend(
        self, connection: Connection, service: str, verification_id: str, channel: str | None, now: float
    ) -> tuple[Message, bool]:
        """Return the new message and whether it was born in this node's hands.

        Raises ``NotFound``, ``Gone``, ``AlreadyApproved``, ``Cooldown``, ``InvalidRequest``, ``RecipientRefused``,
        ``Unavailable``.
        """
        found = await connection.fetch(sql.ONE, id=verification_id, service=service)
        if not found or status_at(found[0], now) != VerificationStatus.PENDING or found[0]["code_sealed"] is None:
            raise await ending.why_not(connection, service, verification_id, now)
        record = found[0]
        if record["resend_at"] > now:
            base = self._services[service].limits.cooldown
            raise cooldown.refusal(record["resend_at"] - now, verification_id, base=base)
        owner = Owner(verification_id, service, record["purpose"])
        stops = open_route(self._sealer, owner, record["route_sealed"])
        step = await self._step(connection, verification_id, stops, channel)
        if self._chats:
            await self._ask(connection, service, stops, step, now)
        if self._admission is not None and stops[step].address is not None:
            route = [stop.channel for stop in stops[step:] if stop.channel in self._channels]
            self._admission.check(service, route, record["expires_at"] - now)
        message = self._again(owner, record, stops, step, now)
        leased = bool(message.address) and self._has_room(message.channel, service)
        await self._write(connection, record, message, stops[step], now, leased=leased)
        return message, leased

    async def _step(
        self, connection: Connection, verification_id: str, stops: Sequence[Stop], channel: str | None
    ) -> int:
        names = [stop.channel for stop in stops]
        if channel is None:
            latest = await connection.fetch(_LATEST, id=verification_id)
            first = int(latest[0]["step"]) if latest else 0
            for step in range(first, len(names)):
                if names[step] in self._channels:
                    return step
            raise InvalidRequest.field(
                "/channel", "what is left of this verification's route is not configured any more"
            )
        if channel not in names or channel not in self._channels:
            raise InvalidRequest.field("/channel", f"not on this verification's route ({', '.join(names)})")
        return names.index(channel)

    async def _ask(self, connection: Connection, service: str, stops: Sequence[Stop], step: int, now: float) -> None:
        """Ask whether the person wants it (no code at all, or none of this service's in the chat), and is still there."""
        hashes = sorted({bytes.fromhex(stop.hash) for stop in stops})
        if await self._locked(connection.fetch, hashes, now, service):
            raise refusing.locked()
        stop = stops[step]
        if stop.channel not in self._chats or stop.address is None:
            return
        chat_hash = self._hasher.hash("chat", stop.address)
        if not await self._is_theirs(connection.fetch, chat_hash, bytes.fromhex(stop.hash), service):
            # The route was written at the start. Since then they may have moved to another chat, or have said stop.
            raise refusing.moved()
        if await connection.fetch(sql.MUTED, chat_hash=chat_hash, service=service):
            raise refusing.muted()

    def _again(self, owner: Owner, record: Record, stops: Sequence[Stop], step: int, now: float) -> Message:
        generation: int = record["generation"]
        code = open_code(self._sealer, owner, generation, record["code_sealed"])
        if self._services[owner.service].code.resend == "new":
            generation, code = generation + 1, codes.make(len(code), self._random_below)
        return Message(
            id=new_id("msg", now),
            verification_id=owner.id,
            service=owner.service,
            channel=stops[step].channel,
            step=step,
            steps=len(stops),
            purpose=owner.purpose,
            locale=stops[step].locale or record["locale"],
            generation=generation,
            attempts=0,
            skipped=0,
            created_at=now,
            expires_at=record["expires_at"],
            started_at=None,
            ttl=record["expires_at"] - record["created_at"],
            recipient=stops[step].recipient,
            address=stops[step].address or "",
            code=code,
            params=open_params(self._sealer, owner, record["params_sealed"]),
        )

    async def _write(
        self, connection: Connection, record: Record, message: Message, stop: Stop, now: float, *, leased: bool
    ) -> None:
        sends = record["sends"] + 1
        resend_at = await self._claim_cooldown(connection, message, stop, sends, now)
        # What is still queued would only double this message.
        await self._queue.close(connection, message.verification_id, MessageStatus.CANCELED, now)
        resent = event(
            EventName.VERIFICATION_RESENT,
            now,
            message.service,
            verification_id=message.verification_id,
            channel=message.channel,
            recipient=message.recipient,
        )
        if stop.address is None:
            write, told = self._queue.hold_back(message, now)
        else:
            write, told = self._queue.enqueue(message, now, leased=leased)
        sealed = self._sealed_anew(record, message)
        row = (message.verification_id, sends, now, resend_at, message.generation, sealed)
        wakes = () if leased or stop.address is None else (topic(message.channel),)
        if not await connection.apply(recorded((sql.RESEND, row), [write], [resent, told], wakes=wakes)):
            raise await ending.why_not(connection, message.service, message.verification_id, now)

    async def _claim_cooldown(
        self, connection: Connection, message: Message, stop: Stop, sends: int, now: float
    ) -> float:
        base, address_hash = self._services[message.service].limits.cooldown, bytes.fromhex(stop.hash)
        resend_at = now + cooldown.length(base, sends)
        if base:
            claim = (message.service, address_hash, now, resend_at, message.verification_id)
            if not await connection.apply(Move((sql.CLAIM_COOLDOWN, claim))):
                raise await cooldown.running(connection.fetch, message.service, address_hash, base=base, now=now)
        return resend_at

    def _sealed_anew(self, record: Record, message: Message) -> bytes | None:
        if message.generation == record["generation"]:
            return None
        owner = Owner(message.verification_id, message.service, message.purpose)
        return seal_code(self._sealer, owner, message.generation, message.code)
