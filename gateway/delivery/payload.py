"""What a verification's messages carry, sealed: the code, parameters, what it is bound to, the route's addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import orjson
from msgspec.json import Decoder, Encoder

from gateway.storage.sealing import Sealer
from gateway.value import Value


class Owner(Value, frozen=True):
    """The verification a blob is bound to: copied into another row, it does not open."""

    id: str
    service: str
    purpose: str

    def place(self, column: str) -> str:
        """Name the place in the database that a blob belongs to."""
        return f"verification.{column}/{self.service}/{self.purpose}/{self.id}"


class Stop(Value, frozen=True, array_like=True):
    """A step of a route as it is kept, its fields in this order: the channel, the address it is given, the masked one."""

    hidden: ClassVar[frozenset[str]] = frozenset({"address"})

    channel: str
    #: ``None`` until the subscriber links.
    address: str | None
    recipient: str
    #: The address's keyed hash in hexadecimal, by which it is found.
    hash: str
    #: The language of the person who is reached there, if known; else the verification's counts.
    locale: str | None = None
    #: The keyed hash, in hexadecimal, of the block of numbers that a send there counts in.
    block: str | None = None
    #: The keyed hash, in hexadecimal, of a service and its own reference, by which that one is counted; ``None``: by ``hash``.
    counted: str | None = None
    #: Of the first stop, what else the verification is found by, in hexadecimal: addresses that no stop of it leads to.
    also: tuple[str, ...] = ()

    @property
    def counted_by(self) -> bytes:
        """The keyed hash by which what is sent here, and guessed, is counted."""
        return bytes.fromhex(self.counted or self.hash)


#: Routes are written and read as stops, without a list of each one's fields in between.
_JSON: Final = Encoder()
_STOPS: Final = Decoder(list[Stop])


def seal_code(sealer: Sealer, owner: Owner, generation: int, code: str) -> bytes:
    """Return the sealed code of one generation."""
    return sealer.seal(code.encode(), owner.place(f"code.{generation}"))


def open_code(sealer: Sealer, owner: Owner, generation: int, blob: bytes) -> str:
    """Return the code. Raises ``UnsealError``."""
    return sealer.open(blob, owner.place(f"code.{generation}")).decode()


def seal_params(sealer: Sealer, owner: Owner, params: Mapping[str, str]) -> bytes | None:
    """Return the sealed parameters, ``None`` if there are none."""
    return _seal_texts(sealer, owner, "params", params)


def open_params(sealer: Sealer, owner: Owner, blob: bytes | None) -> dict[str, str]:
    """Return the parameters. Raises ``UnsealError``."""
    return _open_texts(sealer, owner.place("params"), blob)


def seal_bind(sealer: Sealer, owner: Owner, bind: Mapping[str, str]) -> bytes | None:
    """Return what the verification is bound to, sealed; ``None`` if that is nothing."""
    return _seal_texts(sealer, owner, "bind", bind)


def open_bind(sealer: Sealer, owner: Owner, blob: bytes | None) -> dict[str, str]:
    """Return what the verification is bound to. Raises ``UnsealError``."""
    return _open_texts(sealer, owner.place("bind"), blob)


def seal_route(sealer: Sealer, owner: Owner, route: Sequence[Stop]) -> bytes:
    """Return the sealed route."""
    return sealer.seal(_JSON.encode(route), owner.place("route"))


def open_route(sealer: Sealer, owner: Owner, blob: bytes) -> list[Stop]:
    """Return the route in order. Raises ``UnsealError``."""
    return _STOPS.decode(sealer.open(blob, owner.place("route")))


def _seal_texts(sealer: Sealer, owner: Owner, column: str, texts: Mapping[str, str]) -> bytes | None:
    return sealer.seal(orjson.dumps(dict(texts)), owner.place(column)) if texts else None


def _open_texts(sealer: Sealer, place: str, blob: bytes | None) -> dict[str, str]:
    if blob is None:
        return {}
    texts: dict[str, str] = orjson.loads(sealer.open(blob, place))
    return texts
