"""``otp-gateway backup``: a copy of the SQLite database while a gateway runs on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.chosen import chosen
from gateway.cli.progress import Shown, shown
from gateway.cli.running import told
from gateway.config import check_database, secrets_file
from gateway.errors import ConfigError
from gateway.storage.sqlite_backup import back_up

_MIB = 1024 * 1024


def backup(
    copy: Annotated[Path, typer.Argument(help="The file to make.", show_default=False)],
    config: Annotated[
        Path | None, typer.Option("--config", help="The config file; else OTP_GATEWAY_CONFIG, else ./config.toml.")
    ] = None,
) -> None:
    """Copy the SQLite database to a new file, as it is at one moment, and look the copy over. The gateway may run.

    The sealing keys are not in it: keep a copy of their file somewhere else, once.
    """
    with told():
        settings = chosen(config)
        path = settings.database.path
        if path is None:
            raise ConfigError(["[database] url: PostgreSQL has `pg_dump` for this"])
        check_database(settings)
        size = _copied(path, copy)
        keys = "in [secrets] keys" if settings.secrets.keys else f"in {secrets_file(path)}"
        typer.echo(f"{copy}: {size / _MIB:.1f} MiB, whole. Without the keys {keys} nothing sealed in it can be opened.")


def _copied(path: Path, copy: Path) -> int:
    try:
        with shown("copied", 100) as bar:
            return back_up(path, copy, _Percent(bar).left)
    except FileExistsError:
        raise ConfigError([f"{copy}: is there already; give a new file's name"]) from None
    except OSError as error:
        raise ConfigError([f"{copy}: {error.strerror}"]) from None


class _Percent:
    """Moves a bar by whole hundredths."""

    def __init__(self, bar: Shown) -> None:
        self._bar = bar
        self._done = 0

    def left(self, remaining: int, total: int) -> None:
        done = 100 * (total - remaining) // max(total, 1)
        self._bar.moved(done - self._done)
        self._done = done
