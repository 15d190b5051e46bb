"""One path: which methods it has, and what becomes of an error in any of them: told, counted and answered, once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.api.problems import as_problem, respond, word_of
from gateway.api.responses import Answer
from gateway.errors import MethodNotAllowed, NotFound

Endpoint = Callable[[Request], Awaitable[Response]]

#: Where the ASGI scope holds the path of the resource that answers, with its pattern: ``/v1/verifications/{id}``.
PATH: Final = "otp_gateway.path"


class Resource:
    """An ASGI application for one path. ``HEAD`` is ``GET`` without the body (RFC 9110, 9.3.2).

    ``refused`` counts what its endpoints refuse: by the limit where one refused, else by the problem's code.
    """

    def __init__(
        self, path: str, methods: Mapping[str, Endpoint], refused: Callable[[str], None] = lambda _: None
    ) -> None:
        self.path = path
        self._refused = refused
        self._methods = {**methods, "HEAD": methods["GET"]} if "GET" in methods else dict(methods)
        self._allowed = ", ".join(sorted(self._methods))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope[PATH], method = self.path, scope["method"]
        endpoint = self._methods.get(method)
        if endpoint is None:
            response = self._not_allowed()
        else:
            try:
                response = await endpoint(Request(scope, receive))
            except ClientDisconnect:
                return
            except Exception as error:  # noqa: BLE001 - logged there, and every caller gets an answer
                response = self._refusal(error, method)
        if method == "HEAD":
            response.body = b""
        if not (isinstance(response, Answer) and response.written(scope)):
            await response(scope, receive, send)

    def _refusal(self, error: Exception, method: str) -> Response:
        # By the route's pattern: a path as it was sent may hold what must not be logged.
        problem = as_problem(error, f"{'GET' if method == 'HEAD' else method} {self.path}")
        self._refused(word_of(problem))
        return respond(problem)

    def _not_allowed(self) -> Response:
        return respond(MethodNotAllowed(f"this path takes {self._allowed}", headers={"Allow": self._allowed}))


async def nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a path that does not exist."""
    if scope["type"] == "http":
        await respond(NotFound("no such path"))(scope, receive, send)
    else:
        await send({"type": "websocket.close"})
