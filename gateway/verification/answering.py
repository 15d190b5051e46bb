"""Answering a given code at once: compared with what was read beside the writer, counted by one guarded move.

A unit of work would hold up every other writer while it reads, decides and writes; a move joins the others of its batch.
A verification is counted this way or by ``checking``'s unit of work before anybody knows whether the code is right, and
both outcomes are one statement: nothing comes about sooner for being right. Where somebody else was counted since it was
read, the move writes nothing, and the code is counted and compared anew. So parallel guesses gain nothing by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gateway.clock import Clock
from gateway.delivery.lifecycle import VerificationStatus
from gateway.delivery.payload import Owner, open_code
from gateway.delivery.queue import Queue
from gateway.errors import InvalidRequest, Problem, WrongCode
from gateway.events.event import EventName, event, recorded
from gateway.storage.database import Database
from gateway.storage.sealing import Hasher, Sealer
from gateway.storage.unit import Identity, Move, Record, Write
from gateway.verification import binding, codes, proof
from gateway.verification import statements as sql
from gateway.verification.limits import answered, counting
from gateway.verification.limits import statements as limits
from gateway.verification.proof import Approval

#: What a check came to. A refusal is a value: raised within a unit of work, it would undo the check it cost.
Verdict = Problem | Approval

#: Seconds a code must still live. A move's time is that of its asking, and a batch may wait for as long as a transaction
#: or two can take: one counted later would live in a past whose held back checks are given away.
AHEAD: Final = 60.0


class Answering:
    """Counts and compares codes where no message is to be ended. Every method raises ``StorageError``."""

    def __init__(self, database: Database, queue: Queue, sealer: Sealer, hasher: Hasher, clock: Clock) -> None:
        self._database = database
        self._queue = queue
        self._sealer = sealer
        self._hasher = hasher
        self._clock = clock
        #: Verifications whose answer is under way here: a second one would find that something was counted.
        self._under_way: set[str] = set()

    async def answer(
        self,
        service: str,
        verification_id: str,
        code: str,
        bind: Mapping[str, str],
        locks_out: Callable[[str], bool],
    ) -> Verdict | None:
        """Return what a read code came to, durably; ``None`` where it is for a unit of work, and nothing was written.

        ``locks_out`` tells whether a purpose does. Raises ``InvalidRequest`` for characters that its codes do not have.
        """
        if verification_id in self._under_way:
            return None
        self._under_way.add(verification_id)
        try:
            now = self._clock.now()
            found = await self._database.look(answered.LOOK, id=verification_id, service=service, after=now + AHEAD)
            if not answered.is_plain(found) or locks_out(found[0]["purpose"]):
                return None
            move, verdict = self._decided(Owner(verification_id, service, found[0]["purpose"]), found, code, bind, now)
            return verdict if await self._database.write(move) else None
        finally:
            self._under_way.discard(verification_id)

    def _decided(
        self, owner: Owner, found: Sequence[Record], code: str, bind: Mapping[str, str], now: float
    ) -> tuple[Move, Verdict]:
        record = found[0]
        if not is_right(self._sealer, self._hasher, owner, record, code, bind):
            told = event(EventName.VERIFICATION_CHECK_FAILED, now, owner.service, verification_id=owner.id)
            guard = _guard(owner, found, VerificationStatus.PENDING, now)
            move = recorded(guard, answered.wrong(found, owner.service, now), [told], apart=_claims(found))
            return move, wrong_code(record["max_checks"] - record["checks"] - 1)
        last = max((item for item in found if item["brought"]), key=lambda item: str(item["id"]))
        approval = proof.approval(self._sealer, owner, record, last["step"], bind, self._clock.world())
        took = (now - record["begun_at"]) * 1000
        told = event(EventName.VERIFICATION_APPROVED, now, owner.service, verification_id=owner.id, milliseconds=took)
        ended: list[Write] = [(sql.END_COOLDOWN_OF, (owner.service, hashed, owner.id)) for hashed in _recipients(found)]
        then = [*ended, *self._queue.revised(owner.id, now), *counting.approving(found, record, owner.service, now)]
        guard = _guard(owner, found, VerificationStatus.APPROVED, now)
        return recorded(guard, then, [told], apart=_claims(found)), approval


def is_right(sealer: Sealer, hasher: Hasher, owner: Owner, record: Record, code: str, bind: Mapping[str, str]) -> bool:
    """Whether a read code is a verification's, and ``bind`` what it is bound to.

    Both are compared in any case: an answer says nothing of which of them was wrong, nor does its time. Raises
    ``UnsealError``, or ``InvalidRequest`` for characters that its codes do not have.
    """
    given = _folded(code, codes.alphabet_named(record["alphabet"]))
    right = codes.plain(open_code(sealer, owner, record["generation"], record["code_sealed"]))
    bound = binding.same(hasher, owner.id, record["bind_hash"], bind)
    return codes.same(given, right) and bound


def wrong_code(checks_left: int) -> WrongCode:
    """Return what a wrong answer is told."""
    return WrongCode("that is not the code", checks_left=checks_left)


def _recipients(found: Sequence[Record]) -> list[bytes]:
    return sorted({bytes(item["hash"]) for item in found})


def _claims(found: Sequence[Record]) -> list[Identity]:
    """Return whose claims are not to be asked in the same batch: they would see the check given up, and nothing counted."""
    return [(limits.CLAIM_RECIPIENT, hashed) for hashed in _recipients(found)]


def _guard(owner: Owner, found: Sequence[Record], status: VerificationStatus, now: float) -> Write:
    """Return what counts the check, if the verification and its messages are as they were found."""
    seen = [found[0][name] for name in ("checks", "max_checks", "generation")]
    return sql.ANSWER, (owner.id, owner.service, *seen, len(found), status.value, now)


def _folded(code: str, alphabet: str) -> str:
    """Return a read code in the case of its alphabet. Raises ``InvalidRequest``."""
    try:
        return codes.folded(code, alphabet)
    except codes.MalformedCodeError as error:
        raise InvalidRequest.field("/code", str(error)) from None
