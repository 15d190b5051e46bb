"""Two nodes on one PostgreSQL: every code is sent, and none twice."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter

from tests.conftest import aside, empty
from tests.journeys.node import Caller, by_email

SENDS = 500


async def test_of_500_sends_over_two_nodes_none_is_lost_and_none_doubled(smtp, inbox, make_node, migrated_postgresql):
    aside(empty(migrated_postgresql))
    shared = by_email(
        smtp.host,
        smtp.port,
        DATABASE__URL=migrated_postgresql,
        SECRETS__KEYS=f'["k1:{base64.b64encode(bytes(range(32))).decode()}"]',
    )
    nodes = [make_node(shared) for _ in range(2)]
    await asyncio.gather(*(node.start() for node in nodes))
    gate = asyncio.Semaphore(32)
    async with Caller((await nodes[0].run("keys", "create", "--service", "default")).strip()) as caller:

        async def send(number: int) -> int:
            async with gate:
                to = f"person{number}@example.org"
                status, _ = await caller.post(nodes[number % 2], "/v1/verifications", {"to": to})
                return status

        assert await asyncio.gather(*(send(number) for number in range(SENDS))) == [201] * SENDS
        for number in range(SENDS):
            await inbox.wait(f"person{number}@example.org", timeout=30)
    assert await asyncio.gather(*(node.end() for node in nodes)) == [0, 0]
    times = Counter(letter.to for letter in inbox.letters)
    assert len(times) == SENDS
    assert [address for address, number in times.items() if number > 1] == []
