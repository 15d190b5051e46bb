"""HTTP for the adapters: one client that says whether a failed request can have been acted upon.

A provider that was never reached may be asked again at once; one whose answer was lost may have sent the
message. Every failure therefore says which::

    HttpError
    ├── ConnectError          no connection, nothing was sent: safe to repeat
    │   └── WrongServerError  and none to be had: no URL, no TLS, or a certificate that proves nothing
    ├── AnswerLostError       the request left and no whole answer came back: ambiguous
    └── StatusError           an answer that a library in between cannot carry; the client never raises it

``failure_of`` puts the first three into the port's words.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import string
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from types import TracebackType
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

import aiohttp
from pydantic import AfterValidator

from channels.base import AmbiguousError, DeliveryError, PermanentError, Reason, TransientError
from channels.wire import client_tls, keep_alive, unproved

#: The longest answer that is read, in bytes. A message's answer has about 1 KiB.
MAX_BODY: Final = 256 * 1024
#: Seconds to get a connection, where the whole call may take longer.
CONNECT_TIMEOUT: Final = 5.0
#: The longest pause a provider can ask for, in seconds: a day. More is a fault of the provider.
MAX_RETRY_AFTER: Final = 86_400.0
#: Seconds an idle connection is kept. Longer than most servers do, a request would meet a closed connection.
KEEPALIVE: Final = 30.0

_UNCHANGED: Final = frozenset(b"_.-~" + string.ascii_letters.encode() + string.digits.encode())
#: Each octet as it stands in a form: letters, digits and ``_.-~`` as they are, a space as ``+`` (WHATWG URL 5.2).
_IN_FORM: Final = tuple(
    "+" if octet == 0x20 else chr(octet) if octet in _UNCHANGED else f"%{octet:02X}" for octet in range(256)
)
_DELAY_SECONDS = re.compile(r"[0-9]{1,18}")
_BASE_URL = re.compile(r"https?://[^\s/?#@{}\\]+(/[^\s?#@{}\\]*)?", re.IGNORECASE)
_OFF = logging.CRITICAL + 1


class HttpError(Exception):
    """A request without a usable answer. The text names the sort of failure, never a URL, header or body."""


class ConnectError(HttpError):
    """No connection could be made, so nothing was sent: safe to repeat."""

    def __init__(self, sort: str, *, timed_out: bool = False) -> None:
        super().__init__(sort)
        #: Whether the time was up, as opposed to a host without an address or one that refused.
        self.timed_out = timed_out


class WrongServerError(ConnectError):
    """The URL leads nowhere, or to a server that does not prove to be the one meant; nothing was sent."""


class AnswerLostError(HttpError):
    """The request was sent, at least in part, and no whole answer came back: it may have been acted upon."""

    def __init__(self, sort: str, *, timed_out: bool = False) -> None:
        super().__init__(sort)
        #: Whether the time was up, as opposed to a connection that broke or an answer that cannot be read.
        self.timed_out = timed_out


class StatusError(HttpError):
    """An answer of a status that a provider's library has no exception for: raised through it by an adapter."""

    def __init__(self, status: int, *, retry_after: float | None = None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        #: Seconds the answer asks to wait.
        self.retry_after = retry_after


def failure_of(error: HttpError) -> DeliveryError:
    """Return what a request without an answer means for the message it carried.

    A ``StatusError`` is an answer, which only its adapter can read: ambiguous here.
    """
    if isinstance(error, WrongServerError):
        return PermanentError(Reason.MISCONFIGURED)
    if isinstance(error, ConnectError):
        return TransientError(Reason.TIMEOUT if error.timed_out else Reason.UNAVAILABLE)
    timed_out = isinstance(error, AnswerLostError) and error.timed_out
    return AmbiguousError(Reason.TIMEOUT if timed_out else Reason.UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer."""

    status: int
    #: Header names in lower case; the last of a repeated one.
    headers: Mapping[str, str] = field(repr=False)
    #: As sent, not decompressed: none was asked for.
    body: bytes = field(repr=False)


class HttpClient:
    """Keeps connections to a provider open. Use it as an async context manager; requests may run concurrently.

    Certificates are verified, redirects are not followed and proxies of the environment are not used: a
    request goes to the configured host or nowhere.
    """

    def __init__(
        self,
        *,
        timeout: float,
        connect_timeout: float = CONNECT_TIMEOUT,
        connections: int = 100,
        max_body: int = MAX_BODY,
    ) -> None:
        """``timeout`` and ``connect_timeout`` are in seconds, ``max_body`` in bytes."""
        #: Seconds a whole call may take.
        self.timeout = timeout
        self._connect_timeout = connect_timeout
        self._connections = connections
        self._max_body = max_body
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        tls = await asyncio.to_thread(client_tls)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._connections, keepalive_timeout=KEEPALIVE, ssl=tls, socket_factory=_socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            # An answer that unpacks to a gigabyte would pass a limit counted on the wire.
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
            skip_auto_headers=("User-Agent",),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - aiohttp tells a slow connect from a slow answer, asyncio.timeout cannot
    ) -> HttpAnswer:
        """Send one request, once, and read the whole answer within ``timeout`` seconds (default: the client's).

        Raises ``ConnectError`` or ``AnswerLostError``. An answer of any status is an answer.
        """
        if self._session is None:
            raise RuntimeError("the HTTP client is not open")
        total = self.timeout if timeout is None else timeout
        try:
            async with self._session.request(
                method, url, headers=headers, data=data, allow_redirects=False, timeout=self._limits(total)
            ) as response:
                body = await self._read(response)
                return HttpAnswer(response.status, _lowered(response.headers.items()), body)
        # The library's errors hold the URL, and with it a bot's token: the chain is cut in every case.
        except aiohttp.ConnectionTimeoutError as error:
            raise ConnectError(type(error).__name__, timed_out=True) from None
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
            wrong = isinstance(error, aiohttp.InvalidURL) or unproved(error)
            raise (WrongServerError if wrong else ConnectError)(type(error).__name__) from None
        except TimeoutError as error:
            raise AnswerLostError(type(error).__name__, timed_out=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise AnswerLostError(type(error).__name__) from None

    def _limits(self, total: float) -> aiohttp.ClientTimeout:
        # Connecting must run out before the whole does, or its failure would pass for a lost answer.
        # The threshold switches off aiohttp's rounding up to whole seconds.
        connect = min(self._connect_timeout, total / 2)
        return aiohttp.ClientTimeout(total=total, connect=connect, ceil_threshold=total + 1)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > self._max_body:
                raise AnswerLostError("body too large")
            chunks.append(chunk)
        return b"".join(chunks)


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    made = socket.socket(*address[:3])
    keep_alive(made)
    return made


def _lowered(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}


def form(fields: Mapping[str, object]) -> bytes:
    """Return the body of a form, as ``urllib.parse.urlencode`` writes it (6 µs for an SMS; that takes 16).

    Raises ``UnicodeEncodeError`` for half of a surrogate pair.
    """
    return "&".join([f"{_name_in_form(name)}={_in_form(str(value))}" for name, value in fields.items()]).encode("ascii")


def _in_form(text: str) -> str:
    if text.isascii() and text.isalnum():
        return text
    return "".join([_IN_FORM[octet] for octet in text.encode()])


#: Names are an interface's, the same each time.
_name_in_form: Final = lru_cache(maxsize=64)(_in_form)


def retry_after(value: str | None, now: float | None = None) -> float | None:
    """Return the seconds a ``Retry-After`` header asks to wait (RFC 9110, 10.2.3), or ``None`` if it is unreadable.

    ``value`` is a number of seconds or an HTTP date; ``now`` is seconds since the epoch, the machine's time
    by default. A date that has passed is 0, anything over a day is a day. Never raises.
    """
    text = (value or "").strip()
    if not text:
        return None
    if _DELAY_SECONDS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER)
    moment = http_date(text)
    if moment is None:
        return None
    return min(max(moment - (time.time() if now is None else now), 0.0), MAX_RETRY_AFTER)


def http_date(text: str) -> float | None:
    """Return an HTTP date (RFC 9110, 5.6.7) as seconds since the Unix epoch; ``None`` for what is none. Never raises."""
    try:
        parsed = parsedate_to_datetime(text)
        # An HTTP date is in GMT; one that does not say so must not be read in the machine's zone.
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def clean_base_url(value: str) -> str:
    """Return a provider's base URL without a trailing slash. Raises ``ValueError``, without repeating the value."""
    message = "must be http:// or https:// with a host, and no user, query or fragment"
    if not _BASE_URL.fullmatch(value):
        raise ValueError(message)
    try:
        parts = urlsplit(value)
        # What cannot be looked up (an empty label, one over 63 characters) would fail there with an error of its own.
        usable = bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(message)
    return value.rstrip("/")


#: A provider's base URL in an adapter's settings, so that it can be pointed at a local server.
BaseUrl = Annotated[str, AfterValidator(clean_base_url)]


def silence(loggers: Iterable[str]) -> None:
    """Switch off a provider library's loggers, for they print tokens, numbers and message texts.

    Not even ``CRITICAL`` is let through: libraries put a whole answer into their worst errors. What went
    wrong is in the exception, which the adapter classifies.
    """
    for name in loggers:
        logging.getLogger(name).setLevel(_OFF)
