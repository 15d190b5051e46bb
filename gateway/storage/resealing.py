"""Every sealed column there is, and sealing all of them anew with the first key of the ring.

It goes through each table by its key, a page at a time, and writes a blob only where it is still the one that was
read: what a node writes meanwhile stays. What is current already is passed over, so after a stop it goes on where it
was by beginning again.
"""

from __future__ import annotations

import string
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.storage.database import Database
from gateway.storage.sealing import Sealer, UnsealError, key_id
from gateway.storage.statement import Statement
from gateway.storage.unit import Move, Record, Write

#: Rows read at once; at most so many blobs are written in a transaction.
PAGE: Final = 100

Rest = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Column:
    """A sealed column."""

    name: str
    #: What its blobs are bound to: the AAD, with other columns of the row in braces; bytes go in as hexadecimal.
    place: str


@dataclass(frozen=True, slots=True)
class SealedTable:
    """A table with sealed columns."""

    name: str
    #: Its primary key: the columns' names and their PostgreSQL types.
    key: Mapping[str, str]
    columns: tuple[Column, ...]


_OF_A_VERIFICATION: Final = "{service}/{purpose}/{id}"
_TEXT: Final = {"id": "text"}

#: All of them. A test compares it with the tables, and opens what the gateway itself has sealed.
SEALED: Final = (
    SealedTable("secret", {"name": "text"}, (Column("sealed", "secret.{name}"),)),
    SealedTable("signing_key", _TEXT, (Column("private_sealed", "signing_key.private/{id}"),)),
    SealedTable(
        "authenticator",
        _TEXT,
        (
            Column("secret_sealed", "authenticator.secret/{id}"),
            Column("person_sealed", "authenticator.person/{id}"),
        ),
    ),
    SealedTable(
        "subscriber",
        _TEXT,
        (
            Column("person_sealed", "subscriber.person/{id}"),
            Column("chat_sealed", "subscriber.chat/{id}"),
            Column("display_name_sealed", "subscriber.display_name/{id}"),
        ),
    ),
    SealedTable(
        "chat",
        {"hash": "bytea"},
        (Column("chat_sealed", "chat.chat/{hash}"), Column("phone_sealed", "chat.phone/{hash}")),
    ),
    SealedTable("reply", _TEXT, (Column("sealed", "reply/{id}"),)),
    SealedTable(
        "idempotent_answer",
        {"service": "text", "key_hash": "bytea"},
        (Column("sealed", "idempotent_answer.sealed/{service}/{key_hash}"),),
    ),
    SealedTable(
        "verification",
        _TEXT,
        (
            Column("route_sealed", f"verification.route/{_OF_A_VERIFICATION}"),
            Column("code_sealed", f"verification.code.{{generation}}/{_OF_A_VERIFICATION}"),
            Column("params_sealed", f"verification.params/{_OF_A_VERIFICATION}"),
            Column("bind_sealed", f"verification.bind/{_OF_A_VERIFICATION}"),
        ),
    ),
)


@dataclass(slots=True)
class Progress:
    """How far it is."""

    #: Rows there were at the beginning, and rows looked at.
    rows: int = 0
    looked_at: int = 0
    #: Blobs sealed anew.
    sealed: int = 0
    #: Blobs that no key of the ring opens, by ``table.column``.
    unreadable: dict[str, int] = field(default_factory=dict)
    #: Blobs by other keys than the first that were left, by key id: changed at this moment, or unreadable.
    left: dict[str, int] = field(default_factory=dict)


class Resealing:
    """Seals everything anew. ``sealer`` seals with the new key and opens with the old ones.

    All methods raise ``StorageError``.
    """

    def __init__(self, database: Database, sealer: Sealer, tables: Sequence[SealedTable] = SEALED) -> None:
        self._database = database
        self._sealer = sealer
        self._tables = tables

    async def run(self, rest: Rest) -> AsyncIterator[Progress]:
        """Go through everything once, and yield how far it is after each page; ``rest`` is awaited between two writes."""
        progress = Progress(rows=await self._count())
        for table in self._tables:
            after: Sequence[Any] = ()
            while page := await self._page(table, after):
                writes = [write for record in page for write in self._writes(table, record, progress)]
                if writes:
                    await self._database.write(Move(None, writes))
                    progress.sealed += len(writes)
                    await rest()
                after = [_value(page[-1][name]) for name in table.key]
                progress.looked_at += len(page)
                yield progress

    async def _count(self) -> int:
        total = 0
        for table in self._tables:
            [found] = await self._database.fetch(f"SELECT count(*) AS number FROM {table.name}")  # noqa: S608 - a table of our own
            total += found["number"]
        return total

    async def _page(self, table: SealedTable, after: Sequence[Any]) -> list[Record]:
        keys = ", ".join(table.key)
        values = {f"after_{name}": value for name, value in zip(table.key, after, strict=False)}
        behind = f"WHERE ({keys}) > ({', '.join(f':{name}' for name in values)})" if values else ""
        sql = f"SELECT {', '.join(_columns(table))} FROM {table.name} {behind} ORDER BY {keys} LIMIT {PAGE}"  # noqa: S608 - names of our own
        return await self._database.fetch(sql, **values)

    def _writes(self, table: SealedTable, record: Record, progress: Progress) -> list[Write]:
        """Return what is to be written of a row."""
        found: list[Write] = []
        key = [_value(record[name]) for name in table.key]
        for column in table.columns:
            blob = _value(record[column.name])
            if not blob or self._sealer.is_current(blob):
                continue
            bound_to = _bound_to(column, record)
            try:
                plain = self._sealer.open(blob, bound_to)
            except UnsealError:
                _add(progress.unreadable, f"{table.name}.{column.name}")
                _add(progress.left, key_id(blob))
                continue
            found.append((_STATEMENTS[table.name, column.name], [*key, blob, self._sealer.seal(plain, bound_to)]))
        return found


def _statement(table: SealedTable, column: Column) -> Statement:
    same = " AND ".join(f"{table.name}.{name} = r.{name}" for name in table.key)
    return Statement(
        f"{table.name}.reseal_{column.name}",
        {**table.key, "blob_before": "bytea", "blob_after": "bytea"},
        f"""UPDATE {table.name} SET {column.name} = r.blob_after FROM r
        WHERE {same} AND {table.name}.{column.name} = r.blob_before""",  # noqa: S608 - names of our own
    )


_STATEMENTS: Final = {
    (table.name, column.name): _statement(table, column) for table in SEALED for column in table.columns
}


def _columns(table: SealedTable) -> list[str]:
    """Return the columns that are read: the key, what is sealed, and what that is bound to."""
    bound = [name for column in table.columns for name in _names(column)]
    return list(dict.fromkeys([*table.key, *(column.name for column in table.columns), *bound]))


def _names(column: Column) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(column.place) if name]


def _bound_to(column: Column, record: Record) -> str:
    values = {name: _value(record[name]) for name in _names(column)}
    return column.place.format(
        **{name: value.hex() if isinstance(value, bytes) else value for name, value in values.items()}
    )


def _value(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview | bytearray) else value


def _add(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1
