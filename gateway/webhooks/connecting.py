"""One request to a receiver: to an address that was checked, and nowhere else.

A name is looked up off the event loop, every address it has must be permitted, and only those are connected to; the
socket's own address is checked before it is opened, and the peer's before a byte is sent. So a name that changes its
mind between the look-up and the connection changes nothing. Redirects are answers, proxies of the environment are not
used, and connections that are kept are kept to the address they were checked for. It goes by the adapters' own client
(decision 33), which bounds all that a receiver may send, interim answers and what is no body too.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from channels.http import AnswerLostError, ConnectError, HttpClient, retry_after
from channels.http_errors import UnprovedServerError
from channels.reaching import Road
from gateway.value import Value
from gateway.webhooks.addresses import permitted
from gateway.webhooks.looking_up import AddressRefusedError, CheckedLookUp, LookUp, look_up_by_system

#: Seconds one try may take, and to get a connection (Standard Webhooks 1.0.0 asks for 15 to 30 in all).
TOTAL: Final = 15.0
CONNECT: Final = 5.0
#: Requests of one node under way at once, and idle connections that it keeps.
AT_ONCE: Final = 64
#: Bytes of an answer's body that are read at most. Its status is all that counts.
MAX_BODY: Final = 64 * 1024
#: Seconds an idle connection is kept.
KEEPALIVE: Final = 15.0

_HEADERS: Final = {"Content-Type": "application/json", "User-Agent": "otp-gateway"}


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
        look_up: LookUp = look_up_by_system,
        tls: ssl.SSLContext | None = None,
        total: float = TOTAL,
        connect: float = CONNECT,
    ) -> None:
        self._http = HttpClient(
            timeout=total,
            connect_timeout=connect,
            connections=AT_ONCE,
            max_body=MAX_BODY,
            keepalive=KEEPALIVE,
            road=lambda usual: checked_road(partial(permitted, private=private), look_up, tls or usual),
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._http.__aexit__(exc_type, exc, tb)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, now: float) -> Answer:
        """Send one request, once, and return its answer, of any status. Raises ``SendError``.

        ``now``, in seconds since the Unix epoch, is what a date in ``Retry-After`` is counted from.
        """
        try:
            answer = await self._http.request("POST", url, headers={**_HEADERS, **headers}, data=body)
        except ConnectError as error:
            raise SendError(_unreached(error)) from None
        except AnswerLostError as error:
            if error.begun is None:
                raise SendError(Fault.TIMEOUT if error.timed_out else Fault.BROKEN) from None
            # The answer came with its status, whatever became of the rest.
            answer = error.begun
        return Answer(answer.status, retry_after(answer.headers.get("retry-after"), now))


def checked_road(is_permitted: Callable[[str], bool], look_up: LookUp, tls: ssl.SSLContext) -> Road:
    """Return what leads to permitted addresses only, of servers that prove themselves to ``tls``."""

    def check(place: Any) -> None:
        if not is_permitted(str(place[0])):
            raise AddressRefusedError

    return Road(tls, look_up=CheckedLookUp(is_permitted, look_up), check=check)


def _unreached(error: ConnectError) -> Fault:
    if isinstance(error, AddressRefusedError):
        return Fault.ADDRESS
    if isinstance(error, UnprovedServerError):
        return Fault.TLS
    return Fault.TIMEOUT if error.timed_out else Fault.UNREACHABLE
