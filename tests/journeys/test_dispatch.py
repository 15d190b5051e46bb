"""One ``serve`` and two ``dispatch`` nodes on one PostgreSQL: the work is shared, and outlives whoever did it."""

from __future__ import annotations

import asyncio
import base64
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

import asyncpg
import pytest

from gateway.sandbox.inbox import Inbox
from gateway.sandbox.shapes import code_of
from tests.conftest import aside, empty
from tests.journeys.node import PATIENCE, Caller, Node, by_email

#: Codes asked for, started per second by all nodes together, and sent by one at the same time.
SENDS, RATE, CONCURRENCY = 300, 60, 4
#: Seconds after which a killed node's messages are anybody's, and those they then take.
LEASE, REST = 20.0, 25.0

_SENT_BY = "SELECT node, count(*) FROM attempt WHERE outcome = 'sent' GROUP BY node"
_STATUSES = "SELECT status, count(*) FROM message GROUP BY status"


class Worker(Node):
    """One ``dispatch`` process."""

    async def start(self) -> None:
        """Start the process and wait until it works."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "dispatch"),
                env=self._environ,
                cwd=self._folder,
                stdout=log,
                stderr=asyncio.subprocess.PIPE,
            )
        assert self._process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            self.said = [(await self._process.stderr.readline()).decode().rstrip()]
        self._drain = asyncio.create_task(self._process.stderr.read())


@pytest.fixture
def shared(smtp, migrated_postgresql) -> dict[str, str]:
    """The settings of every node: slow enough that a stop and a kill find work in hand."""
    aside(empty(migrated_postgresql))
    return by_email(
        smtp.host,
        smtp.port,
        DATABASE__URL=migrated_postgresql,
        SECRETS__KEYS=f'["k1:{base64.b64encode(bytes(range(32))).decode()}"]',
        CHANNELS__EMAIL__RATE=str(RATE),
        CHANNELS__EMAIL__CONCURRENCY=str(CONCURRENCY),
    )


@pytest.fixture
async def workers(tmp_path, shared):
    made = [Worker(tmp_path, shared) for _ in range(2)]
    yield made
    for worker in made:
        await worker.end(signal.SIGKILL)


def sent(worker: Worker) -> int:
    """How many messages a worker says that it has sent."""
    return worker.log.read_text().count('"message.sent"')


async def until_sent(inbox: Inbox, workers: Sequence[Worker], number: int) -> None:
    """Wait until one of the workers has sent so many, looking whenever a letter comes."""
    came = asyncio.Event()
    inbox.on_letter = lambda _: came.set()
    async with asyncio.timeout(PATIENCE):
        while max(map(sent, workers)) < number:
            await came.wait()
            came.clear()


async def rows(url: str, sql: str) -> dict[str, int]:
    connection = await asyncpg.connect(url)
    try:
        return {str(name): int(number) for name, number in await connection.fetch(sql)}
    finally:
        await connection.close()


async def ask(caller: Caller, node: Node, addresses: Iterable[str]) -> dict[str, float]:
    """Ask for a code for everybody; return when each code dies."""
    gate = asyncio.Semaphore(32)

    async def one(address: str) -> tuple[str, float]:
        async with gate:
            status, body = await caller.post(node, "/v1/verifications", {"to": address})
            assert status == 201, body
            return address, datetime.fromisoformat(str(body["expires_at"])).timestamp()

    return dict(await asyncio.gather(*(one(address) for address in addresses)))


async def test_workers_share_what_a_node_leaves_and_what_a_killed_one_held(
    inbox, make_node, shared, workers, migrated_postgresql
):
    front = make_node(shared)
    await asyncio.gather(front.start(), *(worker.start() for worker in workers))
    assert [worker.said for worker in workers] == [["otp-gateway dispatches"]] * 2
    async with Caller((await front.run("keys", "create", "--service", "default")).strip()) as caller:
        expiry = await ask(caller, front, (f"person{number}@example.org" for number in range(SENDS)))
    # What it took in waits in its memory, for its rate is low; it gives that back and ends.
    assert await front.end() == 0
    assert len(inbox.letters) < SENDS / 2
    await until_sent(inbox, workers, 10)

    # The one that has more in hand, so that something is left behind.
    victim, other = sorted(workers, key=sent, reverse=True)
    assert await victim.end(signal.SIGKILL) == -signal.SIGKILL
    killed_at = time.monotonic()
    for address in expiry:
        await inbox.wait(address, timeout=LEASE + REST)
    print(f"all there {time.monotonic() - killed_at:.1f} s after the kill")

    stopping = time.monotonic()
    assert await other.end() == 0
    assert time.monotonic() - stopping < 15
    # What was under way at the kill has come, and may have been about to be sent once more when the other one stopped.
    statuses = await rows(migrated_postgresql, _STATUSES)
    assert sum(statuses.values()) == SENDS
    assert statuses["sent"] >= SENDS - CONCURRENCY
    # Both workers did; the node that took the codes in may have ended before its share of the rate was more than nothing.
    assert len(await rows(migrated_postgresql, _SENT_BY)) >= 2
    times = Counter(letter.to for letter in inbox.letters)
    assert set(times) == set(expiry)
    assert [letter.to for letter in inbox.letters if letter.received_at > expiry[letter.to]] == []
    # At most what was under way at the kill may have come twice, with the same code.
    doubled = [address for address, number in times.items() if number > 1]
    assert len(doubled) <= CONCURRENCY
    assert [address for address in doubled if len({code_of(letter) for letter in inbox.to(address)}) > 1] == []
