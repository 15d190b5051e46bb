"""Starting a verification and sending its code again."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from channels.base import Address, Channel, Normalize
from gateway.clock import Clock
from gateway.config import ServiceSettings
from gateway.delivery import routing
from gateway.delivery.lifecycle import MessageStatus, VerificationStatus
from gateway.delivery.message import Message
from gateway.delivery.payload import Owner, Stop, open_code, open_params, open_route, seal_code, seal_params, seal_route
from gateway.delivery.queue import Queue
from gateway.errors import Cooldown, InvalidRequest
from gateway.events.event import EventName, event, recorded
from gateway.storage.database import Database
from gateway.storage.ids import new_id
from gateway.storage.sealing import Hasher, Sealer
from gateway.storage.unit import Connection, Move, Record
from gateway.verification import codes, ending
from gateway.verification import statements as sql
from gateway.verification.request import Asked, CodePolicy, addresses, code_policy
from gateway.verification.view import MessageView, VerificationView

#: The cooldown grows with each send of a verification up to this many times its base: 30, 60, 90, 120 s.
COOLDOWN_GROWTH = 4

#: Resolves a person's reference to the chat they opened: the chat's address, or ``None``.
Resolve = Callable[[str, Address], Awaitable[str | None]]
#: Asks a person to open the bot of a channel; returns the link.
Invite = Callable[[str, str, Address], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A verification ready to be written."""

    view: VerificationView
    move: Move
    message: Message = field(repr=False)
    service: str
    #: The hash of the address whose cooldown it claims.
    hash: bytes = field(repr=False)
    #: Whether the message was born in this node's hands.
    leased: bool


class Verifications:
    """Takes requests for codes.

    ``hand_over`` gives a fresh message to this node's dispatcher, ``has_room`` says whether it would take one of a
    channel, ``resolve`` and ``invite`` know the people who opened the bot.
    """

    def __init__(
        self,
        *,
        database: Database,
        queue: Queue,
        sealer: Sealer,
        hasher: Hasher,
        clock: Clock,
        services: Mapping[str, ServiceSettings],
        channels: Mapping[str, Channel],
        kinds: Mapping[str, Normalize],
        hand_over: Callable[[Message], None],
        has_room: Callable[[str], bool],
        resolve: Resolve,
        invite: Invite,
        sandbox: bool = False,
        random_below: codes.RandomBelow = secrets.randbelow,
    ) -> None:
        self._database = database
        self._queue = queue
        self._sealer = sealer
        self._hasher = hasher
        self._clock = clock
        self._services = services
        self._channels = channels
        self._kinds = kinds
        self._hand_over = hand_over
        self._has_room = has_room
        self._resolve = resolve
        self._invite = invite
        self._sandbox = sandbox
        self._random_below = random_below

    async def prepare(self, service: str, asked: Asked) -> Prepared:
        """Make a verification without writing it. Raises ``InvalidRequest`` or ``RecipientRefused``."""
        settings = self._services[service]
        policy = code_policy(asked, settings)
        to = addresses(asked, settings, self._kinds, sandbox=self._sandbox)
        steps = self._plan(asked, settings, to)
        link = None
        if any(step.needs_subscriber for step in steps):
            steps, link = await self._with_chats(service, steps, to)
        return self._made(service, asked, policy, to, steps, link)

    async def start(self, prepared: Prepared) -> VerificationView:
        """Write a verification durably and hand its message over. Raises ``Cooldown``."""
        if not await self._database.write(prepared.move):
            raise await self._refusal(self._database.fetch, prepared.service, prepared.hash)
        self.started(prepared)
        return prepared.view

    async def start_within(self, connection: Connection, prepared: Prepared) -> None:
        """Write a verification in a transaction of the caller's, who then calls ``started``. Raises ``Cooldown``."""
        if not await connection.apply(prepared.move):
            raise await self._refusal(connection.fetch, prepared.service, prepared.hash)

    def started(self, prepared: Prepared) -> None:
        """Hand a written verification's message over."""
        if prepared.leased:
            self._hand_over(prepared.message)

    async def resend(self, service: str, verification_id: str, channel: str | None) -> None:
        """Send the code once more, from ``channel`` (or the latest message's) on along the route.

        Raises ``NotFound``, ``Gone``, ``AlreadyApproved``, ``Cooldown``, ``InvalidRequest``.
        """
        now = self._clock.now()

        async def work(connection: Connection) -> tuple[Message, bool]:
            return await self._resent(connection, service, verification_id, channel, now)

        message, leased = await self._database.run(work)
        if leased:
            self._hand_over(message)

    async def on_link(
        self, connection: Connection, service: str, address_hash: bytes, chat: str, now: float
    ) -> set[str]:
        """Send what waited for a person who has now linked ``chat``; return the channels that got something."""
        channels: set[str] = set()
        for record in await connection.fetch(_WAITING, service=service, hash=address_hash):
            owner = Owner(record["id"], service, record["purpose"])
            stops = open_route(self._sealer, owner, record["route_sealed"])
            reached = [replace(stop, address=stop.address or chat) for stop in stops]
            blob = seal_route(self._sealer, owner, reached)
            if await connection.apply(Move((sql.SET_ROUTE, (owner.id, blob)))):
                channels |= await self._queue.let_go(connection, owner.id, stops[0].recipient, now)
        return channels

    def _plan(self, asked: Asked, settings: ServiceSettings, to: Mapping[str, Address]) -> list[routing.Step]:
        route = settings.channels if asked.channels is None else asked.channels
        for place, name in enumerate(route):
            if name not in self._channels:
                known = ", ".join(sorted(self._channels))
                raise InvalidRequest.field(f"/channels/{place}", f"no such channel; configured are {known}")
        steps = routing.plan(route, self._channels, to)
        if not steps:
            raise InvalidRequest.field("/to", f"no address for any channel of the route ({', '.join(route)})")
        return steps

    async def _with_chats(
        self, service: str, steps: Sequence[routing.Step], to: Mapping[str, Address]
    ) -> tuple[list[routing.Step], str | None]:
        """Give steps that need a subscriber their chat, and drop those without; alone, such a step waits."""
        reached = []
        for step in steps:
            chat = await self._resolve(service, to[step.kind]) if step.needs_subscriber else step.address
            if chat is not None:
                reached.append(replace(step, address=chat))
        if reached:
            return reached, None
        first = steps[0]
        return [first], await self._invite(service, first.channel, to[first.kind])

    def _made(
        self,
        service: str,
        asked: Asked,
        policy: CodePolicy,
        to: Mapping[str, Address],
        steps: Sequence[routing.Step],
        link: str | None,
    ) -> Prepared:
        now = self._clock.now()
        owner = Owner(new_id("ver", now), service, asked.purpose)
        settings = self._services[service]
        stops = [self._stop(step) for step in steps]
        message = Message(
            id=new_id("msg", now),
            verification_id=owner.id,
            service=service,
            channel=steps[0].channel,
            step=0,
            steps=len(steps),
            purpose=asked.purpose,
            locale=asked.locale or settings.locale,
            generation=1,
            attempts=0,
            skipped=0,
            created_at=now,
            expires_at=now + policy.ttl,
            started_at=None,
            ttl=float(policy.ttl),
            recipient=steps[0].recipient,
            address=steps[0].address or "",
            code=policy.value or codes.make(policy.length, self._random_below),
            params=asked.params,
        )
        resend_at = now + settings.limits.cooldown
        leased = link is None and self._has_room(message.channel)
        move = self._move(owner, asked, policy, to, stops, message, resend_at, leased=leased, waits=link is not None)
        view = _fresh_view(owner, message, to, [step.channel for step in steps], resend_at, policy.max_checks, link)
        return Prepared(view, move, message, service, bytes.fromhex(stops[0].hash), leased)

    def _move(
        self,
        owner: Owner,
        asked: Asked,
        policy: CodePolicy,
        to: Mapping[str, Address],
        stops: Sequence[Stop],
        message: Message,
        resend_at: float,
        *,
        leased: bool,
        waits: bool,
    ) -> Move:
        now = message.created_at
        created = event(
            EventName.VERIFICATION_CREATED,
            now,
            owner.service,
            verification_id=owner.id,
            channel=message.channel,
            recipient=message.recipient,
        )
        if waits:
            queued, told = self._queue.hold_back(message, now)
        else:
            queued, told = self._queue.enqueue(message, now, leased=leased)
        row = (
            owner.id,
            owner.service,
            VerificationStatus.PENDING,
            owner.purpose,
            message.locale,
            orjson.dumps({kind: address.masked for kind, address in to.items()}).decode(),
            seal_route(self._sealer, owner, stops),
            seal_code(self._sealer, owner, 1, message.code),
            seal_params(self._sealer, owner, message.params),
            orjson.dumps([stop.channel for stop in stops]).decode(),
            1,
            0,
            policy.max_checks,
            1,
            now,
            message.expires_at,
            resend_at,
            None,
            asked.client_ip,
            asked.client_reference,
        )
        hashes = {self._hasher.hash(kind, address.canonical) for kind, address in to.items()}
        then = [
            (sql.INSERT_VERIFICATION, row),
            *((sql.INSERT_ADDRESS, (address_hash, owner.id)) for address_hash in sorted(hashes)),
            queued,
        ]
        guard = None
        if resend_at > now:
            cooldown = (owner.service, bytes.fromhex(stops[0].hash), now, resend_at, owner.id)
            guard = (sql.CLAIM_COOLDOWN, cooldown)
        return recorded(guard, then, [created, told])

    def _stop(self, step: routing.Step) -> Stop:
        return Stop(step.channel, step.address, step.recipient, self._hasher.hash(step.kind, step.canonical).hex())

    async def _refusal(
        self, fetch: Callable[..., Awaitable[list[Record]]], service: str, address_hash: bytes
    ) -> Cooldown:
        now = self._clock.now()
        for record in await fetch(sql.COOLDOWN, service=service, hash=address_hash):
            return _cooldown(record["until"] - now, record["verification_id"], self._services[service].limits.cooldown)
        return _cooldown(1.0, None, self._services[service].limits.cooldown)

    async def _resent(
        self, connection: Connection, service: str, verification_id: str, channel: str | None, now: float
    ) -> tuple[Message, bool]:
        found = await connection.fetch(sql.ONE, id=verification_id, service=service)
        if not found or found[0]["status"] != VerificationStatus.PENDING or found[0]["expires_at"] <= now:
            raise await ending.why_not(connection, service, verification_id, now)
        record = found[0]
        if record["resend_at"] > now:
            limit = self._services[service].limits.cooldown
            raise _cooldown(record["resend_at"] - now, verification_id, limit)
        owner = Owner(verification_id, service, record["purpose"])
        stops = open_route(self._sealer, owner, record["route_sealed"])
        step = await self._step(connection, verification_id, stops, channel)
        message = self._again(owner, record, stops, step, now)
        leased = bool(message.address) and self._has_room(message.channel)
        await self._write_resend(connection, record, message, stops[step], now, leased=leased)
        return message, leased

    async def _step(
        self, connection: Connection, verification_id: str, stops: Sequence[Stop], channel: str | None
    ) -> int:
        names = [stop.channel for stop in stops]
        if channel is None:
            latest = await connection.fetch(_LATEST, id=verification_id)
            return int(latest[0]["step"]) if latest else 0
        if channel not in names:
            raise InvalidRequest.field("/channel", f"not on this verification's route ({', '.join(names)})")
        return names.index(channel)

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
            locale=record["locale"],
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

    async def _write_resend(
        self, connection: Connection, record: Record, message: Message, stop: Stop, now: float, *, leased: bool
    ) -> None:
        limit = self._services[message.service].limits.cooldown
        sends = record["sends"] + 1
        resend_at = now + limit * min(sends, COOLDOWN_GROWTH)
        owner = Owner(message.verification_id, message.service, message.purpose)
        renewed = message.generation != record["generation"]
        sealed = seal_code(self._sealer, owner, message.generation, message.code) if renewed else None
        if limit:
            claim = (message.service, bytes.fromhex(stop.hash), now, resend_at, message.verification_id)
            if not await connection.apply(Move((sql.CLAIM_COOLDOWN, claim))):
                raise await self._refusal(connection.fetch, message.service, bytes.fromhex(stop.hash))
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
        row = (message.verification_id, sends, now, resend_at, message.generation, sealed)
        if not await connection.apply(recorded((sql.RESEND, row), [write], [resent, told])):
            raise await ending.why_not(connection, message.service, message.verification_id, now)


_WAITING = """SELECT v.id, v.purpose, v.route_sealed FROM verification v
    WHERE v.service = :service AND v.status = 'pending'
        AND v.id IN (SELECT a.verification_id FROM address a WHERE a.hash = :hash)
        AND EXISTS (SELECT 1 FROM message m WHERE m.verification_id = v.id AND m.status = 'waiting')"""

_LATEST = "SELECT step FROM message WHERE verification_id = :id ORDER BY id DESC LIMIT 1"


def _cooldown(wait: float, verification_id: str | None, base: float) -> Cooldown:
    seconds = max(1, -int(-wait // 1))
    headers = {
        "RateLimit-Policy": f'"cooldown";q=1;w={int(base)}',
        "RateLimit": f'"cooldown";r=0;t={seconds}',
    }
    extra: dict[str, Any] = {"limit": "cooldown"}
    if verification_id is not None:
        extra["verification"] = verification_id
    return Cooldown(f"sent a moment ago; again in {seconds} s", retry_after=wait, headers=headers, **extra)


def _fresh_view(
    owner: Owner,
    message: Message,
    to: Mapping[str, Address],
    route: Sequence[str],
    resend_at: float,
    max_checks: int,
    link: str | None,
) -> VerificationView:
    status = MessageStatus.QUEUED if link is None else MessageStatus.WAITING
    return VerificationView(
        id=owner.id,
        status=VerificationStatus.PENDING,
        service=owner.service,
        purpose=owner.purpose,
        locale=message.locale,
        to={kind: address.masked for kind, address in to.items()},
        channel=message.channel,
        next_channels=route[1:],
        created_at=message.created_at,
        expires_at=message.expires_at,
        resend_at=resend_at,
        checks_left=max_checks,
        link=link,
        messages=(MessageView(message.id, message.channel, status),),
    )
