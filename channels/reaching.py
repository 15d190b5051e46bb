"""Where a URL leads, and a connection to there: the name looked up, its addresses tried, TLS spoken.

Both families of addresses are tried, the next one a quarter of a second after the one before (RFC 8305): a machine with
a dead IPv6 route sends all the same.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import zip_longest
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

from channels.http_errors import ConnectError, UnprovedServerError, WrongServerError
from channels.wire import keep_alive, unproved

#: Seconds until the next address is tried beside one that has not answered (RFC 8305 5, the recommended value).
STAGGER: Final = 0.25
_PORTS: Final = {"http": 80, "https": 443}
#: What ``urlsplit`` would take out without a word, and what a request line cannot hold.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x20\x7f]")
#: Letters that the older rules for names, which Python has, turn into others, and with them a name into somebody else's
#: (UTS 46 7): such a host is to be written as the DNS knows it, ``xn--``.
_DEVIATING: Final = re.compile(r"[\u00df\u1e9e\u03c2\u200c\u200d]")
_HOST: Final = re.compile(r"[a-z0-9._-]+")
#: What a path and a query are made of (RFC 3986 3.3 and 3.4); anything else is percent-encoded.
_PATH: Final = "/%:@!$&'()*+,;=?~-._"

#: An address as ``getaddrinfo`` returns it.
Address = tuple[int, int, int, str, Any]
_P = TypeVar("_P", bound=asyncio.Protocol)


@dataclass(frozen=True, slots=True)
class Origin:
    """A server: connections to it may serve any request to it."""

    #: A name in ASCII without a last dot, or an address without brackets.
    host: str
    port: int
    #: Whether TLS is spoken.
    tls: bool


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL names."""

    origin: Origin
    #: The ``Host`` header (RFC 9112 3.2).
    host: str
    #: Path and query, for the request line. It may hold a bot's token.
    path: str = field(repr=False)


@lru_cache(maxsize=64)
def target(url: str) -> Target:
    """Read a URL. Raises ``WrongServerError`` for what is none, or names a user: it never repeats it."""
    try:
        return _read(url)
    except ValueError:
        # Told outside this handler: the error here may quote the URL, and would be kept as the context.
        pass
    raise WrongServerError("InvalidURL")


def _read(url: str) -> Target:
    """Read a URL. Raises ``ValueError``."""
    parts = urlsplit(url)
    scheme, port, usual = parts.scheme, parts.port, _PORTS.get(parts.scheme)
    if _UNPRINTABLE.search(url) or usual is None or not parts.hostname or "@" in parts.netloc or port == 0:
        raise ValueError("no URL of a server")
    host = _ascii(parts.hostname)
    named = f"[{host.partition('%')[0]}]" if ":" in host else host
    path = quote(parts.path or "/", safe=_PATH) + (f"?{quote(parts.query, safe=_PATH)}" if parts.query else "")
    origin = Origin(host, usual if port is None else port, scheme == "https")
    return Target(origin, named if origin.port == usual else f"{named}:{port}", path)


def _ascii(host: str) -> str:
    """Return a host as the DNS knows it (RFC 5891). Raises ``UnicodeError``, a ``ValueError``."""
    if ":" in host:
        return host
    if _DEVIATING.search(host):
        raise ValueError("no host")
    name = host.encode("idna").decode("ascii").lower().removesuffix(".")
    if not _HOST.fullmatch(name):
        raise ValueError("no host")
    return name


#: Finds a server's addresses. Raises ``OSError`` where it has none.
LookUp = Callable[[Origin], Awaitable[Sequence[Address]]]
#: Is given a socket's address, its host first; raises ``ConnectError`` where nothing may go there.
Check = Callable[[Any], None]


async def looked_up(origin: Origin) -> Sequence[Address]:
    """Return a server's addresses as the system finds them. Raises ``OSError``."""
    return await asyncio.get_running_loop().getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)


class Road:
    """Makes connections. Several that look one name up at once share the look-up; ``tls`` is what servers prove to.

    ``check`` is given the place of each socket before it is connected, and that of its other end after it was.
    """

    def __init__(
        self, tls: ssl.SSLContext, *, stagger: float = STAGGER, look_up: LookUp = looked_up, check: Check | None = None
    ) -> None:
        """``stagger`` is in seconds."""
        self._tls = tls
        self._stagger = stagger
        self._look_up = look_up
        self._check = check
        self._look_ups: dict[Origin, asyncio.Future[Sequence[Address]]] = {}

    async def connected(self, origin: Origin, made: Callable[[], _P]) -> _P:
        """Connect, with a protocol that ``made`` makes. Raises ``ConnectError``; how long it takes is the caller's."""
        try:
            found = await self._addresses(origin)
            connection = await self._first(found)
        except (OSError, UnicodeError) as error:
            raise ConnectError(type(error).__name__) from None
        try:
            tls, name = (self._tls, origin.host.partition("%")[0]) if origin.tls else (None, None)
            loop = asyncio.get_running_loop()
            # The transport has the socket from here on, and closes it whatever goes wrong.
            return (await loop.create_connection(made, sock=connection, ssl=tls, server_hostname=name))[1]
        except OSError as error:
            sort = "CertificateError" if isinstance(error, ssl.SSLCertVerificationError) else type(error).__name__
            raise (UnprovedServerError if unproved(error) else ConnectError)(sort) from None

    async def _addresses(self, origin: Origin) -> list[Address]:
        looking = self._look_ups.get(origin)
        if looking is None:
            looking = self._look_ups[origin] = asyncio.ensure_future(self._look_up(origin))
            looking.add_done_callback(partial(self._forget, origin))
        # Whoever gives up waiting leaves the others waiting.
        return _alternating(await asyncio.shield(looking))

    def _forget(self, origin: Origin, done: asyncio.Future[Sequence[Address]]) -> None:
        del self._look_ups[origin]
        if not done.cancelled():
            # Nobody may be waiting any more: read here, it is not reported as an error that nobody saw.
            done.exception()

    async def _first(self, addresses: Sequence[Address]) -> socket.socket:
        """Return a connection to the address that answers first. Raises ``OSError``: that of the last one to fail."""
        left, trying = deque(addresses), set[asyncio.Task[socket.socket]]()
        error = OSError("the name has no address")
        try:
            while left or trying:
                if left:
                    trying.add(asyncio.create_task(self._opened(left.popleft())))
                # Behind the last address there is nothing to wait for but answers.
                wait = self._stagger if left else None
                done, _ = await asyncio.wait(trying, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
                for ended in done:
                    trying.discard(ended)
                    failed = ended.exception()
                    if failed is None:
                        trying |= done - {ended}
                        return ended.result()
                    if not isinstance(failed, OSError):
                        raise failed
                    error = failed
            raise error
        finally:
            await _given_up(trying)

    async def _opened(self, address: Address) -> socket.socket:
        """Connect to one address. Raises ``OSError``, or what ``check`` does."""
        family, kind, protocol, _, place = address
        if self._check is not None:
            self._check(place)
        connection = socket.socket(family, kind, protocol)
        try:
            connection.setblocking(False)
            keep_alive(connection)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(connection, place)
            if self._check is not None:
                self._check(connection.getpeername())
        except BaseException:
            connection.close()
            raise
        return connection


async def _given_up(trying: Collection[asyncio.Task[socket.socket]]) -> None:
    """Close what was tried beside the one that answered first."""
    for one in trying:
        one.cancel()
    for ended in await asyncio.gather(*trying, return_exceptions=True):
        if not isinstance(ended, BaseException):
            ended.close()


def _alternating(addresses: Sequence[Address]) -> list[Address]:
    """Return addresses with their families in turns, that of the system's first choice first (RFC 8305 4)."""
    first = [one for one in addresses if one[0] == addresses[0][0]]
    second = [one for one in addresses if one[0] != addresses[0][0]]
    return [one for pair in zip_longest(first, second) for one in pair if one is not None]
