"""Looking over a SQLite file as it lies there, without making one, changing it or leaving anything beside it."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from channels.findings import Finding, fault, ok
from gateway.clock import SystemClock
from gateway.diagnosis.nodes import of_nodes, question
from gateway.storage import sqlite_file, told_clock
from gateway.storage.secret import FIND
from gateway.storage.unit import StorageError

#: Seconds a file is looked over at most, well within a question's time: a large one is then looked over in part.
CHECK_TIME: Final = 10.0
#: SQLite's steps between two looks at the time, some 0.1 ms.
_STEPS: Final = 10_000
#: Where a file's header says how it is written and read, and what stands there with a write-ahead log
#: (sqlite.org/fileformat2.html, 1.3.3).
_VERSIONS, _WAL = slice(18, 20), b"\x02\x02"
_HEADER: Final = 100


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at the database gave."""

    findings: list[Finding]
    #: The schema's revision, ``None`` where there are no tables.
    revision: str | None = None
    #: The sealed index key, ``None`` where there is none yet.
    sealed: bytes | None = field(default=None, repr=False)
    #: Whether it could be looked into, so that the last two mean something.
    opened: bool = False
    #: What time it is for the node that runs on it, in seconds since the Unix epoch; ``None`` where none does.
    node_time: float | None = None


def look(path: Path, *, clock: Callable[[], float] = time.monotonic, seconds: float = CHECK_TIME) -> Looked:
    """Look over the file at ``path``, for so many seconds at most. Blocks; raises nothing the file can cause.

    ``clock`` gives monotonic seconds.
    """
    if not path.exists():
        return Looked([_of_folder(path.parent)])
    try:
        sqlite_file.check_log(path)
        with path.open("rb") as file:
            header = file.read(_HEADER)
        with closing(_opened(path)) as connection:
            findings = [_of_pages(connection, clock, seconds), _of_log(header), _of_wiping(wipes=_wipes(connection))]
            revision, sealed, node_time = _of_tables(connection)
            findings += _of_nodes(connection, node_time)
    except StorageError as error:
        return Looked([fault("file", str(error))])
    except (sqlite3.Error, OSError) as error:
        return Looked([fault("file", str(sqlite_file.translated(error)))])
    return Looked(findings, revision, sealed, opened=True, node_time=node_time)


def _of_folder(folder: Path) -> Finding:
    if not folder.is_dir():
        return fault("file", "its folder does not exist; make it, or set [database] url")
    if not os.access(folder, os.W_OK | os.X_OK):
        return fault(
            "file", "this user cannot write into its folder; run as the gateway's user, or give that the folder"
        )
    return ok("file", "none yet: the first serve makes it")


def _opened(path: Path) -> sqlite3.Connection:
    # A reader of a database that is not in use would leave a log and its index behind, as this user's: a gateway of another
    # user could not open them. What nobody writes can be read without them.
    in_use = sqlite_file.log_of(path).exists()
    way = "mode=ro" if in_use else "mode=ro&immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{way}", uri=True, timeout=sqlite_file.BUSY_TIMEOUT)


def _of_pages(connection: sqlite3.Connection, clock: Callable[[], float], seconds: float) -> Finding:
    given_up = clock() + seconds
    connection.set_progress_handler(lambda: clock() >= given_up, _STEPS)
    try:
        [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return ok("integrity", f"well as far as could be looked at in {seconds:g} s")
    finally:
        connection.set_progress_handler(None, 0)
    if found != "ok":
        return fault("integrity", "the file is damaged; stop the gateway, keep it with its -wal, and restore a backup")
    return ok("integrity", "every page is well")


def _of_log(header: bytes) -> Finding:
    if header[_VERSIONS] == _WAL or not header:
        return ok("journal", "a write-ahead log")
    return ok("journal", "no write-ahead log yet: serve turns it on at its start, or refuses the file")


def _wipes(connection: sqlite3.Connection) -> bool:
    [wiping] = connection.execute("PRAGMA secure_delete=ON").fetchone()
    return bool(wiping == 1)


def _of_wiping(*, wipes: bool) -> Finding:
    if wipes:
        return ok("secure_delete", "what is deleted is wiped")
    return fault("secure_delete", "this SQLite cannot wipe, so codes stay readable in free pages; take another build")


def _of_nodes(connection: sqlite3.Connection, node_time: float | None) -> list[Finding]:
    found = connection.execute("SELECT count(*) FROM sqlite_master WHERE name IN ('lease', 'message')").fetchone()
    if found[0] < 2:
        return []
    now = SystemClock().now() if node_time is None else node_time
    runs, waiting = connection.execute(question(":now"), {"now": now}).fetchone()
    return [of_nodes(runs=bool(runs), waiting=waiting)]


def _of_tables(connection: sqlite3.Connection) -> tuple[str | None, bytes | None, float | None]:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    revision = sealed = told = None
    if "alembic_version" in tables:
        revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if "secret" in tables:
        sealed = connection.execute(FIND).fetchone()
    elapsed = SystemClock().monotonic()
    if "lease" in tables:
        told = connection.execute(told_clock.TOLD, {"boot": told_clock.boot(), "elapsed": elapsed}).fetchone()
    return revision and revision[0], sealed and sealed[0], told and told[0] + elapsed
