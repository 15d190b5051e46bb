"""How a request can fail, by whether it may have been acted upon.

A provider that was never reached may be asked again at once; one whose answer was lost may have sent the
message. Every failure therefore says which::

    HttpError
    ├── ConnectError          no connection, nothing was sent: safe to repeat
    │   └── WrongServerError  and none to be had: the URL is none
    │       └── UnprovedServerError   no TLS, or a certificate that proves nothing
    ├── AnswerLostError       the request left and no whole answer came back: ambiguous
    └── StatusError           an answer that a library in between cannot carry; the client never raises it
"""

from __future__ import annotations

from channels.http_answer import HttpAnswer


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


class UnprovedServerError(WrongServerError):
    """There is no TLS with that server, or its certificate is not one to trust."""


class AnswerLostError(HttpError):
    """The request was sent, at least in part, and no whole answer came back: it may have been acted upon."""

    def __init__(self, sort: str, *, timed_out: bool = False, begun: HttpAnswer | None = None) -> None:
        super().__init__(sort)
        #: Whether the time was up, as opposed to a connection that broke or an answer that cannot be read.
        self.timed_out = timed_out
        #: What had come of the answer: its status and headers. For who asks for no more, that is an answer.
        self.begun = begun


class StatusError(HttpError):
    """An answer of a status that a provider's library has no exception for: raised through it by an adapter."""

    def __init__(self, status: int, *, retry_after: float | None = None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        #: Seconds the answer asks to wait.
        self.retry_after = retry_after
