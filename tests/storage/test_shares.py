"""Of a channel's rate every node has a part, and all together never more than it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.storage.database import Database
from gateway.storage.shares import LEASE, RENEWAL, Shares
from gateway.storage.sqlite import SqliteEngine


@pytest.fixture
def nodes(database) -> list[Shares]:
    return [Shares(database, f"node-{number}") for number in range(4)]


async def total(database: Database, now: float) -> float:
    [record] = await database.fetch(
        "SELECT COALESCE(sum(amount), 0.0) AS rate FROM share WHERE node <> '' AND until > :now", now=now
    )
    return float(record["rate"])


async def test_a_node_alone_has_the_whole_rate(nodes):
    assert await nodes[0].take("chat", 30.0, 100.0) == 30.0
    assert await nodes[0].take("chat", 30.0, 102.0) == 30.0


async def test_who_comes_gets_what_is_free_and_after_one_renewal_an_equal_part(nodes):
    assert await nodes[0].take("chat", 30.0, 100.0) == 30.0
    assert await nodes[1].take("chat", 30.0, 101.0) == 0.0
    assert await nodes[0].take("chat", 30.0, 102.0) == 15.0
    assert await nodes[1].take("chat", 30.0, 103.0) == 15.0


async def test_nodes_that_come_at_once_never_have_more_than_the_rate(nodes, database):
    first = await asyncio.gather(*(node.take("chat", 30.0, 100.0) for node in nodes))
    assert sum(first) <= 30.0
    for now in (102.0, 104.0):
        parts = [await node.take("chat", 30.0, now) for node in nodes]
        assert await total(database, now) <= 30.0
    assert parts == [7.5] * 4


async def test_two_databases_reckon_one_after_the_other(make_engine):
    async with Database(make_engine()) as one, Database(make_engine()) as two:
        sides = [Shares(one, "a"), Shares(two, "b"), Shares(one, "c"), Shares(two, "d")]
        for now in range(100, 110, 2):
            await asyncio.gather(*(side.take("chat", 12.0, float(now)) for side in sides))
            assert await total(one, float(now)) <= 12.0
        assert [await side.take("chat", 12.0, 110.0) for side in sides] == [3.0] * 4


async def test_a_share_lapses_and_is_free_then(nodes):
    await nodes[0].take("chat", 30.0, 100.0)
    assert await nodes[1].take("chat", 30.0, 100.0 + LEASE - 0.1) == 0.0
    assert await nodes[1].take("chat", 30.0, 100.0 + LEASE) == 30.0


async def test_a_share_given_back_is_free_at_once(nodes):
    await nodes[0].take("chat", 30.0, 100.0)
    await nodes[0].give("chat")
    assert await nodes[1].take("chat", 30.0, 100.0) == 30.0


async def test_channels_have_rates_of_their_own(nodes):
    assert await nodes[0].take("chat", 30.0, 100.0) == 30.0
    assert await nodes[1].take("text", 10.0, 100.0) == 10.0


async def test_a_rate_that_was_lowered_leaves_no_node_a_part_below_nothing(nodes):
    await nodes[0].take("chat", 30.0, 100.0)
    assert await nodes[1].take("chat", 10.0, 100.0) == 0.0


async def test_while_nodes_are_configured_differently_the_lowest_rate_holds_and_each_has_its_part(nodes, database):
    for now in (100.0, 102.0, 104.0):
        parts = [await node.take("chat", rate, now) for node, rate in zip(nodes, (30.0, 10.0, 30.0, 30.0), strict=True)]
        assert now == 100.0 or await total(database, now) <= 10.0
    assert parts == [2.5] * 4


async def test_a_lower_rate_is_forgotten_once_its_node_is_gone(nodes):
    await nodes[0].take("chat", 10.0, 100.0)
    await nodes[0].give("chat")
    assert await nodes[1].take("chat", 30.0, 101.0) == 10.0
    assert await nodes[1].take("chat", 30.0, 100.0 + LEASE) == 30.0


def test_a_share_outlives_two_renewals_that_fail():
    assert RENEWAL * 3 <= LEASE


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["take", "take", "give"]), st.floats(0.0, 4.0))))
@settings(max_examples=25)
def test_whoever_comes_and_goes_the_parts_never_add_up_to_more(migrated_sqlite, steps):
    async def come_and_go(path: Path) -> None:
        now = 100.0
        async with Database(SqliteEngine(path)) as database:
            for number, what, later in steps:
                now += later
                node = Shares(database, f"node-{number}")
                await (node.take("chat", 30.0, now) if what == "take" else node.give("chat"))
                assert await total(database, now) <= 30.0 + 1e-9

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(come_and_go(Path(shutil.copy(migrated_sqlite, folder))))
