"""Writing what was prepared, within the limits of its service: all of a verification and what it claims, or nothing.

Most are one move, whose guards are the limits. Where more must be read first (who asks, what is only observed, how near
a lock-out is), it is a unit of work that reads it and then writes the same move.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from msgspec.structs import replace

from gateway.config import LimitSettings
from gateway.delivery.message import Message
from gateway.delivery.person import Invitation
from gateway.delivery.queue import Queue
from gateway.errors import InvalidRequest, Unavailable
from gateway.events.event import Event, recorded
from gateway.storage.database import Database
from gateway.storage.sealing import Hasher, Sealer
from gateway.storage.unit import Connection, Fetch, Move, Record
from gateway.verification import starting
from gateway.verification.limits import claims, counting, refusals, trust
from gateway.verification.limits import statements as sql
from gateway.verification.limits.claims import Another, Claim
from gateway.verification.limits.windows import OFF
from gateway.verification.request import Asked
from gateway.verification.starting import Draft, Prepared

#: Tries before a verification is given up: each makes another code where the last was one of the recipient's latest, or
#: finds that what was in the way is gone. Of the 10,000 shortest codes five are latest: five misses are one in 3e16.
TRIES: Final = 5

#: Writes a move and returns the row of its last guard, beside a transaction or within one.
_Claims = Callable[[Move], Awaitable[Record | None]]


class Accepting:
    """Writes verifications under their limits."""

    def __init__(self, database: Database, queue: Queue, sealer: Sealer, hasher: Hasher) -> None:
        self._database = database
        self._queue = queue
        self._sealer = sealer
        self._hasher = hasher

    async def accept(self, prepared: Prepared) -> Prepared:
        """Write a verification durably; return it as it was written, its code and its checks included.

        Raises ``Cooldown``, ``RateLimited``, ``InvalidRequest`` for a service's own code that the recipient had
        already, or ``Unavailable``, also where whoever was to be invited has just linked.
        """
        if _needs_a_look(prepared):
            return await self._database.run(lambda connection: self.accept_within(connection, prepared))
        return await self._written(self._database.claim, self._database.fetch, prepared)

    async def accept_within(self, connection: Connection, prepared: Prepared) -> Prepared:
        """Write a verification in a transaction of the caller's; return it as it was written.

        A refusal leaves nothing behind, whether or not the caller's transaction is kept. Raises what ``accept`` does.
        """
        if _needs_a_look(prepared):
            prepared = await self._looked_at(connection, prepared)
        written = await self._written(connection.claim, connection.fetch, prepared)
        if (invitation := _invitation(written)) is not None:
            # Now that nothing is refused: it ends the link before.
            await invitation.write(connection)
        return written

    async def hold(self, connection: Connection, prepared: Iterable[Prepared]) -> None:
        """Take the rows that several verifications wait for first, before any of them is written.

        In one order: another node that writes the same people's in another one waits, and neither locks the other out.
        """
        claimed = [item.claim for item in prepared if item.claim is not None]
        people = {(claim.service, claim.hash): claim.at for claim in claimed if claim.hash}
        for service, address_hash in sorted(people):
            await connection.fetch(sql.HOLD, service=service, hash=address_hash, at=people[service, address_hash])
        # Then who asks and the blocks, in the order in which a claim asks for them.
        for statement, named in (
            (sql.HOLD_VISITOR, {claim.visitor: claim.at for claim in claimed if claim.visitor}),
            (sql.HOLD_BLOCK, {claim.block: claim.at for claim in claimed if claim.block}),
        ):
            for hashed in sorted(named):
                await connection.fetch(statement, hash=hashed, at=named[hashed])

    async def again(self, connection: Connection, claim: Claim, message: Message, another: Another) -> Message:
        """Claim a further send of a verification; return its message, its code another if the recipient had it lately.

        What was held back of the verification counts no more by now. Raises ``Cooldown`` or ``RateLimited``, and then
        has written something: the caller's work is to be undone.
        """
        found = await refusals.look(connection.fetch, claim)
        in_the_way, events = refusals.reasons(claim, found), []
        if claim.observes:
            limits = [reason.limit for reason in in_the_way]
            events = counting.observed(claim, limits, message.channel, message.recipient)
        elif in_the_way:
            raise refusals.refusal(claim, in_the_way)
        for _ in range(TRIES):
            if another is None or not refusals.repeats(claim, found):
                break
            message = replace(message, code=another())
            claim = replace(claim, code=claims.code_hash(self._hasher, claim.service, claim.hash, message.code))
        first, guard = claims.guards(claim)
        if await connection.apply(recorded(guard, [], events, first=first)):
            return message
        raise refusals.refusal(claim, refusals.reasons(claim, await refusals.look(connection.fetch, claim)))

    def visited(self, prepared: Prepared, asked: Asked, limits: LimitSettings) -> Prepared:
        """Return a reverse verification with what it claims: nothing is sent, so who asks is all that is counted."""
        view = prepared.view
        visitor = claims.visitor_hash(self._hasher, view.service, asked.client_ip)
        if visitor is None or not limits.ip_per_hour:
            return prepared
        claim = Claim(view.id, view.service, view.purpose, b"", view.created_at, limits, 0, True, visitor=visitor)
        guard = claims.visitor_guard(visitor, claim.at, OFF if claim.observes else limits.ip_per_hour)
        return replace(prepared, move=replace(prepared.move, first=(guard,)), claim=claim)

    async def _written(self, claims_row: _Claims, fetch: Fetch, prepared: Prepared) -> Prepared:
        for _ in range(TRIES):
            row = await claims_row(prepared.move)
            if row is not None:
                return starting.counted(prepared, row)
            prepared = await self._another_try(fetch, prepared)
        raise Unavailable("another request was in the way; ask again", retry_after=refusals.MOMENT)

    async def _another_try(self, fetch: Fetch, prepared: Prepared) -> Prepared:
        """Return what to try next in place of what was not written. Raises what ``accept`` does."""
        claim, draft = prepared.claim, prepared.draft
        if claim is not None:
            found = await refusals.look(fetch, claim)
            if in_the_way := [] if claim.observes else refusals.reasons(claim, found):
                raise refusals.refusal(claim, in_the_way)
            if draft is not None:
                return self._another_draft(prepared, draft, found)
        # One in 25 thousand million for each that lives: there is no other way for a reverse verification to fail.
        raise Unavailable("the challenge is somebody else's already; ask for another", retry_after=refusals.MOMENT)

    def _another_draft(self, prepared: Prepared, draft: Draft, found: refusals.Found) -> Prepared:
        """Return what to try next: another code, fewer checks, or the same once more."""
        if refusals.repeats(draft.claim, found):
            return self._recoded(draft)
        claim = refusals.bounded(draft.claim, found)
        return prepared if claim is draft.claim else self._prepared(replace(draft, max_checks=claim.need, claim=claim))

    def _recoded(self, draft: Draft) -> Prepared:
        if draft.another is None:
            raise InvalidRequest.field("/code/value", "one of the latest codes of this recipient")
        message = replace(draft.message, code=draft.another())
        code = claims.code_hash(self._hasher, draft.claim.service, draft.claim.hash, message.code)
        return self._prepared(replace(draft, message=message, claim=replace(draft.claim, code=code)))

    async def _looked_at(self, connection: Connection, prepared: Prepared) -> Prepared:
        """Return a verification as it is to be written, from what is read of its context and limits."""
        claim, draft = prepared.claim, prepared.draft
        assert claim is not None, "without a claim there is nothing to look at"
        if draft is None:
            view = prepared.view
            events = await self._observed(connection, claim, view.channel or "", next(iter(view.to.values())))
            return replace(prepared, move=starting.with_events(prepared.move, events))
        if claim.cools:
            await connection.fetch(sql.HOLD, service=claim.service, hash=claim.hash, at=claim.at)
        if draft.invitation is not None:
            await draft.invitation.hold(connection)
        claim = await self._with_context(connection.fetch, claim, draft.asked)
        if claim.observes:
            events = await self._observed(connection, claim, draft.message.channel, draft.message.recipient)
            return self._prepared(replace(draft, claim=claim, told=(*draft.told, *events)))
        if claim.limits.lockout is not None:
            claim = _bounded(claim, await refusals.look(connection.fetch, claim))
        return self._prepared(replace(draft, max_checks=claim.need, claim=claim))

    async def _observed(self, connection: Connection, claim: Claim, channel: str, recipient: str) -> list[Event]:
        """Return the events that tell which limits would have refused a claim."""
        found = refusals.reasons(claim, await refusals.look(connection.fetch, claim))
        return counting.observed(claim, [reason.limit for reason in found], channel, recipient)

    async def _with_context(self, fetch: Fetch, claim: Claim, asked: Asked) -> Claim:
        contexts = trust.contexts_of(asked.client_reference, asked.client_ip)
        context = await trust.trusted(fetch, claim.service, claim.hash, contexts, claim.at)
        return replace(claim, context=context)

    def _prepared(self, draft: Draft) -> Prepared:
        return starting.prepared(draft, self._queue, self._sealer, self._hasher)


def _bounded(claim: Claim, found: refusals.Found) -> Claim:
    """Return the claim with the checks that a lock-out leaves it. Raises ``RateLimited`` where it leaves none."""
    in_the_way = refusals.reasons(claim, found)
    if any(reason.limit == refusals.LOCKOUT for reason in in_the_way):
        raise refusals.refusal(claim, in_the_way)
    return refusals.bounded(claim, found)


def _invitation(prepared: Prepared) -> Invitation | None:
    return None if prepared.draft is None else prepared.draft.invitation


def _needs_a_look(prepared: Prepared) -> bool:
    claim, draft = prepared.claim, prepared.draft
    if claim is None:
        return False
    if claim.observes:
        return True
    if draft is None:
        return False
    named = draft.asked.client_ip is not None or draft.asked.client_reference is not None
    return named or claim.limits.lockout is not None or draft.invitation is not None
