"""Schema migrations, run by ``serve`` and ``migrate`` under a lock, so that nodes that start together take turns.

A migration only adds, so a node of an older version works with a newer schema, and starts on it. Alembic is imported only
where there is something to migrate: nearly every start has nothing, and would pay 0.1 s and 8 MiB for it.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

import asyncpg
import sqlalchemy as sa
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.storage import sqlite_file
from gateway.storage.connecting import Connector, translated
from gateway.storage.unit import StorageContendedError, StorageError, StorageUnavailableError

#: Something done with an open connection, in a transaction, under the lock.
OnConnection = Callable[[sa.Connection], None]

_log = logging.getLogger(__name__)

#: The advisory lock that nodes take turns on; any number that nobody else uses.
_LOCK = 7_246_850_113
#: Seconds a migration waits for a table that an old node is using, before it gives way: behind it, the node waits.
LOCK_TIMEOUT = 2.0
#: How often it is tried, and the seconds between.
TRIES = 5
PAUSE = 1.0
#: Seconds a node waits for another that is migrating, and a migration's statement may take: large tables get an index.
TURN_TIMEOUT = 600.0


class Store:
    """Where the tables are: a SQLite file or a PostgreSQL URL."""

    def __init__(self, *, path: Path | None = None, url: str | None = None) -> None:
        if (path is None) == (url is None):
            raise ValueError("a path or a URL, not both")
        self._path = path
        self._url = url

    async def upgrade(self, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        """Bring the schema up to this version, if it is not there or further already.

        Where the tables are in use for too long it is tried again a few times. Raises ``StorageError``.
        """
        for _ in range(TRIES - 1):
            try:
                await self._run(_upgrade)
            except StorageContendedError as error:
                _log.warning("the tables are in use, migrating again in %g s: %s", PAUSE, error)
                await sleep(PAUSE)
            else:
                return
        await self._run(_upgrade)

    async def revision(self) -> str | None:
        """Return the schema's revision, ``None`` where there is no schema."""
        found: list[str | None] = []
        await self._run(lambda connection: found.append(_revision(connection)))
        return found[0]

    async def _run(self, work: OnConnection) -> None:
        try:
            if self._path is not None:
                await asyncio.to_thread(_on_sqlite, self._path, work)
            else:
                await _on_postgresql(str(self._url), work)
        except _RefusedError as error:
            raise StorageError(f"{self._name} cannot be brought up to date: {error}") from None
        except asyncpg.PostgresError as error:
            raise translated(error) from None
        except (SQLAlchemyError, OSError) as error:
            raise _kind(error)(f"{self._name} cannot be opened or brought up to date: {_cause(error)}") from None

    @property
    def _name(self) -> str:
        return "PostgreSQL" if self._path is None else f"the SQLite file {self._path}"


@cache
def head() -> str:
    """Return the revision this version of the gateway works with: a number of four digits."""
    return max(path.name[:4] for path in (Path(__file__).parent / "versions").glob("[0-9][0-9][0-9][0-9]_*.py"))


def serves(revision: str | None) -> bool:
    """Return whether this version of the gateway works with a schema of that revision: its own or a newer one."""
    return revision is not None and revision.isdecimal() and int(revision) >= int(head())


class _RefusedError(Exception):
    """Alembic would not migrate: its text says why."""


def _upgrade(connection: sa.Connection) -> None:
    if _is_served(connection):
        return
    if connection.dialect.name == "postgresql":
        _take_turns(connection)
        if _is_served(connection):
            # By another node, which had its turn before.
            return
    migrate(connection, head())


def migrate(connection: sa.Connection, revision: str) -> None:
    """Bring a schema of an earlier revision up to that one, in the connection's transaction."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    # Its INFO lines speak of dialects, and say of SQLite what is not so here: that DDL has no transaction.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        raise _RefusedError(str(error)) from None


def _is_served(connection: sa.Connection) -> bool:
    return serves(_revision(connection))


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return found


def _take_turns(connection: sa.Connection) -> None:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{TURN_TIMEOUT:g}s'")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT:g}s'")


def _on_sqlite(path: Path, work: OnConnection) -> None:
    sqlite_file.check_log(path)
    sqlite_file.make(path)
    # Made from its parts: a path may hold characters that mean something in a URL.
    url = sa.URL.create("sqlite", database=str(path))
    engine = sa.create_engine(url, hide_parameters=True, connect_args={"timeout": 30})
    # Python's sqlite3 would begin a transaction late and leave DDL outside it: we begin, with the write lock at once.
    sa.event.listen(engine, "connect", lambda raw, _: setattr(raw, "isolation_level", None))
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            work(connection)
    finally:
        engine.dispose()


async def _on_postgresql(url: str, work: OnConnection) -> None:
    # asyncpg reads the URL, as it does for the gateway itself: SQLAlchemy would not know sslmode and its like.
    connector = Connector(url)
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: connector.connect(limit=TURN_TIMEOUT),
        hide_parameters=True,
    )
    try:
        async with engine.begin() as connection:
            await connection.run_sync(work)
    finally:
        await engine.dispose()


def _kind(error: SQLAlchemyError | OSError) -> type[StorageError]:
    original = getattr(error, "orig", None)
    if isinstance(original, sqlite3.Error):
        return type(sqlite_file.translated(original))
    driver = getattr(original, "__cause__", None)
    if isinstance(driver, asyncpg.PostgresError):
        return type(translated(driver))
    passing = isinstance(error, OperationalError | InterfaceError | OSError)
    return StorageUnavailableError if passing else StorageError


def _cause(error: BaseException) -> str:
    # The driver's own text without SQLAlchemy's: it names tables and files, never values.
    original = getattr(error, "orig", None) or error
    if isinstance(original, sqlite3.Error):
        return str(sqlite_file.translated(original))
    return str(original).splitlines()[0][:200] if str(original) else type(original).__name__
