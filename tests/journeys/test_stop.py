"""Told to stop while it works, a gateway ends cleanly and in time, and nothing is lost or sent twice."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter

import aiohttp

from tests.journeys.node import Caller, by_email


async def test_a_stop_under_load_loses_nothing_and_sends_nothing_twice(tmp_path, smtp, inbox, make_node):
    node = make_node(by_email(smtp.host, smtp.port, DATABASE__URL=f"sqlite:///{tmp_path}/gateway.db"))
    await node.start()
    acknowledged: list[str] = []
    async with Caller((await node.run("keys", "create", "--service", "default")).strip()) as caller:

        async def send(number: int) -> None:
            address = f"person{number}@example.org"
            try:
                status, _ = await caller.post(node, "/v1/verifications", {"to": address})
            except (aiohttp.ClientError, OSError):
                return
            if status == 201:
                acknowledged.append(address)

        sends = [asyncio.create_task(send(number)) for number in range(150)]
        await inbox.wait("person5@example.org", timeout=10)
        begun = time.monotonic()
        assert await node.end(signal.SIGTERM) == 0
        assert time.monotonic() - begun < 15
        await asyncio.gather(*sends)
    await node.start()
    for address in acknowledged:
        await inbox.wait(address, timeout=25)
    assert await node.end() == 0
    assert Counter(letter.to for letter in inbox.letters) == Counter(acknowledged)
