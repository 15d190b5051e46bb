"""Two nodes and one bot: whichever dies, everybody who writes is answered, and nobody's update counts twice."""

from __future__ import annotations

import asyncio
import base64
import signal
import time
from collections import Counter

import asyncpg
import pytest

from gateway.sandbox.inbox import Inbox
from gateway.sandbox.telegram import TelegramSandbox
from tests.conftest import aside, empty
from tests.journeys.balancer import Balancer
from tests.journeys.node import PATIENCE, Node, by_bot, by_email

WRITERS, RATE = 60, 40.0
#: Seconds after the death of a node within which everybody has an answer.
TAKEN_OVER = 30.0


@pytest.fixture
def shared(smtp, telegram, migrated_postgresql) -> dict[str, str]:
    """What both nodes are set to: one database, one bot."""
    aside(empty(migrated_postgresql))
    return by_email(
        smtp.host,
        smtp.port,
        DATABASE__URL=migrated_postgresql,
        SECRETS__KEYS=f'["k1:{base64.b64encode(bytes(range(32))).decode()}"]',
        **by_bot(telegram),
    )


async def test_everybody_is_answered_though_the_polling_node_is_killed(
    shared, telegram, inbox, make_node, migrated_postgresql
):
    polling, other = make_node(shared), make_node(shared)
    await polling.start()
    await seen(telegram, "getUpdates")
    await other.start()
    killed = await written_while_killed(telegram, polling)
    await all_answered(inbox, killed)
    assert telegram.conflicts <= 1
    assert await heard(migrated_postgresql) == WRITERS
    assert await other.end() == 0


async def test_two_nodes_by_webhook_share_what_people_write(shared, telegram, inbox, make_node, migrated_postgresql):
    async with Balancer() as balancer:
        environ = shared | {"CHANNELS__TELEGRAM__UPDATES": "webhook", "SERVER__PUBLIC_URL": balancer.url}
        nodes = [make_node(environ) for _ in range(2)]
        balancer.nodes = nodes
        await asyncio.gather(*(node.start() for node in nodes))
        await seen(telegram, "setWebhook")
        killed = await written_while_killed(telegram, nodes[0])
        balancer.nodes = nodes[1:]
        await all_answered(inbox, killed)
        assert telegram.requests["getUpdates"] == 0
        assert await heard(migrated_postgresql) == WRITERS
        assert await nodes[1].end() == 0


async def seen(telegram: TelegramSandbox, method: str) -> None:
    """Wait until the bot has called ``method``."""
    async with asyncio.timeout(PATIENCE):
        while not telegram.requests[method]:  # noqa: ASYNC110 - the server has no event to wait for
            await asyncio.sleep(0.05)


async def written_while_killed(telegram: TelegramSandbox, node: Node) -> float:
    """Have everybody write, and ``node`` die when half of them have; return when it died."""
    killed = 0.0
    for number in range(WRITERS):
        if number == WRITERS // 2:
            assert await node.end(signal.SIGKILL) == -signal.SIGKILL
            killed = time.monotonic()
        telegram.person(1000 + number, f"Person {number}").write("/help")
        await asyncio.sleep(1 / RATE)
    return killed


async def all_answered(inbox: Inbox, killed: float) -> None:
    """Wait for an answer to everybody, and see that at most what was being sent at the kill came twice."""
    for number in range(WRITERS):
        await inbox.wait(str(1000 + number), timeout=max(killed + TAKEN_OVER - time.monotonic(), 0))
    answered = Counter(letter.to for letter in inbox.letters)
    assert len(answered) == WRITERS
    assert sum(number - 1 for number in answered.values()) <= 1
    print(f"all answered {time.monotonic() - killed:.1f} s after the kill")


async def heard(url: str) -> int:
    """Return how many updates took effect."""
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM heard"))
    finally:
        await connection.close()
