from __future__ import annotations

import asyncio

from benchmarks.open_loop import run

ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"


class Server(asyncio.Protocol):
    """Answers every request, the first one with 503."""

    def __init__(self, asked: list[bytes]) -> None:
        self.asked = asked

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.asked.append(data)
        self.transport.write(ANSWER.replace(b"201 Created", b"503 Busy") if len(self.asked) == 1 else ANSWER)


async def test_each_rate_is_offered_to_its_end_and_each_person_once():
    asked: list[bytes] = []
    server = await asyncio.get_running_loop().create_server(lambda: Server(asked), "127.0.0.1", 0)
    async with server:
        done = await run(server.sockets[0].getsockname()[1], [1000, 2000], key="k", seconds=0.02)
    found = [(offered.rate, offered.created, offered.refused) for offered in done]
    assert found == [(1000, 19, {"503": 1}), (2000, 40, {})]
    assert len({request.partition(b"\r\n\r\n")[2] for request in asked}) == 60
    assert all(0 < offered.median <= offered.slowest for offered in done)


class Refusing(Server):
    """Answers every request with 503."""

    def data_received(self, data: bytes) -> None:
        self.asked.append(data)
        self.transport.write(ANSWER.replace(b"201 Created", b"503 Busy"))


async def test_where_everything_is_refused_there_is_no_latency():
    server = await asyncio.get_running_loop().create_server(lambda: Refusing([]), "127.0.0.1", 0)
    async with server:
        (offered,) = await run(server.sockets[0].getsockname()[1], [1000], key="k", seconds=0.005)
    assert (offered.created, offered.refused, offered.median) == (0, {"503": 5}, 0.0)
