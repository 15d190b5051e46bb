"""Kept connections: how many, which one next, and none that has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from channels.exchange import Connection
from channels.http_errors import ConnectError
from channels.http_pool import Pool
from channels.reaching import Origin, Road, target
from channels.wire import client_tls
from tests.channels.raw_server import Server, serving


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving(Server()) as server:
        yield server


def made(most: int = 2, keepalive: float = 60.0) -> Pool:
    return Pool(Road(client_tls()), most, 1000, keepalive=keepalive)


def origin(server: Server) -> Origin:
    return target(server.url).origin


async def test_the_connection_that_was_used_last_is_next(server: Server) -> None:
    pool, there = made(), origin(server)
    first, second = [await pool.made(there, 5.0) for _ in range(2)]
    pool.back(there, first)
    pool.back(there, second)
    assert [pool.kept(there), pool.kept(there), pool.kept(there)] == [second, first, None]
    await pool.close()


async def test_no_more_are_in_use_than_there_may_be_and_who_came_first_is_next(server: Server) -> None:
    pool, there = made(most=1), origin(server)
    held = await pool.made(there, 5.0)
    waiting = [asyncio.create_task(pool.made(there, 5.0)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    pool.back(there, held)
    assert await waiting[1] is held
    assert not waiting[2].done()
    pool.back(there, held)
    assert await waiting[2] is held
    pool.back(there, held)
    assert pool.kept(there) is held
    await pool.close()


async def test_a_place_that_came_while_its_waiter_gave_up_is_the_next_ones(server: Server) -> None:
    pool, there = made(most=1), origin(server)
    held = await pool.made(there, 5.0)
    waiting = asyncio.create_task(pool.made(there, 5.0))
    await asyncio.sleep(0)
    pool.back(there, held)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert pool.kept(there) is held
    await pool.close()


async def test_a_connection_that_ended_is_not_used_again(server: Server) -> None:
    pool, there = made(), origin(server)
    first, second = [await pool.made(there, 5.0) for _ in range(2)]
    pool.back(there, first)
    pool.back(there, second)
    second.discard()
    assert pool.kept(there) is first
    first.discard()
    pool.back(there, first)
    assert pool.kept(there) is None
    await pool.close()


async def test_a_failure_to_connect_gives_its_place_back(server: Server) -> None:
    pool = made(most=1)
    for _ in range(2):
        with pytest.raises(ConnectError) as caught:
            await pool.made(Origin("127.0.0.1", 1, tls=False), 5.0)
        assert not caught.value.timed_out
    pool.back(origin(server), await pool.made(origin(server), 5.0))
    await pool.close()


async def test_time_that_is_up_is_told_apart_from_a_timeout_of_the_systems(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, there = made(most=1), origin(server)
    held = await pool.made(there, 5.0)
    with pytest.raises(ConnectError) as caught:
        await pool.made(there, 0.01)
    assert caught.value.timed_out

    async def sock_connect(*_: object) -> None:
        raise TimeoutError

    pool.back(there, held)
    held.discard()
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", sock_connect)
    with pytest.raises(ConnectError) as caught:
        await pool.made(there, 5.0)
    assert not caught.value.timed_out
    await pool.close()


async def test_no_more_are_idle_than_may_be_in_use(server: Server) -> None:
    async with serving(Server()) as other:
        pool = made(most=1)
        for there in (origin(server), origin(other)):
            pool.back(there, await pool.made(there, 5.0))
        assert pool.kept(origin(other)) is None
        assert isinstance(pool.kept(origin(server)), Connection)
        await pool.close()


async def test_idle_connections_are_closed_after_their_time_and_newer_ones_after_theirs(server: Server) -> None:
    pool, there = made(keepalive=60.0), origin(server)
    first, second = [await pool.made(there, 5.0) for _ in range(2)]
    pool.back(there, first)
    pool.back(there, second)
    first.idle_since -= 60.0
    pool._sweep()
    assert [first.kept, second.kept] == [False, True]
    second.idle_since -= 60.0
    pool._sweep()
    assert (second.kept, pool.kept(there)) == (False, None)
    await pool.close()


async def test_a_closed_pool_keeps_and_gives_nothing(server: Server) -> None:
    pool, there = made(), origin(server)
    idle, used = [await pool.made(there, 5.0) for _ in range(2)]
    pool.back(there, idle)
    connecting = asyncio.create_task(pool.made(there, 5.0))
    await pool.close()
    late = await connecting
    pool.back(there, late)
    pool.back(there, used)
    assert [one.kept for one in (idle, used, late)] == [False] * 3
    assert pool.kept(there) is None
