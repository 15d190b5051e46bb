"""``otp-gateway keys``: make, list, rotate and revoke the keys that services call with; and change what seals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from gateway.api.keys import networks, scopes
from gateway.api.keys.keys import Keys, Wanted
from gateway.api.keys.scopes import Scope
from gateway.api.keys.text import PREFIX
from gateway.api.keys.view import KeyView
from gateway.app import opened_store
from gateway.cli import filters
from gateway.cli.age import seconds_of
from gateway.cli.chosen import chosen
from gateway.cli.faults import tell
from gateway.cli.rotating import rotate_secrets
from gateway.cli.running import FAILED, told
from gateway.clock import rfc3339
from gateway.config import Settings
from gateway.errors import ConfigError
from gateway.events.console import printable

T = TypeVar("T")

app = typer.Typer(
    name="keys", help="Make, list, rotate and revoke the keys that services call with.", no_args_is_help=True
)

_HEADERS: Final = (
    *("id", "service", "name", "scopes", "from"),
    *("created", "expires", "last used", "revoked"),
)
#: The first of the columns that are times.
_CREATED: Final = 5
#: What a terminal's table never folds, and the columns a terminal has where a time fits on one line.
_WHOLE: Final = frozenset({"id", "created", "last used", "ends"})
_WIDE: Final = 130
#: What the table shows where there is nothing to show.
_EVERYWHERE: Final = "everywhere"
#: What it shows for the scopes a key has unless it was made with others: written out, they push all else off the screen.
_ALL_BUT_ADMIN: Final = "all but admin"
_NO_KEY: Final = "there is no key with that id; `otp-gateway keys list` shows them"

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="The config file; else OTP_GATEWAY_CONFIG, else ./config.toml.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The id that `keys list` shows.")]


@app.command()
def create(
    service: Annotated[str, typer.Option(help="The service that will call: the table's name in the config file.")],
    config: ConfigOption = None,
    *,
    name: Annotated[str, typer.Option(help="What the key is for, to tell it from others.")] = "",
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do, once for each; else everything but admin.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="When it ends by itself: 12h, 90d; else never.")] = None,
    allow_ip: Annotated[
        list[str] | None, typer.Option(help="A network it may be used from (CIDR), once for each; else everywhere.")
    ] = None,
) -> None:
    """Make a key and print it alone on standard output. It is not shown again."""
    lifetime = None if expires is None else seconds_of(expires, "--expires")
    if lifetime == 0:
        raise typer.BadParameter("a key that has ended is of no use; 1s or more", param_hint="--expires")
    with told():
        wanted = Wanted(frozenset(scope) if scope else scopes.DEFAULT, lifetime, _networks(allow_ip or ()))
        settings = chosen(config)
        if service not in settings.services:
            raise ConfigError([f"no service {service!r}; configured are {', '.join(sorted(settings.services))}"])
        key = _with_keys(settings, lambda keys: keys.create(service, name, wanted, third=False), existing=False)
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
    with told():
        settings = chosen(config)
        found = _with_keys(settings, lambda keys: _listed(keys, settings, service), reads=True)
    if as_json:
        typer.echo(json.dumps([_shown(key) for key in found], indent=2, ensure_ascii=False))
    else:
        _print_table(found)


@app.command()
def rotate(
    key_id: IdArgument,
    config: ConfigOption = None,
    *,
    grace: Annotated[str, typer.Option(help="How long the old key goes on: 0s, 2h, 7d.")] = "24h",
) -> None:
    """Make a key that takes another's place, and print it alone on standard output. It is not shown again.

    It has the same service, name, scopes and networks, and lasts as long as the other was made for. Of one name two keys are
    live at most.
    """
    seconds = seconds_of(grace, "--grace")
    with told():
        key = _with_keys(chosen(config), lambda keys: keys.rotate(_id(key_id), grace=seconds))
    if key is None:
        _no_such_key()
    typer.echo(key)
    typer.echo(f"Keep it now: only its hash is stored. The old key ends in {grace}.", err=True)


@app.command()
def revoke(key_id: IdArgument, config: ConfigOption = None) -> None:
    """End a key. Running nodes refuse it within 5 seconds."""
    with told():
        known = _with_keys(chosen(config), lambda keys: keys.revoke(_id(key_id)))
    if not known:
        _no_such_key()
    typer.echo("Revoked; running nodes refuse it within 5 seconds.", err=True)


app.command("rotate-secrets")(rotate_secrets)


async def _listed(keys: Keys, settings: Settings, service: str | None) -> list[KeyView]:
    await filters.check_service(settings, service, keys.list)
    return await keys.list(service)


def _no_such_key() -> None:
    # Without repeating it: a whole key may have been given for its id.
    tell(_NO_KEY)
    raise typer.Exit(FAILED)


def _id(given: str) -> str:
    """Return an id as it was given, with or without what stands before it in a key."""
    return given.removeprefix(PREFIX)


def _networks(texts: Sequence[str]) -> tuple[networks.Network, ...]:
    try:
        return networks.parsed(texts)
    except ValueError as error:
        raise ConfigError([f"--allow-ip: {error}"]) from None


def _with_keys(
    settings: Settings, ask: Callable[[Keys], Awaitable[T]], *, existing: bool = True, reads: bool = False
) -> T:
    """Ask about the keys. ``existing``: in a database that is there; else it is made, for a first key comes before all."""

    async def run() -> T:
        async with opened_store(settings, existing=existing, reads=reads) as store:
            return await ask(Keys(store.database, store.clock))

    return asyncio.run(run())


def _shown(key: KeyView) -> dict[str, str | list[str] | None]:
    return {
        "id": key.id,
        "service": key.service,
        "name": key.name,
        "prefix": f"{PREFIX}{key.id}",
        "scopes": [str(scope) for scope in Scope if scope in key.scopes],
        "networks": None if key.networks is None else [str(network) for network in key.networks],
        "created_at": rfc3339(key.created_at),
        "expires_at": _time(key.expires_at),
        "used_at": _time(key.used_at),
        "revoked_at": _time(key.revoked_at),
    }


def _time(at: float | None) -> str | None:
    return None if at is None else rfc3339(at)


def _cells(key: KeyView) -> list[str]:
    times = (key.created_at, key.expires_at, key.used_at, key.revoked_at)
    where = _EVERYWHERE if key.networks is None else " ".join(map(str, key.networks))
    named = (key.id, key.service, printable(key.name), _rights(key), where)
    return [*named, *("" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%MZ}" for at in times)]


def _rights(key: KeyView) -> str:
    if Scope.ADMIN in key.scopes:
        return Scope.ADMIN.value
    return _ALL_BUT_ADMIN if key.scopes == scopes.DEFAULT else scopes.written(key.scopes)


def _print_table(keys: Sequence[KeyView]) -> None:
    """Print a table on a terminal and aligned text into a pipe, where nothing may be folded or cut."""
    rows = [_cells(key) for key in keys]
    console = Console(highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        console.print(_table(rows, between="\n" if console.width < _WIDE else " "))
        return
    widths = [max(map(len, column)) for column in zip(_HEADERS, *rows, strict=True)]
    for line in (_HEADERS, *rows):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _table(rows: Sequence[Sequence[str]], *, between: str) -> Table:
    """Return a table in which no id, by which keys are revoked, and no time is cut; ``between`` parts day and hour."""
    table = Table(box=None, header_style="bold cyan", pad_edge=False)
    for header in (*_HEADERS[:_CREATED], "created", "last used", "ends"):
        table.add_column(header, no_wrap=header in _WHOLE, overflow="fold")
    for row in rows:
        created, expires, used, revoked = (time.replace("T", between) for time in row[_CREATED:])
        table.add_row(*row[:_CREATED], created, used, f"revoked{between}{revoked}" if revoked else expires)
    return table
