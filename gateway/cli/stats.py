"""``otp-gateway stats``: how the queue stands and what became of messages, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.app import opened_store
from gateway.cli.chosen import chosen
from gateway.cli.running import run, told
from gateway.clock import rfc3339
from gateway.config import Settings
from gateway.delivery.lifecycle import OPEN, MessageStatus
from gateway.events.census import COUNTED, Census, Counted
from gateway.events.console import printable

#: Seconds back from now by the name of the window.
WINDOWS: Final[Mapping[str, float]] = {"hour": 3600.0, "day": 86_400.0}
#: Seconds a due message may wait before it is shown in yellow, and in red: a free lane takes it within a second.
_LATE, _TOO_LATE = 5.0, 30.0

_ENDS: Final = tuple(status.value for status in MessageStatus if status not in OPEN)
_GOOD: Final = frozenset({"sent", "delivered"})
_BAD: Final = frozenset({"undelivered", "failed", "expired"})

#: A cell and how it looks.
_Cell = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Stats:
    """What was counted."""

    now: Counted
    #: Numbers of messages by window, channel and status.
    outcomes: Mapping[str, Mapping[str, Mapping[str, int]]]


def stats(
    config: Annotated[
        Path | None, typer.Option("--config", help="The config file; else OTP_GATEWAY_CONFIG, else ./config.toml.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")] = False,
) -> None:
    """Show by channel what waits and for how long, and what became of the last hour's and day's messages.

    It reads the database alone, so it works while no gateway runs, and counts a queue up to 10000.
    """
    with told():
        settings = chosen(config)
    run(_print(settings, as_json=as_json))


async def _print(settings: Settings, *, as_json: bool) -> None:
    async with opened_store(settings, reads=True, existing=True) as store:
        census = Census(store.database, store.clock, channels=settings.channels, services=settings.services)
        found = Stats(await census.count(), {name: await census.outcomes(age) for name, age in WINDOWS.items()})
    if as_json:
        typer.echo(orjson.dumps(_shown(found), option=orjson.OPT_INDENT_2))
        return
    console = Console(highlight=False, markup=False, emoji=False)
    _print_table(console, ("channel", "queued", "sending", "oldest"), list(_standing(found.now)))
    typer.echo()
    _print_table(console, ("channel", "last", "open", *_ENDS), list(_became(found.outcomes)))
    if found.now.webhooks:
        due = f"the oldest due {_age(found.now.webhook_lag)}" if found.now.webhook_lag else "none of them due yet"
        typer.echo(f"\nwebhooks: {_number(found.now.webhooks)} to be delivered, {due}")


def _shown(found: Stats) -> dict[str, Any]:
    """Return what ``--json`` prints; ages are in seconds."""
    return {
        "at": rfc3339(found.now.at),
        "queue": {
            channel: {"queued": item.queued, "sending": item.sending, "oldest_seconds": round(item.oldest, 3)}
            for channel, item in found.now.channels.items()
        },
        "messages": {
            window: {
                channel: {"open": _open(numbers), **{end: numbers.get(end, 0) for end in _ENDS}}
                for channel, numbers in channels.items()
            }
            for window, channels in found.outcomes.items()
        },
        "webhooks": {"pending": found.now.webhooks, "oldest_seconds": round(found.now.webhook_lag, 3)},
    }


def _standing(now: Counted) -> Iterator[list[_Cell]]:
    for channel, item in sorted(now.channels.items()):
        style = "red" if item.oldest >= _TOO_LATE else "yellow" if item.oldest >= _LATE else ""
        yield [(channel, ""), (_number(item.queued), ""), (_number(item.sending), ""), (_age(item.oldest), style)]


def _became(outcomes: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Iterator[list[_Cell]]:
    """Yield a row of each channel and window; what a newer gateway calls a status that is not known here is left out."""
    for channel in sorted({name for channels in outcomes.values() for name in channels}):
        for window, channels in outcomes.items():
            numbers = channels.get(channel, {})
            ends = ((str(numbers.get(end, 0)), _style(end, numbers.get(end, 0))) for end in _ENDS)
            yield [(printable(channel), ""), (window, "dim"), (str(_open(numbers)), ""), *ends]


def _open(numbers: Mapping[str, int]) -> int:
    return sum(numbers.get(status.value, 0) for status in OPEN)


def _style(end: str, number: int) -> str:
    if not number:
        return "dim"
    return "green" if end in _GOOD else "red" if end in _BAD else ""


def _number(found: int) -> str:
    return f"{COUNTED}+" if found >= COUNTED else str(found)


def _age(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds else "-"


def _print_table(console: Console, heads: Sequence[str], rows: Sequence[Sequence[_Cell]]) -> None:
    """Print a table on a terminal and aligned text into a pipe, where nothing may be folded or cut."""
    if console.is_terminal:
        table = Table(box=None, header_style="bold cyan", pad_edge=False)
        for place, head in enumerate(heads):
            table.add_column(head, justify="left" if place == 0 else "right", no_wrap=True)
        for row in rows:
            table.add_row(*(Text(text, style) for text, style in row))
        console.print(table)
        return
    lines = [list(heads), *([text for text, _ in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        typer.echo("  ".join(cells).rstrip())
