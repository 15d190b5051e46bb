"""Connections to PostgreSQL that notice when the other side is gone, and what the driver's errors mean."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import asyncpg

from gateway.storage.unit import StorageContendedError, StorageError, StorageUnavailableError

#: Seconds a statement may take, and twice as long as a lock may be waited for, before the unit fails.
STATEMENT_TIMEOUT = 10.0
#: Seconds a connection may take to be made, over all hosts of the URL.
CONNECT_TIMEOUT = 5.0
#: Seconds by which the server gives up a statement later than we do: it is the last to.
GRACE = 2.0

#: What TCP is told: probe after 5 s of silence, every 2 s, give up after three (11 s), and after 10 s (here in
#: milliseconds) without acknowledgement of what was sent. Where a system lacks an option, its own figure holds.
_TCP_OPTIONS: Mapping[str, int] = {
    "TCP_KEEPIDLE": 5,
    "TCP_KEEPINTVL": 2,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": int(STATEMENT_TIMEOUT * 1000),
}

#: What every session has. Said in it and not along with its beginning: a pooler lets no others than a few begin one.
_SERVER_SETTINGS: Mapping[str, str] = {
    # Guards are written for it: where a server's default is another, what two nodes do at once would fail instead.
    "default_transaction_isolation": "read committed",
    "lock_timeout": f"{STATEMENT_TIMEOUT / 2:g}s",
    # Plans made while a table was small would scan it whole once it has grown, until the server has looked at it again:
    # 41 messages a second and not a thousand, measured. Every statement here is to go by an index.
    "plan_cache_mode": "force_custom_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    # Statements as short as these are never worth compiling, whatever the planner makes of a table it has not looked at.
    "jit": "off",
    # A node that was stopped amid a transaction holds its rows no longer than that.
    "idle_in_transaction_session_timeout": f"{STATEMENT_TIMEOUT + GRACE:g}s",
    # The server's own probes: of a node that vanished it rolls back what is open.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}

#: The driver's own words for a connection that is no more.
LOST = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError)

UNAVAILABLE = (
    *LOST,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    TimeoutError,
    OSError,
)

#: Everything a statement or a connection attempt may raise.
FAILURES = (asyncpg.PostgresError, *UNAVAILABLE)

_CONTENDED = (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)

#: A connection. The driver's class is generic for a type checker only.
Connected: TypeAlias = "asyncpg.Connection[Any]"


class _Attentive(asyncpg.Connection):
    """A connection whose socket finds out that the other side is gone."""

    def __init__(self, protocol: Any, transport: Any, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        _keep_alive(transport.get_extra_info("socket"))


def _keep_alive(connected: socket.socket) -> None:
    if connected.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _TCP_OPTIONS.items():
        if hasattr(socket, name):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Connector:
    """Makes connections to the database of a URL.

    Of several hosts the first that answers and takes writes is used, the one of the last time first; each has its part
    of ``CONNECT_TIMEOUT``, so that a host that is silent does not use up what the next would need.
    """

    def __init__(self, url: str) -> None:
        self._urls = _each_host(url)
        several = len(self._urls) > 1 and "target_session_attrs" not in parse_qs(urlsplit(url).query)
        #: A stand-by would serve old rows and refuse writes.
        self._wanted = "read-write" if several else None
        self._place = 0

    async def connect(self, *, limit: float | None = None, **settings: str) -> Connected:
        """Connect; a statement may take ``limit`` seconds (``STATEMENT_TIMEOUT`` if not told).

        ``settings`` of the server's go on top of ours. Raises one of ``FAILURES``.
        """
        limit = STATEMENT_TIMEOUT if limit is None else limit
        failure: BaseException = ConnectionError("no host was tried")
        for place in (*range(self._place, len(self._urls)), *range(self._place)):
            try:
                found = await self._connect_to(self._urls[place], limit, settings)
            except FAILURES as error:
                failure = error
            else:
                self._place = place
                return found
        raise failure

    async def _connect_to(self, url: str, limit: float, settings: Mapping[str, str]) -> Connected:
        options: dict[str, Any] = {"target_session_attrs": self._wanted} if self._wanted else {}
        connection = await asyncpg.connect(
            url,
            timeout=CONNECT_TIMEOUT / len(self._urls),
            command_timeout=limit,
            # Longer ones than the driver's 15 KiB are kept as well: else each batch would have its texts parsed anew.
            max_cacheable_statement_size=0,
            connection_class=_Attentive,
            server_settings={"application_name": "otp-gateway"},
            **options,
        )
        wanted = {**_SERVER_SETTINGS, "statement_timeout": f"{limit + GRACE:g}s", **settings}
        try:
            await connection.execute("; ".join(f"SET {name} = '{value}'" for name, value in wanted.items()))
        except BaseException:
            connection.terminate()
            raise
        return connection


def _each_host(url: str) -> list[str]:
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    if "," not in hosts:
        return [url]
    return [parts._replace(netloc=f"{login}{at}{host}").geturl() for host in hosts.split(",")]


def is_sound(connection: Connected, error: BaseException) -> bool:
    """Return whether a connection may be used again after ``error``, once its transaction is rolled back."""
    if connection.is_closed():
        return False
    if isinstance(error, asyncpg.QueryCanceledError) or _is_ours(error):
        return True
    return isinstance(error, asyncpg.PostgresError) and not isinstance(error, UNAVAILABLE)


def is_lost(error: BaseException) -> bool:
    """Return whether the server had ended the connection, so that on a new one the same may work."""
    shut_down = (asyncpg.AdminShutdownError, asyncpg.CrashShutdownError, ConnectionError)
    return isinstance(error, (*LOST, *shut_down)) and not _is_ours(error)


def translated(error: BaseException) -> StorageError:
    """Return what a driver's error means here, its text without values."""
    kind = StorageError
    if isinstance(error, _CONTENDED):
        kind = StorageContendedError
    elif isinstance(error, UNAVAILABLE) and not _is_ours(error):
        kind = StorageUnavailableError
    # PostgreSQL's DETAIL holds values of the row: the kind of error and its SQLSTATE are enough.
    return kind(f"PostgreSQL: {type(error).__name__} {getattr(error, 'sqlstate', None) or ''}".rstrip())


def _is_ours(error: BaseException) -> bool:
    # A value or a setting the driver cannot take: it says so before anything is sent.
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
