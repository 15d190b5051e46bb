"""One PostgreSQL server: databases of a run's own, and what it spent between two looks."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import asyncpg

from benchmarks.served import at_database

_TICKS = os.sysconf("SC_CLK_TCK")
_SPENT = """SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 AS wal,
    (SELECT xact_commit FROM pg_stat_database WHERE datname = $1)::float8 AS commits,
    (SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal')::float8 AS syncs,
    pg_database_size($1)::float8 AS size"""
_CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'"
_OPEN = "SELECT count(*) FROM message WHERE status IN ('queued', 'sending')"


@dataclass(frozen=True, slots=True)
class Spent:
    """What the server did so far, over all it serves, but for what says otherwise."""

    #: Bytes of write-ahead log.
    wal: float
    #: Transactions of the one database, those that only read too.
    commits: float
    #: fsyncs of the log. Nodes that commit at the same moment share one.
    syncs: float
    #: Bytes of the one database.
    size: float
    #: CPU seconds of all its processes.
    cpu: float

    def __sub__(self, other: Self) -> Spent:
        """Return what came between two looks."""
        return Spent(
            self.wal - other.wal,
            self.commits - other.commits,
            self.syncs - other.syncs,
            self.size - other.size,
            self.cpu - other.cpu,
        )


@dataclass(frozen=True, slots=True)
class Server:
    """A running PostgreSQL."""

    #: Its database ``postgres``; a password may be in it.
    url: str
    #: Its data folder.
    folder: Path

    @contextmanager
    def database(self, template: str | None = None) -> Iterator[str]:
        """Make an empty database, or a copy of ``template``; yield its URL and drop it at the end."""
        name = f"scale_{secrets.token_hex(4)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template or 'template0'}")
        try:
            yield at_database(self.url, name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, sql: str) -> None:
        """Run one statement in the server's own database."""
        asyncio.run(_execute(at_database(self.url, "postgres"), sql))

    def spent(self, url: str) -> Spent:
        """Return what the server spent so far; commits and size are those of the database at ``url``."""
        row = asyncio.run(_fetch(at_database(self.url, "postgres"), _SPENT, database_of(url)))[0]
        pid = int((self.folder / "postmaster.pid").read_text().splitlines()[0])
        return Spent(row["wal"], row["commits"], row["syncs"], row["size"], family_cpu(Path("/proc"), pid))

    def connections(self, url: str) -> int:
        """Return how many clients the database at ``url`` has."""
        found: int = asyncio.run(_fetch(at_database(self.url, "postgres"), _CONNECTED, database_of(url)))[0][0]
        return found


def until_settled(url: str, within: float, pause: float = 0.1) -> int:
    """Wait until no message is queued or under way; return how many still are after ``within`` seconds."""
    return asyncio.run(_until_settled(url, within, pause))


def tidy(url: str) -> None:
    """Do what the server's own housekeeping would do by and by."""
    asyncio.run(_execute(url, "VACUUM ANALYZE message, verification"))


def database_of(url: str) -> str:
    """Return the name of the database a URL leads to."""
    return url.partition("?")[0].rpartition("/")[2]


def family_cpu(proc: Path, pid: int) -> float:
    """Return the CPU seconds of a process and its children, those that have ended too (proc(5), fields 4, 14 to 17)."""
    own = _stat(proc / str(pid))
    used = sum(own[11:15]) if own else 0
    for entry in proc.iterdir():
        fields = _stat(entry) if entry.name.isdigit() else None
        if fields and fields[1] == pid:
            used += sum(fields[11:13])
    return used / _TICKS


def _stat(entry: Path) -> list[int] | None:
    try:
        # The second field is the program's name in parentheses and may hold anything; the third is a letter.
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return [0, *map(int, fields[1:])]


async def _until_settled(url: str, within: float, pause: float) -> int:
    deadline = time.monotonic() + within
    connection = await asyncpg.connect(url)
    try:
        while (left := int(await connection.fetchval(_OPEN))) and time.monotonic() < deadline:  # noqa: ASYNC110 - other processes do it
            await asyncio.sleep(pause)
    finally:
        await connection.close()
    return left


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def _fetch(url: str, sql: str, *values: object) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(sql, *values))
    finally:
        await connection.close()
