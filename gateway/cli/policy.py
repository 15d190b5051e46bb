"""``otp-gateway policy``: tries a changed policy on what happened, before it is put in force."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.app import kinds_of, open_channels, opened_store
from gateway.cli.age import seconds_of
from gateway.cli.chosen import chosen
from gateway.cli.money import money
from gateway.cli.numbers import counted
from gateway.cli.progress import shown
from gateway.cli.running import run, told
from gateway.clock import rfc3339
from gateway.config import Settings, load_settings
from gateway.errors import ConfigError
from gateway.events.console import printable
from gateway.verification.limits.history import History
from gateway.verification.limits.replay import Price, Replay
from gateway.verification.limits.replayed import Counts, Report

app = typer.Typer(name="policy", help="Try a changed policy on what happened.", no_args_is_help=True)

#: The columns behind a name.
_HEADS: Final = ("refused", "of them approved", "sends saved", "cost saved")
_SHOWN_COUNTS: Final = {"requests": "refused", "approved": "approved", "sends": "sends_saved", "cost": "cost_saved"}


@app.callback()
def _group() -> None:
    """Try a changed policy on what happened."""


@app.command()
def replay(
    config: Annotated[
        Path | None, typer.Option("--config", help="The config file; else OTP_GATEWAY_CONFIG, else ./config.toml.")
    ] = None,
    *,
    since: Annotated[str, typer.Option(help="How far back: 12h, 30d.")] = "30d",
    against: Annotated[
        Path | None, typer.Option(help="The config file whose services and prices are tried; else the same file.")
    ] = None,
    top: Annotated[int, typer.Option(min=0, max=10_000, help="Blocks of numbers and recipients shown.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")] = False,
) -> None:
    """Run the log through a policy: who would have been refused, what that saves, who of them was approved.

    It reads the database alone and changes nothing. What was refused at the time is not in the log, so a looser policy
    shows nothing; what people would have done after a refusal nobody knows.
    """
    age = seconds_of(since, "--since")
    with told():
        settings = chosen(config)
        tried = settings if against is None else _tried_settings(against)
    run(_replay(settings, tried, age, top, as_json=as_json))


def _tried_settings(file: Path) -> Settings:
    """Return the settings that are tried. Raises ``ConfigError`` whose faults name the option they came by."""
    try:
        return load_settings(file)
    except ConfigError as error:
        # The reader knows of one file alone, and of one option that names it.
        raise ConfigError([f"--against: {fault.removeprefix('--config: ')}" for fault in error.faults]) from None


async def _replay(settings: Settings, tried: Settings, age: float, top: int, *, as_json: bool) -> None:
    kinds = kinds_of(open_channels(settings, idle=True))
    async with opened_store(settings, reads=True, existing=True) as store:
        history = History(store.database.fetch, store.sealer, store.hasher, kinds)
        until = store.clock.now()
        report = await _tried(history, tried, until - age)
    period = rfc3339(until - age), rfc3339(until)
    if as_json:
        found = {"since": period[0], "until": period[1], "unreadable": history.unreadable, **_shown(report, top)}
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    else:
        _print(report, history.unreadable, period, top)


async def _tried(history: History, tried: Settings, since: float) -> Report:
    replayed = Replay(tried.services, _price(tried))
    total = await history.count(since)
    with shown("Replaying", total) as progress:
        async for page in history.read(since):
            for past in page.pasts:
                replayed.take(past)
            progress.moved(page.read)
    return replayed.finish()


def _price(settings: Settings) -> Price:
    def price(channel: str, country: str | None) -> float:
        # A channel that is not configured any more has no price.
        found = settings.channels.get(channel)
        return 0.0 if found is None else found.price_in(country)

    return price


def _shown(report: Report, top: int) -> dict[str, Any]:
    """Return what ``--json`` prints; costs are in the currency of the channels' prices."""
    return {
        "log": {name: round(value, 6) for name, value in asdict(report.log).items()},
        "no_policy": report.unknown,
        "refused": _counts(report.refused),
        "limits": {name: _counts(found) for name, found in _sorted(report.limits)},
        "services": {name: _counts(found) for name, found in _sorted(report.services)},
        "blocks": [{"block": name, **_counts(found)} for name, found in report.blocks.top(top)],
        "recipients": [{"recipient": name, **_counts(found)} for name, found in report.recipients.top(top)],
    }


def _counts(found: Counts) -> dict[str, int | float]:
    return {_SHOWN_COUNTS[name]: round(value, 6) for name, value in asdict(found).items()}


def _sorted(found: Mapping[str, Counts]) -> list[tuple[str, Counts]]:
    return sorted(found.items(), key=lambda item: (-item[1].requests, item[0]))


def _print(report: Report, unreadable: int, period: tuple[str, str], top: int) -> None:
    log, refused = report.log, report.refused
    typer.echo(f"{period[0]} to {period[1]}")
    typer.echo(
        f"in the log: {counted(log.verifications, 'verification')}, {log.approved} approved; "
        f"{counted(log.sends, 'send')}, {money(log.cost)}"
    )
    for number, why in (
        (unreadable, "whose addresses cannot be opened"),
        (report.unknown, "of services without a policy"),
    ):
        if number:
            typer.echo(f"left out: {counted(number, 'verification')} {why}")
    if not refused.requests:
        typer.echo("Nobody would have been refused.")
        return
    typer.echo(
        f"refused: {refused.requests}, of them approved {refused.approved}; "
        f"saved: {counted(refused.sends, 'send')}, {money(refused.cost)}"
    )
    console = Console(highlight=False, markup=False, emoji=False)
    for head, rows in (
        ("limit", _sorted(report.limits)),
        ("service", _sorted(report.services)),
        ("block of numbers", report.blocks.top(top)),
        ("recipient", report.recipients.top(top)),
    ):
        if rows:
            typer.echo()
            _print_table(console, (head, *_HEADS), list(_rows(rows)))


def _rows(found: Sequence[tuple[str, Counts]]) -> Iterator[list[str]]:
    for name, item in found:
        yield [printable(name), str(item.requests), str(item.approved), str(item.sends), money(item.cost)]


def _print_table(console: Console, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on a terminal and aligned text into a pipe, where nothing may be folded or cut."""
    if console.is_terminal:
        table = Table(box=None, header_style="bold cyan", pad_edge=False)
        for place, head in enumerate(heads):
            table.add_column(head, justify="left" if place == 0 else "right", no_wrap=True)
        for row in rows:
            # People who were approved are the price of a limit.
            table.add_row(*(Text(cell, "yellow" if at == 2 and cell != "0" else "") for at, cell in enumerate(row)))
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for line in (heads, *rows):
        first, *others = (cell.ljust(width) if at == 0 else cell.rjust(width)
                          for at, (cell, width) in enumerate(zip(line, widths, strict=True)))  # fmt: skip
        typer.echo("  ".join((first, *others)).rstrip())
