from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator

import pytest

from benchmarks import checks
from benchmarks.__main__ import NORMAL
from benchmarks.provider import request_length

IDS = [f"ver_{number:036x}" for number in range(3)]


class Gateway(asyncio.Protocol):
    """Starts verifications, and approves each that is checked."""

    def __init__(self, asked: list[tuple[str, object]]) -> None:
        self.asked = asked

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert request_length(data) == len(data)
        head, _, body = data.partition(b"\r\n\r\n")
        path = head.split(b" ")[1].decode()
        started = len([1 for asked, _ in self.asked if not asked.endswith("/check")])
        self.asked.append((path, json.loads(body)))
        answer = b"{}" if path.endswith("/check") else json.dumps({"id": IDS[started]}).encode()
        status = b"200 OK" if path.endswith("/check") else b"201 Created"
        self.transport.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(answer), answer))


@pytest.fixture
def asked() -> list[tuple[str, object]]:
    return []


@pytest.fixture
async def port(asked) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(lambda: Gateway(asked), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_each_verification_that_was_started_is_checked_once_with_its_code(port, asked):
    ids = await checks.start(port, "k", 3)
    done = await checks.check(port, "k", ids)
    codes = {body["code"]["value"] for path, body in asked if path == "/v1/verifications"}
    checked = sorted(path for path, body in asked if body == {"code": next(iter(codes))})
    assert (sorted(ids), done.created, len(codes)) == (IDS, 3, 1)
    assert checked == [f"/v1/verifications/{verification}/check" for verification in IDS]


def test_each_is_started_for_another_person():
    bodies = [json.loads(body) for _, body in itertools.islice(checks.starting(), 3)]
    assert [body["to"] for body in bodies] == [f"person-{number}@example.org" for number in range(3)]


def test_checks_stand_beside_the_bare_app():
    bare = {"rate": 10_000.0, "median": 0.002, "slowest": 0.004}
    ours = {"rate": 2000.0, "median": 0.01, "slowest": 0.03, "resident": 120.0, "peak": 130.0}
    rates, latencies = checks.sections({checks.YARDSTICK: [bare], checks.GATEWAY: [ours], checks.AGAIN: [bare]}, NORMAL)
    assert [None if row.ratio is None else row.ratio.median for row in rates.rows] == [None, 0.2, 1.0]
    assert (latencies.rows[-2].name, latencies.rows[-2].figure.median) == (f"{checks.GATEWAY}, p99", 30.0)
