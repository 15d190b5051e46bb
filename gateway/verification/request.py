"""What an application asks for, and what its service's policy makes of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, Literal

from channels.base import Address, InvalidAddressError, Normalize
from gateway.config import CodeSettings, ServiceSettings
from gateway.errors import InvalidRequest, RecipientRefused
from gateway.value import Value
from gateway.verification.codes import (
    ALPHABETS,
    CLASSES,
    LONGEST,
    Alphabet,
    AlphabetName,
    ClassName,
    MalformedCodeError,
    alphabet_named,
    folded,
    plain,
    shown,
)

#: Characters a code has at most, of whatever it is made; ``Alphabet.longest`` knows each alphabet's.
MAX_CODE_LENGTH = LONGEST
#: Seconds a code lives at least.
MIN_TTL = 5

#: Whether the person is sent something, or it is they who open the bot: a reverse verification.
Mode = Literal["outbound", "inbound"]

#: Number types that cost more than a message or reach no person: only where the policy names them.
COSTLY = frozenset({"premium_rate", "shared_cost", "satellite", "pager", "personal_number"})
_TEST_NUMBERS = re.compile(r"\+150055500(0\d|10)")


class Asked(Value, frozen=True):
    """The body of a create request, its shape already checked."""

    hidden: ClassVar[frozenset[str]] = frozenset({"to", "params", "client_ip", "client_reference", "value", "bind"})

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
    #: What the code is bound to: a check must bring the same.
    bind: Mapping[str, str] = {}


class CodePolicy(Value, frozen=True):
    """What a code of this request is like."""

    hidden: ClassVar[frozenset[str]] = frozenset({"value"})

    length: int
    #: What it is made of.
    alphabet: AlphabetName
    #: Classes it has a character of each.
    classes: Sequence[ClassName]
    #: Seconds.
    ttl: int
    max_checks: int
    #: The service's own code, as people are shown it.
    value: str | None


def code_policy(asked: Asked, service: ServiceSettings) -> CodePolicy:
    """Return the policy for this request. A request may tighten its service's, never loosen it.

    ``service`` is what holds for the request's purpose. Another alphabet is taken only if it has every character of the
    policy's: then there are at least as many codes, of whatever length, and the classes asked for are still there.
    Raises ``InvalidRequest``.
    """
    code = service.code
    if asked.length is None and asked.alphabet is None and asked.ttl is None and asked.value is None:
        # Nearly every request: what the policy is was checked when it was read.
        return CodePolicy(code.length, code.alphabet, code.classes, code.ttl, code.max_checks, None)
    alphabet = _alphabet(asked, code)
    length, longest = code.length if asked.length is None else asked.length, ALPHABETS[alphabet].longest
    if not code.length <= length <= longest:
        raise InvalidRequest.field("/code/length", f"from {code.length} (the service's policy) to {longest}")
    ttl = code.ttl if asked.ttl is None else asked.ttl
    if not MIN_TTL <= ttl <= code.ttl:
        raise InvalidRequest.field("/ttl", f"from {MIN_TTL} to {code.ttl} seconds (the service's policy)")
    value = _own_code(asked, code, alphabet, length)
    return CodePolicy(length, alphabet, code.classes, ttl, code.max_checks, value)


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
    if address.number_type in COSTLY and address.number_type not in service.number_types:
        raise RecipientRefused(f"this service does not send to {address.number_type} numbers")


def _alphabet(asked: Asked, code: CodeSettings) -> AlphabetName:
    wanted = asked.alphabet
    if wanted is None or wanted == code.alphabet:
        return code.alphabet
    found = ALPHABETS.get(wanted)
    if found is None or not _holds(found, code.alphabet):
        more = [name for name, other in ALPHABETS.items() if _holds(other, code.alphabet)]
        raise InvalidRequest.field("/code/alphabet", f"one of {', '.join(more)} (the service's policy)")
    return alphabet_named(wanted)


def _holds(alphabet: Alphabet, policy: AlphabetName) -> bool:
    """Whether an alphabet has every character of the policy's, and so at least as many codes."""
    return set(ALPHABETS[policy].characters).issubset(alphabet.characters)


def _own_code(asked: Asked, code: CodeSettings, alphabet: AlphabetName, shortest: int) -> str | None:
    """Return the service's own code as people are shown it, or ``None``. Raises ``InvalidRequest``, without the code."""
    if asked.value is None:
        return None
    if not code.custom:
        raise InvalidRequest.field("/code/value", "this service's policy does not allow its own codes")
    try:
        # Only where codes are shown in groups may they come in groups.
        value = folded(plain(asked.value) if ALPHABETS[alphabet].group else asked.value, alphabet)
    except MalformedCodeError:
        raise InvalidRequest.field("/code/value", f"{alphabet} only") from None
    longest = ALPHABETS[alphabet].longest
    if not shortest <= len(value) <= longest:
        raise InvalidRequest.field("/code/value", f"from {shortest} to {longest} characters")
    for name in code.classes:
        if set(CLASSES[name]).isdisjoint(value):
            raise InvalidRequest.field("/code/value", f"the service's policy asks for {', '.join(code.classes)}")
    return shown(value, alphabet)
