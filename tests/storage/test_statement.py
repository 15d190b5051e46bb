"""One text, two engines: the same statement writes the same rows on both."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.storage import models
from gateway.storage.statement import Statement, columns_of, insert_into, numbered, row_of
from gateway.storage.unit import Move

ADD = insert_into(models.Lease)
ADD_ONCE = insert_into(models.Lease, conflict="ON CONFLICT (name) DO NOTHING", key=("name",))


@pytest.mark.parametrize(
    ("sql", "text", "names"),
    [
        ("SELECT 1", "SELECT 1", ()),
        ("a = :a AND b = :b", "a = $1 AND b = $2", ("a", "b")),
        ("a = :a OR b = :a", "a = $1 OR b = $1", ("a",)),
        ("a = :some_name", "a = $1", ("some_name",)),
        ("a::text = :a", "a::text = $1", ("a",)),
    ],
)
def test_names_become_numbers(sql, text, names):
    assert numbered(sql) == (text, names)


@given(st.lists(st.sampled_from(["a", "b", "c_d"]), max_size=8))
def test_each_name_has_one_number(names):
    text, order = numbered(" ".join(f":{name}" for name in names))
    assert text.split() == [f"${order.index(name) + 1}" for name in names]
    assert len(set(order)) == len(order)


def test_a_statement_is_only_itself():
    assert Statement("a", {"x": "text"}, "SELECT 1") != Statement("a", {"x": "text"}, "SELECT 1")


def test_columns_are_in_the_order_of_the_table():
    assert columns_of(models.Lease) == {"name": "text", "node": "text", "until": "double precision"}


def test_a_row_is_read_from_the_fields_of_that_name():
    lease = models.Lease(name="a", node="b", until=1.0)
    assert row_of(models.Lease)(lease) == ("a", "b", 1.0)


def test_conditions_that_an_index_is_by_are_put_otherwise_for_postgresql_alone():
    plain = "message.status IN ('queued') AND message.revise_at IS NOT NULL AND message.confirm_by <= "
    hidden = (
        "message.status || '' IN ('queued') AND COALESCE(message.revise_at, 'infinity') < 'infinity' "
        "AND COALESCE(message.confirm_by, 'infinity') <= r.at"
    )
    body = f"UPDATE message SET status = 'sent' FROM r WHERE {plain}r.at"
    statement = Statement("a", {"at": "double precision"}, body)
    assert statement.sqlite == f"UPDATE message SET status = 'sent' WHERE {plain}?1"
    assert statement.postgresql.endswith(f"UPDATE message SET status = 'sent' FROM r WHERE {hidden}")


async def test_every_kind_of_value_is_read_back_as_it_was_written(database):
    columns = columns_of(models.Attempt)
    values = dict.fromkeys(columns) | {
        "message_id": "msg_ä",
        "number": 2**53 + 1,
        "verification_id": "ver_1",
        "token_hash": b"\x00\xff",
        "node": "",
        "started_at": 1_777_891_200.123456,
    }
    await database.write(Move(None, [(insert_into(models.Attempt), tuple(values.values()))]))
    [record] = await database.fetch("SELECT * FROM attempt")
    assert {name: record[name] for name in columns} == values


async def test_a_conflict_is_told_by_the_key_that_is_not_returned(database):
    assert await database.write(Move((ADD_ONCE, ("a", "first", 0.0))))
    assert not await database.write(Move((ADD_ONCE, ("a", "second", 0.0))))
    [record] = await database.fetch("SELECT node FROM lease")
    assert record["node"] == "first"
