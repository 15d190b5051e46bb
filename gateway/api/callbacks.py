"""``/callbacks/<channel>``: what a provider reports later, and what people write to a bot.

The channel says whether a call is genuine and what it means.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from channels.base import Channel
from channels.callback import CallbackRequest, ForgedCallbackError
from channels.chat import Conversing
from gateway.api.body import read
from gateway.api.parts import Parts
from gateway.api.responses import nothing
from gateway.errors import Forbidden, NotFound

#: Bytes of a report's body. Providers send a few hundred.
MAX_BODY: Final = 64 * 1024
#: Bytes of an update's body. A long message that answers another, both full of links, has 80 thousand in Telegram's
#: JSON; one that is refused comes again for a day.
MAX_UPDATE: Final = 512 * 1024


class CallbackRoutes:
    """The endpoint of every channel."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def report(self, request: Request) -> Response:
        """Take in a report, or what a person wrote to a bot.

        204, to unknown and repeated ones as well, for else the provider would send them again.
        """
        channel = self._parts.channels.get(request.path_params["channel"])
        if channel is None:
            raise NotFound("no such channel")
        body = await read(request, MAX_UPDATE if channel.hears_callbacks else MAX_BODY)
        call = CallbackRequest(method=request.method, target=_target(request), headers=headers_of(request), body=body)
        try:
            await self._take_in(channel, call)
        except ForgedCallbackError:
            raise Forbidden("this callback does not prove that it comes from the provider") from None
        return nothing()

    async def _take_in(self, channel: Channel, call: CallbackRequest) -> None:
        """Make durable what a provider tells. Raises ``ForgedCallbackError`` or ``StorageError``."""
        if channel.hears_callbacks and isinstance(channel, Conversing):
            inbound = channel.read(call)
            if inbound is not None:
                await self._parts.hear(channel.name, inbound)
            return
        report = channel.report(call)
        if report is not None:
            await self._parts.queue.report(channel.name, report)


def _target(request: Request) -> str:
    path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


def headers_of(request: Request) -> dict[str, str]:
    """Return the headers in lower case. One that came twice is joined, and so proves nothing (RFC 9110, 5.2)."""
    found: dict[str, list[str]] = {}
    # Once through them: asked for one by one, thousands of headers (16 KiB) held everybody up for half a second.
    for name, value in request.headers.items():
        found.setdefault(name, []).append(value)
    return {name: ", ".join(values) for name, values in found.items()}
