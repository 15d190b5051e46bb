"""Connections that notice when the other side is gone, to whichever of several hosts takes writes."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

import asyncpg
import pytest

from gateway.storage import connecting
from gateway.storage.connecting import Connected, Connector, is_lost, is_sound, translated
from gateway.storage.unit import StorageContendedError, StorageError, StorageUnavailableError
from tests.storage.wire import wired


@pytest.fixture
async def wire(migrated_postgresql):
    async with wired(migrated_postgresql) as opened:
        yield opened


@pytest.fixture
def silent():
    """A port where connections are taken and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def on_hosts(*ports: int) -> str:
    return f"postgresql://postgres@{','.join(f'127.0.0.1:{port}' for port in ports)}/postgres"


async def test_a_socket_is_told_to_find_out_that_the_other_side_is_gone(wire):
    # The driver shows its transport to nobody.
    connection: Any = await Connector(wire.url).connect()
    found = connection._transport.get_extra_info("socket")
    assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    figures = {name: found.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in connecting._TCP_OPTIONS}
    assert figures == {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000}
    await connection.close()


async def test_the_server_gives_up_after_us(wire):
    connection = await Connector(wire.url).connect(limit=30.0, synchronous_commit="off")
    shown = [await connection.fetchval(f"SHOW {name}") for name in ("statement_timeout", "synchronous_commit")]
    assert shown == ["32s", "off"]
    await connection.close()


async def test_every_setting_is_said_in_the_session_for_a_pooler_lets_few_begin_one(wire, monkeypatch):
    """PgBouncer: "unsupported startup parameter", or it is told to drop them."""
    begun: list[dict[str, str]] = []
    connect = asyncpg.connect

    async def spied(*given: Any, **options: Any) -> Any:
        begun.append(options["server_settings"])
        return await connect(*given, **options)

    monkeypatch.setattr(asyncpg, "connect", spied)
    connection = await Connector(wire.url).connect()
    names = [name for name in connecting._SERVER_SETTINGS if not name.startswith("tcp_")]
    shown = {name: await connection.fetchval(f"SHOW {name}") for name in names}
    assert begun == [{"application_name": "otp-gateway"}]
    assert shown == {name: connecting._SERVER_SETTINGS[name] for name in names}
    await connection.close()


async def test_a_silent_host_does_not_use_up_what_the_next_needs(wire, silent, monkeypatch):
    monkeypatch.setattr(connecting, "CONNECT_TIMEOUT", 1.0)
    connector = Connector(on_hosts(silent, wire.port))
    first = await connector.connect()
    # The second time the host that answered goes first, and nothing is waited for.
    monkeypatch.setattr(connecting, "CONNECT_TIMEOUT", 60.0)
    async with asyncio.timeout(20):
        second = await connector.connect()
    await first.close()
    await second.close()


async def test_of_several_hosts_one_that_takes_no_writes_is_passed_over(wire, migrated_postgresql):
    """A role for whom the server is read-only stands for a stand-by."""
    admin = await asyncpg.connect(migrated_postgresql)
    await admin.execute("CREATE ROLE reader SUPERUSER LOGIN; ALTER ROLE reader SET default_transaction_read_only = on")
    try:
        url = on_hosts(wire.port, wire.port).replace("postgres@", "reader@")
        with pytest.raises(asyncpg.TargetServerAttributeNotMatched):
            await Connector(url).connect()
        for asked in (url + "?target_session_attrs=any", wire.url.replace("postgres@", "reader@")):
            connection = await Connector(asked).connect()
            await connection.close()
    finally:
        await admin.execute("DROP ROLE reader")
        await admin.close()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (asyncpg.DeadlockDetectedError(), StorageContendedError),
        (asyncpg.QueryCanceledError(), StorageContendedError),
        (asyncpg.ReadOnlySQLTransactionError(), StorageUnavailableError),
        (asyncpg.AdminShutdownError(), StorageUnavailableError),
        (asyncpg.IdleInTransactionSessionTimeoutError(), StorageUnavailableError),
        (asyncpg.PostgresIOError(), StorageUnavailableError),
        (asyncpg.DiskFullError(), StorageUnavailableError),
        (asyncpg.InterfaceError("closed"), StorageUnavailableError),
        (TimeoutError(), StorageUnavailableError),
        (asyncpg.exceptions._base.DataError("a value"), StorageError),
        (asyncpg.UniqueViolationError(), StorageError),
    ],
)
def test_an_error_is_told_for_what_it_is(error, kind):
    told = translated(error)
    assert type(told) is kind
    assert str(told) == f"PostgreSQL: {type(error).__name__} {getattr(error, 'sqlstate', None) or ''}".rstrip()


class Standing:
    """A connection as far as it matters here: it stands, or it does not."""

    def __init__(self, closed: bool) -> None:
        self._closed = closed

    def is_closed(self) -> bool:
        return self._closed


@pytest.mark.parametrize(
    ("error", "sound", "lost"),
    [
        (asyncpg.UniqueViolationError(), True, False),
        (asyncpg.QueryCanceledError(), True, False),
        (asyncpg.exceptions._base.DataError("a value"), True, False),
        (ZeroDivisionError(), False, False),
        (TimeoutError(), False, False),
        (asyncpg.ReadOnlySQLTransactionError(), False, False),
        (asyncpg.AdminShutdownError(), False, True),
        (asyncpg.CrashShutdownError(), False, True),
        (asyncpg.InternalClientError(), False, True),
        (ConnectionResetError(), False, True),
    ],
)
def test_what_an_error_leaves_of_a_connection(error, sound, lost):
    stands, ended = (cast("Connected", Standing(closed=closed)) for closed in (False, True))
    assert is_sound(stands, error) is sound
    assert is_sound(ended, error) is False
    assert is_lost(error) is lost
