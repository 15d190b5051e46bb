"""People: whom a service means by a subscriber, as it told, sealed."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from channels.base import Address
from gateway.storage.sealing import Sealer
from gateway.storage.unit import Record


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a service means."""

    #: The service's own reference.
    reference: str = field(repr=False)
    #: The phone, else the reference, masked.
    masked: str
    #: E.164; ``None`` where the service gave none.
    phone: str | None = field(repr=False)


def told(sealer: Sealer, record: Record) -> Person:
    """Return whom the service of a row of ``subscriber`` means. Raises ``UnsealError``."""
    person = orjson.loads(sealer.open(record["person_sealed"], place("person", record["id"])))
    return Person(person["reference"], person["masked"], person.get("phone"))


def sealed(sealer: Sealer, subscriber_id: str, reference: Address, phone: Address | None) -> bytes:
    """Return the same for a row that is to be written."""
    person = {"reference": reference.value, "masked": (phone or reference).masked}
    if phone is not None:
        person["phone"] = phone.value
    return sealer.seal(orjson.dumps(person), place("person", subscriber_id))


def place(column: str, subscriber_id: str) -> str:
    """Name the place in the database that a subscriber's sealed blob belongs to."""
    return f"subscriber.{column}/{subscriber_id}"
