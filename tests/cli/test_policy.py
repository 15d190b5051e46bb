"""``otp-gateway policy replay``: the log through another policy, for people and for programs."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from channels.kinds import KINDS
from gateway.app import opened_store
from gateway.cli.policy import _print_table, app
from gateway.config import load_settings
from gateway.delivery.payload import Owner, Stop, seal_route
from gateway.storage import models
from gateway.storage.ids import new_id
from tests.rows import put, row
from tests.world import PHONE

CONFIG = """
[channels.console]
adapter = "console"
price = 0.05
prices = { DE = 0.075 }
[services.default]
channels = ["console"]
"""
STRICT = f"{CONFIG}[services.default.limits]\nsends_per_hour = 1\n"


@pytest.fixture
def config(tmp_path) -> Path:
    path: Path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def other(tmp_path) -> Path:
    path: Path = tmp_path / "other.toml"
    path.write_text(STRICT)
    return path


async def add(config: Path, *ages: float, to: str = PHONE, sealed: bool = True) -> None:
    """Insert verifications of so many seconds ago, all sent to one address, the last of them approved."""
    address = KINDS["phone"](to)
    async with opened_store(load_settings(config)) as store:
        now, key = store.clock.now(), store.hasher.hash("phone", address.canonical)
        for age in ages:
            at, names = now - age, {"service": "default", "purpose": "login"}
            owner = Owner(new_id("ver", at), **names)
            route = seal_route(store.sealer, owner, [Stop("console", address.value, address.masked, key.hex())])
            times = {"created_at": at, "expires_at": at + 300, "ended_at": at + 300}
            status = "approved" if age == ages[-1] else "expired"
            verification = row(
                models.Verification,
                id=owner.id,
                status=status,
                route_sealed=route if sealed else None,
                **names,
                **times,
            )
            sent = {"verification_id": owner.id, "service": "default", "channel": "console", "status": "sent"}
            message = row(models.Message, id=new_id("msg", at), created_at=at, expires_at=at + 300, **sent)
            attempt = {"message_id": message[0], "number": 1, "token_hash": message[0].encode(), "outcome": "sent"}
            await put(store.database, models.Verification, verification)
            await put(store.database, models.Message, message)
            await put(store.database, models.Attempt, row(models.Attempt, verification_id=owner.id, **attempt))


def run(config: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, ["replay", *arguments, "--config", str(config)])


def test_in_a_pipe_it_prints_what_would_have_been(config, other):
    asyncio.run(add(config, 3000, 2000, 1000))
    result = run(config, "--against", str(other))
    assert result.exit_code == 0, result.output
    lines = [re.split(r"\s{2,}", line) for line in result.stdout.splitlines()]
    figures = ["2", "1", "2", "0.15"]
    heads = ["refused", "of them approved", "sends saved", "cost saved"]
    assert re.fullmatch(r"\d{4}-.+Z to \d{4}-.+Z", lines[0][0])
    assert lines[1:] == [
        ["in the log: 3 verifications, 1 approved; 3 sends, 0.225"],
        ["refused: 2, of them approved 1; saved: 2 sends, 0.15"],
        [""],
        ["limit", *heads],
        ["sends_per_hour", *figures],
        [""],
        ["service", *heads],
        ["default", *figures],
        [""],
        ["block of numbers", *heads],
        [f"{PHONE[:-4]}••••", *figures],
        [""],
        ["recipient", *heads],
        ["+49••••••••678", *figures],
    ]
    assert PHONE not in result.output
    assert result.stderr.splitlines()[-1] == "Replaying: 3 of 3"


def test_json_has_everything(config, other):
    asyncio.run(add(config, 90_000, 3000, 2000, 1000))
    asyncio.run(add(config, 500, sealed=False))
    found = json.loads(run(config, "--against", str(other), "--since", "1d", "--top", "1", "--json").stdout)
    counts = {"refused": 2, "approved": 1, "sends_saved": 2, "cost_saved": 0.15}
    assert found.pop("since") < found.pop("until")
    assert found == {
        "unreadable": 1,
        "no_policy": 0,
        "log": {"verifications": 3, "approved": 1, "sends": 3, "cost": 0.225},
        "refused": counts,
        "limits": {"sends_per_hour": counts},
        "services": {"default": counts},
        "blocks": [{"block": f"{PHONE[:-4]}••••", **counts}],
        "recipients": [{"recipient": "+49••••••••678", **counts}],
    }


def test_without_another_file_its_own_policy_is_tried(config):
    asyncio.run(add(config, 3000, 2000, 1000))
    asyncio.run(add(config, 500, sealed=False))
    lines = run(config).stdout.splitlines()
    assert lines[2:] == [
        "left out: 1 verification whose addresses cannot be opened",
        "Nobody would have been refused.",
    ]


def test_a_channel_that_is_gone_costs_nothing(config, other):
    asyncio.run(add(config, 3000, 2000))
    renamed = STRICT.replace("console", "shown").replace('adapter = "shown"', 'adapter = "console"')
    other.write_text(renamed)
    found = json.loads(run(config, "--against", str(other), "--json").stdout)
    assert (found["log"]["cost"], found["refused"]["refused"], found["refused"]["cost_saved"]) == (0, 1, 0)


def test_what_cannot_be_tried_is_misuse(config):
    result = run(config, "--since", "long")
    assert (result.exit_code, result.stdout) == (2, "")


def test_what_is_wrong_with_the_file_that_is_tried_is_told_of_it(config, other):
    other.write_text(f"{CONFIG}[services.default.limits]\nsends_per_our = 1\nip_per_hour = -1\n")
    nowhere, faulty = (run(config, "--against", str(file)) for file in (other.with_name("nowhere.toml"), other))
    assert (nowhere.exit_code, nowhere.stdout, faulty.exit_code, faulty.stdout) == (2, "", 2, "")
    assert (
        nowhere.stderr
        == f"error: --against: {other.with_name('nowhere.toml')} cannot be read: No such file or directory\n"
    )
    told = faulty.stderr.splitlines()
    assert len(told) == 2
    assert all(line.startswith("error: --against: ") for line in told)


def test_one_of_each_is_told_as_one(config, other):
    asyncio.run(add(config, 1000))
    assert run(config).stdout.splitlines()[1] == "in the log: 1 verification, 1 approved; 1 send, 0.075"


def test_on_a_terminal_people_who_were_approved_are_coloured():
    console = Console(force_terminal=True, color_system="standard", width=80)
    with console.capture() as capture:
        _print_table(console, ("limit", "refused", "of them approved"), [["a", "5", "1"], ["b", "5", "0"]])
    shown = capture.get()
    assert "\x1b[33m" in shown.splitlines()[1]
    assert "\x1b[33m" not in shown.splitlines()[2]
