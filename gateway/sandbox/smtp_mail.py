"""A mail under way over SMTP, and how MAIL and RCPT are read (RFC 5321 section 4.1.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gateway.sandbox.fault import Planned

#: Bytes of one mail, announced as SIZE (RFC 1870).
MAX_MESSAGE = 25 * 1024 * 1024
#: Recipients of one mail (RFC 5321 section 4.5.3.1.8).
MAX_RECIPIENTS = 100

_PATH = re.compile(r"(?i:(FROM|TO)):\s*<([^<>]*)>\s*(.*)", re.DOTALL)


@dataclass(slots=True)
class Transaction:
    """A mail under way (RFC 5321 section 3.3)."""

    sender: str
    utf8: bool
    recipients: list[str] = field(default_factory=list)
    #: The fault its end meets.
    planned: Planned = field(default_factory=Planned)


def read_path(word: str, rest: str) -> tuple[str, str] | None:
    """Return the address and the parameters of ``FROM:<…>`` or ``TO:<…>``, ``None`` for anything else."""
    found = _PATH.fullmatch(rest)
    return (found[2], found[3]) if found and found[1].upper() == word else None


def begin(sender: str, parameters: str) -> Transaction | str:
    """Return the mail that MAIL begins, or the reply that refuses it."""
    given = {name.upper(): value for name, _, value in (item.partition("=") for item in parameters.split())}
    size = given.pop("SIZE", "0")
    # RFC 1870 section 4: a size has at most 20 digits.
    if given.pop("BODY", "7BIT").upper() not in {"7BIT", "8BITMIME"} or not size.isdecimal() or len(size) > 20:
        return "501 5.5.4 A parameter has no such value"
    if int(size) > MAX_MESSAGE:
        return "552 5.3.4 Message too big"
    if given.keys() - {"SMTPUTF8", "AUTH"}:
        return "555 5.5.4 Parameter unrecognized"
    if not sender.isascii() and "SMTPUTF8" not in given:
        return "553 5.6.7 SMTPUTF8 is required"
    return Transaction(sender, "SMTPUTF8" in given)
