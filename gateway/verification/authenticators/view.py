"""Authenticators as values: what a service asks for, what it is shown, and how a row is read."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, ClassVar

import orjson

from gateway.storage.sealing import Sealer
from gateway.storage.unit import Record
from gateway.value import Value
from gateway.verification.authenticators.otp import Device, Kind

#: What an id looks like; nothing else is looked up.
ID = re.compile(r"auth_[0-9a-f]{36}")


class AuthenticatorStatus(StrEnum):
    """Where an authenticator stands."""

    #: Enrolled, and no code of it was given yet.
    PENDING = "pending"
    #: A right code was given: the person has it.
    ACTIVE = "active"


class Wanted(Value, frozen=True):
    """What a service asks for; ``None`` is the default."""

    hidden: ClassVar[frozenset[str]] = frozenset({"reference", "account"})

    kind: str
    #: The service's own name for the person.
    reference: str
    #: What the app shows beside the issuer.
    account: str
    issuer: str | None = None
    algorithm: str | None = None
    digits: int | None = None
    #: Seconds of a step.
    period: int | None = None


class Person(Value, frozen=True):
    """Whose an authenticator is, as its service told; sealed with it."""

    hidden: ClassVar[frozenset[str]] = frozenset({"reference", "account"})

    reference: str
    #: The reference as people may see it.
    masked: str
    account: str
    issuer: str


class AuthenticatorView(Value, frozen=True):
    """An authenticator as its service sees it. Times in seconds since the Unix epoch."""

    hidden: ClassVar[frozenset[str]] = frozenset({"reference", "account", "secret", "uri"})

    id: str
    kind: str
    status: str
    reference: str
    account: str
    issuer: str
    algorithm: str
    #: Characters of a code.
    digits: int
    #: Seconds of a step; ``None`` for HOTP.
    period: int | None
    created_at: float
    activated_at: float | None = None
    #: When a code of it was right last.
    used_at: float | None = None
    recovery_codes_left: int = 0
    #: In base32; only when it is made.
    secret: str | None = None
    #: ``otpauth://…``; only when it is made.
    uri: str | None = None


class AuthenticatorPage(Value, frozen=True):
    """Some of a list, newest first."""

    items: list[AuthenticatorView]
    #: What to ask for next; ``None`` at the end.
    next_cursor: str | None


def place(column: str, authenticator_id: str) -> str:
    """Name the place in the database that an authenticator's sealed blob belongs to."""
    return f"authenticator.{column}/{authenticator_id}"


def sealed_person(sealer: Sealer, authenticator_id: str, person: Person) -> bytes:
    """Return a person for the row that is to be written."""
    told = {name: getattr(person, name) for name in person.__struct_fields__}
    return sealer.seal(orjson.dumps(told), place("person", authenticator_id))


def person_of(sealer: Sealer, authenticator_id: str, blob: bytes) -> Person:
    """Return whose an authenticator is. Raises ``UnsealError``."""
    told: dict[str, Any] = orjson.loads(sealer.open(blob, place("person", authenticator_id)))
    return Person(**told)


def device_of(sealer: Sealer, record: Record) -> Device:
    """Return what the codes of a row of ``authenticator`` follow from. Raises ``UnsealError``."""
    return Device(
        kind=Kind(record["type"]),
        secret=sealer.open(record["secret_sealed"], place("secret", record["id"])),
        algorithm=record["algorithm"],
        digits=record["digits"],
        period=record["period"],
    )


def view_of(sealer: Sealer, record: Record) -> AuthenticatorView:
    """Return a row of ``authenticator`` with its ``codes_left``, as its service sees it. Raises ``UnsealError``."""
    person = person_of(sealer, record["id"], record["person_sealed"])
    return AuthenticatorView(
        id=record["id"],
        kind=record["type"],
        status=record["status"],
        reference=person.reference,
        account=person.account,
        issuer=person.issuer,
        algorithm=record["algorithm"],
        digits=record["digits"],
        period=record["period"],
        created_at=record["created_at"],
        activated_at=record["activated_at"],
        used_at=record["used_at"],
        recovery_codes_left=record["codes_left"],
    )
