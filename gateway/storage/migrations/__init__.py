"""Schema migrations, run by ``serve`` and ``migrate`` under a lock, so that nodes that start together take turns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import asyncpg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.storage.postgresql import CONNECT_TIMEOUT, translated
from gateway.storage.unit import StorageError, StorageUnavailableError

#: Something done with an open connection, in a transaction, under the lock.
OnConnection = Callable[[sa.Connection], None]

# Its INFO lines speak of dialects, and say of SQLite what is not so here: that DDL has no transaction.
logging.getLogger("alembic").setLevel(logging.WARNING)

#: The advisory lock that nodes take turns on; any number that nobody else uses.
_LOCK = 7_246_850_113
#: Seconds a migration waits for a table that an old node is using, before it gives way.
LOCK_TIMEOUT = 2.0


class Store:
    """Where the tables are: a SQLite file or a PostgreSQL URL."""

    def __init__(self, *, path: Path | None = None, url: str | None = None) -> None:
        if (path is None) == (url is None):
            raise ValueError("a path or a URL, not both")
        self._path = path
        self._url = url

    async def upgrade(self) -> None:
        """Bring the schema up to this version. Raises ``StorageError``."""
        await self._run(_upgrade)

    async def revision(self) -> str | None:
        """Return the schema's revision, ``None`` where there is no schema."""
        found: list[str | None] = []
        await self._run(lambda connection: found.append(MigrationContext.configure(connection).get_current_revision()))
        return found[0]

    async def _run(self, work: OnConnection) -> None:
        try:
            if self._path is not None:
                await asyncio.to_thread(_on_sqlite, self._path, work)
            else:
                await _on_postgresql(str(self._url), work)
        except CommandError:
            raise StorageError(
                "the database was made by a newer version of the gateway; run that version, or restore a backup"
            ) from None
        except asyncpg.PostgresError as error:
            raise translated(error) from None
        except (SQLAlchemyError, OSError) as error:
            raise _kind(error)(f"{self._name} cannot be opened or brought up to date: {_cause(error)}") from None

    @property
    def _name(self) -> str:
        return "PostgreSQL" if self._path is None else f"the SQLite file {self._path}"


def head() -> str:
    """Return the revision this version of the gateway works with."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def _upgrade(connection: sa.Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _on_sqlite(path: Path, work: OnConnection) -> None:
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
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: asyncpg.connect(url, timeout=CONNECT_TIMEOUT),
        hide_parameters=True,
    )
    try:
        async with engine.begin() as connection:
            await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            await connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT:g}s'")
            await connection.run_sync(work)
    finally:
        await engine.dispose()


def _kind(error: SQLAlchemyError | OSError) -> type[StorageError]:
    driver = getattr(getattr(error, "orig", None), "__cause__", None)
    if isinstance(driver, asyncpg.PostgresError):
        return type(translated(driver))
    passing = isinstance(error, OperationalError | InterfaceError | OSError)
    return StorageUnavailableError if passing else StorageError


def _cause(error: BaseException) -> str:
    # The driver's own text without SQLAlchemy's: it names tables and files, never values.
    original = getattr(error, "orig", None) or error
    return str(original).splitlines()[0][:200] if str(original) else type(original).__name__
