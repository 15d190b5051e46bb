"""``otp-gateway check-config``: the configuration that would take effect, or every fault in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from gateway.app import faults_of
from gateway.cli.running import told
from gateway.config.adapters import Ready
from gateway.config.given import nest, section
from gateway.config.guessing import WorstCase, worst_cases
from gateway.config.loading import diagnose
from gateway.config.overview import Row, overview
from gateway.config.settings import Settings


def check_config(
    config: Annotated[
        Path | None, typer.Option("--config", help="The config file; else OTP_GATEWAY_CONFIG, else ./config.toml.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")] = False,
) -> None:
    """Print the configuration in effect, secrets masked, and where each value came from.

    Exits with 2 and every fault on standard error where a start would be refused, templates included. Makes nothing.
    """
    with told():
        settings, ready = diagnose(config, beyond=faults_of)
    if as_json:
        typer.echo(render_json(settings, ready))
    else:
        Console(highlight=False, soft_wrap=True).print(render(settings, ready))


def render(settings: Settings, ready: Ready) -> Text:
    """Return the settings as TOML with the origin of each value behind it; colours show on a terminal only."""
    text = Text.assemble((f"# {settings.file}\n", "dim"))
    table: tuple[str, ...] = ()
    for row in overview(settings, ready):
        if row.path[:-1] != table:
            table = row.path[:-1]
            text.append(f"\n{section(table)}\n", style="bold")
        _append(text, row)
    # Comments: what is printed can be read as TOML.
    text.append("\n# How likely a recipient's code is guessed in a day, at worst:\n", style="bold")
    for line in _guessing(settings):
        text.append(f"# {line}\n", style="dim")
    return text


def render_json(settings: Settings, ready: Ready) -> str:
    """Return ``{"file", "settings", "origins", "guessing"}``.

    ``origins`` has a line for each value (``server.port``), ``guessing`` one for each service and purpose.
    """
    rows = list(overview(settings, ready))
    document = {
        "file": str(settings.file),
        "settings": nest({row.path: row.value for row in rows}),
        "origins": {".".join(row.path): row.origin for row in rows},
        "guessing": [_case_json(case) for case in worst_cases(settings)],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _guessing(settings: Settings) -> Iterator[str]:
    """Yield the arithmetic of every service and purpose as lines of a table."""
    rows = [("service", "purpose", "codes", "bits", "tries a day", "chance", "because of")]
    for case in worst_cases(settings):
        tries = "any number" if case.tries is None else f"{case.tries:,}"
        figures = (case.made_of, f"{case.entropy:.1f}", tries, case.odds, case.because)
        rows.append((case.service, case.purpose or "(any other)", *figures))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _case_json(case: WorstCase) -> dict[str, object]:
    return {
        "service": case.service,
        "purpose": case.purpose,
        "made_of": case.made_of,
        "codes": case.codes,
        "entropy": round(case.entropy, 3),
        "tries_a_day": case.tries,
        "because": case.because,
        "chance": case.chance,
    }


def _append(text: Text, row: Row) -> None:
    if row.value is None:
        # TOML has no null: a key that is not set is a comment.
        text.append(f"# {row.path[-1]} is not set\n", style="dim")
        return
    text.append(row.path[-1], style="cyan")
    text.append(f" = {_toml(row.value)}")
    text.append(f"  # {row.origin}\n", style="dim")


def _toml(value: object) -> str:
    """Return a value as TOML writes it. JSON's strings, numbers and lists are TOML's; its tables are not."""
    if isinstance(value, dict):
        pairs = ", ".join(f"{json.dumps(key, ensure_ascii=False)} = {_toml(item)}" for key, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False)
