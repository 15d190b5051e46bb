from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.bare_http import parsed, run
from benchmarks.provider import Provider, request_length
from benchmarks.sink import Arrivals
from channels.base import Receipt, load
from tests.channels.contract import an_envelope

REQUEST = b"POST /bot1:AA/sendMessage HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 7\r\nX-One: a: b\r\n\r\nchat=12"
SMS = {
    "adapter": "sms",
    "account_sid": f"AC{1:032x}",
    "auth_token": "t",
    "from": "+15005550006",
    "status_callbacks": False,
}
CHAT = {"adapter": "telegram", "token": "1:AA", "updates": "off"}


@given(st.integers(0, len(REQUEST) - 1))
def test_a_request_is_incomplete_up_to_its_last_byte(length):
    assert request_length(REQUEST[:length]) is None


@given(st.binary(max_size=9))
def test_what_follows_a_request_is_not_a_part_of_it(rest):
    assert request_length(REQUEST + rest) == len(REQUEST)


def test_a_request_without_a_length_ends_with_its_head():
    assert request_length(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET") == 27


class Wire:
    """What a connection writes."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)


def test_requests_that_come_together_are_answered_one_by_one():
    wire, arrivals = Wire(), Arrivals()
    connection = Provider(arrivals)
    connection.connection_made(wire)  # type: ignore[arg-type]
    connection.data_received(REQUEST * 2 + REQUEST.replace(b"/bot1:AA", b"/2010-04-01")[:40])
    connection.data_received(REQUEST.replace(b"/bot1:AA", b"/2010-04-01")[40:])
    assert [answer[:12] for answer in wire.written] == [b"HTTP/1.1 200", b"HTTP/1.1 200", b"HTTP/1.1 201"]
    assert (arrivals.count, arrivals.latest[:24]) == (3, b"POST /2010-04-01/sendMes")


@pytest.fixture
async def arrivals() -> Arrivals:
    return Arrivals()


@pytest.fixture
async def port(arrivals: Arrivals) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(lambda: Provider(arrivals), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("name", "settings", "address", "receipt"),
    [
        ("sms", SMS, "+4915112345678", Receipt("SM00000000000000000000000000000000", provider_code="queued")),
        ("telegram", CHAT, "1", Receipt("4711", delivered=True)),
    ],
)
async def test_it_answers_as_the_adapters_expect_of_the_provider(
    port, name, settings: Mapping[str, object], address, receipt
):
    adapter = load(name)
    chosen = adapter.Settings.model_validate({**settings, "base_url": f"http://127.0.0.1:{port}"})
    async with adapter(name, chosen) as channel:
        parts = {"body.txt": "123456", "body.html": "123456", "copy.txt": "Copy"}
        assert await channel.deliver(an_envelope(address, parts)) == receipt


async def test_the_yardstick_repeats_the_very_request(port, arrivals):
    began_at, cpu = await run(port, parsed(REQUEST), count=5, connections=2)
    again = parsed(arrivals.latest)
    assert (arrivals.count, again.path, again.body, again.headers["X-One"]) == (
        5,
        "/bot1:AA/sendMessage",
        b"chat=12",
        "a: b",
    )
    assert began_at <= arrivals.latest_at
    assert cpu >= 0
