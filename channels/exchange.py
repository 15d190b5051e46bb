"""One HTTP/1.1 connection: a request in one write, and its answer read by httptools, whose parser is that of Node.

aiohttp's client takes 76 µs of processor time for what is 16 here (decision 33). The answer's bytes may come cut in any
way; what is not one whole answer within the limits below is lost, and its connection is never used again.
"""

from __future__ import annotations

import asyncio
import select
from math import inf
from typing import Final, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from channels.http_answer import HttpAnswer
from channels.http_errors import AnswerLostError, ConnectError

#: The longest head that is read, in bytes, with those of the interim answers before it.
MAX_HEAD: Final = 32 * 1024
#: What bytes of a body may be on the wire as a chunk each: ``1 CR LF x CR LF``, and two for a longer size.
_CHUNKED: Final = 8
#: Statuses that come before the answer itself (RFC 9110 15.2).
_INTERIM: Final = range(100, 200)
#: After it the connection speaks another protocol, which nobody here asked for (the same, 15.2.2).
_SWITCHED: Final = 101
_VERSIONS: Final = frozenset({"1.0", "1.1"})


class Connection(asyncio.Protocol):
    """A connection to one server, used by one request at a time. ``max_body`` is in bytes."""

    def __init__(self, max_body: int) -> None:
        #: When it began to wait for its next request, in the loop's seconds.
        self.idle_since = 0.0
        self._loop = asyncio.get_running_loop()
        self._max_body = max_body
        self._transport: asyncio.Transport | None = None
        self._parser = HttpResponseParser(self)
        #: Tells without waiting whether something has come: the end, or what nobody asked for.
        self._poll = select.poll()
        # Who waits for an answer, and whether nothing more may be asked here.
        self._waiter: asyncio.Future[HttpAnswer] | None = None
        self._over = False
        # When whoever waits is told that the time is up, and what tells that.
        self._until = inf
        self._timer: asyncio.TimerHandle | None = None
        self._forget(headless=False)

    def _forget(self, *, headless: bool) -> None:
        """Expect a new answer; ``headless``: one that ends with its head (to HEAD)."""
        self._headless = headless
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._begun: HttpAnswer | None = None
        # Bytes read in all, and of those the body's.
        self._wire = self._size = 0
        # Whether the head is read, whether the end of the connection is the body's, and whether all of it is here.
        self._headed = self._until_end = self._whole = False
        # Why there will be no whole answer.
        self._fault: str | None = None

    # -- a request

    def ask(self, request: bytes, until: float, *, headless: bool = False) -> asyncio.Future[HttpAnswer]:
        """Write a request; return its answer to come, which has until ``until`` in the loop's seconds.

        ``headless`` is a request by HEAD. The future raises ``AnswerLostError``; whoever stops waiting must ``discard``.
        Raises ``ConnectError`` where the connection has ended and nothing was written.
        """
        if self._over or self._transport is None or self._transport.is_closing():
            raise ConnectError("ended")
        self._forget(headless=headless)
        self._until = until
        self._waiter = self._loop.create_future()
        self._transport.write(request)
        if self._timer is None or self._timer.when() > until:
            self._set()
        return self._waiter

    @property
    def kept(self) -> bool:
        """Whether nothing has happened that forbids another request."""
        return not self._over

    def ready(self) -> bool:
        """Tell whether a request may be written now: nothing has come since the last answer, not even the end.

        The system is asked, for the loop may not have been yet: one look (1 µs) instead of a message that may be lost.
        """
        if self._over or self._transport is None or self._transport.is_closing() or self._poll.poll(0):
            self.discard()
        return not self._over

    def close(self) -> None:
        """Close an idle connection in order."""
        self._end()
        if self._transport is not None:
            self._transport.close()

    def discard(self) -> None:
        """Close without a word: nothing can follow what was under way."""
        self._end()
        if self._transport is not None:
            self._transport.abort()

    def _end(self) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # uvloop's transports are none by class, only by what they do.
        self._transport = cast("asyncio.Transport", transport)
        if (connected := transport.get_extra_info("socket")) is not None:
            self._poll.register(connected.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Read on. What nobody asked for ends the connection: taken for an answer, it would be one to another request."""
        if self._waiter is None or self._waiter.done():
            self.discard()
            return
        if not self._headed and self._wire + len(data) > MAX_HEAD:
            # Cut there, so that the limit is the same however the bytes come.
            left = MAX_HEAD - self._wire
            self._read(data[:left])
            if not self._headed:
                self._fault = self._fault or "head too large"
            data = data[left:]
        self._read(data)
        if self._wire > MAX_HEAD + _CHUNKED * self._max_body:
            self._fault = self._fault or "body too large"
        if self._whole or self._fault is not None:
            self._answer()

    def _read(self, data: bytes) -> None:
        self._wire += len(data)
        if self._fault is not None:
            return
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            # Behind a whole answer it spoils the connection alone.
            self._over = True
            if not self._whole:
                self._fault = type(error).__name__

    def eof_received(self) -> None:
        """End a body that has no length of its own, in order; the transport closes."""
        self._over = True
        if self._until_end and self._fault is None:
            self._whole = True
        self._answer()

    def connection_lost(self, _: Exception | None) -> None:
        """Give up waiting."""
        self._end()
        self._answer()

    def _answer(self) -> None:
        """Tell who waits how it ended."""
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return
        if self._fault is None and self._whole:
            transport = self._transport
            if transport is not None and transport.get_write_buffer_size():
                # Answered before all of it was written (RFC 9112 9.5): what is left would lead the next request.
                self._over = True
            assert self._begun is not None
            waiter.set_result(HttpAnswer(self._begun.status, self._begun.headers, b"".join(self._body)))
            return
        self._over = True
        waiter.set_exception(AnswerLostError(self._fault or "connection lost", begun=self._begun))

    # -- the parser's side

    def on_message_begin(self) -> None:
        """Begin a head, that of the answer or of what nobody asked for."""
        if self._whole:
            self._over = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what follows a chunked body says nothing that is asked for."""
        if not self._headed:
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Say what the head means for the body (RFC 9112 6.3)."""
        if self._whole:
            return
        status, headers = self._parser.get_status_code(), self._headers
        if self._parser.get_http_version() not in _VERSIONS or status < 100 or status == _SWITCHED:
            self._fault = "no answer of HTTP/1"
        elif status in _INTERIM:
            return
        else:
            self._begun = HttpAnswer(status, headers)
            if headers.get("transfer-encoding", "chunked").lower() != "chunked":
                # Nobody said that it would be understood (the same, 7.4).
                self._fault = "coded otherwise"
        self._headed = True
        if self._headless:
            # The parser expects a body, so the connection is good for nothing more.
            self._whole = self._over = True
        self._until_end = "transfer-encoding" not in headers and "content-length" not in headers

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        if self._whole:
            return
        self._size += len(body)
        if self._size > self._max_body:
            self._fault = self._fault or "body too large"
        elif self._fault is None:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """End the answer, or an interim one."""
        if self._whole:
            return
        if not self._headed:
            self._headers = {}
            return
        self._whole = True
        if not self._parser.should_keep_alive():
            self._over = True

    # -- time

    def _set(self) -> None:
        """Set the timer. It is left for later requests: one in some seconds instead of one each."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._until, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._until:
            self._set()
        else:
            self._over = True
            self._waiter.set_exception(AnswerLostError("TimeoutError", timed_out=True, begun=self._begun))
