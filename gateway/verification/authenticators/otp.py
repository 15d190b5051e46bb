"""One-time passwords as devices show them: HOTP by a counter (RFC 4226), TOTP by the time (RFC 6238). No state, no time.

Which codes are taken::

    TOTP   the step of now, the one before and the one after (RFC 6238, 5.2), each step once
    HOTP   the next counter and ``LOOK_AHEAD`` after it, each counter once (RFC 4226, 7.2 and 7.4)
           further ahead, up to ``RESYNC``: two that follow each other, given one after the other (RFC 4226, 7.4)
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from enum import StrEnum
from string import digits
from typing import ClassVar

from gateway.value import Value

#: Bytes of a secret: 160 bits, as RFC 4226, 4 (R6) recommends.
SECRET_BYTES = 20
#: Steps a device's clock may be off, either way.
DRIFT = 1
#: Counters a device may be ahead: presses of its button whose codes were never given.
LOOK_AHEAD = 10
#: Counters it may be ahead where two codes in a row prove it.
RESYNC = 100
#: The longest text that is looked at as a code; a longer one is malformed, not wrong.
MAX_TYPED = 64

#: Algorithms by the names of the key URI format, with those of ``hashlib``.
ALGORITHMS: Mapping[str, str] = {"SHA1": "sha1", "SHA256": "sha256", "SHA512": "sha512"}

_IGNORED = str.maketrans("", "", " -")


class Kind(StrEnum):
    """What a device counts."""

    #: Steps of time.
    TOTP = "totp"
    #: Presses of its button.
    HOTP = "hotp"


class Device(Value, frozen=True):
    """What a device's codes follow from."""

    hidden: ClassVar[frozenset[str]] = frozenset({"secret"})

    kind: Kind
    secret: bytes
    #: A key of ``ALGORITHMS``.
    algorithm: str
    #: Characters of a code.
    digits: int
    #: Seconds of a step; ``None`` for HOTP.
    period: int | None


class Match(Value, frozen=True):
    """What a code turned out to be; neither: a wrong one."""

    #: The step or counter it is the code of: it is right, and that one is used up.
    used: int | None = None
    #: The counter after the one it is the code of: too far ahead, unless the next code given is that one's.
    ahead: int | None = None


class MalformedCodeError(ValueError):
    """Not a code at all: empty, too long, or with characters no code has."""


def read(given: str, signs: str = digits) -> str:
    """Return what a person typed, in upper case and without the spaces and dashes people put in.

    Raises ``MalformedCodeError`` where it has other characters than ``signs``.
    """
    if len(given) > MAX_TYPED:
        raise MalformedCodeError(f"longer than {MAX_TYPED} characters")
    # Signs of other scripts fold to several of ours: only ASCII is folded.
    code = given.translate(_IGNORED).upper() if given.isascii() else given
    if not code:
        raise MalformedCodeError("empty")
    if not set(code) <= set(signs):
        raise MalformedCodeError("has a character that no code has")
    return code


def code_at(device: Device, counter: int) -> str:
    """Return what a device shows at a counter or step, leading zeros included (RFC 4226, 5.3)."""
    digest = hmac.digest(device.secret, counter.to_bytes(8), ALGORITHMS[device.algorithm])
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4]) & 0x7FFF_FFFF
    return f"{number % 10**device.digits:0{device.digits}d}"


def step_at(now: float, period: int) -> int:
    """Return the step of a time (RFC 6238, 4.2). ``now`` is in seconds since the Unix epoch, ``period`` in seconds."""
    return int(now // period)


def match(device: Device, given: str, *, lowest: int, ahead: int | None, now: float) -> Match:
    """Return what ``given`` is where nothing below ``lowest`` is taken any more.

    ``ahead`` is the ``Match.ahead`` of the code given just before, ``now`` in seconds since the Unix epoch.
    """
    if device.period is not None:
        step = step_at(now, device.period)
        # The latest of two steps with one code: with it, that code is used up for the earlier one too.
        return Match(used=max(_found(device, given, range(max(lowest, step - DRIFT), step + DRIFT + 1)), default=None))
    near = _found(device, given, range(lowest, lowest + LOOK_AHEAD + 1))
    if near:
        return Match(used=near[0])
    if ahead is not None and _found(device, given, (ahead,)):
        return Match(used=ahead)
    far = _found(device, given, range(lowest + LOOK_AHEAD + 1, lowest + RESYNC + 1))
    return Match(ahead=far[0] + 1) if far else Match()


def _found(device: Device, given: str, counters: Iterable[int]) -> list[int]:
    """Return the counters with this code; every one is looked at, so the time tells nothing of which it was."""
    code = given.encode()
    return [counter for counter in counters if hmac.compare_digest(code_at(device, counter).encode(), code)]
