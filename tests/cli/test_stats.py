"""``otp-gateway stats``: what waits, what became of messages, for people and for programs."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from gateway.app import opened_store
from gateway.cli.stats import _age, _became, _print_table, _standing, _style, stats
from gateway.config import load_settings
from gateway.events.census import COUNTED, Counted, Standing
from gateway.storage import models
from gateway.storage.ids import new_id
from tests.cli.databases import migrated
from tests.rows import put, row

CONFIG = """
[channels.console]
adapter = "console"
[services.default]
channels = ["console"]
"""
ENDS = ("sent", "delivered", "undelivered", "failed", "expired", "canceled")

app = typer.Typer()
app.command()(stats)


@pytest.fixture
def config(tmp_path) -> Path:
    path: Path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return path


async def add(config: Path, *ages: tuple[float, str]) -> None:
    """Insert messages of so many seconds ago, each with its status, and one webhook that has been due for a minute."""
    now = time.time()
    async with opened_store(load_settings(config)) as store:
        for age, status in ages:
            known = {"id": new_id("msg", now - age), "service": "default", "channel": "console", "due_at": now - age}
            await put(store.database, models.Message, row(models.Message, status=status, **known))
        due = {"id": new_id("whk", now - 60), "service": "default", "status": "pending", "due_at": now - 60}
        await put(store.database, models.Webhook, row(models.Webhook, **due))


async def postpone(config: Path) -> None:
    """Let the webhook be due in an hour only."""
    async with opened_store(load_settings(config)) as store:
        later = {"later": time.time() + 3600}
        await store.database.run(
            lambda connection: connection.fetch("UPDATE webhook SET due_at = :later RETURNING id", **later)
        )


AGES = ((0.5, "queued"), (90.0, "queued"), (1.0, "sending"), (2.0, "delivered"), (7200.0, "failed"), (90_000.0, "sent"))


def run(config: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments, "--config", str(config)])


def test_json_has_the_queue_the_messages_and_the_webhooks(config):
    asyncio.run(add(config, *AGES))
    result = run(config, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    console = found["queue"]["console"]
    assert (console["queued"], console["sending"]) == (2, 1)
    assert 90 <= console["oldest_seconds"] < 150
    none = dict.fromkeys(ENDS, 0)
    assert found["messages"] == {
        "hour": {"console": {"open": 3, **none, "delivered": 1}},
        "day": {"console": {"open": 3, **none, "delivered": 1, "failed": 1}},
    }
    assert found["webhooks"]["pending"] == 1
    assert 60 <= found["webhooks"]["oldest_seconds"] < 120
    assert found["at"].endswith("Z")


def test_in_a_pipe_it_prints_plain_aligned_tables(config):
    asyncio.run(add(config, *AGES))
    result = run(config)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    cells = [re.split(r"\s{2,}", line.strip()) for line in lines]
    assert cells[0] == ["channel", "queued", "sending", "oldest"]
    assert cells[1][:3] == ["console", "2", "1"]
    assert cells[3] == ["channel", "last", "open", *ENDS]
    assert cells[4] == ["console", "hour", "3", "0", "1", "0", "0", "0", "0"]
    assert cells[5] == ["console", "day", "3", "0", "1", "0", "1", "0", "0"]
    assert lines[-1].startswith("webhooks: 1 to be delivered, the oldest due 6")
    assert len({len(line) for line in lines[3:6]}) == 1
    assert "\x1b" not in result.stdout


def test_an_idle_gateway_shows_its_channels(config):
    migrated(config)
    result = run(config)
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["channel", "queued", "sending", "oldest"],
        ["console", "0", "0", "-"],
        [],
        ["channel", "last", "open", *ENDS],
        ["console", "hour", *"0000000"],
        ["console", "day", *"0000000"],
    ]


def test_faults_of_the_configuration_are_told_on_standard_error(config):
    config.write_text(f"{CONFIG}\nbogus = 1\n")
    result = run(config)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "bogus" in result.stderr


def test_webhooks_between_two_tries_are_not_called_late(config):
    asyncio.run(add(config))
    asyncio.run(postpone(config))
    assert run(config).stdout.splitlines()[-1] == "webhooks: 1 to be delivered, none of them due yet"


@pytest.mark.parametrize(("oldest", "colour"), [(0.0, None), (4.9, None), (5.0, "33"), (30.0, "31")])
def test_on_a_terminal_what_waits_too_long_is_coloured(oldest, colour):
    console = Console(force_terminal=True, color_system="standard", width=80)
    rows = list(_standing(Counted(1.0, {"sms": Standing(COUNTED, 1, oldest)})))
    with console.capture() as capture:
        _print_table(console, ("channel", "queued", "sending", "oldest"), rows)
    shown = capture.get()
    age = re.escape(_age(oldest))
    found = re.search(rf"(?:\x1b\[([0-9]+)m)? *{age}", shown)
    assert found is not None
    assert found[1] == colour
    assert "10000+" in shown


@pytest.mark.parametrize(
    ("end", "number", "style"),
    [("failed", 0, "dim"), ("failed", 1, "red"), ("delivered", 1, "green"), ("canceled", 1, "")],
)
def test_a_number_has_the_colour_of_what_it_tells(end, number, style):
    assert _style(end, number) == style


def test_what_a_row_names_moves_no_cursor():
    rows = list(_became({"hour": {"sms\x1b[2J": {"sent": 1}}, "day": {}}))
    assert [cells[0][0] for cells in rows] == ["sms\\x1b[2J", "sms\\x1b[2J"]
