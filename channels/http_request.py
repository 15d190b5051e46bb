"""What a request says before its body (RFC 9112 3 and 5): made once, and sent with each body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from channels.reaching import Origin, target

#: A method, and a header's name (RFC 9110 5.6.2).
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: What ends a header or a request, or would in some server; a header holds what latin-1 does.
_FORBIDDEN: Final = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
#: Headers that say where a request goes, where it ends and what comes after: those are ours.
_OURS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect"}
)


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body."""

    #: Where it goes.
    origin: Origin
    #: Whether its answer has no body, whatever that says (RFC 9110 9.3.2).
    headless: bool
    #: Its lines, without those that tell the body's length and the head's end.
    _lines: bytes = field(repr=False)

    @classmethod
    def made(cls, method: str, url: str, headers: Mapping[str, str]) -> Self:
        """Make one. Raises ``WrongServerError`` for a URL that is none, ``ValueError`` for what no head can say.

        Neither repeats what it was given. An answer that unpacks to a gigabyte would pass a limit that is counted on the
        wire, so none is asked for.
        """
        where = target(url)
        if not _TOKEN.fullmatch(method) or method == "CONNECT":
            raise ValueError("no method of HTTP's")
        lines = [f"{method} {where.path} HTTP/1.1", f"Host: {where.host}", "Accept-Encoding: identity"]
        if not any(name.lower() == "accept" for name in headers):
            lines.append("Accept: */*")
        for name, value in headers.items():
            if not _TOKEN.fullmatch(name) or _FORBIDDEN.search(value):
                raise ValueError("a header that would break the request")
            if name.lower() in _OURS:
                raise ValueError("a header that is the client's own")
            if name.lower() != "accept-encoding":
                lines.append(f"{name}: {value.strip()}")
        return cls(where.origin, method == "HEAD", "\r\n".join(lines).encode("latin-1"))

    def request(self, body: bytes | None) -> bytes:
        """Return the whole request; ``None`` is no body, of which nothing is said."""
        if body is None:
            return self._lines + b"\r\n\r\n"
        return b"%b\r\nContent-Length: %d\r\n\r\n%b" % (self._lines, len(body), body)
