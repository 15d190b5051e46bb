"""``otp-gateway doctor``: asks everything the gateway depends on whether it works, and says what to do where not."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from channels.base import Channel
from channels.findings import Finding, Verdict, fault, ok
from gateway.app import load_templates, open_channels
from gateway.cli.chosen import chosen
from gateway.cli.linted import linted
from gateway.cli.numbers import counted
from gateway.cli.running import FAILED, run, told
from gateway.clock import rfc3339
from gateway.config import Settings, whole_channels
from gateway.delivery.writing.linting import Finding as LintFinding
from gateway.delivery.writing.linting import Severity
from gateway.diagnosis import configuration, domains, keys, stores
from gateway.diagnosis.rounds import Question, ask_all, channel_questions
from gateway.diagnosis.seen import Area, Seen, seen, worst
from gateway.errors import ConfigError
from gateway.events.console import printable
from gateway.webhooks.endpoints import endpoints_of

_STYLES: Final[Mapping[Verdict, str]] = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAULT: "bold red"}
#: Errors of templates that are told, at most; `templates lint` has all.
_ERRORS: Final = 5


def doctor(
    config: Annotated[
        Path | None, typer.Option("--config", help="The config file; else OTP_GATEWAY_CONFIG, else ./config.toml.")
    ] = None,
    only: Annotated[
        str | None, typer.Option("--only", help=f"What to look at, by commas: {', '.join(Area)}; else all of it.")
    ] = None,
    dns: Annotated[
        str | None, typer.Option("--dns", help="The DNS resolver to ask, ADDRESS or ADDRESS:PORT; else this machine's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")] = False,
) -> None:
    """Ask providers, database, DNS and this machine whether everything works, and say what to do where it does not.

    Nothing is sent to anybody and nothing is changed. Exits with 1 if anything is at fault, with 2 where the
    configuration cannot be used.
    """
    areas = _areas(only)
    with told():
        settings = chosen(config)
        # What only looks at the rest asks for no secret of a channel.
        channels = _channels(settings, idle=not areas & {Area.CONFIGURATION, Area.CHANNELS})
        if dns is not None:
            domains.Resolver(dns)
    run(_examine(settings, channels, areas, dns, as_json=as_json))


def _areas(only: str | None) -> frozenset[Area]:
    """Return the areas ``--only`` names. Raises ``typer.BadParameter``."""
    names = [name.strip() for name in (only or "").split(",") if name.strip()]
    unknown = [name for name in names if name not in list(Area)]
    if unknown:
        raise typer.BadParameter(f"there is no {unknown[0]!r}; there are {', '.join(Area)}", param_hint="--only")
    return frozenset(map(Area, names)) or frozenset(Area)


def _channels(settings: Settings, *, idle: bool) -> dict[str, Channel]:
    """Build the channels, and refuse what ``serve`` would. Raises ``ConfigError`` with every fault."""
    faults: list[str] = []
    channels: dict[str, Channel] = {}
    try:
        channels = open_channels(settings, idle=idle)
    except ConfigError as error:
        faults += error.faults
    try:
        endpoints_of(settings)
    except ConfigError as error:
        faults += error.faults
    if faults:
        raise ConfigError(faults, read_from=settings.read_from)
    return channels


async def _examine(
    settings: Settings, channels: Mapping[str, Channel], areas: frozenset[Area], dns: str | None, *, as_json: bool
) -> None:
    found = await ask_all(questions(settings, channels, dns), areas)
    if as_json:
        typer.echo(render_json(found))
    else:
        _print(Console(highlight=False, markup=False, emoji=False), found)
    if worst(found) is Verdict.FAULT:
        raise typer.Exit(FAILED)


def questions(settings: Settings, channels: Mapping[str, Channel], dns: str | None) -> list[Question]:
    """Return everything there is to ask; ``dns`` is the resolver, ``None`` for this machine's."""
    key_findings, ring = keys.examine(settings)

    async def of_configuration() -> Sequence[Seen]:
        return seen(Area.CONFIGURATION, configuration.examine(settings))

    async def of_templates() -> Sequence[Seen]:
        load_templates(settings, channels)
        # Each is rendered at its longest values: a second of this machine's time, in which others answer.
        findings, _ = await asyncio.to_thread(linted, settings)
        return seen(Area.CONFIGURATION, of_lint(findings))

    async def of_keys() -> Sequence[Seen]:
        return seen(Area.KEYS, key_findings)

    async def of_database() -> Sequence[Seen]:
        return await stores.examine(settings.database, ring, time.time)

    async def of_domains() -> Sequence[Seen]:
        mail = [domain for channel in channels.values() for domain in channel.mail_domains]
        host = _public_name(settings)
        # A machine without a resolver needs none where no name is to be asked for.
        found = await domains.examine(domains.Resolver(dns), mail, host) if mail or host else []
        return seen(Area.DNS, found)

    none: frozenset[Area] = frozenset()
    return [
        Question(Area.CONFIGURATION, none, "settings", of_configuration),
        Question(Area.CONFIGURATION, none, "templates", of_templates),
        Question(Area.DATABASE, frozenset({Area.CLOCK, Area.KEYS}), "database", of_database),
        Question(Area.KEYS, none, "keys", of_keys),
        Question(Area.DNS, none, "resolver", of_domains),
        *channel_questions(channels, whole_channels(settings)),
    ]


def of_lint(findings: Sequence[LintFinding]) -> list[Finding]:
    """Return what the findings of ``templates lint`` mean: each error is a fault, for people would get a wrong message, or none."""
    errors = [item for item in findings if item.severity is Severity.ERROR]
    if not errors:
        return [ok("templates", "every part of every service's routes is there and renders")]
    told = [f"{item.file}{f':{item.line}' if item.line else ''}: {item.text}" for item in errors[:_ERRORS]]
    if len(errors) > _ERRORS:
        told.append(f"{counted(len(errors) - _ERRORS, 'further error')}; `otp-gateway templates lint` shows all")
    return [fault("templates", text) for text in told]


def _public_name(settings: Settings) -> str | None:
    """Return the name in ``public_url`` that has to lead somewhere; ``None`` for this machine and for an IP address."""
    host = urlsplit(settings.server.public_url or "").hostname or ""
    return None if not host or settings.server.loopback or configuration.is_ip_address(host) else host


def render_json(found: Sequence[Seen]) -> str:
    """Return ``{"at", "verdict", "findings"}``."""
    shown = [{"area": item.area, "subject": item.subject, "verdict": item.verdict, "told": item.told} for item in found]
    document = {"at": rfc3339(time.time()), "verdict": worst(found), "findings": shown}
    return json.dumps(document, indent=2, ensure_ascii=False)


def _print(console: Console, found: Sequence[Seen]) -> None:
    """Print a table on a terminal; into a pipe one line a finding, where nothing may be folded or cut."""
    if console.is_terminal:
        console.print(_table(found))
        console.print()
    else:
        for item in found:
            line = f"{item.verdict:<7}  {item.area:<13}  {printable(item.subject)}: {printable(item.told)}"
            console.print(line, soft_wrap=True)
    console.print(_summary(found), soft_wrap=True)


def _table(found: Sequence[Seen]) -> Table:
    table = Table(box=None, header_style="bold cyan", pad_edge=False)
    table.add_column("area", no_wrap=True)
    table.add_column("what", overflow="fold", max_width=40)
    table.add_column("", no_wrap=True)
    table.add_column("seen, and what to do", overflow="fold")
    last: Area | None = None
    for item in found:
        area = Text("" if item.area is last else item.area, "bold")
        verdict = Text(item.verdict, _STYLES[item.verdict])
        table.add_row(area, Text(printable(item.subject)), verdict, Text(printable(item.told)))
        last = item.area
    return table


def _summary(found: Sequence[Seen]) -> Text:
    numbers = Counter(item.verdict for item in found)
    faults, warnings = numbers[Verdict.FAULT], numbers[Verdict.WARNING]
    text = Text(f"{len(found)} looked at: ")
    text.append(counted(faults, "fault"), _STYLES[Verdict.FAULT] if faults else "")
    text.append(", ")
    text.append(counted(warnings, "warning"), _STYLES[Verdict.WARNING] if warnings else "")
    return text
