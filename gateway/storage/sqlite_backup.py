"""A copy of a SQLite file while a gateway writes to it: of one moment, whole, and on the disk."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from gateway.durable import sync
from gateway.storage.sqlite_file import BUSY_TIMEOUT, translated
from gateway.storage.unit import StorageDamagedError

#: Pages between two tellings, 4 MB.
STEP: Final = 1_000
_OWNER_ONLY: Final = 0o600

#: Is told how many pages are left, and of how many.
Left = Callable[[int, int], None]


def back_up(path: Path, copy: Path, left: Left = lambda _left, _of: None) -> int:
    """Copy the database at ``path`` to a new file and return its bytes. Blocks.

    Nobody waits for it, but SQLite's log goes on growing meanwhile. Raises ``FileExistsError`` where there is a file
    called ``copy``, other ``OSError`` where none can be made, and ``StorageError``: also where what was copied is damaged.
    """
    if os.path.lexists(copy):
        raise FileExistsError(copy)
    draft = copy.with_name(f".{copy.name}.{secrets.token_hex(8)}")
    # Made here, for SQLite would let others read it as the umask says: masked addresses stand in it as they are.
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY))
    try:
        try:
            _copy(path, draft, left)
            _check(draft)
        except (sqlite3.Error, MemoryError) as error:
            raise translated(error) from None
        sync(draft)
        _name(draft, copy)
    finally:
        draft.unlink(missing_ok=True)
    sync(copy.absolute().parent)
    return copy.stat().st_size


def _copy(path: Path, draft: Path, left: Left) -> None:
    way = f"{path.absolute().as_uri()}?mode=rw"
    with (
        closing(sqlite3.connect(way, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)) as source,
        closing(sqlite3.connect(draft, isolation_level=None)) as target,
    ):
        # What holds the one moment: without it SQLite begins a copy anew whenever another process has written, and beside
        # a busy gateway it never ends (sqlite.org/c3ref/backup_finish.html).
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        source.backup(target, pages=STEP, progress=lambda _, remaining, total: left(remaining, total), sleep=0.0)


def _check(draft: Path) -> None:
    # Nothing else opens it, so that it needs no log beside it.
    with closing(sqlite3.connect(f"{draft.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise StorageDamagedError("SQLite: the file is damaged, and so would be its copy; keep the copies there are")


def _name(draft: Path, copy: Path) -> None:
    try:
        # Fails where somebody took the name meanwhile; a rename would take the place of theirs.
        os.link(draft, copy)
    except FileExistsError:
        raise
    except OSError:
        # A file system without links: a network's share, a stick.
        if os.path.lexists(copy):
            raise FileExistsError(copy) from None
        draft.replace(copy)
