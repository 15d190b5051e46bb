"""How the rows of a batch reach PostgreSQL: what differs within a column as one text, what does not as one value.

A statement reads its rows from ``r``, which is put before it here. Most columns are alike in a batch (of an accept's 85
all but 27): each of them is a parameter of its own type. The others are texts that the server splits: the driver would
look at each value of an array four times by ``isinstance`` with an abstract class, at 3,300 instructions for each of an
accept's 35, and the server reads an array's own text letter by letter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from gateway.storage.statement import Row, Statement

#: What splits a column's text, and what stands for NULL in it: letters that a text hardly has.
_SPLITS: Final = "\x1f"
_NOTHING: Final = "\x1e"
#: What the server splits a text by, by a column's type; numbers are JSON's.
_SPLIT: Final = dict.fromkeys(("text", "bytea"), r"string_to_array(${}, E'\x1f', E'\x1e')")
_SPLIT_NUMBERS: Final = "string_to_array(${}, ',', 'null')"
#: What is made of a part; a number is cast.
_READ: Final = {"text": "a.{}", "bytea": "decode(a.{}, 'hex')"}

#: How a column is given: one value of its own type for all rows; a text that the server splits; an array that the driver
#: makes, for what cannot be split. No enum: a member's hash is Python's, and texts are looked up by them.
ALIKE, SPLIT, ARRAY = range(3)

_TARGET: Final = re.compile(r"(?:INSERT INTO|UPDATE|DELETE FROM) ([a-z_]+)")
_READS: Final = re.compile(r"\bFROM r\b")


@dataclass(frozen=True, eq=False, slots=True)
class Kind:
    """A statement and how its columns are given, in their order: what its text depends on. There is one of each."""

    statement: Statement
    ways: tuple[int, ...]


class Bound(NamedTuple):
    """Rows of one statement as they are bound."""

    kind: Kind
    parameters: list[Any]


class Shapes:
    """How each statement's columns have had to be given so far.

    A way is only left for one that takes more: so a statement has twice as many texts as it has columns at most, each of
    which the server parses once for a connection, and soon one.
    """

    def __init__(self) -> None:
        self._kinds: dict[Statement, Kind] = {}

    def bound(self, statement: Statement, rows: Sequence[Row]) -> Bound:
        """Return rows, one at least, as they are bound."""
        known = self._kinds.get(statement)
        if known is None:
            known = self._kinds[statement] = _first(statement)
        parameters, ways = [], []
        for way, kind, column in zip(known.ways, statement.columns.values(), zip(*rows, strict=True), strict=True):
            value: Any = column[0]
            if way == ALIKE and (column[-1] != value or column.count(value) < len(column)):
                way = SPLIT
            if way == SPLIT and (value := split(kind, column)) is None:
                way = ARRAY
            parameters.append(column if way == ARRAY else value)
            ways.append(way)
        if (found := tuple(ways)) != known.ways:
            known = self._kinds[statement] = Kind(statement, found)
        return Bound(known, parameters)


def _first(statement: Statement) -> Kind:
    # There is one of each key in a batch, and one column must say how many rows there are.
    keys = statement.key or (0,)
    return Kind(statement, tuple([SPLIT if place in keys else ALIKE for place in range(len(statement.columns))]))


def split(kind: str, column: Sequence[Any]) -> str | None:
    """Return a column's values as one text that the server splits, ``None`` where there is none that it would split so."""
    try:
        if kind == "text":
            found = _SPLITS.join(column if None not in column else [_NOTHING if v is None else v for v in column])
            plain = found.count(_SPLITS) == len(column) - 1 and found.count(_NOTHING) == column.count(None)
        elif kind == "bytea":
            found = _SPLITS.join([_NOTHING if value is None else value.hex() for value in column])
            plain = True
        else:
            found = orjson.dumps(column)[1:-1].decode()
            # JSON has neither an infinity nor what is no number.
            plain = found.count("null") == column.count(None)
    except (TypeError, AttributeError):
        # The driver tells of a value that is none of its column's.
        return None
    # An empty text would be split into nothing at all.
    return found if plain and found else None


@lru_cache(maxsize=256)
def alone(kind: Kind) -> str:
    """Return a statement's text with its rows before it."""
    return _text(kind, 1)


@lru_cache(maxsize=256)
def together(*kinds: Kind) -> str:
    """Return one text that runs statements of which none touches another's table; it returns nothing.

    Its values are theirs, in their order.
    """
    return f"WITH {', '.join(_parts(kinds, 1))} SELECT WHERE false"


@lru_cache(maxsize=256)
def following(guard: Kind, *kinds: Kind) -> str:
    """Return one text that asks a guard, and runs what follows if it held for as many rows as its last value tells.

    It returns what the guard wrote. None of ``kinds`` touches another's table or the one that the guard writes; all see what
    was committed before the guard was asked. Its values are the guard's, theirs, and that number.
    """
    count = len(guard.ways)
    last = count + sum(len(kind.ways) for kind in kinds) + 1
    parts = _parts(kinds, count + 1, " WHERE (SELECT held FROM whole)")
    return (
        f"WITH g AS ({_text(guard, 1)}), whole AS MATERIALIZED (SELECT count(*) = ${last}::bigint AS held FROM g), "  # noqa: S608 - only names of our own are put in, values are bound
        f"{', '.join(parts)} SELECT * FROM g"
    )


@lru_cache(maxsize=64)
def in_turn(*guards: Kind) -> str:
    """Return one text that asks guards, each if the one before it held for as many rows as its last value tells.

    It returns a row for each that a guard wrote: which guard, counted from 0, and keys, of which that guard's are filled in.
    """
    last = sum(len(guard.ways) for guard in guards) + 1
    parts, condition, first = [], "", 1
    for number, guard in enumerate(guards):
        keys = ", ".join(f"k{place}" for place in range(len(guard.statement.key)))
        parts.append(f"g{number} ({keys}) AS ({_text(guard, first, condition)})")
        parts.append(f"whole{number} AS MATERIALIZED (SELECT count(*) = ${last}::bigint AS held FROM g{number})")  # noqa: S608 - only names of our own are put in, values are bound
        condition = f" WHERE (SELECT held FROM whole{number})"  # noqa: S608 - the same
        first += len(guard.ways)
    rows = [f"SELECT {number}, {_keys_of(guards, number)} FROM g{number}" for number in range(len(guards))]  # noqa: S608 - the same
    return f"WITH {', '.join(parts)} {' UNION ALL '.join(rows)}"


def _keys_of(guards: Sequence[Kind], number: int) -> str:
    """Return the keys of all guards, those of the ``number``-th by name and the others empty."""
    found = []
    for at, guard in enumerate(guards):
        types = list(guard.statement.columns.values())
        for place, column in enumerate(guard.statement.key):
            found.append(f"k{place}" if at == number else f"NULL::{types[column]}")
    return ", ".join(found)


@lru_cache(maxsize=256)
def written(statement: Statement) -> str:
    """Return the table that a statement writes."""
    found = _TARGET.search(statement.body)
    assert found is not None, "a statement writes a table"
    return found[1]


def _parts(kinds: Sequence[Kind], first: int, condition: str = "") -> list[str]:
    parts = []
    for number, kind in enumerate(kinds):
        parts.append(f"s{number} AS ({_text(kind, first, condition)})")
        first += len(kind.ways)
    return parts


def _text(kind: Kind, first: int, condition: str = "") -> str:
    """Return a statement with its rows before it, its parameters numbered from ``first``."""
    statement, (names, arrays, columns) = kind.statement, ([], [], [])
    for number, (way, (name, type_)) in enumerate(zip(kind.ways, statement.columns.items(), strict=True), first):
        if way == ALIKE:
            columns.append(f"${number}::{type_} AS {name}")
            continue
        names.append(name)
        if way == ARRAY:
            arrays.append(f"${number}::{type_}[]")
            columns.append(f"a.{name}")
        else:
            arrays.append(_SPLIT.get(type_, _SPLIT_NUMBERS).format(number))
            columns.append(f"{_READ.get(type_, f'a.{{}}::{type_}').format(name)} AS {name}")
    source = f"SELECT {', '.join(columns)} FROM unnest({', '.join(arrays)}) AS a({', '.join(names)}){condition}"  # noqa: S608 - the same
    kept = "MATERIALIZED " if _is_read_on(statement) else ""
    return f"WITH r AS {kept}({source}) {statement.postgresql}"


def _is_read_on(statement: Statement) -> bool:
    # What is read once, and by nothing but an INSERT, need not be made first.
    return (
        not statement.body.startswith("INSERT") or "JOIN" in statement.body or len(_READS.findall(statement.body)) > 1
    )
