"""Two sends to one recipient are a gap apart, whichever node makes them."""

from __future__ import annotations

import asyncio

import pytest

from gateway.storage.database import Database
from gateway.storage.turns import BATCH, KEPT, Turns

ANNE, BERT = b"a" * 32, b"b" * 32


@pytest.fixture
def turns(database) -> Turns:
    return Turns(database)


async def test_the_first_turn_is_now(turns):
    assert await turns.take("chat", ANNE, 1.0, 100.0) == 100.0


async def test_turns_of_one_recipient_are_a_gap_apart(turns):
    assert [await turns.take("chat", ANNE, 1.0, 100.0) for _ in range(3)] == [100.0, 101.0, 102.0]
    assert await turns.take("chat", ANNE, 1.0, 102.5) == 103.0


async def test_whoever_was_not_written_to_for_a_while_waits_for_nothing(turns):
    await turns.take("chat", ANNE, 1.0, 100.0)
    assert await turns.take("chat", ANNE, 1.0, 200.0) == 200.0


async def test_recipients_and_channels_do_not_wait_for_each_other(turns):
    await turns.take("chat", ANNE, 1.0, 100.0)
    assert await turns.take("chat", BERT, 1.0, 100.0) == 100.0
    assert await turns.take("other", ANNE, 1.0, 100.0) == 100.0


async def test_turns_asked_for_at_once_are_all_different(turns):
    taken = await asyncio.gather(*(turns.take("chat", ANNE, 1.0, 100.0) for _ in range(20)))
    assert sorted(taken) == [100.0 + number for number in range(20)]


async def test_two_nodes_take_turns(make_engine):
    async with Database(make_engine()) as one, Database(make_engine()) as two:
        sides = [Turns(one), Turns(two)]
        taken = await asyncio.gather(*(side.take("chat", ANNE, 1.0, 100.0) for side in sides for _ in range(10)))
    assert sorted(taken) == [100.0 + number for number in range(20)]


async def test_a_turn_is_forgotten_when_it_holds_up_nobody(turns):
    await turns.take("chat", ANNE, 1.0, 100.0)
    await turns.take("chat", BERT, 1.0, 150.0)
    assert await turns.forget(100.0 + KEPT) == 0
    assert await turns.forget(100.1 + KEPT) == 1
    assert await turns.forget(100.1 + KEPT) == 0
    assert await turns.take("chat", BERT, 1.0, 150.0) == 151.0
    assert await turns.take("chat", ANNE, 1.0, 150.0) == 150.0


async def test_turns_are_forgotten_in_small_batches(turns):
    await asyncio.gather(*(turns.take("chat", number.to_bytes(4), 1.0, 100.0) for number in range(BATCH + 1)))
    assert [await turns.forget(1000.0) for _ in range(3)] == [BATCH, 1, 0]
