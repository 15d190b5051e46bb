"""Killed between the commit and the answer, the gateway tells the same answer when it is asked again."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.journeys.node import Caller, Node, by_email

ITEMS = 400
COUNT = "SELECT count(*) FROM verification"
#: Seconds to wait for what comes within one.
PATIENCE = 20.0


class Severing:
    """A proxy that hands a request on whole, and ends the node as soon as the answer begins; nobody gets that."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.url = ""
        self.answered = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = urlsplit(self._node.url)
        back, forth = await asyncio.open_connection(there.hostname, there.port)
        sending = asyncio.create_task(self._pass_on(reader, forth))
        assert await back.read(1)
        await self._node.end(signal.SIGKILL)
        self.answered.set()
        sending.cancel()
        for end in (writer, forth):
            end.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65_536):
            writer.write(part)


@pytest.fixture
def database(tmp_path):
    return tmp_path / "gateway.db"


@pytest.fixture
def node(smtp, make_node, database):
    return make_node(by_email(smtp.host, smtp.port, DATABASE__URL=f"sqlite:///{database}"))


def rows(database, sql: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(database) as connection:
        return connection.execute(sql).fetchall()


async def test_what_was_committed_before_the_kill_is_told_again_and_created_once(node, database):
    await node.start()
    one, key = {"to": "ann@example.org"}, {"Idempotency-Key": "one"}
    many, keys = {"items": [{"to": f"p{number}@example.org"} for number in range(ITEMS)]}, {"Idempotency-Key": "many"}
    async with Caller((await node.run("keys", "create", "--service", "default")).strip()) as caller:
        batch = asyncio.create_task(caller.post(node, "/v1/verifications/batch", many, keys))
        async with asyncio.timeout(PATIENCE):
            while rows(database, COUNT) == [(0,)]:  # noqa: ASYNC110 - another process writes them
                await asyncio.sleep(0.002)
        # Between two chunks: the node is killed as it begins to answer this.
        async with Severing(node) as proxy:
            with pytest.raises(aiohttp.ClientError):
                await post_by(proxy, caller, "/v1/verifications", one, key)
            assert proxy.answered.is_set()
        with pytest.raises(aiohttp.ClientError):
            await batch
        before = {row[0] for row in rows(database, "SELECT id FROM verification")}
        await node.start()
        status, single = await caller.post(node, "/v1/verifications", one, key)
        assert (status, single["id"] in before) == (201, True)
        status, body = await caller.post(node, "/v1/verifications/batch", many, keys)
    items: Any = body["items"]
    told = {item["body"]["id"] for item in items}
    assert (status, len(told)) == (207, ITEMS)
    assert before < {single["id"], *told}
    assert rows(database, COUNT) == [(ITEMS + 1,)]


async def post_by(proxy: Severing, caller: Caller, path: str, body: object, headers: dict[str, str]) -> None:
    async with caller._session.post(proxy.url + path, json=body, headers=headers) as answer:
        await answer.read()
