"""What stands before several nodes where they have one public URL: it hands requests to one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Self

import aiohttp
from aiohttp import web

from tests.journeys.node import Node

#: Headers of one connection, which say nothing of the request.
_OWN = {"Host", "Content-Length", "Connection", "Transfer-Encoding"}


class Balancer:
    """Open it with ``async with``; ``url`` is then the public one. A node that does not answer is a 502."""

    def __init__(self) -> None:
        self.nodes: Sequence[Node] = ()
        self.url = ""
        self._turn = itertools.count()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _pass_on(self, request: web.Request) -> web.Response:
        started = [node for node in self.nodes if node.url]
        if not started:
            return web.Response(status=502)
        node = started[next(self._turn) % len(started)]
        headers = {name: value for name, value in request.headers.items() if name not in _OWN}
        try:
            async with self._session.request(
                request.method, node.url + request.path_qs, headers=headers, data=await request.read()
            ) as answer:
                return web.Response(status=answer.status, body=await answer.read())
        except (aiohttp.ClientError, OSError, TimeoutError):
            return web.Response(status=502)
