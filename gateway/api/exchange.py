"""One request and its answer as our server keeps them: what uvicorn's cycle does, made in 0.4 µs in place of 0.9.

What is alike in all of them stands in the class, and what a request that came whole never asks for is made when somebody
does: the event by which ASGI's ``receive`` waits for a body.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_log: Final = logging.getLogger("uvicorn.error")


class Exchange(RequestResponseCycle):
    """A request that is being answered. ``keep_alive`` says whether the connection stays open for another one."""

    logger = access_logger = _log
    access_log = False
    disconnected = False
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding: bool | None = None
    expected_content_length = 0
    #: Whether something was to be told before anybody could be.
    _told = False
    _event: asyncio.Event | None = None

    def __init__(
        self,
        scope: Scope,
        transport: asyncio.Transport,
        flow: FlowControl,
        default_headers: list[tuple[bytes, bytes]],
        on_response: Callable[[], None],
        *,
        expects: bool,
        keep_alive: bool,
    ) -> None:
        # All that uvicorn's own would do, less what the class has.
        self.scope = scope  # type: ignore[assignment]  # the same under another name
        self.transport = transport
        self.flow = flow
        self.default_headers = default_headers
        self.on_response = on_response
        self.waiting_for_100_continue = expects
        self.keep_alive = keep_alive
        self.body: bytearray | bytes = b""  # type: ignore[assignment]  # of one piece as it came, else put together

    @property
    def message_event(self) -> asyncio.Event:  # type: ignore[override]  # made where somebody asks for it
        """What is set whenever something has come of the request, or nothing more will."""
        if self._event is None:
            self._event = asyncio.Event()
            if self._told:
                self._event.set()
        return self._event

    def tell(self) -> None:
        """Say that something has come, or that nothing more will."""
        if self._event is None:
            self._told = True
        else:
            self._event.set()

    def add(self, body: bytes) -> int:
        """Keep a piece of the body; return how many bytes wait."""
        if not self.body:
            self.body = body
        else:
            # Put together anew with each piece, a body in single bytes would be copied thousands of times.
            self.body = self.body if isinstance(self.body, bytearray) else bytearray(self.body)
            self.body += body
        self.tell()
        return len(self.body)


def address(url: bytes) -> tuple[str, bytes, bytes]:
    """Return path, the path as it was sent, and query. Raises ``httptools.HttpParserInvalidURLError``."""
    parsed = httptools.parse_url(url)
    raw_path: bytes = parsed.path
    path = raw_path.decode("ascii")
    return unquote(path) if "%" in path else path, raw_path, parsed.query or b""
