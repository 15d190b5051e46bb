"""The line before the writer: what is light goes together, and takes turns with what is heavy."""

from __future__ import annotations

import asyncio

import pytest

from gateway.storage.line import HEAVY, MAX_BATCH, MAX_WEIGHT, Line, Waiting
from gateway.storage.unit import Connection, Move


async def work(_: Connection) -> None:
    """Do nothing."""


@pytest.fixture
def line() -> Line:
    return Line()


async def waiting(weight: int = 1, *, move: bool = False) -> Waiting:
    return Waiting(Move(None) if move else work, asyncio.get_running_loop().create_future(), weight)


async def test_light_works_are_taken_as_far_as_they_weigh_no_more_than_a_batch_may(line):
    items = [await waiting(weight) for weight in (4, 4, 4, 3, 4, 1)]
    for item in items:
        line.add(item)
    assert line.gather() == [items[place] for place in (0, 1, 2, 3)]
    # Nothing passes what was too much, or it would wait for as long as lighter ones came.
    assert (line.works, len(line.light)) == (2, 2)
    assert line.gather() == items[4:]
    assert (line.works, len(line)) == (0, 0)


async def test_moves_are_taken_past_the_works_that_wait_for_the_next_batch(line):
    works = [await waiting() for _ in range(MAX_WEIGHT + 1)]
    moves = [await waiting(move=True) for _ in range(MAX_BATCH)]
    for item in (*works, *moves):
        line.add(item)
    assert line.gather() == [*works[:-1], *moves[: MAX_BATCH - MAX_WEIGHT]]
    assert line.gather() == [works[-1], *moves[MAX_BATCH - MAX_WEIGHT :]]


async def test_heavy_units_are_taken_one_by_one_in_their_order(line):
    items = [await waiting(HEAVY), await waiting(100, move=True)]
    for item in items:
        line.add(item)
    assert (len(line.light), line.works, len(line)) == (0, 0, 2)
    assert [line.take_heavy(), line.take_heavy()] == items


async def test_a_heavy_unit_is_next_where_nothing_else_waits(line):
    assert not line.heavy_is_next(0.0)
    line.add(await waiting(HEAVY))
    line.rest(began=1.0, ended=3.0)
    assert line.heavy_is_next(3.0)


async def test_after_a_heavy_unit_light_ones_go_first_for_as_long_as_it_took(line):
    for weight in (HEAVY, HEAVY, 1):
        line.add(await waiting(weight))
    assert line.heavy_is_next(1.0)
    line.take_heavy()
    line.rest(began=1.0, ended=3.0)
    line.gather()
    line.add(await waiting())
    assert not line.heavy_is_next(4.9)
    # However many light ones come.
    assert line.heavy_is_next(5.0)


async def test_between_two_heavy_units_what_waits_goes_once_however_quick_they_are(line):
    for weight in (HEAVY, HEAVY, 1):
        line.add(await waiting(weight))
    line.take_heavy()
    line.rest(began=1.0, ended=1.0)
    assert not line.heavy_is_next(9.0)
    line.gather()
    line.add(await waiting())
    assert line.heavy_is_next(9.0)


async def test_everything_is_taken_at_once(line):
    items = [await waiting(), await waiting(HEAVY)]
    for item in items:
        line.add(item)
    assert line.clear() == items
    assert (len(line), line.works) == (0, 0)
