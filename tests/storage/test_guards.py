"""Moves with several guards, on both engines: all of them hold and everything is written, or no trace is left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.statement import Statement, insert_into
from gateway.storage.unit import Connection, Guard, Move

#: Takes one of what a name has left in ``until``.
TAKE = Statement(
    "lease.take_one",
    {"name": "text", "most": "double precision"},
    """UPDATE lease SET until = lease.until - 1 FROM r WHERE lease.name = r.name AND lease.until > r.most
    RETURNING lease.name, lease.until""",
    key=(0,),
)
PUT_BACK = Statement(
    "lease.put_back",
    {"name": "text"},
    "UPDATE lease SET until = lease.until + 1 FROM r WHERE lease.name = r.name",
)
ADD = insert_into(models.Lease)


def taking(*names: str, then: str | None = None) -> Move:
    first = [Guard(TAKE, (name, 0.0), (PUT_BACK, (name,))) for name in names[:-1]]
    more = [] if then is None else [(ADD, (then, "", 0.0))]
    return Move((TAKE, (names[-1], 0.0)), more, notes=[names], first=first)


async def put(database: Database, **left: float) -> None:
    await database.write(Move(None, [(ADD, (name, "", number)) for name, number in left.items()]))


async def left(database: Database) -> dict[str, float]:
    return {item["name"]: item["until"] for item in await database.fetch("SELECT name, until FROM lease")}


Written = Callable[[Database, Move], Awaitable[Any]]


async def by_itself(database: Database, move: Move) -> Any:
    return await database.claim(move)


async def within_a_work(database: Database, move: Move) -> Any:
    async def work(connection: Connection) -> Any:
        return await connection.claim(move)

    return await database.run(work)


WAYS = pytest.mark.parametrize("written", [by_itself, within_a_work])


@WAYS
async def test_where_all_guards_hold_everything_is_written_and_the_last_row_returned(database, committed, written):
    await put(database, a=1, b=1, c=5)
    row = await written(database, taking("a", "b", "c", then="d"))
    assert (row["name"], row["until"]) == ("c", 4)
    assert await left(database) == {"a": 0, "b": 0, "c": 4, "d": 0}
    assert committed == [("a", "b", "c")]


@WAYS
@pytest.mark.parametrize("empty", ["a", "b", "c"])
async def test_where_one_does_not_hold_no_trace_is_left(database, committed, written, empty):
    await put(database, **{"a": 1, "b": 1, "c": 1, empty: 0})
    before = await left(database)
    assert await written(database, taking("a", "b", "c", then="d")) is None
    assert await left(database) == before
    assert committed == []


async def test_a_work_that_goes_on_after_a_refused_move_keeps_nothing_of_it(database):
    await put(database, a=1, b=0)

    async def work(connection: Connection) -> list[bool]:
        return [await connection.apply(taking("a", "b")), await connection.apply(taking("a"))]

    assert await database.run(work) == [False, True]
    assert await left(database) == {"a": 0, "b": 0}


async def test_in_a_batch_the_moves_that_fall_leave_the_others_standing(database):
    await put(database, **{f"own{n}": 1 for n in range(30)}, shared=7, dry=0)
    moves = [taking(f"own{n}", "shared" if n % 2 else "dry", then=f"made{n}") for n in range(30)]
    outcomes = await asyncio.gather(*(database.write(move) for move in moves))
    assert sum(outcomes) == 7
    found = await left(database)
    assert found["shared"] == 0
    assert [found[f"own{n}"] for n in range(30)] == [0 if held else 1 for held in outcomes]
    assert [f"made{n}" in found for n in range(30)] == outcomes


async def test_moves_of_one_or_more_guards_stand_in_one_batch(database):
    await put(database, a=1, b=1, c=1)
    moves = [taking("a"), taking("b", "c"), Move(None, [(ADD, ("d", "", 1))])]
    outcomes = await asyncio.gather(*(database.write(move) for move in moves))
    assert outcomes == [True, True, True]
    assert await left(database) == {"a": 0, "b": 0, "c": 0, "d": 1}


async def test_of_forty_moves_from_four_nodes_exactly_as_many_pass_as_there_are(make_engine):
    async with (
        Database(make_engine()) as one,
        Database(make_engine()) as two,
        Database(make_engine()) as three,
        Database(make_engine()) as four,
    ):
        nodes = [one, two, three, four]
        await put(one, gate=25, place=9, last=40)
        outcomes = await asyncio.gather(*(nodes[n % 4].write(taking("gate", "place", "last")) for n in range(40)))
        assert sum(outcomes) == 9
        assert await left(one) == {"gate": 16, "place": 0, "last": 31}


async def test_what_goes_alongside_is_written_only_if_all_guards_held(make_engine):
    def alongside(notes: Any) -> list[Any]:
        return [(ADD, (f"told {notes[0][0]}", "", 0.0))]

    async with Database(make_engine(), alongside=alongside) as database:
        await database.write(Move(None, [(ADD, (name, "", number)) for name, number in (("a", 1), ("b", 0), ("c", 1))]))
        assert await database.claim(taking("a", "b")) is None
        assert await within_a_work(database, taking("a", "b")) is None
        row = await database.claim(taking("a", "c"))
        assert row is not None
        assert row["name"] == "c"
        assert await left(database) == {"a": 0, "b": 0, "c": 0, "told a": 0}


async def test_without_a_guard_there_is_nothing_to_claim(database):
    with pytest.raises(AssertionError, match="no row to return"):
        await database.claim(Move(None))
