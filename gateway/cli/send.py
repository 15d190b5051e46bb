"""``otp-gateway send``: a code to one person, or to everybody in a list, through the database of the config file."""

from __future__ import annotations

import asyncio
import hashlib
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import orjson
import typer
from rich.console import Console
from rich.table import Table

from gateway.api import telling
from gateway.api.responses import encode
from gateway.app.taking import Taking, taking
from gateway.cli.bulk import Bulk
from gateway.cli.chosen import chosen
from gateway.cli.faults import tell
from gateway.cli.following import Follow
from gateway.cli.money import money
from gateway.cli.numbers import counted
from gateway.cli.people import Fault, People, Row, asked_for
from gateway.cli.progress import shown
from gateway.cli.results import Result, Results, Status
from gateway.cli.running import FAILED, MISUSED, run, told
from gateway.cli.trial import Trial, tried
from gateway.clock import SystemClock
from gateway.config import Settings
from gateway.errors import ConfigError, FieldError, InvalidRequest
from gateway.events.console import printable
from gateway.signals import end_by
from gateway.value import Value

#: The service whose codes are sent unless one is named.
_SERVICE: Final = "default"
#: Statuses of rows that are taken on.
_TAKEN: Final = (Status.QUEUED.value, Status.WAITING.value)


class Order(Value, frozen=True):
    """What the command line asks for."""

    hidden: ClassVar[frozenset[str]] = frozenset({"wishes"})

    service: str
    #: What a request says beside its addresses.
    wishes: Mapping[str, Any]
    as_json: bool
    #: Of a list: look at it only.
    dry_run: bool = False
    #: Of a list: leave out what cannot be used, rather than send nothing.
    skip_faulty: bool = False
    #: Rows per second; 0 is as fast as it goes.
    rate: float = 0.0


#: The option that sets a field of a request.
_OPTIONS: Final = {
    "to": "--to",
    "purpose": "--purpose",
    "channels": "--channel",
    "locale": "--locale",
    "ttl": "--ttl",
    "params": "--param",
}


def send(
    config: Annotated[
        Path | None, typer.Option("--config", help="The config file; else OTP_GATEWAY_CONFIG, else ./config.toml.")
    ] = None,
    *,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", help="An e-mail address, an E.164 number, or kind=address; repeatable with kinds."),
    ] = None,
    people: Annotated[Path | None, typer.Option("--from", help="A CSV file of people, instead of --to.")] = None,
    service: Annotated[str | None, typer.Option(help="Whose code it is; default unless given.")] = None,
    purpose: Annotated[str | None, typer.Option(help="What the code is for; it picks the template.")] = None,
    channel: Annotated[list[str] | None, typer.Option(help="The route, in order; repeatable.")] = None,
    locale: Annotated[str | None, typer.Option(help="The language, such as de-AT.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="A value for the templates, name=value; repeatable.")] = None,
    ttl: Annotated[int | None, typer.Option(help="Seconds the code lives.")] = None,
    wait: Annotated[float, typer.Option(min=0, help="With --to: seconds to wait until it is sent.")] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --from: check everything, send nothing.")] = False,
    skip_faulty: Annotated[bool, typer.Option("--skip-faulty", help="With --from: send to the other lines.")] = False,
    results: Annotated[Path | None, typer.Option(help="With --from: the file that is written as it goes.")] = None,
    rate: Annotated[float, typer.Option(min=0, help="With --from: rows per second at most; 0 is no limit.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")] = False,
) -> None:
    """Send a code to somebody, or to everybody in a CSV file; a running gateway delivers it.

    It writes into the database, so it needs no key and works beside any number of nodes. A list that was stopped,
    even by a kill, goes on where it was when the same command is given again; nobody gets a second code.
    """
    with told():
        if (to is None) == (people is None):
            raise ConfigError(["give one of --to and --from"])
        if people is None and (dry_run or skip_faulty or results or rate):
            raise ConfigError(["--dry-run, --skip-faulty, --results and --rate are for --from"])
        if to is None and wait:
            raise ConfigError(["--wait is for --to"])
        settings = chosen(config)
        wishes = {"purpose": purpose, "channels": channel, "locale": locale, "ttl": ttl, "params": _params(param)}
        order = Order(
            service=_service(settings, service),
            wishes={name: value for name, value in wishes.items() if value},
            as_json=as_json,
            dry_run=dry_run,
            skip_faulty=skip_faulty,
            rate=rate,
        )
    if people is None:
        run(_one(settings, order, to or [], wait))
    else:
        with told():
            raw = _read(people)
        run(_list(settings, order, people, raw, results or people.with_suffix(".results.csv")))


def _service(settings: Settings, name: str | None) -> str:
    """Return the service whose codes are sent. Raises ``ConfigError``."""
    wanted = name or (_SERVICE if _SERVICE in settings.services else next(iter(settings.services), _SERVICE))
    if wanted not in settings.services:
        raise ConfigError([f"no service {wanted!r}; configured are {', '.join(sorted(settings.services)) or 'none'}"])
    return wanted


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None


def _params(given: Sequence[str] | None) -> dict[str, str]:
    pairs = [item.partition("=") for item in given or ()]
    if not all(name and equals for name, equals, _ in pairs):
        raise ConfigError(["--param takes name=value"])
    return {name: value for name, _, value in pairs}


async def _one(settings: Settings, order: Order, to: Sequence[str], wait: float) -> None:
    async with taking(settings) as takes:
        try:
            asked = asked_for(_addresses(to, takes.kinds), order.wishes)
            view = await takes.one(order.service, asked)
        except InvalidRequest as problem:
            raise ConfigError(_of_options(problem)) from None
        if not order.as_json:
            typer.echo(view.id)
        if view.link:
            typer.echo(f"it is sent once the person has opened {view.link}", err=True)
        sent = True
        if wait:
            follow = Follow(takes, SystemClock(), tell=lambda sentence: typer.echo(sentence, err=True))
            view, sent = await follow.until_sent(order.service, view.id, wait)
        if order.as_json:
            typer.echo(encode(telling.verification(view)))
    if not sent:
        raise typer.Exit(FAILED)


def _of_options(problem: InvalidRequest) -> list[str]:
    """Return what is wrong by the options it came by: who typed them knows nothing of the request they become."""
    return [_of_option(fault) for fault in problem.errors] or [problem.detail]


def _of_option(fault: FieldError) -> str:
    _, field, *inner = [*fault.pointer.split("/"), ""]
    if field not in _OPTIONS:
        return f"{fault.pointer}: {fault.detail}"
    named = f" {inner[0]}" if field == "params" and inner[0] else ""
    return f"{_OPTIONS[field]}{named}: {fault.detail}"


def _addresses(to: Sequence[str], kinds: Sequence[str]) -> str | dict[str, str]:
    """Return what ``--to`` names: one plain address, or several by their kinds. Raises ``ConfigError``."""
    found = {}
    for item in to:
        kind, equals, address = item.partition("=")
        if not equals or kind not in kinds:
            if len(to) == 1:
                return item
            raise ConfigError([f"several --to are each kind=address, with one of {', '.join(sorted(kinds))}"])
        found[kind] = address
    if len(found) < len(to):
        raise ConfigError(["two --to are of the same kind"])
    return found


async def _list(settings: Settings, order: Order, path: Path, raw: bytes, results: Path) -> None:
    with _stopping() as stopping:
        async with taking(settings, trial=order.dry_run) as takes:
            try:
                people = People(raw, takes.kinds, order.wishes)
            except ConfigError as error:
                raise ConfigError([f"{path}: {fault}" for fault in error.faults]) from None
            trial = await _tried(people, takes, order, path, stopping)
            if order.dry_run:
                _print_trial(trial, order)
            elif stopping.stopped:
                typer.echo("stopped; nothing was sent", err=True)
            else:
                await _sent(takes, people, trial, order, results, _run_of(raw, order), stopping)
                return
    if trial.faults or stopping.stopped:
        # Lines that are left out on purpose are rows that are not sent to, as they are where it is no trial.
        raise typer.Exit(MISUSED if trial.faults and not order.skip_faulty else FAILED)


def _run_of(raw: bytes, order: Order) -> str:
    """Return the name of a run: the same list with the same options has the same one, on any machine."""
    options = orjson.dumps([order.service, order.wishes], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(hashlib.sha256(raw).digest() + options).hexdigest()[:32]


async def _tried(people: People, takes: Taking, order: Order, path: Path, stopping: Stopping) -> Trial:
    total = sum(1 for _ in people)
    with shown("checking", total) as bar:
        trial = await tried(people, takes.foresight, order.service, moved=bar.moved, stopped=lambda: stopping.stopped)
    # A column's name stands in it as whoever made the list wrote it.
    tell("\n".join(f"{path}:{fault.line}: {printable(fault.text)}" for fault in trial.faults))
    return trial


async def _sent(
    takes: Taking, people: People, trial: Trial, order: Order, path: Path, run_name: str, stopping: Stopping
) -> None:
    if trial.faults and not order.skip_faulty:
        faults = f"{len(trial.faults)} of {counted(trial.rows, 'line')} cannot be used, and nothing was sent"
        raise ConfigError([f"{faults}; mend them, or leave them out with --skip-faulty"])
    faulty = {fault.line: fault for fault in trial.faults}
    with Results(path, run_name) as results:
        before = Counter(results.finished.values())
        results.write(_faulty(fault) for line, fault in faulty.items() if line not in results.finished)
        left = trial.rows - len(results.finished.keys() | faulty.keys())
        with shown("sending", left) as bar:
            bulk = Bulk(
                takes,
                results,
                SystemClock(),
                service=order.service,
                run=run_name,
                rate=order.rate,
                told=bar.tell,
                moved=bar.moved,
            )
            stopping.then = bulk.stop
            await bulk.send(row for row in people if isinstance(row, Row) and row.line not in faulty)
    became = before + bulk.became
    became[Status.FAULTY.value] = len(faulty)
    _print_sent(became, trial.rows, order, path, stopped=bulk.stopped)
    if bulk.stopped or sum(became[status] for status in _TAKEN) < trial.rows:
        raise typer.Exit(FAILED)


def _faulty(fault: Fault) -> Result:
    return Result(fault.line, "", "", Status.FAULTY, "", fault.text)


def _print_sent(became: Counter[str], rows: int, order: Order, path: Path, *, stopped: bool) -> None:
    numbers = {status.value: became[status.value] for status in Status}
    if order.as_json:
        found = {"rows": rows, **numbers, "stopped": stopped, "results": str(path)}
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        return
    words = ", ".join(f"{number} {status}" for status, number in numbers.items() if number)
    typer.echo(f"{counted(rows, 'row')}: {words or 'none'}; results in {path}")
    if stopped:
        typer.echo("stopped; the same command goes on from there", err=True)


def _print_trial(trial: Trial, order: Order) -> None:
    if order.as_json:
        typer.echo(orjson.dumps(trial.shown(), option=orjson.OPT_INDENT_2))
        return
    _print_table(trial.table())
    usable = trial.rows - len(trial.faults)
    typer.echo(f"{counted(trial.rows, 'row')}, {usable} can be used; price {money(trial.price)}; nothing was sent")
    if trial.repeated:
        typer.echo(
            f"{counted(trial.repeated, 'row names', 'rows name')} somebody who was named before: the cooldown defers them"
        )
    if trial.waiting:
        typer.echo(f"{counted(trial.waiting, 'row waits', 'rows wait')} until the person has opened the bot")


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print a table on a terminal and aligned text into a pipe."""
    console = Console(highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        table = Table(box=None, header_style="bold cyan", pad_edge=False)
        for place, head in enumerate(rows[0]):
            table.add_column(head, justify="left" if place < 2 else "right", no_wrap=True)
        for row in rows[1:]:
            table.add_row(*row)
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if at < 2 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        typer.echo("  ".join(cells).rstrip())


class Stopping:
    """Whether the operator asked to stop."""

    def __init__(self) -> None:
        self.stopped = False
        #: What is told of it.
        self.then: Callable[[], None] = lambda: None

    def stop(self, number: int) -> None:
        """Stop; a second time end the process, for what is written down is safe."""
        if self.stopped:
            end_by(number)
        self.stopped = True
        self.then()


@contextmanager
def _stopping() -> Iterator[Stopping]:
    """Hear SIGINT and SIGTERM while the block runs."""
    stopping, loop = Stopping(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.stop, number)
    try:
        yield stopping
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
