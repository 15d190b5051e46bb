"""One path: which methods it has, and what becomes of an error in any of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.api.problems import as_problem, respond
from gateway.errors import MethodNotAllowed, NotFound

Endpoint = Callable[[Request], Awaitable[Response]]

#: Where the ASGI scope holds the path of the resource that answers, with its pattern: ``/v1/verifications/{id}``.
PATH: Final = "otp_gateway.path"


class Resource:
    """An ASGI application for one path. ``HEAD`` is ``GET`` without the body (RFC 9110, 9.3.2)."""

    def __init__(self, path: str, methods: Mapping[str, Endpoint]) -> None:
        self.path = path
        self._methods = {**methods, "HEAD": methods["GET"]} if "GET" in methods else dict(methods)
        self._allowed = ", ".join(sorted(self._methods))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope[PATH] = self.path
        try:
            response = await self._endpoint(scope["method"])(Request(scope, receive))
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - logged there, and every caller gets an answer
            # By the route's pattern: a path as it was sent may hold what must not be logged.
            response = respond(as_problem(error, f"{scope['method']} {self.path}"))
        if scope["method"] == "HEAD":
            response.body = b""
        await response(scope, receive, send)

    def _endpoint(self, method: str) -> Endpoint:
        endpoint = self._methods.get(method)
        if endpoint is None:
            raise MethodNotAllowed(f"this path takes {self._allowed}", headers={"Allow": self._allowed})
        return endpoint


async def nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a path that does not exist."""
    if scope["type"] == "http":
        await respond(NotFound("no such path"))(scope, receive, send)
    else:
        await send({"type": "websocket.close"})
