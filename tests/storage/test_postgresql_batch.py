"""A batch on PostgreSQL: few round trips, the rows as they were given, found by their keys whatever the planner takes to be there."""

from __future__ import annotations

import asyncio
import re

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import SQLModel

from gateway.delivery import statements as queue
from gateway.storage import models, postgresql
from gateway.storage.connecting import Connector
from gateway.storage.database import Database
from gateway.storage.postgresql import ENOUGH, PostgresqlEngine
from gateway.storage.postgresql_batch import rounds
from gateway.storage.postgresql_rows import Shapes, alone
from gateway.storage.statement import Statement, columns_of, insert_into
from gateway.storage.unit import Guard, Move, StorageError
from gateway.storage.wakes import Wakes
from tests.conftest import aside, empty

ADD = insert_into(models.Lease)
ADD_ONCE = insert_into(models.Lease, conflict="ON CONFLICT (name) DO NOTHING", key=("name",))
TELL = insert_into(models.Event)
PAUSE = insert_into(models.Pause)
COLUMNS = columns_of(models.Event)


@pytest.fixture
async def url(migrated_postgresql: str) -> str:
    aside(empty(migrated_postgresql))
    return migrated_postgresql


def add(name: str) -> Move:
    return Move((ADD_ONCE, (name, "", 0.0)), [(PAUSE, (name, 1.0))])


def event(number: int, **values: object) -> tuple[object, ...]:
    known = {"id": f"evt_{number}", "at": 1.5, "name": "message.queued", "service": "shop", **values}
    return tuple(known.get(name) for name in COLUMNS)


@pytest.mark.parametrize(
    ("channels", "attempts"),
    [
        (["sms"], [1]),
        (["sms", "sms", "sms"], [None, None, None]),
        (["sms", None, "sms"], [1, 2, 1]),
        ([None, "sms", None], [None, None, 3]),
        (["sms", None, None], [7, 7, None]),
    ],
)
async def test_columns_are_written_as_they_are_be_they_alike_or_empty(url, channels, attempts):
    rows = [event(n, channel=channel, attempt=attempts[n]) for n, channel in enumerate(channels)]
    async with Database(PostgresqlEngine(url)) as database:
        await database.write(Move(None, [(TELL, row) for row in rows]))
        found = await database.fetch("SELECT * FROM event ORDER BY id")
    assert rows == [tuple(record[name] for name in COLUMNS) for record in found]


TABLES = ("message", "event", "pause", "turn")


@st.composite
def touching(draw: st.DrawFn) -> Statement:
    """A statement that reads and writes some tables."""
    read = draw(st.lists(st.sampled_from(TABLES), max_size=2))
    body = f"DELETE FROM {draw(st.sampled_from(TABLES))}" + "".join(f" JOIN {table}" for table in read)
    return Statement(draw(st.sampled_from("abc")), {"x": "text"}, body)


@given(st.lists(touching(), max_size=6))
def test_who_touches_a_table_comes_after_who_did_before_and_nobody_beside_them(kinds):
    found = rounds(tuple(kinds))
    place = {statement: number for number, one in enumerate(found) for statement in one}
    assert len(kinds) == sum(map(len, found)) == len(place)
    for at, statement in enumerate(kinds):
        crossed = [other for other in kinds[:at] if not other.tables.isdisjoint(statement.tables)]
        assert all(place[other] < place[statement] for other in crossed)


def test_the_same_kinds_are_one_text_in_whatever_order_they_come():
    assert rounds((ADD, TELL, PAUSE)) == rounds((PAUSE, ADD, TELL)) == ((TELL, ADD, PAUSE),)


async def test_batches_that_were_begun_are_written_in_their_order(url):
    """The second one sees the first one's rows: it follows in the transaction that begins where that ended."""
    engine = PostgresqlEngine(url)
    await engine.open(Wakes())
    assert [engine.splits(ENOUGH - 1), engine.splits(ENOUGH)] == [False, True]
    first, second = engine.begin([add("a"), add("b")]), engine.begin([add("b"), add("c")])
    held = [[bool(done.value) for done in await landing] for landing in (first, second)]
    await engine.close()
    assert held == [[True, True], [False, True]]


async def test_a_batch_that_fails_leaves_what_was_begun_after_it_alone(url):
    engine = PostgresqlEngine(url)
    await engine.open(Wakes())
    landings = [engine.begin([add("a")]), engine.begin([Move(None, [(ADD, ("a", "", 0.0))])]), engine.begin([add("b")])]
    assert [bool(done.value) for done in await landings[0]] == [True]
    with pytest.raises(StorageError, match="UniqueViolationError 23505"):
        await landings[1]
    assert [bool(done.value) for done in await landings[2]] == [True]
    await engine.close()


async def test_what_was_begun_and_nobody_waits_for_ends_with_the_engine(url):
    engine = PostgresqlEngine(url)
    await engine.open(Wakes())
    stranger = await asyncpg.connect(url)
    async with asyncio.timeout(10), stranger.transaction():
        await stranger.execute("LOCK TABLE lease")
        engine.begin([add("a")]).close()
        await asyncio.sleep(0)
        await engine.close()
    assert await stranger.fetch("SELECT name FROM lease") == []
    await stranger.close()


@pytest.mark.parametrize(
    ("kept", "mode"), [(60.0, "force_generic_plan"), (0.0, "force_custom_plan")], ids=["busy", "after a pause"]
)
async def test_a_works_look_ups_are_planned_by_their_values_and_a_busy_nodes_moves_are_not(
    url, monkeypatch, kept, mode
):
    monkeypatch.setattr(postgresql, "PLANS_KEPT", kept)
    plans = []

    async def look(connection):
        plans.append((await connection.fetch("SHOW plan_cache_mode"))[0]["plan_cache_mode"])

    seen = Statement(
        "lease.seen",
        {"name": "text"},
        "UPDATE lease SET node = current_setting('plan_cache_mode') FROM r WHERE lease.name = r.name",
    )
    async with Database(PostgresqlEngine(url)) as database:
        await database.write(add("a"))
        await asyncio.gather(database.write(Move(None, [(seen, ("a",))])), database.run(look), database.run(look))
        [record] = await database.fetch("SELECT node FROM lease")
    assert (record["node"], plans) == (mode, ["force_custom_plan"] * 2)


#: 2,000 messages of a status and their verifications.
FILL = """INSERT INTO message (id, verification_id, service, channel, step, status, attempts, skipped, due_at, lease, generation,
    recipient, created_at, expires_at)
    SELECT 'msg_{0}' || n, 'ver_{0}' || n, 'shop', 'sms', 0, '{0}', 0, 0, 0, '', 1, '', 0, 0 FROM generate_series(1, 2000) n;
    INSERT INTO verification (id, service, status, purpose, locale, to_masked, route, generation, checks, max_checks, sends,
        created_at, expires_at, resend_at)
    SELECT 'ver_{0}' || n, 'shop', 'pending', '', '', '', '', 1, 0, 5, 1, 0, 0, 0 FROM generate_series(1, 2000) n"""
VALUES = {"text": "x", "bigint": 1, "double precision": 1.0, "bytea": b"x"}


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_a_message_is_found_by_its_key_though_nothing_seems_to_wait(url, mode):
    """A table that was looked at while nothing waited: the index of what waits seems to be the shortest way."""
    keyed = [
        item
        for item in vars(queue).values()
        if isinstance(item, Statement) and "r WHERE message.id = r.id" in item.body
    ]
    assert queue.UNLEASE in keyed
    connection = await Connector(url).connect(plan_cache_mode=mode)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("; ".join((FILL.format("sent"), "ANALYZE message, verification", FILL.format("queued"))))
    for statement in keyed:
        bound = Shapes().bound(statement, [[VALUES[kind] for kind in statement.columns.values()]] * 16)
        explained = await connection.fetch(f"EXPLAIN {alone(bound.kind)}", *bound.parameters)
        plan = "\n".join(record[0] for record in explained)
        ways = re.findall(r"(?:using|on) ((?:pk|ix)_message\w*)", plan)
        assert (statement.name, ways) == (statement.name, ["pk_message"])
    await transaction.rollback()
    await connection.close()


TABLES_IN_TURN = (models.Visitor, models.Block, models.Recipient)


def once(model: type[SQLModel]) -> Guard:
    """A guard that holds where a row is not there, for ``x``."""
    table = str(model.__tablename__)
    guard = insert_into(model, conflict="ON CONFLICT (hash) DO NOTHING", key=("hash",))
    row = tuple(b"x" if kind == "bytea" else 0 for kind in guard.columns.values())
    back = Statement(f"{table}.back", {"hash": "bytea"}, f"DELETE FROM {table} WHERE hash IN (SELECT hash FROM r)")
    return Guard(guard, row, (back, (b"x",)))


def named(guard: Guard, name: bytes) -> Guard:
    statement, (back, _) = guard.statement, guard.undo
    row = tuple(name if column == "hash" else value for column, value in zip(statement.columns, guard.row, strict=True))
    return Guard(statement, row, (back, (name,)))


@pytest.mark.parametrize("falls", [None, 0, 1, 2])
@pytest.mark.parametrize("others", [0, 2], ids=["alone", "beside others"])
async def test_a_guard_that_falls_leaves_nothing_of_its_move_and_all_of_the_others(url, falls, others):
    """Guards of tables that nodes share are asked in one text, and the last one with what follows from it."""
    guards = [once(model) for model in TABLES_IN_TURN]
    *first, last = guards
    moves = []
    for name in (b"x", *(b"%d" % number for number in range(others))):
        asked = named(last, name)
        then = [(PAUSE, (name.decode(), 1.0)), (ADD, (name.decode(), "", 0.0))]
        moves.append(Move((asked.statement, asked.row), then, first=[named(guard, name) for guard in first]))
    async with Database(PostgresqlEngine(url)) as database:
        if falls is not None:
            await database.write(Move((guards[falls].statement, guards[falls].row)))
        held = await asyncio.gather(*map(database.write, moves))
        found = [
            {bytes(record["hash"]) for record in await database.fetch(f"SELECT hash FROM {model.__tablename__}")}
            for model in TABLES_IN_TURN
        ]
        paused = {record["channel"] for record in await database.fetch("SELECT channel FROM pause")}
        leased = {record["name"] for record in await database.fetch("SELECT name FROM lease")}
    whole = {f"{number}" for number in range(others)} | ({"x"} if falls is None else set())
    assert held == [falls is None, *[True] * others]
    assert paused == leased == whole
    rows = {name.encode() for name in whole}
    assert found == [rows | {b"x"} if place == falls else rows for place in range(len(TABLES_IN_TURN))]


async def test_guards_that_held_are_taken_back_where_a_later_one_did_not(url):
    back = Statement("lease.back", {"name": "text"}, "DELETE FROM lease WHERE name IN (SELECT name FROM r)")

    def both(first, second):
        return Move((ADD_ONCE, (second, "", 0.0)), [], first=(Guard(ADD_ONCE, (first, "", 0.0), (back, (first,))),))

    engine = PostgresqlEngine(url)
    await engine.open(Wakes())
    landings = engine.begin([add("held")]), engine.begin([both("a", "held"), both("b", "c")])
    held = [[bool(done.value) for done in await landing] for landing in landings]
    found = [record["name"] for record in await engine.fetch("SELECT name FROM lease ORDER BY name", {})]
    await engine.close()
    assert (held, found) == ([[True], [False, True]], ["b", "c", "held"])
