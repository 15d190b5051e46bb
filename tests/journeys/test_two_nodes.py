"""Two nodes on one PostgreSQL: every code is sent, and none twice."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter

import pytest
from gateway.sandbox.inbox import Inbox
from gateway.sandbox.smtp import SmtpSandbox

from tests.conftest import aside, empty
from tests.journeys.node import Caller, Node, by_email

SENDS = 500


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
async def smtp(inbox):
    async with SmtpSandbox(inbox) as server:
        yield server


async def test_of_500_sends_over_two_nodes_none_is_lost_and_none_doubled(tmp_path, smtp, inbox, migrated_postgresql):
    aside(empty(migrated_postgresql))
    shared = by_email(
        smtp.host,
        smtp.port,
        DATABASE__URL=migrated_postgresql,
        SECRETS__KEYS=f'["k1:{base64.b64encode(bytes(range(32))).decode()}"]',
    )
    nodes = [Node(tmp_path, shared) for _ in range(2)]
    await asyncio.gather(*(node.start() for node in nodes))
    gate = asyncio.Semaphore(32)
    async with Caller((await nodes[0].run("keys", "create", "--service", "default")).strip()) as caller:

        async def send(number: int) -> int:
            async with gate:
                to = f"person{number}@example.org"
                status, _ = await caller.post(nodes[number % 2], "/v1/verifications", {"to": to})
                return status

        assert await asyncio.gather(*(send(number) for number in range(SENDS))) == [201] * SENDS
        async with asyncio.timeout(30):
            while len(inbox.letters) < SENDS:
                await asyncio.sleep(0.05)
    assert await asyncio.gather(*(node.end() for node in nodes)) == [0, 0]
    times = Counter(letter.to for letter in inbox.letters)
    assert len(times) == SENDS
    assert [address for address, number in times.items() if number > 1] == []
