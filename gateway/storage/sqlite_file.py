"""A SQLite file: opened with this project's settings, looked over before it is trusted, its errors put in our words."""

from __future__ import annotations

import os
import sqlite3
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path

from gateway.storage.sqlite_checkpoints import LAST_RESORT
from gateway.storage.unit import StorageDamagedError, StorageError, StorageUnavailableError

#: Seconds a writer waits for another process's write lock before it gives up with "locked".
BUSY_TIMEOUT = 5.0
#: KiB of pages a connection keeps: with SQLite's 2 MiB the ends of the indexes were read again and again.
CACHE = 8 * 1024
#: Seconds a file is looked over at most: a large one is then looked over in part. They are a part of every start.
CHECK_TIME = 0.25
#: SQLite's steps between two looks at the time, some 0.1 ms.
_CHECK_STEPS = 10_000
#: Bytes up to which a file is looked over whole, however busy the machine is: 64 MiB take 0.1 s.
_SMALL = 64 * 1024 * 1024
#: What is set on every connection that writes, in whichever process.
SETTINGS = (
    *("synchronous=FULL", "secure_delete=ON", "temp_store=MEMORY", f"cache_size={-CACHE}"),
    f"wal_autocheckpoint={LAST_RESORT}",
)

_OWNER_ONLY = 0o600

#: Errors of one statement, one row or one moment; after any other, a file may have been exchanged, remounted or made
#: readable again, which only a new connection finds out. (sqlite.org/rescode.html)
_PASSING = frozenset({
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_RANGE,
})  # fmt: skip
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

#: What an operator does about a damaged file.
_REMEDY = "stop the gateway, keep the file with its -wal beside it for a rescue, and restore a backup"

#: A log's header: magic, version, page size, checkpoints, two salts, two checksums (sqlite.org/fileformat2.html#walformat).
_LOG_HEADER = struct.Struct(">8I")
_LOG_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}


def make(path: Path) -> None:
    """Make an empty file where there is none: only its owner reads it, and its log, to which SQLite gives the same mode.

    SQLite would go by the umask, and masked addresses stand in the file as they are.
    """
    # One that is there has the mode its operator gave it; where none can be made, SQLite will say why.
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY))


def connect(path: Path, busy_timeout: float = BUSY_TIMEOUT) -> sqlite3.Connection:
    """Open the file with this project's settings. Raises ``sqlite3.Error`` or ``StorageError``."""
    connection = sqlite3.connect(
        path, timeout=busy_timeout, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        connection.row_factory = sqlite3.Row
        _turn_to_wal(connection, busy_timeout)
        for setting in SETTINGS:
            connection.execute(f"PRAGMA {setting}")
    except BaseException:
        connection.close()
        raise
    return connection


def _turn_to_wal(connection: sqlite3.Connection, busy_timeout: float) -> None:
    # While another process turns the same new file, SQLite says "locked" at once, whatever its timeout.
    given_up = time.monotonic() + busy_timeout
    while True:
        try:
            [mode] = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= given_up:
                raise
            time.sleep(0.01)
        else:
            break
    if mode != "wal":
        raise StorageError(
            "SQLite: the file cannot have a write-ahead log where it lies; move it to a disk of this machine"
        )


def check(path: Path, seconds: float = CHECK_TIME) -> None:
    """Look over a file before it is used, for so many seconds at most unless it is small.

    Raises ``StorageDamagedError`` with what to do, or ``StorageUnavailableError`` where it cannot be opened.
    """
    check_log(path)
    try:
        connection = connect(path)
        try:
            well = _is_well(connection, seconds if path.stat().st_size > _SMALL else threading.TIMEOUT_MAX)
        finally:
            connection.close()
    except (sqlite3.Error, OSError) as error:
        raise translated(error) from None
    if not well:
        raise StorageDamagedError(f"SQLite: the database file is damaged; {_REMEDY}")


def _is_well(connection: sqlite3.Connection, seconds: float) -> bool:
    given_up = threading.Event()

    def give_up() -> None:
        given_up.set()
        connection.interrupt()

    # From row to row SQLite asks whether to go on; on its way through all pages before them, which takes most of the
    # time (1.5 s of a file of 0.9 GB), it only notices that it is interrupted.
    connection.set_progress_handler(given_up.is_set, _CHECK_STEPS)
    alarm = threading.Timer(seconds, give_up)
    alarm.daemon = True
    alarm.start()
    try:
        [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        # What was looked at in that time was well.
        return True
    finally:
        alarm.cancel()
        alarm.join()
    # Of the pages it was kept from looking at it says that nothing leads there.
    return bool(found == "ok" or given_up.is_set())


def log_of(path: Path) -> Path:
    """Return where a file's write-ahead log lies: beside the file that is meant where ``path`` is a link to it."""
    meant = path.resolve()
    return meant.with_name(f"{meant.name}-wal")


def check_log(path: Path) -> None:
    """Look at the header of the file's write-ahead log, if there is one. To be done before the file is opened.

    SQLite passes over a log it cannot read, without a word, and with it over what was acknowledged and is in no
    other place yet. Raises ``StorageDamagedError``.
    """
    log = log_of(path)
    # Another process may be writing it at this moment: what is damaged stays so.
    if not any(_is_log(_header(log)) for _ in range(3)):
        raise StorageDamagedError(
            f"SQLite: the log {log} is damaged, and what was written last is in it alone; {_REMEDY}, "
            "or move the log away to go on without it"
        )


def _header(log: Path) -> bytes:
    try:
        with log.open("rb") as opened:
            return opened.read(_LOG_HEADER.size)
    except OSError:
        # There is none, or SQLite will say itself why it cannot be read.
        return b""


def _is_log(header: bytes) -> bool:
    if len(header) < _LOG_HEADER.size or not any(header):
        # It was begun when the power failed: nothing in it was acknowledged.
        return True
    order = _LOG_MAGIC.get(int.from_bytes(header[:4], "big"))
    if order is None:
        return False
    first = second = 0
    for one, other in struct.iter_unpack(f"{order}2I", header[:24]):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return (first, second) == _LOG_HEADER.unpack(header)[6:]


def breaks(error: BaseException) -> bool:
    """Return whether a connection should be made anew after ``error``."""
    code = _code(error)
    return code not in _PASSING if code else isinstance(error, OSError | MemoryError)


def translated(error: BaseException) -> StorageError:
    """Return what an error of SQLite's means here. Its texts hold no values."""
    if _code(error) in _DAMAGED:
        return StorageDamagedError(f"SQLite: {error}; {_REMEDY}")
    if isinstance(error, sqlite3.OperationalError | OSError | MemoryError) and _code(error) != sqlite3.SQLITE_ERROR:
        # Locked, full, read-only, I/O error: the machine's trouble, not the statement's.
        return StorageUnavailableError(f"SQLite: {str(error) or 'out of memory'}")
    return StorageError(f"SQLite: {error}")


def _code(error: BaseException) -> int:
    """Return SQLite's primary result code, 0 where the error is not SQLite's own."""
    return int(getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
