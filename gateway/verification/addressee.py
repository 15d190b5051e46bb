"""Whom somebody means by an address they wrote, to look for or to erase.

One text is read as every kind that takes it, for a reference of a service's own may look like anything, an e-mail address
too. So a mistyped address would always be somebody's reference, whom nobody knows, and an erasure of nobody would look
like one that worked. What has an ``@`` or begins with ``+`` must therefore be an e-mail address, a number, or what an
adapter's own reading takes; a reference that only looks so is given by its kind
([decision](../../docs/decisions/0039-a-mistyped-address-is-no-reference.md)).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar, Final

from channels.base import Address, InvalidAddressError, Normalize
from channels.kinds import reference
from gateway.delivery.person import Whom
from gateway.errors import GatewayError
from gateway.storage.sealing import Hasher
from gateway.value import Value

_WORDS: Final[Mapping[str, str]] = {"phone": "a phone number", "email": "an e-mail address"}


class NobodyError(GatewayError):
    """It is no address; the text does not repeat it.

    ``kind`` is that of the address at fault, where it was given by its kind. ``reference`` is the kind of a reference that
    may look like this, where it was not; empty where none may.
    """

    def __init__(self, text: str, *, kind: str = "", reference: str = "") -> None:
        self.kind = kind
        self.reference = reference
        super().__init__(text)


class Addressee(Value, frozen=True):
    """Who may be meant by an address, as it was read."""

    hidden: ClassVar[frozenset[str]] = frozenset({"addresses"})

    #: By kind.
    addresses: Mapping[str, Address]
    #: The kinds that are a service's own references: each service may mean somebody else by the same.
    own: Collection[str]

    def hashes(self, hasher: Hasher) -> list[bytes]:
        """Return what verifications to any of the addresses are found by."""
        return [hasher.hash(kind, address.canonical) for kind, address in self.addresses.items()]

    def taken_for(self, service: str | None = None) -> str:
        """Return what it was read as, in words: ``an e-mail address, or a reference (telegram) of any service``.

        ``service`` is whose reference it is.
        """
        of = "of any service" if service is None else f"of the service {service}"
        return ", or ".join(
            f"a reference ({kind}) {of}" if kind in self.own else _WORDS.get(kind, f"an address of the kind {kind}")
            for kind in self.addresses
        )

    def whom(self, hasher: Hasher, service: str | None) -> Whom:
        """Return by what they are known; ``service`` is whose reference it is, ``None`` anybody's."""
        addresses = self.addresses.values()
        hashed = [(kind in self.own, hasher.hash(kind, found.canonical)) for kind, found in self.addresses.items()]
        return Whom(
            everywhere=tuple(dict.fromkeys(value for is_own, value in hashed if not is_own)),
            references=tuple(dict.fromkeys(value for is_own, value in hashed if is_own)),
            service=service,
            values=frozenset(address.value for address in addresses),
            masks=frozenset(address.masked for address in addresses),
        )


def read(kinds: Mapping[str, Normalize], to: str | Mapping[str, str], own: Collection[str] = ()) -> Addressee:
    """Return who is meant by an address as somebody wrote it, as every kind that takes it, or by addresses by kind.

    ``own`` are the kinds that are a service's own references. Raises ``NobodyError``.
    """
    return Addressee(_as_any(kinds, to) if isinstance(to, str) else _by_kind(kinds, to), own)


def named(kinds: Collection[str], text: str) -> str | dict[str, str]:
    """Return what was written as ``kind=address`` by its kind, anything else as it is."""
    kind, equals, address = text.partition("=")
    return {kind: address} if equals and kind in kinds else text


def _by_kind(kinds: Mapping[str, Normalize], to: Mapping[str, str]) -> dict[str, Address]:
    if not to:
        raise NobodyError("at least one address")
    found = {}
    for kind, text in to.items():
        if kind not in kinds:
            raise NobodyError(f"unknown kind; known are {', '.join(sorted(kinds))}")
        try:
            found[kind] = kinds[kind](text)
        except InvalidAddressError as error:
            raise NobodyError(str(error), kind=kind) from None
    return found


def _as_any(kinds: Mapping[str, Normalize], text: str) -> dict[str, Address]:
    found, refused = {}, {}
    for kind, normalize in kinds.items():
        try:
            found[kind] = normalize(text)
        except InvalidAddressError as error:
            refused[kind] = str(error)
    if all(kinds[kind] is reference for kind in found) and (meant := _meant(text)) in refused:
        raise NobodyError(refused[meant], reference=next(iter(found), ""))
    if not found:
        raise NobodyError("no kind of address is written like this")
    return found


def _meant(text: str) -> str:
    """Return the kind of address that a text is meant to be by its look; empty where it looks like none."""
    if "@" in text:
        return "email"
    return "phone" if text.startswith("+") else ""
