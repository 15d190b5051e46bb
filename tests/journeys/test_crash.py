"""Killed without a word in the middle of its work, the gateway loses nothing and sends nothing late."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from datetime import datetime

import aiohttp
import pytest

from gateway.sandbox.shapes import code_of
from tests.journeys.node import Caller, Node, by_email

SENDS, RATE = 200, 50.0


@pytest.fixture
def node(tmp_path, smtp, make_node):
    # Slower than the requests come, so that the kill finds a queue in memory.
    slow = {"CHANNELS__EMAIL__RATE": "30", "DATABASE__URL": f"sqlite:///{tmp_path}/gateway.db"}
    return make_node(by_email(smtp.host, smtp.port, **slow))


async def test_kill_9_during_200_sends_loses_none_and_sends_none_late(node, inbox):
    await node.start()
    expiry: dict[str, float] = {}
    async with Caller((await node.run("keys", "create", "--service", "default")).strip()) as caller:
        killing = asyncio.create_task(kill_and_restart(node, after=SENDS / RATE / 2))
        started = time.monotonic()
        await asyncio.gather(*(send(caller, node, number, started, expiry) for number in range(SENDS)))
        restarted = await killing
        for address in expiry:
            await inbox.wait(address, timeout=26)
        recovered = time.monotonic() - restarted
    times = Counter(letter.to for letter in inbox.letters)
    assert set(times) == set(expiry)
    assert [letter.to for letter in inbox.letters if letter.received_at > expiry[letter.to]] == []
    # At most what was under way at the kill may have come twice, with the same code.
    doubled = [address for address, number in times.items() if number > 1]
    assert len(doubled) <= 10
    assert [address for address in doubled if len({code_of(letter) for letter in inbox.to(address)}) > 1] == []
    assert recovered <= 25
    print(f"lost 0, late 0, doubled {len(doubled)}, all there {recovered:.1f} s after the restart")


async def send(caller: Caller, node: Node, number: int, started: float, expiry: dict[str, float]) -> None:
    """Ask for a code as a careful application does: again until it is acknowledged, with one Idempotency-Key."""
    await asyncio.sleep(max(0.0, started + number / RATE - time.monotonic()))
    address = f"person{number}@example.org"
    while address not in expiry:
        try:
            status, body = await caller.post(
                node, "/v1/verifications", {"to": address, "ttl": 60}, {"Idempotency-Key": f"send-{number}"}
            )
        except (aiohttp.ClientError, OSError):
            await asyncio.sleep(0.2)
            continue
        assert status == 201, body
        expiry[address] = datetime.fromisoformat(str(body["expires_at"])).timestamp()


async def kill_and_restart(node: Node, after: float) -> float:
    await asyncio.sleep(after)
    assert await node.end(signal.SIGKILL) == -signal.SIGKILL
    await node.start()
    return time.monotonic()
