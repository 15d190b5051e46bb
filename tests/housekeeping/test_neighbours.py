"""A second node on one node's file is told of once; what a killed one left is not."""

from __future__ import annotations

import pytest

from gateway.housekeeping.house import NAME
from gateway.housekeeping.neighbours import Neighbours
from gateway.storage.leases import Leases
from gateway.storage.rings import Rings


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def neighbours(database, told) -> Neighbours:
    return Neighbours(database, "node-a", told.append)


async def renew(database, clock, node: str, seconds: float = 5.0) -> None:
    """Let a node take or renew the keeping of the house, later."""
    clock.advance(seconds)
    assert await Leases(database, node).take(NAME, clock.now(), 20.0)


async def test_what_a_killed_node_left_is_nobody(neighbours, database, clock, told):
    await renew(database, clock, "node-b")
    await Rings(database).tell("node-b", ["k1"], clock.now())
    for _ in range(3):
        await neighbours.look()
    await renew(database, clock, "node-a", 21.0)
    await Rings(database).tell("node-a", ["k1"], clock.now())
    await neighbours.look()
    assert told == []


async def test_a_node_that_renews_its_keeping_of_the_house_is_told_of_once(neighbours, database, clock, told, caplog):
    await renew(database, clock, "node-b")
    await neighbours.look()
    for _ in range(2):
        await renew(database, clock, "node-b")
        await Rings(database).tell("node-b", ["k1"], clock.now())
        await neighbours.look()
    [sentence] = told
    assert sentence.startswith("another node works on the same SQLite file, which is made for one")
    assert [(item.levelname, item.getMessage()) for item in caplog.records] == [("WARNING", sentence)]


async def test_a_node_that_comes_later_is_told_of_and_each_of_several(neighbours, database, clock, told):
    await neighbours.look()
    for node in ("node-b", "node-c"):
        await Rings(database).tell(node, ["k1"], clock.now())
        await neighbours.look()
    assert len(told) == 2


async def test_a_command_that_writes_is_no_node(neighbours, database, clock, told):
    await neighbours.look()
    await Rings(database).tell("send/node-b", ["k1"], clock.now())
    await neighbours.look()
    assert told == []
