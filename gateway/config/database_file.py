"""Where a SQLite database is, or would be: looked at before anything is made there."""

from __future__ import annotations

from gateway.config.settings import Settings
from gateway.errors import ConfigError

_URL = ("database", "url")


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
    raise ConfigError([f"{settings.place(_URL)}: {fault}"])
