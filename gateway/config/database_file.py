"""Where a SQLite database is, or would be: looked at before anything is made there."""

from __future__ import annotations

import stat
from pathlib import Path

from gateway.config.settings import Settings
from gateway.errors import ConfigError

_URL = ("database", "url")


def check_database(settings: Settings) -> None:
    """Refuse to work with what is in a database that nobody has made yet. Raises ``ConfigError`` that names the key."""
    check_folder(settings)
    path = settings.database.path
    if path is not None and not is_made(path):
        told = f"there is no database yet at {path}: `otp-gateway serve` makes it; or correct the path"
        # Whose file nobody chose was told which one is used.
        raise ConfigError([f"{settings.place(_URL)}: {told}"], read_from=settings.read_from if settings.chosen else "")


def is_made(path: Path) -> bool:
    """Tell whether a SQLite file holds anything. Raises ``OSError`` where it cannot be looked at."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    # What is no file is no database either; opening it says so.
    return stat.S_ISREG(found.st_mode) and found.st_size > 0


def check_folder(settings: Settings) -> None:
    """Refuse a path at which no database can be. Raises ``ConfigError`` that names the key; of PostgreSQL it asks nothing.

    A mistyped path would otherwise be told as whatever is the first to be made in it.
    """
    path = settings.database.path
    if path is None:
        return
    folder = path.parent
    try:
        if not folder.exists():
            fault = f"there is no folder {folder}; make it, or correct the path"
        elif not folder.is_dir():
            fault = f"{folder} is no folder; correct the path"
        elif path.is_dir():
            fault = f"{path} is a folder; name a file in it"
        else:
            return
    except OSError as error:
        fault = f"{folder} cannot be looked into: {error.strerror}; run as the gateway's user"
    raise ConfigError([f"{settings.place(_URL)}: {fault}"], read_from=settings.read_from)
