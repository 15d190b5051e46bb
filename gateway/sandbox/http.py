"""The HTTP server the Twilio and the Telegram sandbox run on: Starlette on uvicorn, quick to start and to stop."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from email.utils import formatdate
from typing import Any, ClassVar, Self, TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.sandbox.fault import Fault, Faults, Planned
from gateway.sandbox.loopback import listen, listening_address

#: Bytes of a request's body that are read; the largest legitimate one is a few KiB.
MAX_BODY = 1024 * 1024

_T = TypeVar("_T")


class RequestTooLargeError(Exception):
    """A body over ``MAX_BODY``; answered with 413."""


async def read_body(request: Request) -> bytes:
    """Return the whole body. Raises ``RequestTooLargeError``."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise RequestTooLargeError
    return bytes(body)


async def until_gone(request: Request) -> None:
    """Wait until the client has closed its connection, which is all that can come once the body was read."""
    await request.receive()


async def while_there(request: Request, work: Coroutine[Any, Any, _T]) -> _T | None:
    """Return what ``work`` does; ``None``, and ``work`` canceled, where the client goes first. The body was read."""
    working, gone = asyncio.create_task(work), asyncio.create_task(until_gone(request))
    try:
        await asyncio.wait([working, gone], return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


class _Protocol(HttpToolsProtocol):
    """uvicorn's HTTP without an access log: it would show the bot's token, which is part of the path."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Config(access_log=False) would silence the whole process, the gateway beside us in the demo included.
        self.access_log = False


class _Server(uvicorn.Server):
    """uvicorn without ``serve``, which takes the process's signals, logs, polls, and is patient at the end."""

    async def begin(self, listening: socket.socket) -> None:
        """Answer on ``listening`` from now on."""
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup([listening])

    async def end(self) -> None:
        """Cut every connection and wait for the requests that were under way on them."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        # A stalled request sees its client gone and returns.
        while tasks := set(self.server_state.tasks):
            await asyncio.wait(tasks)
        for server in self.servers:
            await server.wait_closed()


class _NotForSites:
    """Refuses what a web site has a browser send: no provider's client is a browser.

    Any site somebody looks at could otherwise act as a bot's owner here (Fetch Metadata, w3.org/TR/fetch-metadata).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        sites = {value for name, value in scope.get("headers", ()) if name == b"sec-fetch-site"}
        if sites <= {b"same-origin", b"none"}:
            await self._app(scope, receive, send)
        else:
            await Response(status_code=403)(scope, receive, send)


class HttpSandbox:
    """An HTTP API on a loopback port that can be told to misbehave. Open it with ``async with``.

    Raises ``ValueError`` for a host that is not loopback, unless with ``allow_remote``.
    """

    #: Whether people come with a browser; it then says itself what it takes from one.
    browsed: ClassVar[bool] = False

    def __init__(self, routes: Sequence[Route], *, host: str, port: int, allow_remote: bool = False) -> None:
        self.host = listening_address(host, allow_remote=allow_remote)
        #: The port; the one the system chose once open.
        self.port = port
        #: How the server is told to misbehave.
        self.faults = Faults()
        #: The time it tells in answers that are ``dated``, in seconds since the Unix epoch.
        self.clock: Callable[[], float] = time.time
        app = Starlette(routes=list(routes), exception_handlers={RequestTooLargeError: _too_large})
        self._app: ASGIApp = app if self.browsed else _NotForSites(app)

    @property
    def base_url(self) -> str:
        """``http://host:port`` without a slash at the end, as this machine reaches it; known once open."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    async def __aenter__(self) -> Self:
        listening = listen(self.host, self.port)
        self.port = listening.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            http=_Protocol,
            lifespan="off",
            ws="none",
            log_config=None,
            server_header=False,
            date_header=False,
        )
        self._server = _Server(config)
        await self._server.begin(listening)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.end()

    def dated(self, response: Response) -> Response:
        """Let an answer tell the server's time, as every answer of a provider does."""
        response.headers["Date"] = formatdate(self.clock(), usegmt=True)
        return response

    def drop(self, request: Request) -> None:
        """Cut the connection ``request`` came on, without an answer."""
        peer = request.scope["client"]
        for connection in list(self._server.server_state.connections):
            if connection.transport.get_extra_info("peername")[:2] == peer:
                connection.transport.abort()

    async def misbehave(self, request: Request, planned: Planned) -> Response | None:
        """Act out the faults that look the same in every HTTP API; ``None`` where the request is to go on."""
        if planned.fault is Fault.SLOW:
            return await _gone_within(request, planned.delay)
        if planned.fault is Fault.GARBLE:
            return HTMLResponse("<html><body><h1>It works!</h1></body></html>")
        if planned.fault is Fault.RESET:
            self.drop(request)
        elif planned.fault is not Fault.STALL:
            return None
        await until_gone(request)
        return Response()  # nobody is there to read it


async def _gone_within(request: Request, seconds: float) -> Response | None:
    """Wait so long; ``None`` unless the client has gone by then, for whom nothing more is to happen."""
    try:
        async with asyncio.timeout(seconds):
            await until_gone(request)
    except TimeoutError:
        return None
    return Response()  # nobody is there to read it


async def _too_large(_: Request, __: Exception) -> Response:
    return Response("The request is too large.", status_code=413)
