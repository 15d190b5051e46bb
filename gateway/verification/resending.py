"""Sending a verification's code once more."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence

from gateway.config import ServiceSettings
from gateway.delivery.lifecycle import MessageStatus, VerificationStatus
from gateway.delivery.message import Message, topic
from gateway.delivery.payload import Owner, Stop, open_bind, open_code, open_params, open_route, seal_code
from gateway.delivery.queue import Queue
from gateway.errors import InvalidRequest, Problem, RateLimited, Refused
from gateway.events.event import EventName, event, recorded
from gateway.storage.sealing import Hasher, Sealer
from gateway.storage.unit import Connection, Record
from gateway.verification import codes, cooldown, ending, refusing
from gateway.verification import statements as sql
from gateway.verification.accepting import Accepting
from gateway.verification.admission import Admission
from gateway.verification.limits import claims, refusals, trust
from gateway.verification.limits import statements as limits_sql
from gateway.verification.limits.allowances import Allowances
from gateway.verification.limits.claims import Another, Claim
from gateway.verification.limits.counting import observed
from gateway.verification.view import status_at
from gateway.verification.wishes import Wishes

_LATEST = "SELECT step FROM message WHERE verification_id = :id ORDER BY id DESC LIMIT 1"


class Resending:
    """Makes a verification's next message, within a transaction of the caller's.

    ``channels`` are the configured ones: a route may be older than the configuration. ``wishes`` are what people have said.
    """

    def __init__(
        self,
        queue: Queue,
        sealer: Sealer,
        hasher: Hasher,
        services: Mapping[str, ServiceSettings],
        channels: Container[str],
        wishes: Wishes,
        has_room: Callable[[str, str], bool],
        random_below: codes.RandomBelow,
        admission: Admission | None = None,
        *,
        accepting: Accepting,
        allowances: Allowances | None = None,
    ) -> None:
        self._queue = queue
        self._sealer = sealer
        self._hasher = hasher
        self._services = services
        self._channels = channels
        self._wishes = wishes
        self._has_room = has_room
        self._random_below = random_below
        self._admission = admission
        self._accepting = accepting
        self._allowances = allowances

    async def resend(
        self,
        connection: Connection,
        service: str,
        verification_id: str,
        channel: str | None,
        message_id: str,
        now: float,
    ) -> tuple[Message, bool]:
        """Return the new message, called ``message_id``, and whether it was born in this node's hands.

        Its price is reckoned with from here on: whoever does not keep the transaction calls ``dropped``. Raises ``NotFound``, ``Gone``, ``AlreadyApproved``, ``Cooldown``, ``RateLimited``, ``InvalidRequest``,
        ``RecipientRefused``, ``Unavailable``.
        """
        # Held before its recipient's rows, as an answer takes them: neither then waits for the other crosswise.
        found = await connection.fetch(sql.HOLD_OWN, id=verification_id, service=service)
        if not found or status_at(found[0], now) != VerificationStatus.PENDING or found[0]["code_sealed"] is None:
            raise await ending.why_not(connection, service, verification_id, now)
        record = found[0]
        limits = self._policy(service, record["purpose"]).limits
        # Without length it has been over since ever: a node whose clock is behind the one that made it would refuse else.
        cools = record["resend_at"] > now and limits.cooldown and limits.mode == "enforce"
        owner = Owner(verification_id, service, record["purpose"])
        stops = open_route(self._sealer, owner, record["route_sealed"])
        step = await self._step(connection, verification_id, stops, channel)
        if cools:
            raise await self._too_soon(
                connection, record, self._again(owner, record, stops, step, message_id, now), now
            )
        unwanted = await self._wishes.against(connection, service, stops, step, now)
        if unwanted is not None:
            raise refusing.unwanted(unwanted)
        if self._admission is not None and stops[step].address is not None:
            route = [stop.channel for stop in stops[step:] if stop.channel in self._channels]
            self._admission.check(service, route, record["expires_at"] - now)
        message = self._again(owner, record, stops, step, message_id, now)
        overspent = self._pay(stops, message)
        leased = bool(message.address) and self._has_room(message.channel, service)
        over = () if overspent is None else (str(overspent.extra["limit"]),)
        return await self._write(connection, record, message, stops[step], now, leased=leased, over=over), leased

    def dropped(self, service: str, message_id: str) -> None:
        """Take back what was reckoned with for a message that is not kept."""
        if self._allowances is not None:
            self._allowances.drop(service, message_id)

    def _pay(self, stops: Sequence[Stop], message: Message) -> RateLimited | None:
        """Reckon with a message's price, at once: else all the resends of one batch would find the same money.

        Returns what would refuse it where that is only told of, else raises it; what was let through at its price goes on being sent.
        """
        if self._allowances is None:
            return None
        # Of a work that runs twice: what it reckoned with before is not to stand in its own way.
        self._allowances.drop(message.service, message.id)
        overspent = None if self._allowances.asked_for(message, stops[0]) else self._allowances.afford(message)
        if overspent is not None and not self._allowances.observes(message.service):
            raise overspent
        self._allowances.reckon(message)
        return overspent

    async def _too_soon(self, connection: Connection, record: Record, message: Message, now: float) -> Refused:
        """Return the refusal while a cooldown runs: of whichever limit is longest, so that who obeys it gets through."""
        claim = await self._claim(connection, record, message, now)
        wait = record["resend_at"] - now
        cools = refusals.Reason("cooldown", 1, claim.limits.cooldown, wait, message.verification_id)
        found = refusals.reasons(claim, await refusals.look(connection.fetch, claim))
        return refusals.refusal(claim, [cools, *found])

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

    def _again(
        self, owner: Owner, record: Record, stops: Sequence[Stop], step: int, message_id: str, now: float
    ) -> Message:
        generation: int = record["generation"]
        code = open_code(self._sealer, owner, generation, record["code_sealed"])
        policy = self._policy(owner.service, owner.purpose).code
        if policy.resend == "new":
            alphabet = codes.alphabet_named(record["alphabet"])
            generation, code = generation + 1, codes.make_anew(code, alphabet, policy.classes, self._random_below)
        stop = stops[step]
        # By place, in the order of its fields: of a call with more than 15 names Python makes a dictionary first (0.8 µs).
        return Message(
            message_id,
            owner.id,
            owner.service,
            stop.channel,
            step,
            len(stops),
            owner.purpose,
            stop.locale or record["locale"],
            generation,
            0,  # attempts
            0,  # skipped
            now,
            record["expires_at"],
            None,  # started_at
            record["expires_at"] - record["created_at"],
            stop.recipient,
            stop.address or "",
            code,
            open_params(self._sealer, owner, record["params_sealed"]),
            bind=open_bind(self._sealer, owner, record["bind_sealed"]),
            recipient_hash=stop.counted_by,
            counted=1,
            block_hash=None if stop.block is None else bytes.fromhex(stop.block),
        )

    async def _write(
        self,
        connection: Connection,
        record: Record,
        message: Message,
        stop: Stop,
        now: float,
        *,
        leased: bool,
        over: Sequence[str],
    ) -> Message:
        """Write the message, within the limits but for those it is ``over`` that observe; return it as it was written."""
        claim = await self._claim(connection, record, message, now)
        await connection.fetch(limits_sql.HOLD, service=claim.service, hash=claim.hash, at=now)
        # What is still queued would only double this message, and is given back.
        await self._queue.close(connection, message.verification_id, MessageStatus.CANCELED, now)
        message = await self._accepting.again(connection, claim, message, self._another(record, message))
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
        cooled = now if claim.cooldown and not claim.observes else max(now, record["resend_at"])
        resend_at = now + (claim.cooldown or 0.0)
        row = (message.verification_id, record["sends"] + 1, now, cooled, resend_at, message.generation, sealed)
        wakes = () if leased or stop.address is None else (topic(message.channel),)
        events = [resent, told, *observed(claim, over, message.channel, message.recipient)]
        if not await connection.apply(recorded((sql.RESEND, row), [write], events, wakes=wakes)):
            raise await self._why_not(connection, message, claim, now)
        return message

    async def _why_not(self, connection: Connection, message: Message, claim: Claim, now: float) -> Problem:
        """Return the problem that tells why a verification was not sent anew."""
        found = await connection.fetch(sql.ONE, id=message.verification_id, service=message.service)
        if found and status_at(found[0], now) == VerificationStatus.PENDING:
            # Another node has sent it anew a moment ago: it is alive, and must not be told to be over.
            return cooldown.refusal(refusals.MOMENT, message.verification_id, base=claim.limits.cooldown)
        return await ending.why_not(connection, message.service, message.verification_id, now)

    async def _claim(self, connection: Connection, record: Record, message: Message, now: float) -> Claim:
        limits, address_hash = self._policy(message.service, message.purpose).limits, message.recipient_hash
        assert address_hash is not None, "it was made a moment ago, for somebody"
        anew = message.generation != record["generation"]
        known = await connection.fetch(limits_sql.ADDRESSED, id=message.verification_id, hash=address_hash)
        context = await trust.budget(connection.fetch, message.service, address_hash, record)
        return Claim(
            verification_id=message.verification_id,
            service=message.service,
            purpose=message.purpose,
            hash=address_hash,
            at=now,
            limits=limits,
            # Its checks are held back already, for whom it was sent to before.
            need=0 if known else record["max_checks"] - record["checks"],
            cooldown=cooldown.length(limits.cooldown, record["sends"] + 1),
            code=claims.code_hash(self._hasher, message.service, address_hash, message.code) if anew else None,
            block=message.block_hash,
            context=context,
        )

    def _another(self, record: Record, message: Message) -> Another:
        """Return what makes another new code for a message, ``None`` where its code is the one that was sent."""
        if message.generation == record["generation"]:
            return None
        alphabet = codes.alphabet_named(record["alphabet"])
        classes = self._policy(message.service, message.purpose).code.classes
        return lambda: codes.make_anew(message.code, alphabet, classes, self._random_below)

    def _policy(self, service: str, purpose: str) -> ServiceSettings:
        return self._services[service].for_purpose(purpose)

    def _sealed_anew(self, record: Record, message: Message) -> bytes | None:
        if message.generation == record["generation"]:
            return None
        owner = Owner(message.verification_id, message.service, message.purpose)
        return seal_code(self._sealer, owner, message.generation, message.code)
