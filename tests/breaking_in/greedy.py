"""Who asks for more than they take: a stranger by unread answers, requests in advance and headers by the thousand, a caller by images
and by refusals that are kept."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from tests.breaking_in.beside import WAIT, watched
from tests.breaking_in.world import Stage, World, every, spoken, tally

#: Connections that read nothing, and seconds after which they are to be gone: the deadline twice, and some for a busy machine.
UNREAD, GONE = 200, 45.0
#: Connections that send in advance, for how many seconds, and the MiB that the gateway may take for them.
AHEAD, SENDING, MEMORY = 40, 4.0, 60
#: Bytes of requests that are written at once.
BURST = 512 * 1024
#: Headers of one request, 16 KiB of them.
HEADERS = 3_240

#: Images drawn at once, and batches of refusals under keys of their own with the MiB that they may take of the disk.
IMAGES, REFUSED, DISK = 20, 40, 4.0

_LARGE = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 150
_TINY = b"GET /x HTTP/1.1\r\nHost:\r\n\r\n"


async def greedy(stage: Stage) -> None:
    """Play the greedy stranger."""
    async with stage.world() as world:
        for attempt in (many_headers, drawn, kept, in_advance, unread):
            await attempt(world)


async def many_headers(world: World) -> None:
    """Have a request compared with itself: as many headers as fit, all of one name."""
    waits: dict[str, float] = {}
    for path in ("/callbacks/email", "/callbacks/sms", "/healthz", "/v1/verifications", "/metrics", "/docs"):
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n".encode()
        async with watched(world) as seen:
            for _ in range(3):
                await spoken(world.url, head + b"a:\r\n" * HEADERS + b"\r\n", within=10)
        waits[path] = max(seen)
    found = {path: f"{wait:.3f} s" for path, wait in waits.items()}
    world.verdict(f"{HEADERS} headers of one name hold nobody up", max(waits.values()) < WAIT, found)


async def drawn(world: World) -> None:
    """Have the largest QR codes drawn, many at once."""
    wanted = {"type": "totp", "reference": "customer-1", "account": "a" * 128, "issuer": 50 * "\u00e9"}
    async with watched(world) as seen:
        told = await every(world.ours("POST", "/v1/authenticators", wanted) for _ in range(IMAGES))
    found = f"{tally(told)}; /healthz waited {max(seen):.3f} s at most"
    world.verdict(f"{IMAGES} images at once hold nobody up", max(seen) < WAIT and {s for s, _ in told} == {201}, found)


async def kept(world: World) -> None:
    """Fill the disk with refusals that are kept for a day, each by 2 KB of nothing."""
    before = await size(world)
    for number in range(REFUSED):
        key = {"Idempotency-Key": f"refused-{number}"}
        await world.ours("POST", "/v1/verifications/batch", {"items": [0] * 1000}, **key)
    grown = (await size(world) - before) / 2**20
    world.verdict(f"{REFUSED} batches that are refused whole take little room", grown < DISK, f"{grown:.2f} MiB")


async def in_advance(world: World) -> None:
    """Have requests kept by the thousand that wait for an answer nobody reads."""
    before = resident(world)
    async with deaf(world, AHEAD) as sockets:
        sent = sum(await asyncio.gather(*(poured(each) for each in sockets)))
        grown = resident(world) - before
    world.verdict(
        f"what {AHEAD} connections send in advance is not kept",
        grown < MEMORY,
        f"{sent / 2**20:.1f} MiB sent; memory {before} MiB, {grown:+} for them",
    )


async def unread(world: World) -> None:
    """Hold connections open by answers that are not taken."""
    before = connections(world)
    async with deaf(world, UNREAD) as sockets:
        for each in sockets:
            with suppress(OSError):
                each.send(_LARGE)
        await asyncio.sleep(1.0)
        held, began = connections(world) - before, time.monotonic()
        await world.scene.until(lambda: connections(world) <= before, GONE)
        left = connections(world) - before
    world.verdict(
        f"{UNREAD} connections that read nothing are ended",
        held > 0 and left <= 0,
        f"{held} open after a second, {left} after {time.monotonic() - began:.0f} s",
    )


@asynccontextmanager
async def deaf(world: World, number: int) -> AsyncIterator[list[socket.socket]]:
    """Open connections to the first node that never read."""
    address, loop = urlsplit(world.url), asyncio.get_running_loop()
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            each.setblocking(False)
            await loop.sock_connect(each, (address.hostname, address.port))
        yield sockets
    finally:
        for each in sockets:
            each.close()


async def poured(each: socket.socket) -> int:
    """Write requests for as long as they are taken; return how many bytes were."""
    sent, until, data = 0, time.monotonic() + SENDING, _TINY * (BURST // len(_TINY))
    while time.monotonic() < until:
        try:
            sent += each.send(data)
        except BlockingIOError:
            await asyncio.sleep(0.05)
        except OSError:
            break
    return sent


async def size(world: World) -> int:
    """Return the bytes that the database takes."""
    store = world.scene.store
    if store.path is None:
        [(found,)] = await store.rows("SELECT pg_database_size(current_database())")
        return int(found)
    # Not of its files: the log has some MiB for as long as it is written, whatever is kept.
    [(pages,)], [(page,)] = await store.rows("PRAGMA page_count"), await store.rows("PRAGMA page_size")
    return int(pages) * int(page)


def resident(world: World) -> int:
    """Return the MiB of memory that the first node holds."""
    words = Path(f"/proc/{world.nodes[0].pid}/statm").read_text(encoding="ascii").split()
    return int(words[1]) * 4096 // 2**20


def connections(world: World) -> int:
    """Return how many files and sockets the first node has open."""
    return sum(1 for _ in Path(f"/proc/{world.nodes[0].pid}/fd").iterdir())
