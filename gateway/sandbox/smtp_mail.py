"""A mail under way over SMTP, and how MAIL and RCPT are read (RFC 5321 section 4.1.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gateway.sandbox.fault import Planned

#: Bytes of one mail, announced as SIZE (RFC 1870).
MAX_MESSAGE = 25 * 1024 * 1024
#: What EHLO offers beside STARTTLS and AUTH.
EXTENSIONS = ("PIPELINING", f"SIZE {MAX_MESSAGE}", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8")
#: Recipients of one mail (RFC 5321 section 4.5.3.1.8).
MAX_RECIPIENTS = 100

_WISHES = frozenset({"SUCCESS", "FAILURE", "DELAY"})
#: xtext (RFC 3461 section 4), decoded at most 100 characters long.
_ENVELOPE_ID = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2}){1,100}")
_PATH = re.compile(r"(?i:(FROM|TO)):\s*<([^<>]*)>\s*(.*)", re.DOTALL)


@dataclass(slots=True)
class Transaction:
    """A mail under way (RFC 5321 section 3.3)."""

    sender: str
    utf8: bool
    recipients: list[str] = field(default_factory=list)
    #: The fault its end meets.
    planned: Planned = field(default_factory=Planned)
    #: What the client calls it in reports (RFC 3461 section 4.4).
    envelope_id: str | None = None
    #: What is to be reported of each recipient: SUCCESS, FAILURE, DELAY.
    notify: dict[str, frozenset[str]] = field(default_factory=dict)


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
    envelope_id = given.pop("ENVID", None) or None
    if given.pop("RET", "HDRS").upper() not in {"FULL", "HDRS"} or not _ENVELOPE_ID.fullmatch(envelope_id or "-"):
        return "501 5.5.4 A parameter has no such value"
    if given.keys() - {"SMTPUTF8", "AUTH"}:
        return "555 5.5.4 Parameter unrecognized"
    if not sender.isascii() and "SMTPUTF8" not in given:
        return "553 5.6.7 SMTPUTF8 is required"
    return Transaction(sender, "SMTPUTF8" in given, envelope_id=envelope_id)


def asked_reports(parameters: str) -> frozenset[str] | str:
    """Return what RCPT asks to be reported (RFC 3461 section 4.1), or the reply that refuses its parameters."""
    given = {name.upper(): value for name, _, value in (item.partition("=") for item in parameters.split())}
    given.pop("ORCPT", None)
    wishes = frozenset(given.pop("NOTIFY", "FAILURE").upper().split(","))
    if given:
        return "555 5.5.4 Parameter unrecognized"
    if wishes == {"NEVER"}:
        return frozenset()
    return wishes if wishes <= _WISHES else "501 5.5.4 A parameter has no such value"
