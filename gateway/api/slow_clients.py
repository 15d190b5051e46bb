"""Deadlines for callers who send slowly, on purpose or not: uvicorn has none, and each holds a connection."""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import Any, ClassVar, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.api.body import BODY_SECONDS, WHOLE

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


class DeadlineProtocol(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it, closing connections whose requests take too long to arrive.

    Give it to ``uvicorn.Config(http=DeadlineProtocol)``.
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
        super().data_received(data)
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
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """See its headers end."""
        self._awaited = Stage.BODY
        super().on_headers_complete()

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
