"""Statements that run for one row or for a batch, on either engine, from one text.

A set statement reads its rows from ``r``, a table of one row per write. On PostgreSQL ``r`` is ``unnest`` of one
array per column, so a batch is one round trip; on SQLite, which has no round trip to save, it is one row at a time.
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
    sqlite: str = field(init=False, repr=False)
    postgresql: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = ", ".join(self.columns)
        marks = ", ".join("?" * len(self.columns))
        arrays = ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(self.columns.values(), 1))
        object.__setattr__(self, "sqlite", f"WITH r({names}) AS (VALUES ({marks})) {self.body}")
        object.__setattr__(
            self,
            "postgresql",
            f"WITH r AS MATERIALIZED (SELECT * FROM unnest({arrays}) AS r({names})) {self.body}",  # noqa: S608 - only names of our own are put in, values are bound
        )


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
