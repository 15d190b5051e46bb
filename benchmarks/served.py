"""The gateway as a child process: ``otp-gateway serve`` on a database of its own, prepared once and copied.

It runs as anybody would run it, every limit on: the load asks for each person once.
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from benchmarks.children import Child, ChildError
from gateway.config import variable_name

#: Deliveries under way at once, the connections the bare mail loop has too.
CONCURRENCY = 16
#: Seconds a verb of the command line may take, and a start of ``serve``.
PATIENCE = 30.0
#: Seconds a paused gateway waits: longer than a load, and less than the 30 s after which codes are refused instead.
PAUSE = 28.0
#: What it says on standard error once it serves, before its address.
READY = "otp-gateway serves on http://"
#: The program that is the gateway.
GATEWAY = (sys.executable, "-m", "gateway")
_CONFIG = f"""\
[server]
host = "127.0.0.1"
port = 0

[database]
url = "sqlite:///bench.db"

[channels.email]
adapter = "email"
host = "127.0.0.1"
port = 25
tls = "none"
from = "codes@example.org"
concurrency = {CONCURRENCY}

[channels.sms]
adapter = "sms"
account_sid = "AC00000000000000000000000000000000"
from = "+15005550006"
status_callbacks = false
concurrency = {CONCURRENCY}

[services.default]
channels = ["email", "sms"]
"""
_NONE: Mapping[tuple[str, ...], str] = {}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A migrated database with a key in it, to start gateways on copies of."""

    folder: Path
    environ: Mapping[str, str] = field(repr=False)
    key: str = field(repr=False)
    #: The PostgreSQL database to copy; ``None`` for the SQLite file in ``folder``.
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """A gateway that answers."""

    child: Child
    port: int
    key: str = field(repr=False)
    #: Where its database is, for a look at it.
    database: str = field(repr=False, default="")


def prepare(folder: Path, url: str | None = None) -> Prepared:
    """Make the tables and a key, in ``folder`` or in a new database of the server at ``url``."""
    folder.mkdir()
    (folder / "config.toml").write_text(_CONFIG)
    environ = _environ()
    if url is not None:
        asyncio.run(_run(url, "CREATE DATABASE bench"))
        url = at_database(url, "bench")
        environ[variable_name(("database", "url"))] = url
    key = _verb(folder, environ, "keys", "create", "--service", "default")
    return Prepared(folder, environ, key, url)


@contextmanager
def serving(
    prepared: Prepared,
    *,
    sink: int,
    logged: bool = True,
    paused: bool = False,
    settings: Mapping[tuple[str, ...], str] = _NONE,
    program: Sequence[str] = GATEWAY,
) -> Iterator[Served]:
    """Run a gateway on a fresh copy whose e-mail and SMS go to the port ``sink``.

    Its log goes to a file, or where not ``logged`` to be read by ``child.line``. ``paused``: it accepts for ``PAUSE``
    seconds and sends nothing, as after a provider has asked it to wait. ``settings`` go before those of the file, by
    their path; ``program`` takes the gateway's place.
    """
    number = secrets.token_hex(4)
    folder = prepared.folder.with_name(f"gateway-{number}")
    shutil.copytree(prepared.folder, folder)
    environ = {
        **prepared.environ,
        variable_name(("channels", "email", "port")): str(sink),
        variable_name(("channels", "sms", "base_url")): f"http://127.0.0.1:{sink}",
        **{variable_name(path): value for path, value in settings.items()},
    }
    try:
        with _database(prepared, f"bench_{number}", folder) as database:
            if paused:
                pause(database)
            if prepared.url is not None:
                environ[variable_name(("database", "url"))] = database
            command = [*program, "serve", "--config", str(folder / "config.toml")]
            with Child("gateway", command, folder, environ=environ, logged=logged) as child:
                yield Served(child, _port(child), prepared.key, database)
                # It would wait 11 s for attempts that nobody answers; what it holds is thrown away.
                child.stop(grace=0.0)
    finally:
        # The process that writes beside a gateway that was killed ends a moment later, and SQLite removes its log then.
        shutil.rmtree(folder, ignore_errors=True)


def pause(database: str, seconds: float = PAUSE) -> None:
    """Have a database's gateways send nothing for so many seconds; it is a PostgreSQL URL or a SQLite file's path."""
    rows = [(channel, time.time() + seconds) for channel in ("email", "sms")]
    if database.startswith("postgresql:"):
        values = ", ".join(f"('{channel}', {until})" for channel, until in rows)
        asyncio.run(_run(database, f"INSERT INTO pause (channel, until) VALUES {values}"))
        return
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany("INSERT INTO pause (channel, until) VALUES (?, ?)", rows)


def at_database(url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


@contextmanager
def _database(prepared: Prepared, name: str, folder: Path) -> Iterator[str]:
    if prepared.url is None:
        yield str(folder / "bench.db")
        return
    asyncio.run(_run(at_database(prepared.url, "postgres"), f"CREATE DATABASE {name} TEMPLATE bench"))
    try:
        yield at_database(prepared.url, name)
    finally:
        asyncio.run(_run(at_database(prepared.url, "postgres"), f"DROP DATABASE {name} WITH (FORCE)"))


async def _run(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


def _port(child: Child) -> int:
    return int(child.error_line(READY, PATIENCE).rpartition(":")[2])


def _environ() -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if not name.upper().startswith("OTP_GATEWAY_")}
    # An installed gateway has its bytecode; without it each start would compile the source anew, for 0.3 s.
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    ring = f'["k1:{base64.b64encode(secrets.token_bytes(32)).decode()}"]'
    environ[variable_name(("secrets", "keys"))] = ring
    environ[variable_name(("channels", "sms", "auth_token"))] = secrets.token_hex(16)
    return environ


def _verb(folder: Path, environ: Mapping[str, str], *arguments: str) -> str:
    command = [*GATEWAY, *arguments, "--config", str(folder / "config.toml")]
    done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        raise ChildError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout.strip()
