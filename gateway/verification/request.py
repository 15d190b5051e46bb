"""What an application asks for, and what its service's policy makes of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, Literal

from channels.base import Address, InvalidAddressError, Normalize
from gateway.config import ServiceSettings
from gateway.errors import InvalidRequest, RecipientRefused
from gateway.value import Value

#: Digits a code has at most.
MAX_CODE_LENGTH = 10
#: Seconds a code lives at least.
MIN_TTL = 5

#: Whether the person is sent something, or it is they who open the bot: a reverse verification.
Mode = Literal["outbound", "inbound"]

#: Number types that cost more than a message or reach no person: only where the policy names them.
_COSTLY = frozenset({"premium_rate", "shared_cost", "satellite", "pager", "personal_number"})
_TEST_NUMBERS = re.compile(r"\+150055500(0\d|10)")


class Asked(Value, frozen=True):
    """The body of a create request, its shape already checked."""

    hidden: ClassVar[frozenset[str]] = frozenset({"to", "params", "client_ip", "client_reference", "value"})

    to: Mapping[str, str]
    channels: Sequence[str] | None = None
    purpose: str = "verification"
    locale: str | None = None
    params: Mapping[str, str] = {}
    client_ip: str | None = None
    client_reference: str | None = None
    length: int | None = None
    alphabet: str | None = None
    #: The service's own code.
    value: str | None = None
    ttl: int | None = None
    mode: Mode = "outbound"


class CodePolicy(Value, frozen=True):
    """What a code of this request is like."""

    hidden: ClassVar[frozenset[str]] = frozenset({"value"})

    length: int
    #: Seconds.
    ttl: int
    max_checks: int
    #: The service's own code.
    value: str | None


def code_policy(asked: Asked, service: ServiceSettings) -> CodePolicy:
    """Return the policy for this request. A request may tighten its service's, never loosen it.

    Raises ``InvalidRequest``.
    """
    code = service.code
    length = code.length if asked.length is None else asked.length
    if not code.length <= length <= MAX_CODE_LENGTH:
        raise InvalidRequest.field("/code/length", f"from {code.length} (the service's policy) to {MAX_CODE_LENGTH}")
    if asked.alphabet is not None and asked.alphabet != code.alphabet:
        raise InvalidRequest.field("/code/alphabet", f"this service's codes are {code.alphabet}")
    ttl = code.ttl if asked.ttl is None else asked.ttl
    if not MIN_TTL <= ttl <= code.ttl:
        raise InvalidRequest.field("/ttl", f"from {MIN_TTL} to {code.ttl} seconds (the service's policy)")
    return CodePolicy(length, ttl, code.max_checks, _own_code(asked, service))


def addresses(
    asked: Asked, service: ServiceSettings, kinds: Mapping[str, Normalize], *, sandbox: bool
) -> dict[str, Address]:
    """Return the normalised addresses by kind. Raises ``InvalidRequest`` or ``RecipientRefused``."""
    if not asked.to:
        raise InvalidRequest.field("/to", "at least one address")
    found = {}
    for kind, value in asked.to.items():
        normalize = kinds.get(kind)
        if normalize is None:
            raise InvalidRequest.field(f"/to/{kind}", f"unknown kind; known are {', '.join(sorted(kinds))}")
        try:
            found[kind] = normalize(value)
        except InvalidAddressError as error:
            raise InvalidRequest.field(f"/to/{kind}", str(error)) from None
        _check_policy(found[kind], service, sandbox=sandbox)
    return found


def route_of(asked: Asked, service: ServiceSettings, channels: Collection[str]) -> Sequence[str]:
    """Return the channels asked for, else the service's. Raises ``InvalidRequest`` for one that is not configured."""
    route = service.channels if asked.channels is None else asked.channels
    for place, name in enumerate(route):
        if name not in channels:
            known = ", ".join(sorted(channels))
            raise InvalidRequest.field(f"/channels/{place}", f"no such channel; configured are {known}")
    return route


def _check_policy(address: Address, service: ServiceSettings, *, sandbox: bool) -> None:
    if address.country is None and address.number_type is None:
        return
    if sandbox and _TEST_NUMBERS.fullmatch(address.value):
        return
    if "*" not in service.countries and address.country not in service.countries:
        raise RecipientRefused("this service does not send to that country")
    if address.number_type in _COSTLY and address.number_type not in service.number_types:
        raise RecipientRefused(f"this service does not send to {address.number_type} numbers")


def _own_code(asked: Asked, service: ServiceSettings) -> str | None:
    if asked.value is None:
        return None
    if not service.code.custom:
        raise InvalidRequest.field("/code/value", "this service's policy does not allow its own codes")
    if not (asked.value.isascii() and asked.value.isdigit()):
        raise InvalidRequest.field("/code/value", "digits only")
    if not service.code.length <= len(asked.value) <= MAX_CODE_LENGTH:
        raise InvalidRequest.field("/code/value", f"from {service.code.length} to {MAX_CODE_LENGTH} digits")
    return asked.value
