"""The yardstick of SMS and chat messages: aiohttp alone sends a request made beforehand over connections it keeps open.

The program ``python -m benchmarks.bare_http PORT FILE --count N [--connections C]`` sends the request in ``FILE``, as one
came to ``benchmarks.provider``, N times, reads each answer and its JSON, and prints one line of JSON: when it began
(monotonic seconds) and the CPU seconds it used from then on.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import aiohttp

from benchmarks.bare_loop import cpu, main

#: Headers that aiohttp writes itself.
_OWN = frozenset({"host", "content-length", "connection"})


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is to be repeated."""

    path: str
    headers: Mapping[str, str]
    body: bytes


def parsed(content: bytes) -> Request:
    """Read a whole request with a body. Raises ``ValueError``."""
    head, _, body = content.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    _, path, _ = first.split(" ")
    pairs = [line.partition(":") for line in lines]
    return Request(path, {name: value.strip() for name, _, value in pairs if name.lower() not in _OWN}, body)


async def run(port: int, request: Request, *, count: int, connections: int) -> tuple[float, float]:
    """Send the request that often; return when it began and the CPU seconds used. Raises aiohttp's errors."""
    url = f"http://127.0.0.1:{port}{request.path}"
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector, skip_auto_headers=("User-Agent",)) as session:
        numbers = iter(range(count))
        began_at, used = time.monotonic(), cpu()
        await asyncio.gather(*(_send(session, url, request, numbers) for _ in range(connections)))
        return began_at, cpu() - used


async def _send(session: aiohttp.ClientSession, url: str, request: Request, numbers: Iterator[int]) -> None:
    for _ in numbers:
        async with session.post(url, data=request.body, headers=request.headers) as response:
            response.raise_for_status()
            json.loads(await response.read())


if __name__ == "__main__":
    main(lambda port, content, count, connections: run(port, parsed(content), count=count, connections=connections))
