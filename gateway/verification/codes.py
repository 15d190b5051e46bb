"""Codes: made without bias, read leniently, compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from gateway.randomness import random_below

#: The longest code that is looked at; a longer one is malformed, not wrong.
MAX_LENGTH = 64

#: Returns a number below its argument, every one as likely; ``random_below`` outside tests.
RandomBelow = Callable[[int], int]

_IGNORED = str.maketrans("", "", " -")


class MalformedCodeError(ValueError):
    """Not a code at all: empty, too long, or with characters no code has. It costs no check."""


def make(length: int, random_below: RandomBelow = random_below) -> str:
    """Return ``length`` decimal digits, each value as likely as any other, leading zeros included."""
    return f"{random_below(10**length):0{length}d}"


def read(given: str) -> str:
    """Return what a person typed without the spaces and dashes people put in. Raises ``MalformedCodeError``."""
    if len(given) > MAX_LENGTH:
        raise MalformedCodeError(f"longer than {MAX_LENGTH} characters")
    code = given.translate(_IGNORED)
    if not code:
        raise MalformedCodeError("empty")
    if not (code.isascii() and code.isalnum()):
        raise MalformedCodeError("only ASCII letters and digits, spaces and dashes")
    return code


def same(given: str, code: str) -> bool:
    """Compare in a time that says nothing of where they differ."""
    return hmac.compare_digest(given.encode(), code.encode())
