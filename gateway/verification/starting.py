"""A verification as it starts: its row, its first message, its events and its cooldown, as one move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import orjson
from msgspec.structs import replace

from gateway.delivery.births import Begun
from gateway.delivery.lifecycle import MessageStatus, VerificationStatus
from gateway.delivery.message import Message, topic
from gateway.delivery.payload import Owner, Stop, seal_code, seal_params, seal_route
from gateway.delivery.person import Invitation
from gateway.delivery.queue import Queue
from gateway.events.event import Event, EventName, event, recorded
from gateway.storage.ids import new_id
from gateway.storage.sealing import Hasher, Sealer
from gateway.storage.statement import Row
from gateway.storage.unit import Move, Record, Write
from gateway.value import Value
from gateway.verification import binding
from gateway.verification import statements as sql
from gateway.verification.codes import DIGITS
from gateway.verification.limits.claims import Another, Claim, guards, sends_left
from gateway.verification.request import Asked
from gateway.verification.view import MessageView, VerificationView

# Kept, for an enum's member is looked up by a function each time.
_PENDING: Final = VerificationStatus.PENDING
_PENDING_VALUE: Final = VerificationStatus.PENDING.value
_QUEUED: Final = MessageStatus.QUEUED
_WAITING: Final = MessageStatus.WAITING
_CREATED: Final = EventName.VERIFICATION_CREATED


class Prepared(Value, frozen=True):
    """A verification ready to be written."""

    hidden: ClassVar[frozenset[str]] = frozenset({"message", "begun"})

    view: VerificationView
    move: Move
    #: Its first message; ``None`` where nothing is sent.
    message: Message | None
    service: str
    #: Whether the message was born in this node's hands.
    leased: bool
    #: What it claims of its service's limits, if anything.
    claim: Claim | None = None
    #: What it was made from; ``None`` where nothing is sent.
    draft: Draft | None = None
    #: Its first attempt, where that is written along with it.
    begun: Begun | None = None


class Draft(Value, frozen=True):
    """A verification decided on and not yet put into rows."""

    hidden: ClassVar[frozenset[str]] = frozenset({"asked", "hashes", "route", "message"})

    owner: Owner
    asked: Asked
    #: Address kind → masked address.
    to: Mapping[str, str]
    #: The addresses' keyed hashes, each once, sorted.
    hashes: Sequence[bytes]
    route: Sequence[Stop]
    #: The channels of the route, in order.
    channels: Sequence[str]
    #: The language asked for, else the service's; a person's own, where known, goes before it.
    locale: str
    #: Its first message.
    message: Message
    max_checks: int
    resend_at: float
    #: Asks the person to open the bot, if that is what the message waits for; written along with it.
    invitation: Invitation | None
    #: Whether the message is born in this node's hands.
    leased: bool
    #: Whether a worker waits for it, so that its first attempt is written along with it.
    begins: bool
    #: What its first message claims of the limits.
    claim: Claim
    #: The alphabet of its code.
    alphabet: str = DIGITS
    #: Makes another code; ``None``: the service brought its own.
    another: Another = None
    #: What else is told of it.
    told: Sequence[Event] = ()


def found_by(hashes: Mapping[str, bytes], counted: Mapping[str, bytes]) -> Sequence[bytes]:
    """Return what a verification is found by, sorted: its addresses' keyed hashes, and what they are counted by."""
    if counted is hashes and len(hashes) == 1:
        return [*hashes.values()]
    return sorted({*hashes.values(), *counted.values()})


def complete(stops: Sequence[Stop], hashes: Sequence[bytes]) -> Sequence[Stop]:
    """Return a route's stops with all that their verification is found by: the first has what none of them leads to."""
    if len(hashes) == 1:
        # Most have one address, and a stop leads there.
        return stops
    on_route = {each for stop in stops for each in (stop.hash, stop.counted)}
    rest = tuple(each for each in map(bytes.hex, hashes) if each not in on_route)
    return [replace(stops[0], also=rest), *stops[1:]] if rest else stops


def prepared(draft: Draft, queue: Queue, sealer: Sealer, hasher: Hasher) -> Prepared:
    """Return the verification ready to be written."""
    # Told first, and so made first: events are in the order of their ids.
    created = _created(draft)
    writes, told, begun = _born(draft, queue)
    move = _move(draft, writes, [created, *told, *draft.told], sealer, hasher)
    return Prepared(_view(draft), move, draft.message, draft.owner.service, draft.leased, draft.claim, draft, begun)


def counted(written: Prepared, row: Record) -> Prepared:
    """Return a written verification whose view tells how many sends are left, from its recipient's ``row``."""
    draft = written.draft
    if draft is None:
        return written
    return replace(written, view=replace(written.view, sends_left=sends_left(draft.claim.limits, row)))


def with_events(move: Move, events: Sequence[Event]) -> Move:
    """Return a move that tells further events as well."""
    more = recorded(None, [], events)
    return replace(move, then=(*move.then, *more.then), notes=(*move.notes, *more.notes))


def observed(prepared: Prepared, limit: str) -> Prepared:
    """Return the same, with an event of a limit that would have refused it and only observes."""
    view = prepared.view
    told = event(
        EventName.LIMIT_OBSERVED,
        view.created_at,
        prepared.service,
        verification_id=view.id,
        reason=limit,
    )
    draft = prepared.draft and replace(prepared.draft, told=(*prepared.draft.told, told))
    return replace(prepared, move=with_events(prepared.move, [told]), draft=draft)


def _born(draft: Draft, queue: Queue) -> tuple[Sequence[Write], Sequence[Event], Begun | None]:
    """Return what to write and tell of its first message, and its attempt where that is among it."""
    message, now = draft.message, draft.message.created_at
    if draft.begins:
        birth = queue.born_under_way(message, now)
        return birth.writes, birth.events, birth.begun
    if draft.invitation is None:
        write, told = queue.enqueue(message, now, leased=draft.leased)
    else:
        write, told = queue.hold_back(message, now)
    return (write,), (told,), None


def _created(draft: Draft) -> Event:
    # Made here and not by ``event``: there is one of each verification.
    owner, message, at = draft.owner, draft.message, draft.message.created_at
    return Event(
        new_id("evt", at),
        at,
        _CREATED,
        owner.service,
        owner.id,
        channel=message.channel,
        recipient=message.recipient,
    )


def _move(draft: Draft, writes: Sequence[Write], told: Sequence[Event], sealer: Sealer, hasher: Hasher) -> Move:
    addresses = [(sql.INSERT_ADDRESS, (address_hash, draft.owner.id)) for address_hash in draft.hashes]
    then = [(sql.INSERT_VERIFICATION, _row(draft, sealer, hasher)), *addresses, *writes]
    first, guard = guards(draft.claim)
    # Left in the database, it is due at once, here or on another node.
    wakes = () if draft.leased or draft.invitation is not None else (topic(draft.message.channel),)
    return recorded(guard, then, told, wakes=wakes, first=first)


def _row(draft: Draft, sealer: Sealer, hasher: Hasher) -> Row:
    owner, message, asked = draft.owner, draft.message, draft.asked
    bind_sealed, bind_hash, session_hash = binding.columns(hasher, sealer, owner, asked.bind)
    return (
        owner.id,
        owner.service,
        _PENDING_VALUE,
        owner.purpose,
        draft.locale,
        orjson.dumps(draft.to).decode(),
        seal_route(sealer, owner, draft.route),
        seal_code(sealer, owner, message.generation, message.code),
        seal_params(sealer, owner, message.params),
        orjson.dumps(draft.channels).decode(),
        message.generation,
        0,
        draft.max_checks,
        1,
        message.created_at,
        message.expires_at,
        draft.resend_at,
        None,
        asked.client_ip,
        asked.client_reference,
        None if draft.alphabet == DIGITS else draft.alphabet,
        bind_sealed,
        bind_hash,
        session_hash,
        draft.claim.context or None,
        1 if draft.another is None else None,
    )


def _view(draft: Draft) -> VerificationView:
    owner, message, invitation = draft.owner, draft.message, draft.invitation
    return VerificationView(
        id=owner.id,
        status=_PENDING,
        service=owner.service,
        purpose=owner.purpose,
        locale=draft.locale,
        to=draft.to,
        channel=message.channel,
        next_channels=draft.channels[1:],
        created_at=message.created_at,
        expires_at=message.expires_at,
        resend_at=draft.resend_at,
        checks_left=draft.max_checks,
        link=None if invitation is None else invitation.link,
        messages=(MessageView(message.id, message.channel, _QUEUED if invitation is None else _WAITING),),
    )
