"""``otp-gateway logs``: what happened, from the database, for people and for programs."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import orjson
import typer
from rich.console import Console
from rich.text import Text

from gateway.app import Store, opened_store, read_addressee, told_where
from gateway.cli import filters
from gateway.cli.age import seconds_of
from gateway.cli.chosen import chosen
from gateway.cli.recipient import refused
from gateway.cli.running import run, told
from gateway.cli.standard_output import reader_left
from gateway.clock import rfc3339
from gateway.config import Settings
from gateway.events.console import printable
from gateway.events.event import Event, EventName
from gateway.events.line import level_of, line_of
from gateway.events.timeline import Filters, Timeline
from gateway.storage.unit import StorageError
from gateway.verification.addressee import Addressee

#: Columns and their least width, so that what follows later stands in line with what came before.
_COLUMNS: Final = {
    "time (UTC)": 18,
    "event": 22,
    "verification": 12,
    "channel": 8,
    "#": 1,
    "outcome": 21,
    "recipient": 14,
    "ms": 7,
}
_RIGHT: Final = frozenset({"#", "ms"})
_GOOD: Final = frozenset({EventName.VERIFICATION_APPROVED, EventName.MESSAGE_DELIVERED, EventName.SUBSCRIBER_LINKED})
#: Characters of an id shown on a terminal: the random end, which tells two of the same moment apart.
_SHORT: Final = 8
#: The level above which an event is red, and from which it is yellow, as ``logging`` counts.
_ERROR: Final = 40
_WARNING: Final = 30


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What was asked for on the command line."""

    verification: str | None
    to: Addressee | None
    service: str | None
    prefix: str | None
    #: Seconds back from now; ``None`` is from the beginning.
    age: float | None
    limit: int
    follow: bool


def logs(
    config: Annotated[
        Path | None, typer.Option("--config", help="The config file; else OTP_GATEWAY_CONFIG, else ./config.toml.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens, until Ctrl-C.")] = False,
    verification: Annotated[str | None, typer.Option(help="Only this verification's, by its whole id.")] = None,
    to: Annotated[str | None, typer.Option(help="Only of verifications that went to this address.")] = None,
    service: Annotated[str | None, typer.Option(help="Only this service's.")] = None,
    event: Annotated[str | None, typer.Option(help="Only events whose name begins so: message.failed.")] = None,
    since: Annotated[str | None, typer.Option(help="Not older than this: 30m, 1h, 2d.")] = None,
    limit: Annotated[
        int, typer.Option(min=0, max=100_000, help="The last so many; 0 with --follow alone: what comes.")
    ] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines, for a program to read.")] = False,
) -> None:
    """Print the timeline: every event, oldest first, with what became of it and why.

    On a terminal times and the ids of verifications are shortened; in a pipe and with --json they are whole.
    """
    filters.check_event(event)
    filters.check_verification(verification)
    filters.check_limit(limit, follow=follow)
    age = None if since is None else seconds_of(since, "--since")
    with told(), refused():
        settings = chosen(config)
        addressee = None if to is None else read_addressee(settings, to)
    wanted = _Wanted(verification, addressee, service, event, age, limit, follow)
    run(_print_all(settings, wanted, _printer(as_json=as_json)))


async def _print_all(settings: Settings, wanted: _Wanted, show: Callable[[Sequence[Event]], str]) -> None:
    async with (
        opened_store(settings, reads=True, existing=True) as store,
        aclosing(_batches(settings, store, wanted)) as batches,
    ):
        found = False
        async for batch in batches:
            found = found or bool(batch)
            sys.stdout.write(show(batch))
            sys.stdout.flush()
            if reader_left():
                return
    if wanted.to is not None and not found:
        typer.echo(f"Nothing of this address was found; it was taken for {wanted.to.taken_for()}.", err=True)


async def _batches(settings: Settings, store: Store, wanted: _Wanted) -> AsyncGenerator[list[Event], None]:
    timeline, chosen = Timeline(store.database), _filters(store, wanted)
    await filters.check_service(
        settings, wanted.service, lambda name: timeline.latest(filters=Filters(service=name), limit=1)
    )
    if not wanted.follow:
        yield await timeline.latest(filters=chosen, limit=wanted.limit)
        return
    async with aclosing(
        timeline.follow(filters=chosen, limit=wanted.limit, away=partial(_tell_away, settings))
    ) as batches:
        async for batch in batches:
            yield batch


def _tell_away(settings: Settings, error: StorageError | None) -> None:
    told = (
        "the database is back"
        if error is None
        else f"{told_where(settings.database, error)}; tried again until it is back"
    )
    typer.echo(told, err=True)


def _filters(store: Store, wanted: _Wanted) -> Filters:
    return Filters(
        verification=wanted.verification,
        addresses=None if wanted.to is None else wanted.to.hashes(store.hasher),
        service=wanted.service,
        prefix=wanted.prefix,
        since=0.0 if wanted.age is None else store.clock.now() - wanted.age,
    )


def _printer(*, as_json: bool) -> Callable[[Sequence[Event]], str]:
    """Return what makes text of a batch: JSON lines, a coloured table, or plain columns where nobody looks."""
    if as_json:
        return _json_lines
    return Columns(Console(highlight=False) if sys.stdout.isatty() else None)


def _json_lines(batch: Sequence[Event]) -> str:
    return b"".join(orjson.dumps(line_of(item), option=orjson.OPT_APPEND_NEWLINE) for item in batch).decode()


class Columns:
    """Makes aligned lines of batches, two spaces between columns and one heading for all; coloured on a console."""

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._widths = [max(width, len(name)) for name, width in _COLUMNS.items()]
        self._headed = False

    def __call__(self, batch: Sequence[Event]) -> str:
        """Return the lines of a batch."""
        rows = [(_row(item, short=self._console is not None), _styles(item)) for item in batch]
        # Never narrower than before: what follows stands in line with what is there.
        self._widths = [max([width, *(len(row[at]) for row, _ in rows)]) for at, width in enumerate(self._widths)]
        heading = [] if self._headed else [(list(_COLUMNS), ["bold"] * len(_COLUMNS))]
        self._headed = True
        return "".join(self._line(self._padded(row), styles) for row, styles in [*heading, *rows])

    def _padded(self, row: Sequence[str]) -> list[str]:
        return [
            cell.rjust(width) if name in _RIGHT else cell.ljust(width)
            for cell, width, name in zip(row, self._widths, _COLUMNS, strict=True)
        ]

    def _line(self, cells: Sequence[str], styles: Sequence[str]) -> str:
        if self._console is None:
            return f"{'  '.join(cells).rstrip()}\n"
        line = Text("  ").join(Text(cell, style) for cell, style in zip(cells, styles, strict=True))
        line.rstrip()
        with self._console.capture() as capture:
            # A line longer than the terminal is wide goes on below; nothing is cut.
            self._console.print(line, soft_wrap=True)
        return capture.get()


def _row(item: Event, *, short: bool) -> list[str]:
    """Return an event's cells, ``short`` for a terminal. What a provider wrote must not move its cursor."""
    verification = item.verification_id or ""
    outcome = " ".join(part for part in (item.outcome, item.reason, item.provider_code) if part)
    cells = (
        _moment(item.at) if short else rfc3339(item.at),
        str(item.name),
        f"…{verification[-_SHORT:]}" if short and verification else verification,
        item.channel or "",
        "" if item.attempt is None else str(item.attempt),
        outcome,
        item.recipient or "",
        "" if item.milliseconds is None else f"{item.milliseconds:.1f}",
    )
    return [printable(cell) for cell in cells]


def _moment(at: float) -> str:
    return rfc3339(at)[5:23].replace("T", " ")


def _styles(item: Event) -> list[str]:
    style = _style(item)
    return ["dim", style, "", "", "", style, "", "dim"]


def _style(item: Event) -> str:
    level = level_of(item)
    if level >= _ERROR or item.outcome == "permanent":
        return "red"
    if level >= _WARNING or item.outcome in {"transient", "unknown"}:
        return "yellow"
    return "green" if item.name in _GOOD else ""
