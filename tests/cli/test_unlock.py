"""``otp-gateway unlock``: what it says, as text and as JSON, and how it exits."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gateway.app import opened_store
from gateway.cli.unlock import unlock_recipient
from gateway.clock import rfc3339
from gateway.config import load_settings
from gateway.storage import models
from gateway.verification.authenticators.parts import built
from gateway.verification.authenticators.view import Wanted
from tests.cli.databases import migrated
from tests.rows import put, row
from tests.world import PHONE

CONFIG = """
[channels.console]
adapter = "console"
[services.default]
channels = ["console"]
"""
MASKED = "+49••••••••678"
app = typer.Typer()
app.command()(unlock_recipient)


@pytest.fixture
def config(tmp_path) -> Path:
    path: Path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return path


async def lock(config: Path) -> float:
    """Lock ``PHONE`` out in every way; return until when."""
    until = float(int(time.time()) + 600)
    async with opened_store(load_settings(config)) as store:
        key, block = store.hasher.hash("phone", PHONE), store.hasher.hash("block", PHONE[:-4])
        await put(store.database, models.Recipient, row(models.Recipient, hash=key, wrong=7))
        known = {"service": "default", "hash": key, "hour": 3, "day": 9, "hour_until": until, "day_until": until}
        guesses = (
            row(models.Guess, **known, purpose="login", locked_until=until),
            row(models.Guess, **known, purpose="pay", context="reference:device-7"),
        )
        await put(store.database, models.Guess, *guesses)
        resting = {"sends": 25, "approved": 1, "until": until, "rests_until": until}
        await put(store.database, models.Block, row(models.Block, hash=block, **resting))
    return until


def run(config: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments, "--config", str(config)])


def test_it_says_what_there_was_and_then_that_there_is_nothing(config):
    until = rfc3339(asyncio.run(lock(config)))
    result = run(config, "--to", PHONE)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"{MASKED}: 7 wrong codes in a row",
        f"{MASKED}: 3 wrong codes in the hour, 9 in the day, locked out until {until} (default, login)",
        f"{MASKED}: 3 wrong codes in the hour, 9 in the day (default, pay from a trusted context)",
        f"{MASKED}: its block of numbers, 25 sends in the last hour, 1 approved, at rest until {until}",
    ]
    again = run(config, "--to", PHONE)
    assert again.stdout == "There was nothing to lift.\n"
    assert again.stderr == "The address was taken for a phone number, or a reference (telegram) of any service.\n"


def test_json_has_the_same(config):
    until = rfc3339(asyncio.run(lock(config)))
    result = run(config, "--to", PHONE, "--service", "default", "--json")
    counted = {"service": "default", "hour": 3, "day": 9}
    assert json.loads(result.stdout) == [
        {
            "recipient": MASKED,
            "wrong_in_a_row": 7,
            "guesses": [
                {**counted, "purpose": "login", "trusted_context": False, "locked_until": until},
                {**counted, "purpose": "pay", "trusted_context": True, "locked_until": None},
            ],
            "block": {"sends": 25, "approved": 1, "rests_until": until},
        }
    ]
    assert json.loads(run(config, "--to", PHONE, "--json").stdout) == []


def test_what_is_no_address_is_misuse_and_not_repeated(config):
    result = run(config, "--to", " ")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: --to: no kind of address is written like this\n"


def test_a_mistyped_number_is_misuse_and_no_database_is_made_for_it(config):
    result = run(config, "--to", "+49151abc")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(
        "error: --to: a phone number is + and 7 to 15 digits; spaces, dots, dashes and brackets"
    )
    assert result.stderr.endswith("a reference that is written like one is given by its kind: --to telegram=…\n")
    assert [path.name for path in config.parent.iterdir()] == [config.name]


def test_a_reference_that_looks_like_an_address_is_given_by_its_kind(config):
    migrated(config)
    result = run(config, "--to", "telegram=+49151abc", "--service", "default")
    assert (result.exit_code, result.stdout) == (0, "There was nothing to lift.\n")
    assert result.stderr == "The address was taken for a reference (telegram) of the service default.\n"


def test_a_service_that_is_not_configured_is_misuse(config):
    result = run(config, "--to", PHONE, "--service", "desk")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: no service 'desk'; configured are default\n"


async def fail(config: Path, *, failures: int) -> tuple[str, float]:
    """Enrol somebody and lock them out after so many failures; return their authenticator's id and until when."""
    async with opened_store(load_settings(config)) as store:
        parts = built(store.database, store.sealer, store.hasher, store.clock, {"default": "Example"})
        prepared = parts.enrolling.prepare("default", Wanted("totp", "user-42", "ann"))
        made = (await parts.enrolling.create(prepared)).id
        until = float(int(time.time()) + 600)
        [owner] = await store.database.fetch("SELECT service, reference_hash FROM authenticator")
        known = {"service": owner["service"], "reference_hash": owner["reference_hash"], "forget_at": until}
        counted = row(models.Throttle, **known, authenticator_id=made, failures=failures)
        await put(store.database, models.Throttle, counted, row(models.Throttle, **known, locked_until=until))
        return made, until


def test_an_authenticators_lock_is_lifted_and_told_in_words_and_as_json(config):
    made, until = asyncio.run(fail(config, failures=1))
    told = run(config, "--authenticator", made)
    expected = f"u•••2: 1 wrong code at their authenticators, locked out until {rfc3339(until)} (default)\n"
    assert (told.exit_code, told.stdout) == (0, expected)
    assert run(config, "--authenticator", made).stdout == "There was nothing to lift.\n"
    assert json.loads(run(config, "--authenticator", made, "--json").stdout) == []


def test_json_tells_whose_authenticator_it_was(config):
    made, until = asyncio.run(fail(config, failures=7))
    assert json.loads(run(config, "--authenticator", made, "--json").stdout) == [
        {
            "authenticator": made,
            "service": "default",
            "recipient": "u•••2",
            "wrong": 7,
            "locked_until": rfc3339(until),
        }
    ]


def test_an_authenticator_that_is_not_there_is_a_failure(config):
    migrated(config)
    result = run(config, "--authenticator", "auth_0")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: there is no authenticator with that id; ")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "give one of --to and --authenticator"),
        (("--to", PHONE, "--authenticator", "auth_0"), "give one of --to and --authenticator"),
        (("--authenticator", "auth_0", "--service", "default"), "--service is for --to"),
    ],
)
def test_it_is_told_one_person_in_one_way(config, words, told):
    result = run(config, *words)
    assert (result.exit_code, result.stdout, result.stderr.startswith(f"error: {told}")) == (2, "", True)
