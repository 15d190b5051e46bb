"""The database as it is opened: for a node, which tells that it is away, and for a command, which says itself that it failed."""

from __future__ import annotations

import pytest

from gateway.app.store import absence_of, opened_store
from gateway.config import load_settings
from gateway.config.settings import DatabaseSettings
from gateway.storage.unit import StorageUnavailableError

CONFIG = """
[channels.console]
adapter = "console"
[services.default]
channels = ["console"]
"""


@pytest.mark.parametrize(("node", "lines"), [(True, 1), (False, 0)], ids=["a node", "a command"])
async def test_a_node_tells_that_its_database_is_away_and_a_command_does_not(tmp_path, caplog, node, lines):
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    async with opened_store(load_settings(path, {}), node=node) as store:
        await store.database.fetch("SELECT name FROM lease")
        # Another program puts a text in the file's place.
        (tmp_path / "otp-gateway.db").write_bytes(b"no database " * 1000)
        caplog.clear()
        with pytest.raises(StorageUnavailableError):
            await store.database.fetch("SELECT name FROM lease")
        assert store.database.away is node
    told = [record for record in caplog.records if record.message.startswith("the database is away")]
    assert [record.levelname for record in told] == lines * ["ERROR"]
    assert all(f"the SQLite file {tmp_path / 'otp-gateway.db'} cannot be read (" in item.message for item in told)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        (
            "postgresql://otp:secret-of-theirs@db-1,db-2:5433/otp",
            "PostgreSQL at db-1:5432, db-2:5433 (database otp) cannot",
        ),
        (
            "postgresql://otp@/otp?host=/run/postgresql",
            "PostgreSQL at the socket in /run/postgresql (database otp) cannot",
        ),
        ("postgresql:///otp", "PostgreSQL at this machine's socket (database otp) cannot"),
    ],
    ids=["hosts", "socket", "nothing named"],
)
async def test_a_server_that_is_away_is_named_without_user_and_password(clock, caplog, url, where):
    async def use() -> None:
        raise StorageUnavailableError("PostgreSQL: ConnectionRefusedError")

    with pytest.raises(StorageUnavailableError):
        await absence_of(DatabaseSettings(url=url), clock).watched("read", use())
    assert where in caplog.text
    assert "otp:" not in caplog.text
    assert "secret" not in caplog.text
