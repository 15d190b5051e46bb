"""Of any number of nodes one holds a lease, until it gives it back or lets it lapse."""

from __future__ import annotations

import asyncio

import pytest

from gateway.storage.leases import Leases


@pytest.fixture
def nodes(database) -> list[Leases]:
    return [Leases(database, f"node-{number}") for number in range(4)]


async def test_of_several_nodes_one_takes_the_lease(nodes):
    assert sum(await asyncio.gather(*(node.take("sweep", 100.0, 20.0) for node in nodes))) == 1


async def test_the_holder_prolongs_it(nodes):
    assert await nodes[0].take("sweep", 100.0, 20.0)
    assert await nodes[0].take("sweep", 110.0, 20.0)
    assert not await nodes[1].take("sweep", 129.9, 20.0)
    assert await nodes[1].take("sweep", 130.0, 20.0)
    assert not await nodes[0].take("sweep", 130.0, 20.0)


async def test_a_lease_given_back_is_free_at_once(nodes):
    await nodes[0].take("sweep", 100.0, 20.0)
    await nodes[0].give("sweep")
    assert await nodes[1].take("sweep", 100.0, 20.0)


async def test_nobody_gives_back_what_another_holds(nodes):
    await nodes[0].take("sweep", 100.0, 20.0)
    await nodes[1].give("sweep")
    assert not await nodes[1].take("sweep", 100.0, 20.0)


async def test_leases_have_names(nodes):
    assert await nodes[0].take("sweep", 100.0, 20.0)
    assert await nodes[1].take("listen", 100.0, 20.0)
