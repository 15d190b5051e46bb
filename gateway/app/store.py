"""The database, opened and migrated, and what opens what is sealed in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from gateway.app import clocks
from gateway.clock import Clock, SystemClock
from gateway.config import DatabaseSettings, Settings, check_database, ensure_secrets
from gateway.storage import migrations
from gateway.storage.absence import Absence
from gateway.storage.database import Database
from gateway.storage.engine import Engine
from gateway.storage.postgresql import PostgresqlEngine
from gateway.storage.sealing import Hasher, Sealer
from gateway.storage.secret import found_key, index_key
from gateway.storage.sqlite import SqliteEngine
from gateway.storage.sqlite_beside import several_cores
from gateway.storage.unit import StorageError, Write
from gateway.webhooks.rows import TOPIC

#: Hears of what was committed, in order.
OnCommit = Callable[[Sequence[object]], None]
#: Returns what is written with what was noted, in the same transaction.
Alongside = Callable[[Sequence[object]], Sequence[Write]]


@dataclass(frozen=True, slots=True)
class Store:
    """The database and what opens what is sealed in it."""

    database: Database
    sealer: Sealer
    hasher: Hasher
    clock: SystemClock


def schema(settings: DatabaseSettings) -> migrations.Store:
    """Return where the tables are, for migrations."""
    return migrations.Store(path=settings.path) if settings.path else migrations.Store(url=settings.url)


@asynccontextmanager
async def opened_store(
    settings: Settings,
    *,
    on_commit: OnCommit = lambda _: None,
    alongside: Alongside | None = None,
    node: bool = False,
    reads: bool = False,
    existing: bool = False,
) -> AsyncIterator[Store]:
    """Open the database, its schema brought up to date. Raises ``ConfigError`` or ``StorageError``.

    ``node``: for a node, by whose key the database's own is sealed, and whose time commands on the same SQLite file
    take over. ``reads``: for a command that only reads; an empty database does not become its keys'.
    ``existing``: for whoever works with what is in it. A SQLite file and its keys are not made for that: the answer would be
    "nothing", and who has the wrong file would believe it.
    """
    if existing:
        check_database(settings)
    with naming(settings.database):
        ring = ensure_secrets(settings)
        sealer = Sealer(ring)
        await schema(settings.database).upgrade()
        clock = SystemClock()
        # A command says itself that it failed.
        absence = absence_of(settings.database, clock) if node else None
        engine = _engine(settings.database, absence)
        async with Database(
            engine, on_commit=on_commit, alongside=alongside, alongside_wakes=(TOPIC,), absence=absence
        ) as database:
            if several_nodes(settings):
                await clocks.begin_with(database, clock)
            elif node:
                await clocks.cut_short(database, clock)
                await clocks.tell(database, clock)
            else:
                await clocks.take_over(database, clock)
            if reads:
                key = await found_key(database, sealer)
            else:
                key = await index_key(database, sealer, clock.now(), reseal=node)
            yield Store(database, sealer, Hasher(key), clock)


@contextmanager
def naming(settings: DatabaseSettings) -> Iterator[None]:
    """Have errors of the database say which it is, and by what key it was chosen. Raises ``StorageError``."""
    try:
        yield
    except StorageError as error:
        raise type(error)(f"[database] url: {told_where(settings, error)}") from None


def told_where(settings: DatabaseSettings, error: StorageError) -> str:
    """Return the text of an error with the place of the database instead of its engine's name."""
    where, told = settings.whereabouts, str(error)
    for engine in (where, "PostgreSQL", "SQLite"):
        if told.startswith(engine):
            return f"{where}{told.removeprefix(engine)}"
    return f"{where}: {told}"


def several_nodes(settings: Settings) -> bool:
    """Whether other nodes may share the database."""
    return settings.database.engine == "postgresql"


def _engine(settings: DatabaseSettings, absence: Absence | None) -> Engine:
    if settings.path:
        return SqliteEngine(settings.path, beside=several_cores(), absence=absence)
    return PostgresqlEngine(settings.url, absence=absence)


def absence_of(settings: DatabaseSettings, clock: Clock) -> Absence:
    """Return what knows whether a database is away."""
    if settings.path:
        remedy = "see to its disk's space and mount, the file's owner and mode, and other programs that write to it"
    else:
        remedy = "see that the server runs, takes writes and connections, and can be reached from here"
    return Absence(settings.whereabouts, remedy, clock.monotonic)
