"""Mail messages as bytes: a skeleton the standard library builds once, its gaps filled per message.

Nothing a caller, a template or a service's name holds can add a header: what could break one is refused.
"""

from __future__ import annotations

import base64
import binascii
import email.policy
import re
import secrets
import time
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import formatdate
from functools import lru_cache
from typing import Final

from channels import kinds
from channels.base import Envelope, Inspection, PermanentError, Reason

_MAILBOX: Final = re.compile(r'"?(?P<name>[^"<>]*?)"?\s*<(?P<address>[^<>]+)>')
#: What no header may hold: line breaks, other controls (C0, DEL, C1), Unicode's own line ends.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def split_mailbox(value: str) -> tuple[str, str]:
    """Return display name (maybe empty) and address of ``Name <address>`` or ``address``.

    Raises ``ValueError`` where the address cannot be used or the name would break the header.
    """
    matched = _MAILBOX.fullmatch(value.strip())
    name, address = (matched["name"], matched["address"]) if matched else ("", value.strip())
    if _CONTROL.search(name):
        raise ValueError("the name holds control characters")
    return name, kinds.email(address).value


#: A recipient as it may stand in a header and a command: one dot-atom mailbox at an ASCII host name, and no encoded word,
#: which a reader of the header would decode to another one.
_RECIPIENT: Final = re.compile(r'(?!.*=\?)[^\s\x00-\x1f\x7f-\x9f"(),:;<>@\[\\\]]{1,64}@[A-Za-z0-9.-]{1,253}')
#: A message's id or a language tag, safe within any header.
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
#: Characters of ASCII text written as it is: with ``Subject: `` a line stays within 78 (RFC 5322 2.1.1).
_PLAIN_TEXT_MAX: Final = 64
#: Octets per encoded word: 60 characters of base64 and 12 around them stay within 75 (RFC 2047 2).
_WORD_OCTETS: Final = 45


def _encoded_words(text: str) -> bytes:
    """Return RFC 2047 encoded words, folded. No character is cut in two."""
    words, word = [], b""
    for character in text:
        octets = character.encode()
        if len(word) + len(octets) > _WORD_OCTETS:
            words.append(word)
            word = b""
        word += octets
    return b"\r\n ".join(b"=?utf-8?b?" + base64.b64encode(word) + b"?=" for word in [*words, word])


def _header_text(text: str) -> bytes:
    """Return text as it stands in an unstructured header."""
    if text.isascii() and len(text) <= _PLAIN_TEXT_MAX and "=?" not in text:
        return text.encode()
    return _encoded_words(text)


#: Subjects are a template's, the same for everybody; one that holds a code must not outlive its message here.
_kept_header_text: Final = lru_cache(maxsize=64)(_header_text)


@lru_cache(maxsize=64)
def _mailbox(name: str, address: str) -> bytes:
    """Return ``From``: the name quoted (RFC 5322 3.2.4) or encoded."""
    if not name:
        return address.encode()
    if not (name.isascii() and len(name) <= _PLAIN_TEXT_MAX and "=?" not in name):
        return b"%b\r\n <%b>" % (_encoded_words(name), address.encode())
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{address}>'.encode()


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    """Return ``Date``, the same for every message of a second."""
    return formatdate(second).encode()


#: Octets that go as they are.
_PLAIN: Final = b"\t\n" + bytes(range(0x20, 0x7F))
#: How many of them a line may have before its end (RFC 5322 2.1.1).
_PLAIN_LINE_MAX: Final = 998


def encoded(text: str) -> tuple[bytes, bytes]:
    """Return the transfer encoding of a body and the body in it, every line ended by CRLF.

    Plain ASCII goes as it is, which costs next to nothing; anything else in quoted-printable (RFC 2045 6.7).
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.rstrip("\n").encode() + b"\n"
    content = lines.replace(b"\n", b"\r\n")
    # Nothing is left of plain lines; looking at each character takes five times as long.
    if not lines.translate(None, _PLAIN) and _has_short_lines(lines):
        return b"7bit", content
    return b"quoted-printable", binascii.b2a_qp(content, istext=True)


def _has_short_lines(lines: bytes) -> bool:
    start = 0
    while len(lines) - start > _PLAIN_LINE_MAX + 1:
        # From the last line end within reach to the next, over all the lines between them.
        end = lines.rfind(b"\n", start, start + _PLAIN_LINE_MAX + 1)
        if end < 0:
            return False
        start = end + 1
    return True


class Skeleton:
    """A whole message with gaps, built once: building one per send costs a hundred times the filling."""

    def __init__(self, from_address: str, reply_to: str | None) -> None:
        self._name, self._address = split_mailbox(from_address)
        self._domain = self._address.rpartition("@")[2]
        self._template = _template(reply_to)

    def fill(self, envelope: Envelope) -> bytes:
        """Return the message's bytes. Raises ``PermanentError`` where a value would break a header."""
        subject = envelope.parts["subject.txt"].strip()
        name = self._name or envelope.brand
        if (
            _CONTROL.search(subject + name)
            or not _RECIPIENT.fullmatch(envelope.address)
            or not _TOKEN.fullmatch(envelope.message_id)
            or not _TOKEN.fullmatch(envelope.locale)
        ):
            raise PermanentError(Reason.REJECTED)
        write = _header_text if envelope.code in subject else _kept_header_text
        try:
            text_encoding, text = encoded(envelope.parts["body.txt"])
            html_encoding, html = encoded(envelope.parts["body.html"])
            return self._template % {
                b"from": _mailbox(name, self._address),
                b"to": envelope.address.encode(),
                b"subject": write(subject),
                b"date": _date(int(time.time())),
                b"id": f"<{envelope.message_id}@{self._domain}>".encode(),
                b"language": envelope.locale.encode(),
                b"text-encoding": text_encoding,
                b"text": text,
                b"html-encoding": html_encoding,
                b"html": html,
            }
        except UnicodeEncodeError:
            # A lone surrogate. Without its cause: that exception holds the text.
            raise PermanentError(Reason.REJECTED) from None


_HEADERS: Final = {"from": "From", "to": "To", "subject": "Subject", "date": "Date", "id": "Message-ID"}


def _template(reply_to: str | None) -> bytes:
    """Return the message as a bytes template, its gaps named ``%(…)b``."""
    message = EmailMessage(policy=email.policy.SMTP)
    # Values the library takes for good ones and that occur once in the whole message.
    gaps = {
        "from": "gap-from@gap.invalid",
        "to": "gap-to@gap.invalid",
        "subject": "gap-subject",
        "date": formatdate(0),
        "id": "<gap-id@gap.invalid>",
        "language": "gap-language",
    }
    for name, header in _HEADERS.items():
        message[header] = gaps[name]
    if reply_to is not None:
        message["Reply-To"] = reply_to
    # RFC 3834 5.1, and the same for Exchange: no out-of-office answers to a code.
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content("gap-text\n", cte="quoted-printable")
    message.add_alternative("gap-html\n", subtype="html", cte="quoted-printable")
    # Afterwards: set_content drops what begins with Content-.
    message["Content-Language"] = gaps["language"]
    # 128 random bits that no body can know, and "=_", which cannot occur in quoted-printable (RFC 2045 6.7).
    message.set_boundary(f"=_{secrets.token_hex(16)}")
    template = message.as_bytes().replace(b"%", b"%%")
    for name in ("text", "html"):
        template = template.replace(b"Encoding: quoted-printable", f"Encoding: %({name}-encoding)b".encode(), 1)
    for name, gap in {**gaps, "text": "gap-text\r\n", "html": "gap-html\r\n"}.items():
        template = template.replace(gap.encode(), f"%({name})b".encode())
    return template


#: What makes a reader's program fetch something, and so tell a third party that, when and where it was opened.
_REMOTE: Final = re.compile(
    r"""(?i)\b(?:src|srcset|background|poster)\s*=\s*["']?\s*(?:https?:)?//|\burl\(\s*["']?\s*(?:https?:)?//"""
    r"""|@import\b|<(?:link|script|iframe|object|embed)\b"""
)
#: Bytes of a message that large providers still show whole (Gmail clips at 102 KB).
_SHOWN_WHOLE: Final = 100_000


def inspect(parts: Mapping[str, str]) -> Inspection:
    """Measure rendered parts. Whether the subject holds a code is for whoever knows the code to say."""
    size = sum(len(encoded(part)[1]) for name, part in parts.items() if name != "subject.txt")
    subject = parts.get("subject.txt", "").strip()
    checks = {
        "the subject is empty": not subject,
        "the subject has line breaks or control characters": bool(_CONTROL.search(subject)),
        "the HTML part has remote content, which tells others that the mail was opened": bool(
            _REMOTE.search(parts.get("body.html", ""))
        ),
        f"the bodies are over {_SHOWN_WHOLE:,} bytes and would be cut off": size > _SHOWN_WHOLE,
    }
    summary = f"subject of {len(subject)} characters, bodies of {size:,} bytes"
    return Inspection(summary, tuple(fault for fault, found in checks.items() if found))
