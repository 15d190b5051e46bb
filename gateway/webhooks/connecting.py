"""One request to a receiver: to an address that was checked, and nowhere else.

A name is looked up off the event loop, every address it has must be permitted, and only those are connected to; the
socket's own address is checked before it is opened, and the peer's before a byte is sent. So a name that changes its
mind between the look-up and the connection changes nothing. Redirects are answers, proxies of the environment are not
used, and connections that are kept are kept to the address they were checked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from _thread import start_new_thread
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from channels.http import retry_after
from gateway.value import Value
from gateway.webhooks.addresses import permitted

#: Seconds one try may take, and to get a connection (Standard Webhooks 1.0.0 asks for 15 to 30 in all).
TOTAL: Final = 15.0
CONNECT: Final = 5.0
#: Bytes of an answer's body that are read at most. Its status is all that counts.
MAX_BODY: Final = 64 * 1024
#: Seconds an idle connection is kept.
KEEPALIVE: Final = 15.0

#: Seconds a look-up may take before another of its name is begun: longer than any system asks name servers.
LASTS: Final = 300.0

#: Looks a name up: host and port in, addresses with their families out. Raises ``OSError``; may block.
LookUp = Callable[[str, int], Sequence[tuple[int, str]]]
#: What a look-up came to.
_Found = Sequence[tuple[int, str]] | OSError


class Fault(StrEnum):
    """Why a try failed. The first three are those of an answer."""

    #: The receiver is gone (410): it wants no more.
    GONE = "gone"
    #: It pointed elsewhere (3xx), and nobody follows.
    REDIRECT = "redirect"
    #: It answered anything else but 2xx.
    REFUSED = "refused"
    #: Its URL leads to an address that is not permitted.
    ADDRESS = "address"
    #: Its certificate is not one to trust, or there is no common version of TLS.
    TLS = "tls"
    #: Its name has no address, or nobody listens there.
    UNREACHABLE = "unreachable"
    #: It took too long.
    TIMEOUT = "timeout"
    #: The connection broke, or what came is no HTTP.
    BROKEN = "broken"


class SendError(Exception):
    """There was no answer. The text names the fault alone, never a URL."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


class AddressRefusedError(OSError):
    """A name, or a URL, leads to an address that is not permitted."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "the address is not permitted")


class Answer(Value, frozen=True):
    """What a receiver answered."""

    status: int
    #: Seconds it asks to wait.
    retry_after: float | None = None


class Client:
    """Sends to receivers. Use it as an async context manager; requests may run concurrently.

    ``private`` permits addresses of private networks and of this machine. ``tls`` is what certificates are checked
    against, the machine's store by default; ``total`` and ``connect`` are in seconds.
    """

    def __init__(
        self,
        *,
        private: bool = False,
        look_up: LookUp | None = None,
        tls: ssl.SSLContext | None = None,
        total: float = TOTAL,
        connect: float = CONNECT,
    ) -> None:
        self._permitted = partial(permitted, private=private)
        self._look_up = look_up or look_up_by_system
        self._tls = tls
        self._total = total
        # The threshold switches off aiohttp's rounding up to whole seconds.
        self._limits = aiohttp.ClientTimeout(total=None, connect=connect, ceil_threshold=connect + 1)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=CheckedConnector(self._permitted, self._look_up, self._tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
                "User-Agent": "otp-gateway",
            },
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, now: float) -> Answer:
        """Send one request, once, and return its answer, of any status. Raises ``SendError``.

        ``now``, in seconds since the Unix epoch, is what a date in ``Retry-After`` is counted from.
        """
        assert self._session is not None, "the client is not open"
        answer: Answer | None = None
        try:
            async with (
                asyncio.timeout(self._total),
                self._session.post(
                    url, data=body, headers=headers, allow_redirects=False, timeout=self._limits
                ) as response,
            ):
                answer = Answer(response.status, retry_after(response.headers.get("Retry-After"), now))
                await _drain(response)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # The answer came with its status, whatever became of the rest.
            if answer is None:
                # The library's errors hold the URL: the chain is cut in every case.
                raise SendError(_fault(error)) from None
        assert answer is not None
        return answer


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read what is left of an answer, so that its connection can be used again; one that is too long is closed."""
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY:
            response.close()
            return


def _fault(error: BaseException) -> Fault:
    if _refused(error):
        return Fault.ADDRESS
    if isinstance(error, aiohttp.ClientConnectorSSLError | aiohttp.ClientConnectorCertificateError | ssl.SSLError):
        return Fault.TLS
    if isinstance(error, TimeoutError):
        return Fault.TIMEOUT
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.InvalidURL | ValueError):
        return Fault.UNREACHABLE
    return Fault.BROKEN


def _refused(error: BaseException) -> bool:
    """Whether an address that is not permitted is at the bottom of an error."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, AddressRefusedError):
        found = found.__cause__
    return found is not None


class CheckedConnector(aiohttp.TCPConnector):
    """Makes connections to permitted addresses only."""

    def __init__(self, is_permitted: Callable[[str], bool], look_up: LookUp, tls: ssl.SSLContext | None) -> None:
        super().__init__(
            resolver=CheckedResolver(is_permitted, look_up),
            # Each connection is made to what the name leads to now.
            use_dns_cache=False,
            # How many there are is the lane's to say.
            limit=0,
            keepalive_timeout=KEEPALIVE,
            socket_factory=self._socket,
            ssl=tls or True,
        )
        self._is_permitted = is_permitted

    def _socket(self, address: Any) -> socket.socket:
        """Return a socket for an address about to be connected to, which may stand in the URL itself."""
        family, kind, protocol, _, place = address
        self._check(place)
        return socket.socket(family, kind, protocol)

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the library's own parameter
    ) -> Any:
        """Return a connection whose peer is permitted, new or kept."""
        connection = await super().connect(req, traces, timeout)
        peer = connection.transport and connection.transport.get_extra_info("peername")
        try:
            if not peer:
                raise ConnectionResetError(errno.ECONNRESET, "the receiver is gone already")
            self._check(peer)
        except OSError:
            connection.close()
            raise
        return connection

    def _check(self, place: Any) -> None:
        if not self._is_permitted(str(place[0])):
            raise AddressRefusedError


class CheckedResolver(AbstractResolver):
    """Looks names up in threads of its own, and refuses a name that has an address which is not permitted.

    Not in the loop's threads, which the channels use too: a name server that never answers would hold them all. One
    name is looked up once at a time, so there are no more threads than names.
    """

    def __init__(self, is_permitted: Callable[[str], bool], look_up: LookUp) -> None:
        self._is_permitted = is_permitted
        self._look_up = look_up
        self._under_way: dict[tuple[str, int], asyncio.Future[_Found]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name. Raises ``OSError``."""
        place = (host, port)
        future = self._under_way.get(place) or self._begin(place)
        # Whoever gives up waiting leaves the others waiting.
        found = await asyncio.shield(future)
        if isinstance(found, OSError):
            raise found
        if not all(self._is_permitted(address) for _, address in found):
            raise AddressRefusedError
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for kind, address in found
            if family in {socket.AF_UNSPEC, kind}
        ]

    async def close(self) -> None:
        """Nothing is kept open."""

    def _begin(self, place: tuple[str, int]) -> asyncio.Future[_Found]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Found] = loop.create_future()
        try:
            # One that nobody waits for: the process must not wait for a name server at its end, nor the loop for the word
            # that it has begun, which out of memory may never come (``threading.Thread`` waits for it).
            start_new_thread(self._ask, (future, *place))
        except RuntimeError:
            raise OSError(errno.EAGAIN, "there is no thread to look a name up in") from None
        given_up = loop.call_later(LASTS, _tell, future, OSError("the look-up never ended"))
        self._under_way[place] = future
        future.add_done_callback(lambda _: self._under_way.pop(place))
        future.add_done_callback(lambda _: given_up.cancel())
        return future

    def _ask(self, future: asyncio.Future[_Found], host: str, port: int) -> None:
        found: _Found
        try:
            found = self._look_up(host, port) or OSError("the name has no address")
        except OSError as error:
            found = error
        except ValueError:
            # A name that cannot be written in a question: a label of 64 characters.
            found = OSError("that is no name")
        # The loop may be over by now.
        with contextlib.suppress(RuntimeError):
            future.get_loop().call_soon_threadsafe(_tell, future, found)


def _tell(future: asyncio.Future[_Found], found: _Found) -> None:
    if not future.done():
        future.set_result(found)


def look_up_by_system(host: str, port: int) -> list[tuple[int, str]]:
    """Return the addresses of a name as this machine finds them. Blocks; raises ``OSError``."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(int(family), str(place[0])) for family, _, _, _, place in found]
