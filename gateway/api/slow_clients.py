"""Bounds for callers who send or read slowly or without end, on purpose or not: uvicorn has none, and each holds a connection."""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import Any, ClassVar, Final, cast

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.api.body import BODY_SECONDS
from gateway.api.exchange import Exchange, address
from gateway.api.problems import HeadTooLarge, respond
from gateway.api.shortcut import SHORTCUT
from gateway.api.whole_answer import WholeAnswer
from gateway.errors import BadRequest, Problem

#: Bytes of a request's line and headers.
MAX_HEAD: Final = 16 * 1024
#: Requests of a connection that wait for an earlier one's answer. Each takes 2.5 KB, fifty times what it has to send.
MAX_AHEAD: Final = 32
#: Pieces of a body, and bytes that each beyond so many has on the average. To take a piece in costs 1 µs, so a body in single
#: bytes held everybody up: 20 connections with what one read takes, 256 KiB, for a second.
MAX_PIECES: Final = 4096
LEAST_PIECE: Final = 16
#: Seconds for an answer to be taken, or for as much of it as makes room for more.
ANSWER_SECONDS: Final = 15.0

#: What asks to go on in another protocol. Nobody does here, and then it says nothing (RFC 9110, 7.8).
_UPGRADE: Final = b"upgrade"
#: The time of what is not awaited.
_NEVER: Final = float("inf")


class Stage(Enum):
    """What of a request is awaited."""

    #: Nothing: the connection is idle (uvicorn's setting says for how long it is kept) or a request is being answered.
    NOTHING = auto()
    #: The request line and headers.
    HEADERS = auto()
    #: The rest of the body.
    BODY = auto()


# To look up an enum's member by its class takes 0.1 µs (Python 3.11), and a request asks fifteen times.
_NOTHING, _HEADERS, _BODY = Stage.NOTHING, Stage.HEADERS, Stage.BODY


class _HeadTooLargeError(Exception):
    """Raised through the parser, which stops at it."""


class _TunnelError(Exception):
    """Raised through the parser, which stops at it."""


class _TooManyAheadError(Exception):
    """Raised through the parser, which stops at it."""


class _TooManyPiecesError(Exception):
    """Raised through the parser, which stops at it."""


class DeadlineProtocol(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it, closing connections whose requests take too long to arrive, or too much room.

    What cannot be read is answered as every other fault is. Give it to ``uvicorn.Config(http=DeadlineProtocol)``, which
    serves HTTP alone (``ws="none"``) and is given no ``limit_concurrency`` and no ``access_log``: what the parser calls is
    all our own, for to have it done by uvicorn as well takes 1.6 µs more a request.
    """

    #: What a scope says of ASGI.
    _asgi: ClassVar[dict[str, str]] = {"version": "3.0", "spec_version": "2.3"}
    cycle: Exchange

    #: Seconds for the headers, from the connection's or the request's first byte on.
    header_seconds: ClassVar[float] = 10.0
    #: Seconds for the body, from the end of the headers on. A second more than the body's reader allows, whose 408
    #: comes first; this one is for bodies that nobody reads, because the request was refused by its headers.
    body_seconds: ClassVar[float] = BODY_SECONDS + 1.0
    #: Seconds for answers that wait to be taken.
    answer_seconds: ClassVar[float] = ANSWER_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._awaited = _HEADERS
        self._requests = 0
        #: Bytes of a head, or of what stands behind a body, that is not complete.
        self._head_bytes = 0
        #: Bytes of the headers seen of this request.
        self._header_bytes = 0
        #: Whether the latest bytes had something of a body.
        self._has_body = False
        #: Pieces and bytes of this request's body.
        self._pieces = self._body_bytes = 0
        #: Why the parser was stopped, where it was not for what it cannot read.
        self._refusal: Problem | None = None
        #: Whether nothing more is read: the latest request is the connection's last.
        self._is_last = False
        #: The stage and request a deadline is for.
        self._watched: tuple[Stage, int] | None = None
        #: When the connection is closed for that, for being idle, and for answers that nobody takes, in the loop's seconds.
        self._late_at = self._idle_at = self._untaken_at = _NEVER
        #: One timer for every deadline of the connection: it is left to run, and looks then whether one is over.
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = _NEVER
        self._root = self.root_path.encode("ascii")
        #: The headers of the server's own, and the same as lines.
        self._common: list[tuple[bytes, bytes]] = []
        self._common_lines = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._plain = transport
        self._answer = WholeAnswer(transport, self.answer_seconds)
        self.transport = cast("asyncio.Transport", self._answer)
        self._watch(_HEADERS)

    def data_received(self, data: bytes) -> None:
        """Take bytes in, and see what is still missing."""
        if self._is_last:
            # Taken all the same: a connection that is closed before that is reset, and the answers on their way are lost.
            return
        awaited, requests, self._has_body, self._idle_at = self._awaited, self._requests, False, _NEVER
        self._feed(data)
        if awaited is self._awaited and requests == self._requests and awaited is not _NOTHING and not self._has_body:
            # A header, or a trailer, is seen only once it is complete: one that never ends would grow in the parser.
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD and not self._plain.is_closing():
                self._refuse(_head_too_large())
        if self._plain.is_closing():
            self._stop()
        elif self._awaited is not _NOTHING:
            self._watch(self._awaited)
        elif self._idle_at == _NEVER and self._idle():
            # Bytes that begin no request (a stray line break) have ended the deadline of an idle connection.
            self._watch(_HEADERS)
        else:
            # A request that came whole, as nearly all do, never has a deadline.
            self._watched, self._late_at = None, _NEVER

    def _feed(self, data: bytes) -> None:
        left: bytes | memoryview = data
        try:
            while left:
                try:
                    self.parser.feed_data(left)
                except httptools.HttpParserUpgrade as upgrade:
                    # The parser stops behind a head that asks for another protocol. It would take the body of that request
                    # for the next one, whoever's that is behind a proxy: so the head is read anew, as one that asks for none.
                    left = memoryview(left)[upgrade.args[0] :]
                    head, self.parser = self._head_without_upgrade(), httptools.HttpRequestParser(self)
                    # As uvicorn's own: what follows a request that ends the connection does not cost it its answer.
                    self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                    self.parser.feed_data(head)
                else:
                    return
        except httptools.HttpParserError:
            if self._is_last:
                self._end_with_latest()
                return
            # uvicorn's own would write a line of its log for whatever anybody sends.
            self.send_400_response("")

    def _end_with_latest(self) -> None:
        """Read nothing more; what was read is answered, and told to be all (RFC 9112, 9.6)."""
        self._awaited = _NOTHING
        latest, _ = self.pipeline[0]
        latest.keep_alive = False

    def _head_without_upgrade(self) -> bytes:
        line = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        kept = [b"%b: %b" % header for header in self.headers if header[0] != _UPGRADE]
        return b"\r\n".join([line, *kept, b"\r\n"])

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """See a request begin."""
        self._awaited = _HEADERS
        self._head_bytes = self._header_bytes = 0
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header. What stands behind a body in a header's place (a trailer) is dropped (RFC 9110, 6.5.1)."""
        if self._awaited is _HEADERS:
            self._header_bytes += len(name) + len(value) + 4
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """See its headers end."""
        if len(self.url) + self._header_bytes > MAX_HEAD:
            self._refusal = _head_too_large()
            raise _HeadTooLargeError
        if len(self.pipeline) >= MAX_AHEAD:
            self._is_last = True
            raise _TooManyAheadError
        method = self.parser.get_method()
        if self.parser.should_upgrade():
            if method == b"CONNECT":
                raise _TunnelError
            return
        self._answer.asked = not self.expect_100_continue
        before, self.cycle = self.cycle, self._exchange(self._scope(method.decode("ascii")))
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            # Sent before the one before it was answered: it waits for that.
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
        # Not before: an address that cannot be read would be answered in the place of the request before it.
        self._awaited, self._head_bytes = _BODY, 0
        self._pieces = self._body_bytes = 0

    def _scope(self, method: str) -> Scope:
        path, raw_path, query = address(self.url)
        return {
            "type": "http",
            "asgi": self._asgi,
            "http_version": self.parser.get_http_version(),
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "headers": self.headers,
            "state": self.app_state.copy(),
            "method": method,
            "path": self.root_path + path,
            "raw_path": self._root + raw_path,
            "query_string": query,
            SHORTCUT: self,
        }

    def _exchange(self, scope: Scope) -> Exchange:
        return Exchange(
            scope,
            self.transport,
            self.flow,
            self.server_state.default_headers,
            self.on_response_complete,
            expects=self.expect_100_continue,
            keep_alive=self.parser.should_keep_alive() and scope["http_version"] != "1.0",
        )

    def on_body(self, body: bytes) -> None:
        """See a part of its body."""
        self._has_body = True
        self._pieces += 1
        self._body_bytes += len(body)
        if self._pieces > MAX_PIECES and self._pieces * LEAST_PIECE > self._body_bytes:
            self._refusal = BadRequest("the body comes in too many small pieces; send it in larger ones")
            raise _TooManyPiecesError
        if self.parser.should_upgrade() or self.cycle.response_complete:
            return
        if self.cycle.add(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        """See it end."""
        if self.parser.should_upgrade():
            return
        self._awaited = _NOTHING
        self._requests += 1
        if not self.cycle.response_complete:
            self.cycle.more_body = False
            self.cycle.tell()

    def on_response_complete(self) -> None:
        """See a request answered: the next one begins, or the connection is idle.

        In place of uvicorn's, which sets and cancels a timer for each request.
        """
        self._answer.flush()
        self.server_state.total_requests += 1
        if self.cycle.response_complete and self.cycle.more_body and not self._answer.asked:
            # Who waits to be asked for the body may not send it now, and then the next request would be taken for it (RFC
            # 9110, 10.1.1).
            self._answer.close()
        if self._plain.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle_at = self.loop.time() + self.timeout_keep_alive
            if self._idle_at < self._timer_at:
                self._set_timer(self._idle_at)

    def pause_writing(self) -> None:
        """See that answers are not taken as they are made."""
        super().pause_writing()
        self._untaken_at = self.loop.time() + self.answer_seconds
        self._set_timer(self._untaken_at)

    def resume_writing(self) -> None:
        """See that there is room for more again."""
        super().resume_writing()
        self._untaken_at = _NEVER

    def take_body(self, scope: Scope, /) -> bytes | None:
        """Return a request's body where it has arrived whole; ``None``: it has to be received."""
        cycle = self.cycle
        if cycle.scope is not scope or cycle.more_body or self.flow.read_paused:
            return None
        if cycle.disconnected or cycle.response_complete:
            return None
        body, cycle.body = bytes(cycle.body), b""
        return body

    def answer(self, scope: Scope, status: int, head: bytes, body: bytes, /) -> bool:
        """Write an answer where its request is of the usual kind; return whether it was.

        The usual one is the latest of its connection, which stays open and takes what is written, and has a body.
        """
        cycle = self.cycle
        if cycle.scope is not scope or cycle.response_started or not cycle.keep_alive or scope["method"] == "HEAD":
            return False
        if cycle.disconnected or self.flow.write_paused:
            return False
        common = self.server_state.default_headers
        if common is not self._common:
            # uvicorn makes another list each second, for the date.
            self._common, self._common_lines = common, b"".join(b"%b: %b\r\n" % header for header in common)
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        self._plain.write(b"%b%b%b\r\n%b" % (STATUS_LINE[status], self._common_lines, head, body))
        cycle.tell()
        self.on_response_complete()
        return True

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn says the same of everything
        """Refuse what the parser could not read."""
        self._refuse(self._refusal or BadRequest("this is no HTTP request"))

    def _refuse(self, problem: Problem) -> None:
        """Answer with a problem, and close."""
        answer = respond(problem)
        head = [
            STATUS_LINE[problem.status],
            *(b"%b: %b\r\n" % header for header in answer.raw_headers),
            b"connection: close\r\n\r\n",
        ]
        # Not in the place of another request's answer; who sends requests in advance sees the connection end.
        begun = self._awaited is _BODY and not self.pipeline and not self.cycle.response_started
        # Nor after an answer, for a body that nobody wanted: it would be taken for the next request's.
        if begun or (self._idle() and self._awaited is not _BODY):
            self.transport.write(b"".join(head) + answer.body)
        self.transport.close()

    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _watch(self, stage: Stage) -> None:
        """Have the connection closed where a stage lasts too long, from its first call on."""
        if self._watched == (stage, self._requests):
            return
        seconds = self.header_seconds if stage is _HEADERS else self.body_seconds
        self._watched, self._late_at = (stage, self._requests), self.loop.time() + seconds
        self._set_timer(self._late_at)

    def _set_timer(self, at: float) -> None:
        """Have the timer look by then at the latest."""
        if at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._timer_at = self.loop.call_at(at, self._look), at

    def _look(self) -> None:
        """Close the connection if a deadline is over, else wait for the next one; without one, for somebody to set it."""
        self._timer, self._timer_at = None, _NEVER
        at = min(self._late_at, self._idle_at, self._untaken_at)
        if at <= self.loop.time():
            self.transport.close()
        elif at < _NEVER:
            self._set_timer(at)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, _NEVER
        self._watched, self._late_at, self._idle_at, self._untaken_at = None, _NEVER, _NEVER, _NEVER


def _head_too_large() -> HeadTooLarge:
    return HeadTooLarge(f"a request's line and headers have at most {MAX_HEAD} bytes")
