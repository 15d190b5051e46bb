"""``/callbacks/<channel>``: what a provider reports later. The channel says whether it is genuine and what it means."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from channels.base import CallbackRequest, ForgedCallbackError
from gateway.api.body import read
from gateway.api.parts import Parts
from gateway.api.responses import nothing
from gateway.errors import Forbidden, NotFound

#: Bytes of a callback's body. Providers send a few hundred.
MAX_BODY: Final = 64 * 1024


class CallbackRoutes:
    """The endpoint of every channel."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def report(self, request: Request) -> Response:
        """Take a report in: 204, to unknown and repeated ones as well, for else the provider would send them again."""
        channel = self._parts.channels.get(request.path_params["channel"])
        if channel is None:
            raise NotFound("no such channel")
        body = await read(request, MAX_BODY)
        try:
            report = channel.report(
                CallbackRequest(method=request.method, target=_target(request), headers=_headers(request), body=body)
            )
        except ForgedCallbackError:
            raise Forbidden("this callback does not prove that it comes from the provider") from None
        if report is not None:
            await self._parts.queue.report(report)
        return nothing()


def _target(request: Request) -> str:
    path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


def _headers(request: Request) -> dict[str, str]:
    """Return the headers in lower case. One that came twice is joined, and so proves nothing (RFC 9110, 5.2)."""
    return {name: ", ".join(request.headers.getlist(name)) for name in request.headers.keys()}  # noqa: SIM118 - a name each
