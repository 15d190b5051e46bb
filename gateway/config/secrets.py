"""The key ring at start: from the settings, or from a file beside the SQLite database, made on the first start."""

from __future__ import annotations

import glob
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from gateway.config.database_file import check_folder, is_made
from gateway.config.environment import variable_name
from gateway.config.keyring import SealingKey, key_text, new_key, parse_ring
from gateway.config.settings import Settings
from gateway.durable import sync
from gateway.errors import ConfigError

_SUFFIX = ".secrets"
_OTHERS = 0o077
_OWNER_ONLY = 0o600
_VARIABLE = variable_name(("secrets", "keys"))
_NO_KEYS = (
    f"{_VARIABLE}: is missing, and PostgreSQL has no file to keep keys beside; make one by "
    f"`openssl rand -base64 32` and give every node {_VARIABLE}='[\"k1:<its output>\"]'"
)
_HEAD = """\
# The keys that seal addresses, codes and stored answers in the otp-gateway database beside this file.
# One key a line, <id>:<base64 of 32 random bytes>: the first seals, every one opens. To rotate, use
# `otp-gateway keys rotate-secrets`. Without this file nothing sealed can be opened: back it up, but not
# together with the database.
"""


def ensure_secrets(settings: Settings) -> tuple[SealingKey, ...]:
    """Return the key ring, the sealing key first.

    Where no keys are configured, SQLite has them in ``<database file>.secrets``: made on the first start (mode
    0600) and before the database, read on every later one. Nodes that share PostgreSQL must be given the same keys.
    Raises ``ConfigError``, also where there is a database and its keys are gone, or no folder for one.
    """
    check_folder(settings)
    ring = find_secrets(settings)
    database = settings.database.path
    if ring is not None or database is None:
        return ring or ()
    file = secrets_file(database)
    try:
        _create(file)
        return _read(file)
    except OSError as error:
        raise ConfigError(
            [f"{file}: cannot be made: {error.strerror}; make its folder writable or set {_VARIABLE}"]
        ) from None


def find_secrets(settings: Settings) -> tuple[SealingKey, ...] | None:
    """Return the key ring, ``None`` where the first start has yet to make it. Makes nothing.

    Raises what ``ensure_secrets`` does.
    """
    if settings.secrets.keys:
        return settings.secrets.ring
    database = settings.database.path
    if database is None:
        raise ConfigError([_NO_KEYS])
    file = secrets_file(database)
    try:
        # In this order: another start makes the keys before the database, so where the database was found its keys are
        # there by now. Asked the other way round, a start between the two questions would look like a loss.
        used = is_made(database)
        if file.exists():
            return _read(file)
    except OSError as error:
        raise ConfigError([f"{file}: cannot be read: {error.strerror}; run as the gateway's user"]) from None
    if used:
        raise ConfigError([_lost(file, database)])
    return None


def rewrite_secrets(database: Path, ring: Sequence[SealingKey]) -> None:
    """Write a SQLite database's keys anew, whole or not at all; a start at any moment reads the old ones or the new.

    Raises ``ConfigError`` where that cannot be done; then the old file stands.
    """
    file = secrets_file(database)
    try:
        for left in file.parent.glob(f".{glob.escape(file.name)}.*"):
            # Of one that was killed. It has every key of its ring, those too that were dropped since.
            left.unlink(missing_ok=True)
        draft = _draft(file, [key_text(key) for key in ring])
        draft.replace(file)
        sync(file.parent)
    except OSError as error:
        raise ConfigError([f"{file}: cannot be written: {error.strerror}"]) from None


def secrets_file(database: Path) -> Path:
    """Return where the keys of a SQLite database are kept."""
    return database.with_name(database.name + _SUFFIX)


def _lost(file: Path, database: Path) -> str:
    return (
        f"{file}: is missing, and without its keys nothing in {database} can be opened; restore it from a backup, or set "
        f"{_VARIABLE} to the keys. To begin anew, move the database away, its -wal and -shm too"
    )


def _create(file: Path) -> None:
    """Write a new key whole under another name, then give it its own: no start ever reads half a file.

    A hard link fails where the name is taken, so of two starts at once the first decides, and both read its key.
    """
    draft = _draft(file, [new_key()])
    try:
        with suppress(FileExistsError):  # another node was first: its key is the key
            os.link(draft, file)
    finally:
        # Gone where another start was first and its keys have been exchanged since.
        draft.unlink(missing_ok=True)
    # Without it a power loss could keep the database and forget the name of the file that opens it.
    sync(file.parent)


def _draft(file: Path, lines: Sequence[str]) -> Path:
    """Write keys to a new file beside ``file``, durably, and return it; nothing is left of one that failed."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write("\n".join([_HEAD.rstrip("\n"), *lines, ""]))
            out.flush()
            os.fsync(out.fileno())
    except BaseException:
        draft.unlink()
        raise
    return draft


def _read(file: Path) -> tuple[SealingKey, ...]:
    mode = file.stat().st_mode
    if mode & _OTHERS:
        raise ConfigError([f"{file}: can be read by others (mode {mode & 0o777:04o}); run chmod 600 on it"])
    try:
        lines = [line.strip() for line in file.read_text("utf-8").splitlines()]
        ring = parse_ring([line for line in lines if line and not line.startswith("#")])
    except UnicodeDecodeError:
        raise ConfigError([f"{file}: is not UTF-8"]) from None
    except ValueError as error:
        raise ConfigError([f"{file}: {error}"]) from None
    if not ring:
        raise ConfigError([f"{file}: holds no key; restore it from a backup"])
    return ring
