"""Read the text out of a mail, fast enough for a benchmark's sink.

The standard library's parser walks every line of every part (0.24 ms for a 3 KiB mail); a person's text is
found by reading the headers only and cutting the body at its boundaries.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser

#: Parts within parts that are followed; mails that people send have two or three.
MAX_DEPTH = 8


def plain_text(raw: bytes) -> str:
    """Return the first ``text/plain`` part of a mail, decoded, its lines ended by LF; ``""`` without one."""
    return _first(raw, "text/plain")


def html_text(raw: bytes) -> str:
    """Return the first ``text/html`` part of a mail, decoded, its lines ended by LF; ``""`` without one."""
    return _first(raw, "text/html")


def _first(raw: bytes, kind: str) -> str:
    for headers, body in _parts(raw, MAX_DEPTH):
        if headers.get_content_type() == kind:
            return _decoded(headers, body)
    return ""


def subject(raw: bytes) -> str:
    """Return the decoded subject of a mail, ``""`` without one."""
    return decoded(str(_split(raw)[0].get("Subject", "")))


def decoded(text: str) -> str:
    """Return a text whose encoded words (RFC 2047) are read; as it is where they cannot be."""
    try:
        return str(make_header(decode_header(text)))
    except (HeaderParseError, LookupError, ValueError):
        return text


def _split(raw: bytes) -> tuple[Message[str, str], bytes]:
    """Cut an entity (RFC 2045) into its headers and its body."""
    if raw.startswith(b"\r\n"):
        return Message(), raw[2:]
    head, _, body = raw.partition(b"\r\n\r\n")
    return BytesHeaderParser().parsebytes(head + b"\r\n\r\n"), body


def _parts(raw: bytes, depth: int) -> Iterator[tuple[Message[str, str], bytes]]:
    """Yield the leaves of a MIME tree in reading order."""
    headers, body = _split(raw)
    boundary = headers.get_boundary() if headers.get_content_maintype() == "multipart" else None
    if boundary is None or not depth:
        yield headers, body
        return
    for piece in _pieces(body, boundary.encode("ascii", "surrogateescape")):
        yield from _parts(piece, depth - 1)


def _pieces(body: bytes, boundary: bytes) -> Iterator[bytes]:
    """Yield what lies between the boundary lines (RFC 2046 5.1.1); a missing last one is forgiven."""
    text = b"\r\n" + body
    start: int | None = None
    for line in re.finditer(rb"\r\n--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r\n|\Z)", text):
        if start is not None:
            yield text[start : line.start()]
        if line[1]:
            return
        start = line.end() + 2
    if start is not None:
        yield text[start:]


def _decoded(headers: Message[str, str], body: bytes) -> str:
    """Undo the transfer encoding and the charset; bytes that fit no charset show as replacement characters."""
    headers.set_payload(body.decode("ascii", "surrogateescape"))
    content = headers.get_payload(decode=True)
    assert isinstance(content, bytes)
    try:
        text = content.decode(headers.get_content_charset("utf-8"), "replace")
    except LookupError:
        text = content.decode("utf-8", "replace")
    return text.replace("\r\n", "\n")
