from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load import KINDS as LOADED
from benchmarks.load import Window, address_of, answer_status, put_on, recipients, run, starts
from channels.kinds import KINDS

ANSWER = b'HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 7\r\nDate: x\r\n\r\n{"a":1}'


@given(st.integers(0, len(ANSWER) - 1))
def test_an_answer_is_incomplete_up_to_its_last_byte(length):
    assert answer_status(ANSWER[:length]) is None


def test_a_complete_answer_gives_its_status():
    assert answer_status(ANSWER) == b"201"


def test_the_length_may_be_spelled_in_any_case():
    assert answer_status(b"HTTP/1.1 503 X\r\ncontent-LENGTH:0\r\n\r\n") == b"503"


def test_an_answer_of_unknown_length_is_refused():
    with pytest.raises(ValueError, match="without Content-Length"):
        answer_status(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")


@pytest.mark.parametrize("kind", LOADED)
def test_every_recipient_is_another_person_with_a_valid_address(kind):
    taken = list(itertools.islice(recipients(kind), 500))
    assert len({KINDS[kind](address).canonical for address in taken}) == 500


@pytest.mark.parametrize("kind", LOADED)
def test_a_request_names_its_person_and_a_load_can_begin_with_any(kind):
    asked = [address_of(body) for _, body in itertools.islice(starts(kind, 7), 3)]
    assert asked == list(itertools.islice(recipients(kind), 7, 10))


def test_an_address_of_a_kind_of_its_own_is_told_with_its_kind():
    assert next(starts("telegram")) == (b"/v1/verifications", b'{"to":{"telegram":"person-0"}}')


def test_another_status_may_be_the_expected_one():
    window = Window(opens_at=0.0, closes_at=20.0, count=None, expected=b"200")
    assert [window.answered(status, 1.0, 2.0) for status in (b"200", b"201")] == [True, False]


def test_only_answers_within_the_window_count():
    window = Window(opens_at=10.0, closes_at=20.0, count=None)
    for began_at, now in ((8.0, 9.0), (9.0, 10.5), (19.0, 20.0), (19.0, 20.5)):
        window.answered(b"201", began_at, now)
    assert window.latencies == [1.5, 1.0]


def test_nothing_begins_once_the_window_is_closed():
    window = Window(opens_at=0.0, closes_at=20.0, count=None)
    assert [window.admits(19.9), window.admits(20.0)] == [True, False]


def test_as_many_begin_as_were_asked_for():
    window = Window(opens_at=0.0, closes_at=20.0, count=2)
    assert [window.admits(1.0) for _ in range(4)] == [True, True, False, False]


def test_a_refused_request_is_counted_apart_and_made_up_for():
    window = Window(opens_at=0.0, closes_at=20.0, count=1)
    window.admits(1.0)
    window.answered(b"503", 1.0, 2.0)
    assert (dict(window.refused), window.latencies, window.admits(3.0)) == ({"503": 1}, [], True)


class Server(asyncio.Protocol):
    """Answers every request, the first one with 503."""

    asked: list[bytes]

    def __init__(self, asked: list[bytes]) -> None:
        self.asked = asked

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.asked.append(data)
        first = len(self.asked) == 1
        # In two pieces, as a network may bring it.
        answer = ANSWER.replace(b"201 Created", b"503 Unavailable") if first else ANSWER
        self.transport.write(answer[:40])
        self.transport.write(answer[40:])


async def test_a_load_asks_until_as_many_were_created():
    asked: list[bytes] = []
    server = await asyncio.get_running_loop().create_server(lambda: Server(asked), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        done = await run(port, to="email", key="k", seconds=10.0, warm_up=0.0, count=100)
    bodies = {request.partition(b"\r\n\r\n")[2] for request in asked}
    assert (done.created, done.refused, len(asked), len(bodies)) == (100, {"503": 1}, 101, 101)
    assert b'{"to":"person-7@example.org"}' in bodies


async def test_who_wants_to_is_given_each_answer_with_its_request():
    kept: list[tuple[bytes, bytes]] = []
    server = await asyncio.get_running_loop().create_server(lambda: Server([b"one before"]), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]

        def keep(body: bytes, answer: bytes, _began_at: float) -> None:
            kept.append((body, answer))

        await run(port, to="email", key="k", seconds=10.0, warm_up=0.0, count=1, first=4, keep=keep)
    assert kept == [(b'{"to":"person-4@example.org"}', ANSWER)]


async def test_as_many_connections_are_opened_as_are_asked_for():
    opened: list[Server] = []

    def answering() -> Server:
        opened.append(Server([b"one before"]))
        return opened[-1]

    server = await asyncio.get_running_loop().create_server(answering, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        done = await run(port, to="email", key="k", seconds=10.0, warm_up=0.0, count=12, connections=3)
    assert (len(opened), done.created) == (3, 12)


async def test_a_load_ends_with_its_requests():
    asked = [b"one before"]
    server = await asyncio.get_running_loop().create_server(lambda: Server(asked), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        window = Window(opens_at=0.0, closes_at=float("inf"), count=None)
        # Its patience is for ever, so what ends it is that there is nothing left to ask.
        done = await put_on(port, window, iter([(b"/a", b"1"), (b"/b", b"2")]), key="k")
    lines = [request.partition(b" HTTP")[0] for request in asked[1:]]
    assert (done.created, lines) == (2, [b"POST /a", b"POST /b"])


class Closing(asyncio.Protocol):
    def connection_made(self, transport):
        transport.close()


async def test_a_server_that_hangs_up_ends_the_load():
    server = await asyncio.get_running_loop().create_server(Closing, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionError):
            await run(port, to="email", key="", seconds=10.0, warm_up=0.0, count=None)
