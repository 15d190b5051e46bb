"""The yardstick of SMS and chat messages: aiohttp alone sends a request made beforehand over connections it keeps open.

The program ``python -m benchmarks.bare_http PORT FILE --count N [--connections C]`` sends the request in ``FILE``, as one
came to ``benchmarks.provider``, N times, reads each answer and its JSON, and prints one line of JSON: when it began
(monotonic seconds) and the CPU seconds it used from then on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import uvloop

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
        began_at, used = time.monotonic(), _cpu()
        await asyncio.gather(*(_send(session, url, request, numbers) for _ in range(connections)))
        return began_at, _cpu() - used


async def _send(session: aiohttp.ClientSession, url: str, request: Request, numbers: Iterator[int]) -> None:
    for _ in numbers:
        async with session.post(url, data=request.body, headers=request.headers) as response:
            response.raise_for_status()
            json.loads(await response.read())


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--connections", type=int, default=16)
    asked = parser.parse_args()
    request = parsed(asked.file.read_bytes())
    began_at, cpu = uvloop.run(run(asked.port, request, count=asked.count, connections=asked.connections))
    print(json.dumps({"began_at": began_at, "cpu": cpu}), flush=True)


if __name__ == "__main__":
    _main()
