"""Rows of any table, for tests that care for a few columns of them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Float, LargeBinary, Text

from gateway.storage.database import Database
from gateway.storage.statement import Row, insert_into
from gateway.storage.unit import Move

_EMPTY: dict[type, Any] = {Text: "", LargeBinary: b"", Float: 0.0}


def row(model: Any, **fields: Any) -> Row:
    """Return a row; a column that is not given is ``NULL``, or empty where it must not be."""
    columns = model.__table__.columns
    assert fields.keys() <= {column.name for column in columns}
    return tuple(
        fields.get(column.name, None if column.nullable else _EMPTY.get(type(column.type), 0)) for column in columns
    )


async def put(database: Database, model: Any, *rows: Row) -> None:
    """Insert rows of a table."""
    await database.write(Move(None, [(insert_into(model), item) for item in rows]))


async def count(database: Database, model: Any) -> int:
    """Return how many rows a table has."""
    found: int = (await database.fetch(f"SELECT count(*) AS number FROM {model.__table__.name}"))[0]["number"]
    return found
