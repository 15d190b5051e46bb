"""Checking a code of an authenticator, or a recovery code: counting, comparing and using up are one unit of work."""

from __future__ import annotations

from gateway.clock import Clock
from gateway.errors import InvalidRequest, NotFound, Problem, WrongCode
from gateway.events.event import EventName, event, recorded
from gateway.storage.database import Database
from gateway.storage.sealing import Hasher, Sealer
from gateway.storage.unit import Connection, Move, Record
from gateway.value import Value
from gateway.verification import challenges
from gateway.verification.authenticators import otp, recovery, throttling
from gateway.verification.authenticators import statements as sql
from gateway.verification.authenticators.view import AuthenticatorStatus, device_of, person_of


class Checked(Value, frozen=True):
    """A right answer."""

    #: Recovery codes that remain.
    recovery_codes_left: int


class _Verdict(Value, frozen=True):
    """What a unit of work decided. A wrong answer is a value: raised, it would undo its being counted."""

    checked: Checked | None = None
    refusal: Problem | None = None


class _Given(Value, frozen=True):
    """What a person typed, read; one of the two."""

    hidden = frozenset({"code", "recovery_code"})

    code: str | None
    recovery_code: str | None


class Checking:
    """Checks codes on their services' behalf."""

    def __init__(self, *, database: Database, sealer: Sealer, hasher: Hasher, clock: Clock) -> None:
        self._database = database
        self._sealer = sealer
        self._hasher = hasher
        self._clock = clock

    async def check(
        self, service: str, authenticator_id: str, *, code: str | None = None, recovery_code: str | None = None
    ) -> Checked:
        """Return only if what was given is right, once; it is then used up, and failures at it count no more.

        Raises ``WrongCode`` (a failure is counted), ``RateLimited`` while too many count (nothing is compared),
        ``NotFound``, or ``InvalidRequest`` for what is no code, and where not one of the two is given (no failure).
        """
        given, now = _read(code, recovery_code), self._clock.now()

        async def work(connection: Connection) -> _Verdict:
            return await self._judge(connection, service, authenticator_id, given, now)

        verdict = await self._database.run(work)
        if verdict.checked is None:
            assert verdict.refusal is not None, "a verdict is one of the two"
            raise verdict.refusal
        return verdict.checked

    async def forget(self) -> int:
        """Delete failures that count no more and return how many rows there were, a few hundred at a time."""
        now = self._clock.now()
        return len(await self._database.run(lambda connection: connection.fetch(sql.FORGET_THROTTLES, now=now)))

    async def _judge(
        self, connection: Connection, service: str, authenticator_id: str, given: _Given, now: float
    ) -> _Verdict:
        person = (await self._record(connection, service, authenticator_id))["reference_hash"]
        await self._take_turn(connection, service, person, now)
        # Read again: while this waited for the person's turn, another check may have used a step up.
        record = await self._record(connection, service, authenticator_id)
        if await self._is_right(connection, record, given, now):
            await connection.fetch(sql.RESET, service=service, hash=person, id=authenticator_id)
            [left] = await connection.fetch(sql.CODES_LEFT, id=authenticator_id)
            return _Verdict(checked=Checked(left["number"]))
        failures = await self._count_failure(connection, record, now)
        return _Verdict(refusal=WrongCode("that is not the code", checks_left=throttling.checks_left(failures)))

    async def _record(self, connection: Connection, service: str, authenticator_id: str) -> Record:
        found = await connection.fetch(sql.ONE, id=authenticator_id, service=service)
        if not found:
            raise NotFound("no such authenticator")
        return found[0]

    async def _take_turn(self, connection: Connection, service: str, person: bytes, now: float) -> None:
        """Wait for the checks of the same person before this one. Raises ``RateLimited``."""
        forget_at = now + throttling.REMEMBERED
        if await connection.fetch(sql.TAKE_TURN, service=service, hash=person, now=now, forget_at=forget_at):
            return
        [held] = await connection.fetch(sql.LOCKED_UNTIL, service=service, hash=person)
        failures = await self._failures(connection, service, person, now)
        raise throttling.refusal(held["locked_until"], failures, now)

    async def _failures(self, connection: Connection, service: str, person: bytes, now: float) -> int:
        [found] = await connection.fetch(sql.FAILURES, service=service, hash=person, now=now)
        return int(found["number"])

    async def _is_right(self, connection: Connection, record: Record, given: _Given, now: float) -> bool:
        """Use up what was given, if it is right, and tell whether it was."""
        if given.code is not None:
            return await self._use(connection, record, given.code, now)
        if record["ahead"] is not None:
            # What is given between two codes far ahead parts them, whatever it is.
            await connection.apply(Move((sql.SET_AHEAD, (record["id"], None))))
        row = (recovery.hash_of(self._hasher, record["id"], given.recovery_code or ""), record["id"])
        told = event(EventName.AUTHENTICATOR_RECOVERED, now, record["service"], recipient=self._masked(record))
        return await connection.apply(recorded((sql.USE_CODE, row), [], [told]))

    async def _use(self, connection: Connection, record: Record, code: str, now: float) -> bool:
        device = device_of(self._sealer, record)
        found = otp.match(device, code, lowest=record["counter"], ahead=record["ahead"], now=self._clock.world())
        if found.used is None:
            if found.ahead != record["ahead"]:
                await connection.apply(Move((sql.SET_AHEAD, (record["id"], found.ahead))))
            return False
        first = record["status"] == AuthenticatorStatus.PENDING
        name = EventName.AUTHENTICATOR_ACTIVATED if first else EventName.AUTHENTICATOR_CHECKED
        told = event(name, now, record["service"], recipient=self._masked(record))
        return await connection.apply(recorded((sql.ACCEPT, (record["id"], found.used, now)), [], [told]))

    async def _count_failure(self, connection: Connection, record: Record, now: float) -> int:
        """Count a failure, lock where it is one too many, and return how many there are."""
        service, person, forget_at = record["service"], record["reference_hash"], now + throttling.REMEMBERED
        names = [EventName.AUTHENTICATOR_FAILED]
        await connection.fetch(
            sql.COUNT_FAILURE, service=service, hash=person, id=record["id"], now=now, forget_at=forget_at
        )
        failures = await self._failures(connection, service, person, now)
        if seconds := throttling.lock_seconds(failures):
            names.append(EventName.AUTHENTICATOR_LOCKED)
            await connection.fetch(sql.LOCK, service=service, hash=person, until=now + seconds)
        masked = self._masked(record)
        await connection.apply(recorded(None, [], [event(name, now, service, recipient=masked) for name in names]))
        return failures

    def _masked(self, record: Record) -> str:
        return person_of(self._sealer, record["id"], record["person_sealed"]).masked


def _read(code: str | None, recovery_code: str | None) -> _Given:
    """Return what was typed. Raises ``InvalidRequest``."""
    if (code is None) == (recovery_code is None):
        raise InvalidRequest.field("/code" if code is None else "/recovery_code", "one of code and recovery_code")
    try:
        if code is not None:
            return _Given(otp.read(code), None)
        return _Given(None, otp.read(recovery_code or "", challenges.ALPHABET))
    except otp.MalformedCodeError as error:
        raise InvalidRequest.field("/recovery_code" if code is None else "/code", str(error)) from None
