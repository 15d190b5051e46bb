"""Connections to providers: whom they trust, when TLS has failed for good, and how a dead peer is noticed."""

from __future__ import annotations

import socket
import ssl
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

#: Seconds a connection is silent before its other end is asked whether it is there, seconds between such questions, and
#: how many may stay unanswered: a peer that went without a word (a NAT that forgot, a machine that lost its power) is
#: noticed after 20 s, before a kept connection is used again rather than by the message that waits on it.
KEEPALIVE: Final = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 2}

#: A handshake that breaks off, or a server that stumbles over it (RFC 8446 6.2, internal_error), may succeed the next
#: time; every other failure of TLS is one of configuration, here or there.
_PASSING: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
_PASSING_REASONS: Final = frozenset({"TLSV1_ALERT_INTERNAL_ERROR", "UNEXPECTED_EOF_WHILE_READING"})


@lru_cache(maxsize=8)
def client_tls(authorities: Path | None = None) -> ssl.SSLContext:
    """Return what a server's certificate is checked by: its name, its dates, and ``authorities`` or the system's.

    Nothing below TLS 1.2 (RFC 8996). Made once per process, for reading the system's authorities takes some ten
    milliseconds. Raises ``OSError``: the file cannot be read, or holds no PEM certificates.
    """
    context = ssl.create_default_context(cafile=authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def unproved(error: BaseException | None) -> bool:
    """Tell whether an error, or one it came from, says that TLS cannot be had from this server.

    Its certificate is expired, another host's or nobody's we trust; it speaks too old a TLS, or none.
    """
    found: ssl.SSLError | None = None
    while error is not None:
        # The innermost: libraries wrap it, some of them in errors that are an SSLError by class alone.
        found = error if isinstance(error, ssl.SSLError) else found
        error = error.__cause__
    if found is None or isinstance(found, _PASSING):
        return False
    return getattr(found, "reason", None) not in _PASSING_REASONS


def keep_alive(connection: Any) -> None:
    """Have the system ask, now and then, whether the other end of an idle TCP connection is still there.

    ``connection`` is a socket, or what an event loop gives in its place. Where the system lacks one of the options its
    own default holds.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if (option := getattr(socket, name, None)) is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
