"""What others wait for while something goes on: a node's health, and the codes of a service that has no part in it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from tests.breaking_in.world import Calls, World

#: Seconds that a node's health and a create may take on a busy machine.
WAIT, SLOWEST = 0.25, 1.0
#: Seconds between two such requests, of health and of creates.
_HEALTH, _CREATES = 0.005, 0.05


@dataclass
class Beside:
    """The seconds that each answer took: of all nodes' health, and of creates, with how often those got which status."""

    health: list[float] = field(default_factory=list)
    creates: list[float] = field(default_factory=list)
    #: 0 stands for no answer.
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def served(self) -> bool:
        """Whether every create was taken on, and soon."""
        return set(self.statuses) == {201} and max(self.creates) < SLOWEST

    @property
    def quick(self) -> bool:
        """Whether all were answered at once, creates rightly."""
        return self.served and max(self.health) < WAIT

    def __str__(self) -> str:
        """Return the figures."""
        creates = f"{dict(self.statuses)} creates beside took {max(self.creates, default=0):.3f} s at most"
        return f"{creates}, /healthz {max(self.health, default=0):.3f} s"


@asynccontextmanager
async def watched(world: World, node: int = 0) -> AsyncIterator[list[float]]:
    """Ask a node for its health again and again; yield the seconds that each answer took."""
    seconds: list[float] = []

    async def ask() -> None:
        began = time.monotonic()
        async with world.session.get(f"{world.nodes[node].url}/healthz") as answer:
            await answer.read()
        seconds.append(time.monotonic() - began)

    async with again_and_again(ask, _HEALTH):
        yield seconds


@asynccontextmanager
async def beside(world: World, call: Calls) -> AsyncIterator[Beside]:
    """Ask all nodes for their health, and create by ``call``, again and again; yield what that took."""
    found, whose = Beside(), world.guess()

    async def create() -> None:
        began = time.monotonic()
        try:
            to = f"beside{whose}x{len(found.creates)}@example.org"
            status, _ = await call("POST", "/v1/verifications", {"to": to, "channels": ["email"]})
        except (aiohttp.ClientError, TimeoutError):
            status = 0
        found.creates.append(time.monotonic() - began)
        found.statuses[status] += 1

    async with AsyncExitStack() as stack:
        health = [await stack.enter_async_context(watched(world, node)) for node in range(len(world.nodes))]
        await stack.enter_async_context(again_and_again(create, _CREATES))
        yield found
        await stack.aclose()
        found.health = [each for seconds in health for each in seconds]


@asynccontextmanager
async def again_and_again(act: Callable[[], Awaitable[None]], pause: float) -> AsyncIterator[None]:
    """Do something with ``pause`` seconds between. What is under way at the end is waited for: it may be what was held up."""
    over = asyncio.Event()

    async def doing() -> None:
        while not over.is_set():
            await act()
            await asyncio.sleep(pause)

    task = asyncio.create_task(doing())
    await asyncio.sleep(0.1)
    try:
        yield
        await asyncio.sleep(0.1)
    finally:
        over.set()
        await task
