"""``otp-gateway templates``: list, preview and lint what people will read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from channels.base import Channel, UnknownAdapterError, load
from gateway.cli.chosen import chosen
from gateway.cli.linted import linted, set_key, templates_of
from gateway.cli.numbers import counted
from gateway.cli.running import told
from gateway.config import ServiceSettings, Settings
from gateway.delivery.writing.linting import Severity
from gateway.delivery.writing.locales import PLAIN, normalize, written
from gateway.delivery.writing.reply_parts import CONVERSATION, REPLIES
from gateway.delivery.writing.templating import FALLBACK, TemplateFile, code_values
from gateway.errors import ConfigError
from gateway.verification.codes import example

app = typer.Typer(name="templates", help="List, preview and lint the texts of messages.", no_args_is_help=True)

#: The service whose templates are shown unless one is named.
_DEFAULT_SERVICE = "default"
_SAMPLES = {
    "account": "ann@example.org",
    "phone": "+49•••••••678",
    "when": "2026-11-21 18:04 UTC",
    "place": "203.0.113.9",
    "outcome": "approved",
    "language": "English",
    "until": "19:04 UTC",
    "services": "Example",
    "muted": "",
    "name": "amount",
    "value": "12.00 EUR",
}
_STYLES = {Severity.ERROR: "red", Severity.WARNING: "yellow"}

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="The config file; else OTP_GATEWAY_CONFIG, else ./config.toml.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]


@app.command("list")
def list_templates(config: ConfigOption = None, *, as_json: JsonOption = False) -> None:
    """Show every template: its channel, parts, locales and the folder it comes from."""
    with told():
        rows = _listed(chosen(config, database=False))
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        texts = [[_joined(value) for value in row.values()] for row in rows]
        _print_table(("channel", "template", "parts", "locales", "folder"), texts)


@app.command()
def preview(
    channel: Annotated[str, typer.Argument(help="A configured channel, an adapter, or 'conversation'.")],
    config: ConfigOption = None,
    *,
    template: Annotated[str, typer.Option(help="A purpose, or the name of a reply.")] = FALLBACK,
    locale: Annotated[str | None, typer.Option(help="Such as de-AT; the service's own unless given.")] = None,
    service: Annotated[str | None, typer.Option(help="Whose templates, name and code policy.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="A caller's parameter, name=value; repeatable.")] = None,
    bind: Annotated[list[str] | None, typer.Option(help="What a code is bound to, name=value; repeatable.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Render a template with sample values and print its parts."""
    with told():
        if locale is not None and normalize(locale) == PLAIN:
            raise ConfigError(["--locale: a language tag, like de or de-AT"])
        settings = chosen(config, database=False)
        owner = _service(settings, service)
        adapter, kind = _adapter(settings, channel)
        spoken = locale or owner.for_purpose(template).locale
        parts = templates_of(owner).render(
            channel=channel,
            adapter=adapter,
            purpose=template,
            locale=spoken,
            parts=kind.parts if kind else _reply_parts(template),
            values=_sample(
                owner.for_purpose(template),
                template,
                spoken,
                params=_pairs("--param", param or []),
                bind=_pairs("--bind", bind or []),
            ),
        )
    inspection = kind.inspect(parts) if kind else None
    summary, faults = (inspection.summary, inspection.faults) if inspection else ("", ())
    if as_json:
        typer.echo(json.dumps({"parts": parts, "summary": summary, "faults": faults}, indent=2, ensure_ascii=False))
    else:
        _print_parts(parts, summary, faults)


@app.command("lint")
def lint_templates(
    config: ConfigOption = None,
    *,
    brand: Annotated[str | None, typer.Option(help="Measure with this name; each service's own unless given.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Look for faults in all templates, shipped and own; exit with 1 if there are any."""
    with told():
        settings = chosen(config, database=False)
        findings, count = linted(settings, brand, skipped=lambda told: typer.echo(told, err=True))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    elif findings:
        rows = [[item.file, str(item.line or ""), item.severity.value, item.text] for item in findings]
        _print_table(("file", "line", "severity", "text"), rows, [_STYLES[item.severity] for item in findings])
    else:
        typer.echo(f"no faults in {counted(count, 'template')}")
    if any(finding.severity is Severity.ERROR for finding in findings):
        raise typer.Exit(1)


def _listed(settings: Settings) -> list[dict[str, str | list[str]]]:
    files = {file.path: file for owner in (None, *settings.services.values()) for file in templates_of(owner).files}
    ordered = sorted(files.values(), key=set_key)
    return [_row(*key, list(group)) for key, group in groupby(ordered, key=set_key)]


def _row(channel: str, template: str, folder: str, files: Sequence[TemplateFile]) -> dict[str, str | list[str]]:
    return {
        "channel": channel,
        "template": template,
        "parts": sorted({file.part for file in files}),
        "locales": [written(locale) for locale in sorted({file.locale for file in files})],
        "folder": folder,
    }


def _service(settings: Settings, name: str | None) -> ServiceSettings:
    """Return the service to preview. Raises ``ConfigError``."""
    services = settings.services
    wanted = name or (_DEFAULT_SERVICE if _DEFAULT_SERVICE in services else next(iter(services), _DEFAULT_SERVICE))
    if wanted not in services:
        raise ConfigError([f"no service {wanted!r}: config.toml has {', '.join(services) or 'none'}"])
    return services[wanted]


def _adapter(settings: Settings, channel: str) -> tuple[str, type[Channel] | None]:
    """Return an adapter's name and class; ``None`` for what the bot answers. Raises ``ConfigError``."""
    configured = settings.channels.get(channel)
    if channel == CONVERSATION and configured is None:
        return channel, None
    adapter = configured.adapter if configured else channel
    try:
        return adapter, load(adapter)
    except UnknownAdapterError:
        raise ConfigError([f"no channel or adapter {channel!r}"]) from None
    except ImportError as error:
        raise ConfigError([f"adapter {adapter!r} needs {error.name}, which is not installed"]) from None


def _reply_parts(template: str) -> tuple[str, ...]:
    if template not in REPLIES:
        raise ConfigError([f"the bot has no reply {template!r}; --template takes {', '.join(REPLIES)}"])
    return REPLIES[template].parts


def _pairs(option: str, given: Iterable[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not (name and equals):
            raise ConfigError([f"{option} takes name=value"])
        pairs[name] = value
    return pairs


def _sample(
    owner: ServiceSettings, template: str, locale: str, *, params: Mapping[str, str], bind: Mapping[str, str]
) -> dict[str, object]:
    values = code_values(
        code=example(owner.code.length, owner.code.alphabet),
        brand=owner.name,
        remaining=owner.code.ttl,
        purpose=template,
        locale=locale or PLAIN,
        params=params,
        bind=bind,
    )
    return values | _SAMPLES


def _print_parts(parts: Mapping[str, str], summary: str, faults: Sequence[str]) -> None:
    console = _console()
    for part, text in parts.items():
        console.print(f"--- {part}", style="bold")
        console.print(text, soft_wrap=True)
    if summary:
        console.print(f"--- {summary}", style="dim")
    for fault in faults:
        console.print(f"fault: {fault}", style="red")


def _print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = ()) -> None:
    """Print a coloured table on a terminal and aligned text into a pipe, one row a line."""
    console = _console()
    if not console.is_terminal:
        widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
        for row in (headers, *rows):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            typer.echo(line.rstrip())
        return
    table = Table(box=None, header_style="bold cyan", pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    for row, style in zip(rows, styles or [""] * len(rows), strict=True):
        table.add_row(*row, style=style)
    console.print(table)


def _console() -> Console:
    """Return a console that prints texts as they are: a template may hold ``[b]`` or ``:lock:``."""
    return Console(highlight=False, markup=False, emoji=False)


def _joined(value: str | list[str]) -> str:
    return value if isinstance(value, str) else ", ".join(value)
