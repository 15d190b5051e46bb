"""Delivery status notifications: how a mail is sent so that what becomes of it comes back, and how that is read.

A server that offers DSN (RFC 3461) is told the attempt's token as the envelope's id and names it in its reports (RFC 3464).
Others bounce to the envelope's sender, which has the token in its local part (VERP). What comes back is somebody else's
mail: it is read within bounds, and nothing of it is kept but a status.
"""

from __future__ import annotations

import email.policy
import logging
import re
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesHeaderParser
from itertools import islice
from typing import Final

from channels.base import Reason, Report, ReportedStatus
from channels.smtp_answers import reported_reason

#: Bytes of one header block that are read, and characters of one header's value.
MAX_HEADERS, MAX_VALUE = 16_384, 1_024
#: Parts of a report, and recipients of its machine-readable part, that are looked at. Ours has one recipient; an alias
#: of theirs may have several.
MAX_PARTS, MAX_RECIPIENTS = 10, 100
#: Characters of the local part that bounces go to: a plus and a token of 32 characters stay within 64 (RFC 5321 4.5.3.1.1).
MAX_LOCAL_PART: Final = 31

#: A token as it may stand in a command and in a local part.
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_STATUS: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?!\d)", re.ASCII)
#: The machine-readable part; the second for addresses beyond ASCII (RFC 6533 6).
_MACHINE_READABLE: Final = frozenset({"message/delivery-status", "message/global-delivery-status"})
#: What an action says of the mail, the best news first: where one mailbox behind an alias has it, the person does. One
#: that is delayed says nothing yet.
_ACTIONS: Final = {
    "delivered": ReportedStatus.DELIVERED,
    "failed": ReportedStatus.UNDELIVERED,
    # Given to a server that reports nothing, or to several mailboxes: on its way, and more is not to be heard.
    "relayed": ReportedStatus.SENT,
    "expanded": ReportedStatus.SENT,
}
#: Where a bounce's own recipient stands, which is the sender the mail was sent with.
_RECIPIENT_HEADERS: Final = ("X-Original-To", "Delivered-To", "To")
_BLANK_LINES: Final = re.compile(rb"\n(?:[ \t]*\n)+")

_log = logging.getLogger(__name__)
_headers: Final = BytesHeaderParser(policy=email.policy.compat32)
#: The headers that anything is read from, with the lines they go on in, and how many of a block are. To have the library
#: read all of 64 KiB takes 60 ms, in which nobody else is served.
_WANTED: Final = re.compile(
    rb"^(?:content-type|to|delivered-to|x-original-to|original-envelope-id|action|status)[ \t]*:.*(?:\n[ \t].*)*",
    re.IGNORECASE | re.MULTILINE,
)
MAX_WANTED: Final = 20


def checked_token(token: str) -> str:
    """Return an attempt's token. Raises ``ValueError`` where it could not stand in a command."""
    if not _TOKEN.fullmatch(token):
        raise ValueError("the attempt's token cannot be said to a mail server")
    return token


def bounce_address(bounces: str, token: str) -> str:
    """Return the envelope's sender that one attempt's mail bounces to: ``bounces+<token>@example.org``."""
    local, _, domain = bounces.rpartition("@")
    return f"{local}+{checked_token(token)}@{domain}"


def read(raw: bytes, bounces: str | None) -> Report | None:
    """Read a mail that came back; ``None`` where it is no report, or says nothing of an attempt. Never raises.

    ``bounces`` is the address that ``bounce_address`` was given. Takes time in proportion to the mail's length, whatever
    is in it: whoever knows the address can send one.
    """
    try:
        return _read(raw.replace(b"\r\n", b"\n"), bounces)
    except Exception as error:  # noqa: BLE001 - the library raises anything over odd headers, and MTAs send again what is refused
        # Not its text: it may quote the mail.
        _log.warning("a bounced mail cannot be read and is skipped: %s", type(error).__name__)
        return None


def _read(raw: bytes, bounces: str | None) -> Report | None:
    head, body = _split(raw)
    if head.get_content_type() != "multipart/report":
        return None
    for part in _parts(body, head.get_boundary() or ""):
        about, content = _split(part)
        if about.get_content_type() in _MACHINE_READABLE:
            return _report(head, content, bounces)
    return None


def _split(raw: bytes) -> tuple[Message, bytes]:
    """Return the headers and the rest of a mail or of a part."""
    # A part may begin with the blank line that ends its headers, for it need not have any.
    head, _, body = (b"", b"", raw[1:]) if raw.startswith(b"\n") else raw.partition(b"\n\n")
    parsed = _parsed(head)
    if len(_value(parsed, "Content-Type")) > MAX_VALUE:
        # Longer ones take the library a time that grows by the square.
        del parsed["Content-Type"]
    return parsed, body


def _parsed(block: bytes) -> Message:
    """Return what is wanted of a header block."""
    wanted = islice(_WANTED.finditer(block[:MAX_HEADERS]), MAX_WANTED)
    return _headers.parsebytes(b"\n".join(found[0] for found in wanted))


def _value(headers: Message, name: str) -> str:
    return str(headers.get(name, "")).strip()


def _parts(body: bytes, boundary: str) -> Iterator[bytes]:
    """Yield the parts of a multipart body (RFC 2046 5.1.1), not those within its parts."""
    if not boundary:
        return
    mark = re.compile(rb"(?:\A|\n)--" + re.escape(boundary.encode()) + rb"(?P<last>--)?[ \t]*(?=\n|\Z)")
    begin: int | None = None
    for number, found in enumerate(mark.finditer(body)):
        if begin is not None:
            yield body[begin : found.start()]
        if found["last"] or number >= MAX_PARTS:
            return
        begin = found.end() + 1
    if begin is not None:
        # Cut off: what is there may be whole.
        yield body[begin:]


def _report(head: Message, content: bytes, bounces: str | None) -> Report | None:
    """Read the machine-readable part: fields of the mail, then of each recipient (RFC 3464 2.1)."""
    blocks = _BLANK_LINES.split(content.strip(b"\n"), maxsplit=MAX_RECIPIENTS)
    of_mail, *of_recipients = map(_parsed, blocks)
    token = _envelope_id(of_mail) or _verp_token(head, bounces)
    if token is None:
        return None
    said = {_value(fields, "Action").lower(): _value(fields, "Status") for fields in of_recipients[:MAX_RECIPIENTS]}
    for action, status in _ACTIONS.items():
        if action in said:
            return _told(token, status, said[action])
    return None


def _told(token: str, status: ReportedStatus, given: str) -> Report:
    found = _STATUS.match(given)
    code = found[0] if found else None
    reason = None
    if status is ReportedStatus.UNDELIVERED:
        reason = reported_reason(code) if code else Reason.UNKNOWN
    return Report(attempt_token=token, status=status, provider_code=code, reason=reason)


def _envelope_id(of_mail: Message) -> str | None:
    value = _value(of_mail, "Original-Envelope-Id")
    return value if _TOKEN.fullmatch(value) else None


def _verp_token(head: Message, bounces: str | None) -> str | None:
    """Return the token in the address that the mail bounced to."""
    if bounces is None:
        return None
    local, _, domain = bounces.rpartition("@")
    address = re.compile(
        rf"(?:^|[\s<,;]){re.escape(local)}\+({_TOKEN.pattern})@{re.escape(domain)}(?![A-Za-z0-9.-])", re.IGNORECASE
    )
    for name in _RECIPIENT_HEADERS:
        for value in head.get_all(name, ())[:MAX_PARTS]:
            if found := address.search(str(value)[:MAX_VALUE]):
                return found[1]
    return None
