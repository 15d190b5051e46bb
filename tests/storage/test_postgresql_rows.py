"""How rows reach PostgreSQL: whatever is in them arrives as it was, and a statement soon has one text."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.storage.postgresql_rows import ALIKE, ARRAY, SPLIT, Shapes, alone, following, in_turn, split, together
from gateway.storage.statement import Statement

COLUMNS = {"place": "bigint", "name": "text", "blob": "bytea", "at": "double precision", "number": "bigint"}
READ = Statement("read", COLUMNS, f"SELECT {', '.join(COLUMNS)} FROM r ORDER BY place")

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6)
LETTERS = st.text('\x1e\x1f",{}\\é', max_size=3)
WORDS = st.sampled_from(["", "null", "NULL", "\x1e", "\x1f", "a"])
VALUES = st.tuples(
    st.none() | TEXTS | LETTERS | WORDS,
    st.none() | st.binary(max_size=4),
    st.none() | st.floats(allow_nan=False) | st.just(1.5),
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.just(7),
)
BATCHES = st.lists(st.lists(VALUES, min_size=1, max_size=5), min_size=1, max_size=3)

Row = tuple[object, ...]


@pytest.fixture(scope="module")
def read(postgresql_url: str) -> Iterator[Callable[[Shapes, Sequence[Row]], list[Row]]]:
    """Give rows to the server, and read them from ``r``."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(postgresql_url))

        def asked(shapes: Shapes, rows: Sequence[Row]) -> list[Row]:
            bound = shapes.bound(READ, rows)
            records = runner.run(connection.fetch(alone(bound.kind), *bound.parameters))
            return [tuple(record) for record in records]

        yield asked
        runner.run(connection.close())


@settings(max_examples=60)
@given(BATCHES)
def test_rows_arrive_as_they_were_one_batch_after_another(read, batches):
    shapes = Shapes()
    for values in batches:
        rows = [(place, *row) for place, row in enumerate(values)]
        assert read(shapes, rows) == rows


def test_what_is_no_number_arrives_as_it_was(read):
    rows = [(0, "a", b"", math.nan, 1), (1, "a", b"", -math.inf, 1), (2, "a", b"", None, 1)]
    first, *others = read(Shapes(), rows)
    assert math.isnan(first[3])
    assert others == rows[1:]


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        ("text", ("a\x1fb", "c")),
        ("text", ("\x1e", None)),
        ("text", ("",)),
        ("text", ("a", 1)),
        ("bytea", ("a", b"b")),
        ("bigint", (2**70, 1)),
        ("double precision", (math.inf, None)),
    ],
)
def test_what_would_be_split_otherwise_is_not_split(kind, column):
    assert split(kind, column) is None


def test_a_value_of_another_kind_is_refused_by_the_driver(read):
    with pytest.raises(asyncpg.DataError, match="invalid input for query argument \\$2"):
        read(Shapes(), [(0, "a", None, None, None), (1, 5, None, None, None)])


def test_a_column_that_differed_once_is_given_as_one_that_does_and_what_could_not_be_split_as_an_array():
    shapes = Shapes()
    batches = [
        [(0, "a", b"a", 1.5, None), (1, "a", b"a", 1.5, None)],
        [(0, "a", b"a", 1.5, None), (1, "a", b"b", 1.5, None)],
        [(0, "a\x1f", b"a", 1.5, None), (1, "a", b"a", 1.5, None)],
        [(0, "a", b"a", 1.5, None)],
    ]
    kinds = [shapes.bound(READ, rows).kind for rows in batches]
    assert [kind.ways for kind in kinds] == [
        (SPLIT, ALIKE, ALIKE, ALIKE, ALIKE),
        (SPLIT, ALIKE, SPLIT, ALIKE, ALIKE),
        (SPLIT, ARRAY, SPLIT, ALIKE, ALIKE),
        (SPLIT, ARRAY, SPLIT, ALIKE, ALIKE),
    ]
    assert kinds[2] is kinds[3]


def test_keys_are_never_taken_to_be_alike():
    keyed = Statement("keyed", {"a": "text", "b": "text"}, "UPDATE x SET a = r.a FROM r WHERE x.b = r.b", key=(1,))
    assert Shapes().bound(keyed, [("a", "b")]).kind.ways == (ALIKE, SPLIT)


def test_parameters_of_statements_that_are_one_text_are_numbered_through():
    first = Statement("a", {"x": "text", "y": "bytea"}, "INSERT INTO a (x, y) SELECT x, y FROM r WHERE true")
    second = Statement("b", {"z": "bigint"}, "UPDATE b SET z = r.z FROM r WHERE b.z < r.z")
    kinds = [
        Shapes().bound(statement, [("x", b"y") if statement is first else (1,)]).kind for statement in (first, second)
    ]
    texts = {
        "s0": r"WITH r AS (SELECT a.x AS x, $2::bytea AS y FROM unnest(string_to_array($1, E'\x1f', E'\x1e')) AS a(x)",
        "s1": "WITH r AS MATERIALIZED (SELECT a.z::bigint AS z FROM unnest(string_to_array($3, ',', 'null')) AS a(z)",
    }
    alike = f"WITH s0 AS ({texts['s0']}) {first.body}), s1 AS ({texts['s1']}) {second.body}) SELECT WHERE false"
    assert together(*kinds) == alike
    text = following(*kinds)
    assert "SELECT count(*) = $4::bigint AS held FROM g" in text
    assert f"{texts['s1']} WHERE (SELECT held FROM whole)) {second.body}" in text


def test_guards_in_turn_tell_their_keys_by_number():
    first = Statement(
        "a", {"x": "text", "y": "bytea"}, "UPDATE a SET x = r.x FROM r WHERE a.y = r.y RETURNING y", key=(1,)
    )
    second = Statement("b", {"z": "bigint"}, "UPDATE b SET z = r.z FROM r WHERE b.z < r.z RETURNING z", key=(0,))
    kinds = [
        Shapes().bound(statement, [("x", b"y") if statement is first else (1,)]).kind for statement in (first, second)
    ]
    text = in_turn(*kinds)
    assert text.endswith("SELECT 0, k0, NULL::bigint FROM g0 UNION ALL SELECT 1, NULL::bytea, k0 FROM g1")
    assert text.count("= $4::bigint AS held") == 2
