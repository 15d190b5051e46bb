"""``otp-gateway keys``: make, list and revoke the keys that services call with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from gateway.api.keys import Keys, KeyView
from gateway.app import opened_store
from gateway.clock import rfc3339
from gateway.config import Settings, load_settings
from gateway.errors import ConfigError
from gateway.storage.unit import StorageError

T = TypeVar("T")

app = typer.Typer(name="keys", help="Make, list and revoke the keys that services call with.", no_args_is_help=True)

#: Exit code where there is no such key, or the database cannot be used.
FAILED = 1
#: Exit code where the configuration or a name in the command cannot be used.
FAULTY = 2

_HEADERS = ("id", "service", "name", "created", "revoked")

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="The config file; else OTP_GATEWAY_CONFIG, else ./config.toml.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]


@app.command()
def create(
    service: Annotated[str, typer.Option(help="The service that will call: the table's name in the config file.")],
    config: ConfigOption = None,
    *,
    name: Annotated[str, typer.Option(help="What the key is for, to tell it from others.")] = "",
) -> None:
    """Make a key and print it alone on standard output. It is not shown again."""
    with _told():
        settings = load_settings(config)
        if service not in settings.services:
            raise ConfigError([f"no service {service!r}; configured are {', '.join(sorted(settings.services))}"])
        key = _with_keys(settings, lambda keys: keys.create(service, name))
    typer.echo(key)
    typer.echo(f"A key of {service}. Keep it now: only its hash is stored.", err=True)


@app.command("list")
def list_keys(
    config: ConfigOption = None,
    *,
    service: Annotated[str | None, typer.Option(help="Only this service's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the keys by the ids they are revoked by; never the keys themselves."""
    with _told():
        found = _with_keys(load_settings(config), lambda keys: keys.list(service))
    if as_json:
        typer.echo(json.dumps([_shown(key) for key in found], indent=2, ensure_ascii=False))
    else:
        _print_table(found)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The id that `keys list` shows.")],
    config: ConfigOption = None,
) -> None:
    """End a key. Running nodes refuse it within 5 seconds."""
    with _told():
        known = _with_keys(load_settings(config), lambda keys: keys.revoke(key_id))
    if not known:
        # Without repeating it: a whole key may have been given for its id.
        typer.echo("error: there is no key with that id; `otp-gateway keys list` shows them", err=True)
        raise typer.Exit(FAILED)
    typer.echo("Revoked; running nodes refuse it within 5 seconds.", err=True)


def _with_keys(settings: Settings, ask: Callable[[Keys], Awaitable[T]]) -> T:
    async def run() -> T:
        async with opened_store(settings) as store:
            return await ask(Keys(store.database, store.clock))

    return asyncio.run(run())


@contextmanager
def _told() -> Iterator[None]:
    """Print what is wrong and exit, where it is the operator's to mend."""
    try:
        yield
    except ConfigError as error:
        for fault in error.faults:
            typer.echo(f"error: {fault}", err=True)
        raise typer.Exit(FAULTY) from None
    except StorageError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(FAILED) from None


def _shown(key: KeyView) -> dict[str, str | None]:
    return {
        "id": key.id,
        "service": key.service,
        "name": key.name,
        "created_at": rfc3339(key.created_at),
        "revoked_at": None if key.revoked_at is None else rfc3339(key.revoked_at),
    }


def _print_table(keys: Sequence[KeyView]) -> None:
    """Print a table on a terminal and aligned text into a pipe, where nothing may be folded or cut."""
    rows = [[value or "" for value in _shown(key).values()] for key in keys]
    console = Console(highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        table = Table(*_HEADERS, box=None, header_style="bold cyan", pad_edge=False)
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(_HEADERS, *rows, strict=True)]
    for line in (_HEADERS, *rows):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
