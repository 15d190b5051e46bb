"""The schema comes up from nothing, once, however many nodes start at once, and is what the models say."""

from __future__ import annotations

import asyncio
import importlib
import sqlite3
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlmodel import SQLModel

from gateway.storage.migrations import Store, head
from gateway.storage.unit import StorageError, StorageUnavailableError

the_conversation = importlib.import_module("gateway.storage.migrations.versions.0002_the_conversation")


async def on_postgresql(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


@pytest.fixture
async def store(engine_name, request, tmp_path):
    """A store with nothing in it."""
    if engine_name == "sqlite":
        yield Store(path=tmp_path / "a b%c?.db")
        return
    url = request.getfixturevalue("postgresql_url")
    await on_postgresql(url, "DROP DATABASE IF EXISTS blank")
    await on_postgresql(url, "CREATE DATABASE blank")
    yield Store(url=urlsplit(url)._replace(path="/blank").geturl())
    await on_postgresql(url, "DROP DATABASE blank WITH (FORCE)")


async def test_an_empty_store_has_no_revision(store):
    assert await store.revision() is None


async def test_an_upgrade_brings_the_schema_up(store):
    await store.upgrade()
    assert await store.revision() == head()


async def test_a_second_upgrade_changes_nothing(store):
    await store.upgrade()
    await store.upgrade()
    assert await store.revision() == head()


async def test_nodes_that_start_together_take_turns(store):
    await asyncio.gather(*(store.upgrade() for _ in range(4)))
    assert await store.revision() == head()


async def test_the_migrated_schema_is_the_models(store):
    await store.upgrade()
    differences: list[object] = []

    def compare(connection: sa.Connection) -> None:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences.extend(compare_metadata(context, SQLModel.metadata))

    await store._run(compare)
    assert differences == []


async def test_every_migration_can_be_undone_and_made_again(store):
    """Rows that are there stay: the columns a migration adds may be null."""
    await store.upgrade()

    def back_and_forth(connection: sa.Connection) -> None:
        insert = "INSERT INTO lease (name, node, until) VALUES ('poll', 'a', 1.0)"
        connection.execute(sa.text(insert))
        with Operations.context(MigrationContext.configure(connection)):
            the_conversation.downgrade()
            the_conversation.upgrade()
        assert connection.execute(sa.text("SELECT node FROM lease")).scalars().all() == ["a"]
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []

    await store._run(back_and_forth)


async def test_a_schema_of_a_newer_version_is_refused(store):
    await store.upgrade()
    await store._run(lambda connection: connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(StorageError, match="newer version"):
        await store.upgrade()


async def test_a_failed_migration_leaves_nothing(store):
    def broken(connection: sa.Connection) -> None:
        connection.execute(sa.text("CREATE TABLE half (a integer)"))
        connection.execute(sa.text("CREATE TABLE half (a integer)"))

    with pytest.raises(StorageError):
        await store._run(broken)
    await store._run(lambda connection: connection.execute(sa.text("CREATE TABLE half (a integer)")))


async def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "photo.db"
    path.write_bytes(b"not a database " * 100)
    with pytest.raises(StorageError, match=r"photo\.db cannot be opened .* file is not a database") as caught:
        await Store(path=path).upgrade()
    assert not isinstance(caught.value, StorageUnavailableError)


async def test_a_damaged_file_is_refused(migrated_sqlite, tmp_path):
    path = tmp_path / "damaged.db"
    content = bytearray(migrated_sqlite.read_bytes())
    content[100:4000] = b"\xff" * 3900
    path.write_bytes(content)
    with pytest.raises(StorageError, match="malformed"):
        await Store(path=path).upgrade()


async def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StorageUnavailableError, match="unable to open database file"):
        await Store(path=tmp_path / "nowhere" / "gateway.db").upgrade()


async def test_an_unreachable_server_is_unavailable():
    with pytest.raises(StorageUnavailableError, match="PostgreSQL"):
        await Store(url="postgresql://user@127.0.0.1:1/gateway").upgrade()


async def test_a_database_that_is_not_there_is_unavailable(postgresql_url):
    url = urlsplit(postgresql_url)._replace(path="/nothing").geturl()
    with pytest.raises(StorageUnavailableError, match="does not exist"):
        await Store(url=url).upgrade()


async def test_options_of_the_url_are_asyncpgs(postgresql_url):
    separator = "&" if "?" in postgresql_url else "?"
    plain = await Store(url=postgresql_url).revision()
    assert await Store(url=f"{postgresql_url}{separator}sslmode=prefer").revision() == plain


def test_a_store_is_one_of_two():
    with pytest.raises(ValueError, match="not both"):
        Store()
    with pytest.raises(ValueError, match="not both"):
        Store(path=Path("a"), url="postgresql://b")


def test_the_shipped_schema_is_read_by_the_sqlite_of_this_machine(migrated_sqlite):
    connection = sqlite3.connect(migrated_sqlite)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
