"""Bounds for callers who send slowly or without end, on purpose or not: uvicorn has none, and each holds a connection."""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import Any, ClassVar, Final, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.api.body import BODY_SECONDS, WHOLE
from gateway.api.problems import HeadTooLarge, respond
from gateway.errors import BadRequest, Problem

#: Bytes of a request's line and headers.
MAX_HEAD: Final = 16 * 1024

_HEAD: Final = b"HTTP/1.1 "
#: Told before the answer: it must not wait.
_INTERIM: Final = b"HTTP/1.1 1"


class Stage(Enum):
    """What of a request is awaited."""

    #: Nothing: the connection is idle (uvicorn's keep-alive deadline watches it) or a request is being answered.
    NOTHING = auto()
    #: The request line and headers.
    HEADERS = auto()
    #: The rest of the body.
    BODY = auto()


class WholeAnswer:
    """A transport that writes an answer's head together with its body: one system call and one packet for both.

    uvicorn writes them apart. What has no body is written by ``flush``, which the end of the answer calls.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        """Write data, or keep it where it is the head of an answer."""
        if not self._head and data.startswith(_HEAD) and not data.startswith(_INTERIM):
            self._head = data
        else:
            data, self._head = self._head + data, b""
            self._transport.write(data)

    def flush(self) -> None:
        """Write what was kept."""
        if self._head:
            data, self._head = self._head, b""
            self._transport.write(data)

    def close(self) -> None:
        """Write what was kept, then close."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _HeadTooLargeError(Exception):
    """Raised through the parser, which stops at it."""


class DeadlineProtocol(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it, closing connections whose requests take too long to arrive, or too much room.

    What cannot be read is answered as every other fault is. Give it to ``uvicorn.Config(http=DeadlineProtocol)``.
    """

    #: Seconds for the headers, from the connection's or the request's first byte on.
    header_seconds: ClassVar[float] = 10.0
    #: Seconds for the body, from the end of the headers on. A second more than the body's reader allows, whose 408
    #: comes first; this one is for bodies that nobody reads, because the request was refused by its headers.
    body_seconds: ClassVar[float] = BODY_SECONDS + 1.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._awaited = Stage.HEADERS
        self._requests = 0
        #: Bytes of a head, or of what stands behind a body, that is not complete.
        self._head_bytes = 0
        #: Whether the latest bytes had something of a body.
        self._has_body = False
        #: Whether the parser was stopped for that reason.
        self._is_too_large = False
        #: The stage and request the timer is for.
        self._watched: tuple[Stage, int] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._answer = WholeAnswer(transport)
        self.transport = cast("asyncio.Transport", self._answer)
        self._watch(Stage.HEADERS)

    def data_received(self, data: bytes) -> None:
        """Take bytes in, and see what is still missing."""
        before, self._has_body = (self._awaited, self._requests), False
        super().data_received(data)
        if before == (self._awaited, self._requests) and self._awaited is not Stage.NOTHING and not self._has_body:
            # A header, or a trailer, is seen only once it is complete: one that never ends would grow in the parser.
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD and not self.transport.is_closing():
                self._refuse(_head_too_large())
        if self.transport.is_closing():
            self._stop()
        elif self._awaited is Stage.NOTHING and self.timeout_keep_alive_task is None and self._idle():
            # Bytes that begin no request (a stray line break) have stopped uvicorn's own deadline.
            self._watch(Stage.HEADERS)
        else:
            # A request that came whole, as nearly all do, never sets a timer.
            self._watch(self._awaited)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """See a request begin."""
        self._awaited = Stage.HEADERS
        self._head_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header. What stands behind a body in a header's place (a trailer) is dropped (RFC 9110, 6.5.1)."""
        if self._awaited is Stage.HEADERS:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """See its headers end."""
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD:
            self._is_too_large = True
            raise _HeadTooLargeError
        self._awaited, self._head_bytes = Stage.BODY, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """See a part of its body."""
        self._has_body = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """See it end."""
        self._awaited = Stage.NOTHING
        self._requests += 1
        # Who reads the body from now on has it at once.
        self.scope[WHOLE] = True  # type: ignore[typeddict-unknown-key]  # a key of our own
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """See a request answered."""
        self._answer.flush()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn says the same of everything
        """Refuse what the parser could not read."""
        self._refuse(_head_too_large() if self._is_too_large else BadRequest("this is no HTTP request"))

    def _refuse(self, problem: Problem) -> None:
        """Answer with a problem, and close."""
        answer = respond(problem)
        head = [
            STATUS_LINE[problem.status],
            *(b"%b: %b\r\n" % header for header in answer.raw_headers),
            b"connection: close\r\n\r\n",
        ]
        # Not in the place of another request's answer; who sends requests in advance sees the connection end.
        begun = self._awaited is Stage.BODY and not self.pipeline and not self.cycle.response_started
        if begun or self._idle():
            self.transport.write(b"".join(head) + answer.body)
        self.transport.close()

    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _watch(self, stage: Stage) -> None:
        if self._watched == (stage, self._requests):
            return
        self._stop()
        if stage is Stage.NOTHING:
            return
        seconds = self.header_seconds if stage is Stage.HEADERS else self.body_seconds
        self._timer = self.loop.call_later(seconds, self.transport.close)
        self._watched = (stage, self._requests)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._watched = None


def _head_too_large() -> HeadTooLarge:
    return HeadTooLarge(f"a request's line and headers have at most {MAX_HEAD} bytes")
