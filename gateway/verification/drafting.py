"""From a request and what holds for it to a verification that can be written: its code, its first message, its claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import ClassVar

from channels.base import Address
from gateway.config import LimitSettings, ServiceSettings
from gateway.delivery import routing
from gateway.delivery.births import Workers
from gateway.delivery.message import Message
from gateway.delivery.payload import Owner, Stop
from gateway.delivery.person import Invitation
from gateway.storage.ids import new_id
from gateway.storage.sealing import Hasher
from gateway.value import Value
from gateway.verification import codes, cooldown, starting
from gateway.verification.limits import claims
from gateway.verification.limits.claims import Claim
from gateway.verification.references import counted_as
from gateway.verification.request import Asked, CodePolicy
from gateway.verification.starting import Draft


class Wanted(Value, frozen=True):
    """A request with what holds for its service and purpose, and how its person is reached."""

    hidden: ClassVar[frozenset[str]] = frozenset({"asked", "to", "steps"})

    owner: Owner
    #: When it was asked for, in seconds since the Unix epoch.
    at: float
    asked: Asked
    settings: ServiceSettings
    policy: CodePolicy
    #: The normalised addresses by kind.
    to: Mapping[str, Address]
    #: The steps of the route, the first of which is taken first, and the names of their channels.
    steps: Sequence[routing.Step]
    channels: Sequence[str]
    #: Asks the person to open the bot, if that is what the message waits for.
    invitation: Invitation | None


class Drafting:
    """Makes drafts. ``own_kinds`` are the kinds of address that each service gives its own people.

    ``has_room`` says whether this node's dispatcher would take one of a channel and service, ``workers`` whether one waits for it.
    """

    def __init__(
        self,
        hasher: Hasher,
        own_kinds: AbstractSet[str],
        workers: Workers,
        has_room: Callable[[str, str], bool],
        random_below: codes.RandomBelow,
    ) -> None:
        self._hasher = hasher
        self._own_kinds = own_kinds
        self._workers = workers
        self._has_room = has_room
        self._random_below = random_below

    def draft(self, wanted: Wanted) -> Draft:
        """Return what is to be written, with a place at a worker taken for its message where one waits for it."""
        asked, policy, waits = wanted.asked, wanted.policy, wanted.invitation is not None
        limits = wanted.settings.limits
        hashes, masked = {}, {}
        for kind, address in wanted.to.items():
            hashes[kind], masked[kind] = self._hasher.hash(kind, address.canonical), address.masked
        counted = counted_as(self._hasher, wanted.owner.service, hashes, self._own_kinds)
        found_by = starting.found_by(hashes, counted)
        stops = starting.complete([self._stop(step, wanted, hashes, counted) for step in wanted.steps], found_by)
        another = partial(codes.make, policy.length, policy.alphabet, policy.classes, self._random_below)
        message = self._message(wanted, stops[0], counted[wanted.steps[0].kind], policy.value or another())
        begins = not waits and self._workers.reserve(message.channel)
        cools = cooldown.length(limits.cooldown, sends=1)
        leased = not waits and (begins or self._has_room(message.channel, message.service))
        claim = self._claim(message, asked, limits, policy.max_checks, cools)
        # By place, in the order of its fields, as the message is.
        return Draft(
            wanted.owner,
            asked,
            masked,
            found_by,
            stops,
            wanted.channels,
            asked.locale or wanted.settings.locale,
            message,
            policy.max_checks,
            wanted.at + cools,
            wanted.invitation,
            leased,
            begins,
            claim,
            policy.alphabet,
            None if policy.value else another,
        )

    def _message(self, wanted: Wanted, stop: Stop, address_hash: bytes, code: str) -> Message:
        owner, asked, now, ttl = wanted.owner, wanted.asked, wanted.at, wanted.policy.ttl
        # By place, in the order of its fields: of a call with more than 15 names Python makes a dictionary first (0.8 µs).
        return Message(
            new_id("msg", now),
            owner.id,
            owner.service,
            stop.channel,
            0,  # step
            len(wanted.steps),
            owner.purpose,
            stop.locale or asked.locale or wanted.settings.locale,
            1,  # generation
            0,  # attempts
            0,  # skipped
            now,
            now + ttl,
            None,  # started_at
            float(ttl),
            stop.recipient,
            stop.address or "",
            code,
            asked.params,
            bind=asked.bind,
            recipient_hash=address_hash,
            counted=1,
            block_hash=None if stop.block is None else bytes.fromhex(stop.block),
        )

    def _stop(
        self, step: routing.Step, wanted: Wanted, hashes: Mapping[str, bytes], counted: Mapping[str, bytes]
    ) -> Stop:
        address, limits = wanted.to[step.kind], wanted.settings.limits
        # Whoever is reached in a chat is sent to for nothing: it is the number itself that is paid for.
        counts = address.block is not None and limits.prefix_per_hour and step.address == address.value
        block = claims.block_hash(self._hasher, address) if counts else None
        return Stop(
            step.channel,
            step.address,
            step.recipient,
            hashes[step.kind].hex(),
            step.locale,
            None if block is None else block.hex(),
            counted[step.kind].hex() if step.kind in self._own_kinds else None,
        )

    def _claim(self, message: Message, asked: Asked, limits: LimitSettings, max_checks: int, cools: float) -> Claim:
        """Return what starting a verification claims, ``message`` being its first."""
        address_hash = message.recipient_hash
        assert address_hash is not None, "it was made a moment ago, for somebody"
        return Claim(
            verification_id=message.verification_id,
            service=message.service,
            purpose=message.purpose,
            hash=address_hash,
            at=message.created_at,
            limits=limits,
            need=max_checks,
            starts=True,
            cooldown=cools,
            code=claims.code_hash(self._hasher, message.service, address_hash, message.code),
            block=message.block_hash,
            visitor=claims.visitor_hash(self._hasher, message.service, asked.client_ip),
        )
