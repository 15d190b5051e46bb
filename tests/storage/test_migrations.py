"""The schema comes up from nothing, once, however many nodes start at once, and is what the models say."""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel

from gateway.storage import migrations, sqlite_file
from gateway.storage.migrations import Store, head, serves
from gateway.storage.unit import StorageContendedError, StorageDamagedError, StorageError, StorageUnavailableError

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


async def test_a_key_from_before_counts_as_made_with_the_end_it_has(store):
    await store._run(lambda connection: migrations.migrate(connection, "0005"))
    insert = "INSERT INTO service_key (id, service, name, secret_hash, created_at, expires_at) VALUES (:id, 's', '', :hash, 100.0, :end)"
    rows = [{"id": "ends", "hash": b"a", "end": 190.0}, {"id": "stays", "hash": b"b", "end": None}]
    await store._run(lambda connection: connection.execute(sa.text(insert), rows))
    await store.upgrade()
    found: dict[str, float | None] = {}

    def read(connection: sa.Connection) -> None:
        found.update(
            {row.id: row.lifetime for row in connection.execute(sa.text("SELECT id, lifetime FROM service_key"))}
        )

    await store._run(read)
    assert found == {"ends": 90.0, "stays": None}


async def set_revision(store: Store, revision: str) -> None:
    def write(connection: sa.Connection) -> None:
        statement = sa.text("UPDATE alembic_version SET version_num = :revision")
        connection.execute(statement, {"revision": revision})

    await store._run(write)


async def test_on_a_schema_of_a_newer_version_a_node_starts(store):
    """Migrations only add: nodes are exchanged one by one, and an old one may have to be started again meanwhile."""
    await store.upgrade()
    await set_revision(store, "9999")
    await store.upgrade()
    assert await store.revision() == "9999"


async def test_a_schema_of_another_making_is_refused(store):
    await store.upgrade()
    await set_revision(store, "abcd")
    with pytest.raises(StorageError, match="cannot be brought up to date"):
        await store.upgrade()


@pytest.mark.parametrize(
    ("revision", "expected"),
    [(None, False), ("0001", False), (head(), True), (f"{int(head()) + 1:04}", True), ("12000", True), ("abcd", False)],
)
def test_a_version_serves_its_own_schema_and_newer_ones(revision, expected):
    assert serves(revision) is expected


class Pauses:
    """Takes the pauses between two tries, and lets something happen in one of them."""

    def __init__(self, then=None) -> None:
        self.taken: list[float] = []
        self._then = then

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        if self._then is not None:
            await self._then()


async def in_the_way(url: str) -> asyncpg.Connection:
    """A connection that holds the table every migration writes to."""
    stranger = await asyncpg.connect(url)
    await stranger.execute("BEGIN; LOCK TABLE alembic_version IN SHARE MODE")
    return stranger


@pytest.fixture
async def behind(request, monkeypatch):
    """A PostgreSQL database one revision behind, and little patience."""
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", 0.05)
    url = request.getfixturevalue("postgresql_url")
    await on_postgresql(url, "DROP DATABASE IF EXISTS behind")
    await on_postgresql(url, "CREATE DATABASE behind")
    behind = urlsplit(url)._replace(path="/behind").geturl()
    await Store(url=behind)._run(_to_the_one_before)
    yield behind
    await on_postgresql(url, "DROP DATABASE behind WITH (FORCE)")


def _to_the_one_before(connection: sa.Connection) -> None:
    migrations.migrate(connection, f"{int(head()) - 1:04}")


def test_the_newest_migration_is_the_head_of_one_line():
    script = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert script.get_heads() == [head()]


async def test_a_migration_gives_way_to_whoever_uses_a_table_and_tries_again(behind):
    stranger = await in_the_way(behind)
    pauses = Pauses(lambda: stranger.execute("COMMIT"))
    await Store(url=behind).upgrade(sleep=pauses)
    assert pauses.taken == [migrations.PAUSE]
    assert await Store(url=behind).revision() == head()
    await stranger.close()


async def test_a_table_that_never_comes_free_leaves_the_schema_as_it_was(behind):
    stranger = await in_the_way(behind)
    pauses = Pauses()
    with pytest.raises(StorageContendedError):
        await Store(url=behind).upgrade(sleep=pauses)
    await stranger.close()
    assert len(pauses.taken) == migrations.TRIES - 1
    assert await Store(url=behind).revision() == f"{int(head()) - 1:04}"


async def test_a_node_that_waited_for_its_turn_does_not_migrate_again(behind):
    stranger = await asyncpg.connect(behind)
    await stranger.execute(f"BEGIN; SELECT pg_advisory_xact_lock({migrations._LOCK})")
    waiting = asyncio.create_task(Store(url=behind).upgrade())
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with asyncio.timeout(20):
        while not await stranger.fetchval(locks):
            pass
    await stranger.execute("UPDATE alembic_version SET version_num = '9999'; COMMIT")
    await waiting
    assert await Store(url=behind).revision() == "9999"
    await stranger.close()


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
    with pytest.raises(StorageDamagedError, match=r"photo\.db cannot be opened .* file is not a database; .* backup"):
        await Store(path=path).upgrade()


async def test_a_damaged_file_is_refused(migrated_sqlite, tmp_path):
    path = tmp_path / "damaged.db"
    content = bytearray(migrated_sqlite.read_bytes())
    content[100:4000] = b"\xff" * 3900
    path.write_bytes(content)
    with pytest.raises(StorageDamagedError, match=r"malformed; .* restore a backup"):
        await Store(path=path).upgrade()


async def test_a_damaged_log_is_refused_before_anything_is_read(migrated_sqlite, tmp_path):
    path = Path(shutil.copy(migrated_sqlite, tmp_path / "gateway.db"))
    log = tmp_path / "gateway.db-wal"
    log.write_bytes(b"no log at all, but as long as one's header")
    with pytest.raises(StorageDamagedError, match=r"gateway\.db-wal is damaged"):
        await Store(path=path).upgrade()
    assert log.exists()


def modes(folder: Path) -> dict[str, int]:
    return {found.name: stat.S_IMODE(found.stat().st_mode) for found in folder.iterdir()}


async def test_a_new_file_and_its_log_are_for_their_owner_alone_whatever_the_umask_says(tmp_path):
    old = os.umask(0)
    try:
        await Store(path=tmp_path / "gateway.db").upgrade()
        with closing(sqlite_file.connect(tmp_path / "gateway.db")) as connection:
            connection.execute("INSERT INTO lease VALUES ('a', '', 0)")
            found = modes(tmp_path)
    finally:
        os.umask(old)
    assert found == dict.fromkeys(("gateway.db", "gateway.db-wal", "gateway.db-shm"), 0o600)


async def test_a_file_that_is_there_keeps_the_mode_it_was_given(tmp_path):
    os.close(os.open(tmp_path / "gateway.db", os.O_CREAT, 0o700))
    await Store(path=tmp_path / "gateway.db").upgrade()
    assert modes(tmp_path)["gateway.db"] == 0o700


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
