"""Statements that run for one row or for a batch, on either engine, from one text.

A set statement reads its rows from ``r``, a table of one row per write. On PostgreSQL ``r`` is made of a batch's columns
(``postgresql_rows``), so a batch is one round trip; on SQLite, which has no round trip to save, it is one row at a time, and
that row's values stand where ``r`` was read: a table of one row would be made and dropped for each (a third of the
statement's time), and so would be one for what ``RETURNING`` tells, where the number of changed rows tells as much.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from sqlalchemy import BigInteger, Float, LargeBinary, Table, Text
from sqlmodel import SQLModel

Row = Sequence[Any]

_ARRAY_TYPES: Mapping[type, str] = {Text: "text", BigInteger: "bigint", Float: "double precision", LargeBinary: "bytea"}
_NAMED = re.compile(r"(?<!:):([a-z_]+)")
_RETURNING = re.compile(r"\s+RETURNING\s+([\w\s,.]+)$")
#: What reads ``r``: a list of its columns, one of them, and the table, which stands alone, first in a join, or first
#: before a condition.
_BARE = re.compile(r"\bSELECT ([a-z_][a-z0-9_]*(?:, [a-z_][a-z0-9_]*)*)(?=\s+FROM r\b)")
_COLUMN = re.compile(r"\br\.(\w+)")
_ORDERED = re.compile(r"\s+ORDER BY [\w\s,]+?(?=\s+ON CONFLICT)")
_JOINED = re.compile(r"\bFROM r(?=\s+LEFT JOIN\b)")
_ALONE = re.compile(r"\s+FROM r(?=\s+WHERE\b|\s*\))")
#: What some indexes are of no other rows than (``status = 'queued'``, ``confirm_by IS NOT NULL``), where a statement asks for
#: it, and the same in words that no index is by.
_SHOWN = (
    (re.compile(r"\b(\w+\.status)(?= (?:=|IN) )"), r"\1 || ''"),
    (re.compile(r"\b(\w+\.(?:confirm_by|revise_at))(?= (?:<=|=) )"), r"COALESCE(\1, 'infinity')"),
    (re.compile(r"\b(\w+\.revise_at) IS NOT NULL"), r"COALESCE(\1, 'infinity') < 'infinity'"),
)
#: What a statement reads or writes, ``r`` and keywords aside.
_TABLE = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE) (?!r\b)([a-z_]+)")


@dataclass(frozen=True, eq=False)
class Statement:
    """A set statement. Two of them are the same only if they are the same object."""

    #: For errors and for reading: ``message.begin``.
    name: str
    #: The columns of ``r``, in the order of a row's values, with their PostgreSQL types.
    columns: Mapping[str, str]
    #: The SQL after ``WITH r AS (…)``.
    body: str
    #: Where in a row the values stand that ``RETURNING`` gives back, for a guard; empty if nothing is returned.
    key: tuple[int, ...] = ()
    #: For SQLite: its values by number. It begins with INSERT, UPDATE or DELETE, for then Python counts what it changed.
    sqlite: str = field(init=False, repr=False)
    #: For PostgreSQL, which is to find rows by their keys; ``postgresql_rows`` puts ``r`` before it.
    postgresql: str = field(init=False, repr=False)
    #: The tables it reads or writes.
    tables: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sqlite", _of_one_row(self.body, self.columns, len(self.key)))
        object.__setattr__(self, "postgresql", _hidden(self.body))
        object.__setattr__(self, "tables", frozenset(_TABLE.findall(self.body)))


def _hidden(body: str) -> str:
    """Return a body for PostgreSQL, whose planner is to find rows by what ``r`` names them by.

    Shown a status, it would go through all that wait instead, as long as it took them to be few: 4 ms for 16 rows and
    not 0.15, measured with 3,000 of them in a table that it had not looked at, and more with each.
    """
    for shown, instead in _SHOWN:
        body = shown.sub(instead, body)
    return body


def _of_one_row(body: str, columns: Mapping[str, str], key: int) -> str:
    """Return a body for SQLite, with one row's values in it; ``key`` is how many columns name the row it returns."""
    number = {name: f"?{place}" for place, name in enumerate(columns, 1)}
    body = _BARE.sub(lambda found: f"SELECT {', '.join(number[name] for name in found[1].split(', '))}", body)
    body = _COLUMN.sub(lambda found: number[found[1]], body)
    body = _ALONE.sub("", _JOINED.sub("FROM (SELECT 1)", _ORDERED.sub("", body)))
    returned = _RETURNING.search(body)
    if returned is not None and returned[1].count(",") + 1 == key:
        # It says that the row was written, and nothing else.
        body = body[: returned.start()]
    return body


def insert_into(model: type[SQLModel], *, conflict: str = "", key: Sequence[str] = ()) -> Statement:
    """Return the statement that inserts rows of ``model``, their values in the order of the table's columns.

    ``conflict`` is an ``ON CONFLICT`` clause; ``key`` the columns returned for the rows that were written.
    """
    columns = columns_of(model)
    names = ", ".join(columns)
    returning = f" RETURNING {', '.join(key)}" if key else ""
    # SQLite cannot tell a join's ON from ON CONFLICT after a SELECT without a WHERE.
    body = f"INSERT INTO {_table(model).name} ({names}) SELECT {names} FROM r WHERE true {conflict}{returning}"  # noqa: S608 - only names of our own are put in, values are bound
    order = list(columns)
    return Statement(f"{_table(model).name}.insert", columns, body, tuple(order.index(name) for name in key))


def columns_of(model: type[SQLModel]) -> dict[str, str]:
    """Return a table's columns and their PostgreSQL types, in order."""
    return {column.name: _ARRAY_TYPES[type(column.type)] for column in _table(model).columns}


def row_of(model: type[SQLModel]) -> Callable[[object], Row]:
    """Return a function that reads, from any object with the table's field names, a row for ``insert_into``."""
    return attrgetter(*columns_of(model))


def numbered(sql: str) -> tuple[str, tuple[str, ...]]:
    """Turn ``:name`` into ``$1`` … and return the names in that order."""
    order: dict[str, int] = {}
    text = _NAMED.sub(lambda match: f"${order.setdefault(match[1], len(order) + 1)}", sql)
    return text, tuple(order)


def _table(model: type[SQLModel]) -> Table:
    table = SQLModel.metadata.tables[str(model.__tablename__)]
    assert isinstance(table, Table)
    return table
