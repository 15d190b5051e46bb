"""Enrolling authenticators for a service's people: made with a secret, read back without it, deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

from channels.base import Address, InvalidAddressError
from channels.kinds import reference as read_reference
from gateway.clock import Clock
from gateway.errors import FieldError, InvalidRequest, NotFound
from gateway.events.event import EventName, event, recorded
from gateway.randomness import random_bytes
from gateway.storage.database import Database
from gateway.storage.ids import new_id
from gateway.storage.sealing import Hasher, Sealer
from gateway.storage.unit import Connection, Move
from gateway.value import Value
from gateway.verification.authenticators import statements as sql
from gateway.verification.authenticators.otp import ALGORITHMS, SECRET_BYTES, Device, Kind
from gateway.verification.authenticators.uri import MAX_URI, key_uri, secret_text
from gateway.verification.authenticators.view import (
    AuthenticatorPage,
    AuthenticatorStatus,
    AuthenticatorView,
    Person,
    Wanted,
    person_of,
    place,
    sealed_person,
    view_of,
)

#: Characters of an account and of an issuer at most.
MAX_ACCOUNT = 128
MAX_ISSUER = 64
#: Characters of a code: fewer are guessed too easily (RFC 4226, 4, R4); more than 8 hardly an app shows.
DIGITS = (6, 7, 8)
#: Seconds of a step. RFC 6238, 5.2 recommends 30.
PERIODS = (30, 60)
#: Seconds after which an authenticator that nobody activated is deleted: its secret was shown, and maybe never scanned.
ACTIVATED_WITHIN = 86_400.0

#: Sorts after every id, in any collation: hexadecimal digits end at f.
_END = "auth_g"


class PreparedAuthenticator(Value, frozen=True):
    """An authenticator ready to be written, its secret made."""

    hidden: ClassVar[frozenset[str]] = frozenset({"move"})

    view: AuthenticatorView
    move: Move


class Enrolling:
    """Makes, reads and deletes authenticators; another service's look as if they were not there.

    ``brands`` are the services' names as people know them: the issuer where a service names none.
    """

    def __init__(
        self,
        *,
        database: Database,
        sealer: Sealer,
        hasher: Hasher,
        clock: Clock,
        brands: Mapping[str, str],
        random_bytes: Callable[[int], bytes] = random_bytes,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._hasher = hasher
        self._clock = clock
        self._brands = brands
        self._random_bytes = random_bytes

    def prepare(self, service: str, wanted: Wanted) -> PreparedAuthenticator:
        """Make an authenticator without writing it. Raises ``InvalidRequest`` with every fault."""
        faults = list(_faults(wanted))
        if faults:
            raise _invalid(faults)
        reference, now = read_reference(wanted.reference), self._clock.now()
        issuer = wanted.issuer or _as_issuer(self._brands[service])
        person = Person(wanted.reference, reference.masked, wanted.account, issuer)
        device = self._device(wanted)
        uri = key_uri(device, person.account, person.issuer)
        if len(uri) > MAX_URI:
            raise InvalidRequest.field("/account", "with the issuer too long for a QR code, once percent-encoded")
        view = _view(new_id("auth", now), device, person, now, uri)
        return PreparedAuthenticator(view, self._move(service, view, device, person, reference))

    async def create(self, prepared: PreparedAuthenticator) -> AuthenticatorView:
        """Write an authenticator durably. Raises ``StorageError``."""
        await self._database.write(prepared.move)
        return prepared.view

    async def create_within(self, connection: Connection, prepared: PreparedAuthenticator) -> AuthenticatorView:
        """Write an authenticator in a transaction of the caller's."""
        await connection.apply(prepared.move)
        return prepared.view

    async def one(self, service: str, authenticator_id: str) -> AuthenticatorView:
        """Return a service's authenticator, without its secret. Raises ``NotFound``."""
        found = await self._database.fetch(sql.ONE, id=authenticator_id, service=service)
        if not found:
            raise NotFound("no such authenticator")
        return view_of(self._sealer, found[0])

    async def page(
        self, service: str, *, reference: str | None = None, cursor: str = "", limit: int = 20
    ) -> AuthenticatorPage:
        """Return up to ``limit`` of a service's authenticators before ``cursor``, newest first; of one person, if named.

        Raises ``InvalidRequest`` for what is no reference.
        """
        values = {"service": service, "cursor": cursor or _END, "number": limit + 1}
        if reference is None:
            found = await self._database.fetch(sql.PAGE, **values)
        else:
            found = await self._database.fetch(sql.PAGE_OF, **values, hash=self._hash(_reference(reference)))
        items = [view_of(self._sealer, record) for record in found[:limit]]
        return AuthenticatorPage(items, items[-1].id if len(found) > limit else None)

    async def delete(self, service: str, authenticator_id: str) -> None:
        """Delete a service's authenticator with its recovery codes. The person's failures stay. Raises ``NotFound``."""
        now = self._clock.now()

        async def work(connection: Connection) -> None:
            found = await connection.fetch(sql.DELETE, id=authenticator_id, service=service)
            if not found:
                raise NotFound("no such authenticator")
            await connection.fetch(sql.DELETE_CODES, id=authenticator_id)
            await self._tell_deleted(connection, service, authenticator_id, found[0]["person_sealed"], now)

        await self._database.run(work)

    async def forget(self) -> int:
        """Delete authenticators that nobody activated in time and return how many there were, a hundred at a time."""
        now = self._clock.now()
        overdue = await self._database.fetch(sql.OVERDUE, before=now - ACTIVATED_WITHIN)

        async def work(connection: Connection) -> int:
            number = 0
            for record in overdue:
                for gone in await connection.fetch(sql.DELETE_OVERDUE, id=record["id"]):
                    await self._tell_deleted(connection, record["service"], record["id"], gone["person_sealed"], now)
                    number += 1
            return number

        return await self._database.run(work, weight=len(overdue)) if overdue else 0

    async def _tell_deleted(
        self, connection: Connection, service: str, authenticator_id: str, person_sealed: bytes, now: float
    ) -> None:
        masked = person_of(self._sealer, authenticator_id, person_sealed).masked
        told = event(EventName.AUTHENTICATOR_DELETED, now, service, recipient=masked)
        await connection.apply(recorded(None, [], [told]))

    def _device(self, wanted: Wanted) -> Device:
        kind = Kind(wanted.kind)
        return Device(
            kind=kind,
            secret=self._random_bytes(SECRET_BYTES),
            algorithm=wanted.algorithm or "SHA1",
            digits=wanted.digits or DIGITS[0],
            period=(wanted.period or PERIODS[0]) if kind is Kind.TOTP else None,
        )

    def _move(self, service: str, view: AuthenticatorView, device: Device, person: Person, reference: Address) -> Move:
        row = (
            view.id,
            service,
            self._hash(reference),
            device.kind.value,
            view.status,
            self._sealer.seal(device.secret, place("secret", view.id)),
            sealed_person(self._sealer, view.id, person),
            device.algorithm,
            device.digits,
            device.period,
            0,
            None,
            view.created_at,
            None,
            None,
        )
        told = event(EventName.AUTHENTICATOR_CREATED, view.created_at, service, recipient=person.masked)
        return recorded(None, [(sql.INSERT, row)], [told])

    def _hash(self, reference: Address) -> bytes:
        return self._hasher.hash(reference.kind, reference.canonical)


def _view(authenticator_id: str, device: Device, person: Person, now: float, uri: str) -> AuthenticatorView:
    return AuthenticatorView(
        id=authenticator_id,
        kind=device.kind.value,
        status=AuthenticatorStatus.PENDING.value,
        reference=person.reference,
        account=person.account,
        issuer=person.issuer,
        algorithm=device.algorithm,
        digits=device.digits,
        period=device.period,
        created_at=now,
        secret=secret_text(device.secret),
        uri=uri,
    )


def _as_issuer(brand: str) -> str:
    """Return a service's name as an issuer may be written: no colon, which parts it from the account, and not too long."""
    return " ".join(brand.replace(":", " ").split())[:MAX_ISSUER].strip() or "Example"


def _reference(text: str) -> Address:
    try:
        return read_reference(text)
    except InvalidAddressError as error:
        raise InvalidRequest.field("?reference", str(error)) from None


def _faults(wanted: Wanted) -> Iterator[FieldError]:
    if wanted.kind not in {*Kind}:
        yield FieldError("/type", "totp or hotp")
    try:
        read_reference(wanted.reference)
    except InvalidAddressError as error:
        yield FieldError("/reference", str(error))
    if not _is_label(wanted.account, MAX_ACCOUNT):
        yield FieldError("/account", _label_rule(MAX_ACCOUNT))
    if wanted.issuer is not None and not _is_label(wanted.issuer, MAX_ISSUER):
        yield FieldError("/issuer", _label_rule(MAX_ISSUER))
    if wanted.algorithm is not None and wanted.algorithm not in ALGORITHMS:
        yield FieldError("/algorithm", "SHA1, SHA256 or SHA512")
    if wanted.digits is not None and wanted.digits not in DIGITS:
        yield FieldError("/digits", "6, 7 or 8")
    if wanted.period is not None and wanted.kind == Kind.HOTP:
        yield FieldError("/period", "hotp counts presses and has none")
    elif wanted.period is not None and wanted.period not in PERIODS:
        yield FieldError("/period", "30 or 60")


def _is_label(text: str, most: int) -> bool:
    return 1 <= len(text) <= most and text.isprintable() and text == text.strip() and ":" not in text


def _label_rule(most: int) -> str:
    return f"1 to {most} printable characters, no colon, no space at either end"


def _invalid(faults: list[FieldError]) -> InvalidRequest:
    return InvalidRequest("; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults), errors=faults)
