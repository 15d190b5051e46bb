"""HTTP for the adapters: one client that says whether a failed request can have been acted upon.

Its failures are those of ``channels.http_errors``; ``failure_of`` puts them into the port's words.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import string
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from types import TracebackType
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator

from channels.base import AmbiguousError, DeliveryError, PermanentError, Reason, TransientError
from channels.http_answer import HttpAnswer
from channels.http_errors import AnswerLostError, ConnectError, HttpError, StatusError, WrongServerError
from channels.http_pool import KEEPALIVE, Pool
from channels.http_request import Head
from channels.reaching import Road
from channels.wire import client_tls

__all__ = [
    "HEADS",
    "MAX_BODY",
    "MAX_RETRY_AFTER",
    "AnswerLostError",
    "BaseUrl",
    "ConnectError",
    "HttpAnswer",
    "HttpClient",
    "HttpError",
    "StatusError",
    "WrongServerError",
    "clean_base_url",
    "failure_of",
    "form",
    "http_date",
    "retry_after",
    "silence",
]

#: The longest answer that is read, in bytes. A message's answer has about 1 KiB.
MAX_BODY: Final = 256 * 1024
#: Seconds to get a connection, where the whole call may take longer.
CONNECT_TIMEOUT: Final = 5.0
#: The longest pause a provider can ask for, in seconds: a day. More is a fault of the provider.
MAX_RETRY_AFTER: Final = 86_400.0
#: Heads of requests that are kept at most: an adapter has one or two, which it sends again and again.
HEADS: Final = 32

_UNCHANGED: Final = frozenset(b"_.-~" + string.ascii_letters.encode() + string.digits.encode())
#: Each octet as it stands in a form: letters, digits and ``_.-~`` as they are, a space as ``+`` (WHATWG URL 5.2).
_IN_FORM: Final = tuple(
    "+" if octet == 0x20 else chr(octet) if octet in _UNCHANGED else f"%{octet:02X}" for octet in range(256)
)
_DELAY_SECONDS = re.compile(r"[0-9]{1,18}")
_BASE_URL = re.compile(r"https?://[^\s/?#@{}\\]+(/[^\s?#@{}\\]*)?", re.IGNORECASE)
_OFF = logging.CRITICAL + 1


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


class HttpClient:
    """Keeps connections to a provider open. Use it as an async context manager; requests may run concurrently.

    Certificates are verified, redirects are not followed, proxies of the environment are not used, no cookie is kept: a
    request goes to the configured host or nowhere.
    """

    def __init__(
        self,
        *,
        timeout: float,
        connect_timeout: float = CONNECT_TIMEOUT,
        connections: int = 100,
        max_body: int = MAX_BODY,
        keepalive: float = KEEPALIVE,
        road: Callable[[ssl.SSLContext], Road] = Road,
    ) -> None:
        """``timeout``, ``connect_timeout`` and ``keepalive`` (of an idle connection) are in seconds, ``max_body`` in bytes.

        ``road`` makes what leads to servers out of what they prove themselves to.
        """
        #: Seconds a whole call may take.
        self.timeout = timeout
        self._connect_timeout = connect_timeout
        self._connections = connections
        self._max_body = max_body
        self._keepalive = keepalive
        self._road = road
        self._pool: Pool | None = None
        #: Heads of requests up to the length of what follows, by what they are made of.
        self._heads: dict[tuple[object, ...], Head] = {}

    async def __aenter__(self) -> Self:
        tls = await asyncio.to_thread(client_tls)
        self._pool = Pool(self._road(tls), self._connections, self._max_body, keepalive=self._keepalive)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        pool, self._pool = self._pool, None
        self._heads.clear()
        if pool is not None:
            await pool.close()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a slow connect and a slow answer are told apart, asyncio.timeout cannot
    ) -> HttpAnswer:
        """Send one request, once, and read the whole answer within ``timeout`` seconds (default: the client's).

        Raises ``ConnectError`` or ``AnswerLostError``. An answer of any status is an answer.
        """
        if self._pool is None:
            raise RuntimeError("the HTTP client is not open")
        return await self._exchange(self._pool, self._head(method, url, headers or {}), data, timeout)

    async def _exchange(self, pool: Pool, head: Head, data: bytes | None, seconds: float | None) -> HttpAnswer:
        total = self.timeout if seconds is None else seconds
        until = asyncio.get_running_loop().time() + total
        origin = head.origin
        # Connecting must run out before the whole does, or its failure would pass for a lost answer.
        connection = pool.kept(origin) or await pool.made(origin, min(self._connect_timeout, total / 2))
        try:
            return await connection.ask(head.request(data), until, headless=head.headless)
        except BaseException:
            # A canceled request is answered all the same, and its answer is nobody else's.
            connection.discard()
            raise
        finally:
            pool.back(origin, connection)

    def _head(self, method: str, url: str, headers: Mapping[str, str]) -> Head:
        key = (method, url, *headers.items())
        head = self._heads.get(key)
        if head is None:
            if len(self._heads) >= HEADS:
                self._heads.clear()
            head = self._heads[key] = Head.made(method, url, headers)
        return head


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
