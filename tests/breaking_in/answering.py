"""Servers that the gateway calls and that answer as none should: a receiver of webhooks, and a bot's."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import Any, Self

from aiohttp import web

#: What webhooks are signed with.
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
#: Seconds a poll is held once that is asked for.
_HELD = 60.0


class Receiver:
    """A receiver that begins an answer and does not end it. Open it with ``async with``.

    ``head`` is written once, ``more`` again and again with ``pause`` seconds between, for as long as somebody reads.
    """

    def __init__(self, head: bytes, more: bytes, pause: float = 0.0) -> None:
        self._head = head
        self._more = more
        self._pause = pause
        self._answers: set[asyncio.Task[None]] = set()
        #: Whether its answers end from now on, so that nobody is busy with them.
        self.over = False
        #: How many requests came.
        self.requests = 0
        #: The bytes that were written of the longest answer.
        self.longest = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for each in self._answers:
            each.cancel()
        await asyncio.gather(*self._answers, return_exceptions=True)
        await self._server.wait_closed()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering = asyncio.create_task(self._answer(reader, writer))
        self._answers.add(answering)
        answering.add_done_callback(self._answers.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            writer.write(self._head)
            written = len(self._head)
            while not self.over:
                writer.write(self._more)
                await writer.drain()
                written += len(self._more)
                self.longest = max(self.longest, written)
                await asyncio.sleep(self._pause)
        except (asyncio.IncompleteReadError, ConnectionError):
            # It was hung up on, as it should be.
            pass
        finally:
            writer.close()


class Bot:
    """A Bot API that holds no polls: it answers each at once with the same updates. Open it with ``async with``."""

    #: What the gateway's bot calls itself there.
    token = "654321:answering"

    def __init__(self, updates: list[Mapping[str, Any]]) -> None:
        self._updates = updates
        #: How many polls came.
        self.polls = 0
        #: Whether polls are held from now on, so that nobody is busy with them.
        self.holds = False
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{token}/{method}", self._call)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _call(self, request: web.Request) -> web.Response:
        if request.match_info["method"] != "getUpdates":
            return web.json_response({"ok": True, "result": True})
        self.polls += 1
        if self.holds:
            await asyncio.sleep(_HELD)
        return web.json_response({"ok": True, "result": self._updates})
