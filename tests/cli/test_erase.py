"""``otp-gateway erase``: it asks, says what it did, and exits by whether all of it is gone."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.app import opened_store
from gateway.cli import app
from gateway.config import Settings, load_settings
from gateway.housekeeping import Checkpoint
from gateway.storage import models
from gateway.storage.ids import new_id
from gateway.verification.authenticators.parts import built
from gateway.verification.authenticators.view import Wanted
from tests.cli.databases import migrated
from tests.rows import put, row

EMAIL = "ann@example.org"
NOBODY = (
    "Nobody by this address was found; it was taken for an e-mail address, or a reference (telegram) of any service."
)
CONFIG = """
[channels.post]
adapter = "console"
[services.default]
channels = ["post"]
[services.shop]
name = "Shop"
"""


@pytest.fixture
def config(tmp_path) -> Path:
    path: Path = tmp_path / "config.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture
def run(config):
    """Erase; what is typed is the answer to its question."""
    return lambda *words, typed="": CliRunner().invoke(app, ["erase", *words, "--config", str(config)], input=typed)


@pytest.fixture
def started(config) -> None:
    """A verification of Ann is pending."""
    asyncio.run(_start(load_settings(config)))


async def _start(settings: Settings) -> None:
    async with opened_store(settings) as store:
        now, hashed = store.clock.now(), store.hasher.hash("email", EMAIL)
        made = new_id("ver", now)
        known = {
            "service": "default",
            "status": "pending",
            "created_at": now,
            "expires_at": now + 300,
            "to_masked": "{1}",
        }
        await put(store.database, models.Verification, row(models.Verification, id=made, route="[]", **known))
        await put(store.database, models.Address, row(models.Address, hash=hashed, verification_id=made))


def asked(config: Path, sql: str) -> list[Any]:
    """Ask, or change, the database."""
    with closing(sqlite3.connect(config.with_name("otp-gateway.db"), isolation_level=None)) as opened:
        return opened.execute(sql).fetchall()


def test_it_asks_first_and_a_no_changes_nothing(run, config, started):
    done = run("--to", EMAIL, typed="n\n")
    assert (done.exit_code, "Erased" in done.stdout) == (1, False)
    assert "Erase this recipient, 1 verification of default, for good?" in done.stderr
    assert done.stderr.endswith("error: aborted\n")
    assert asked(config, "SELECT status FROM verification") == [("pending",)]


def test_a_yes_erases_and_says_what_there_was(run, config, started):
    done = run("--to", EMAIL, typed="y\n")
    assert (done.exit_code, done.stdout.partition("Erased: ")[2].split(", ")[:3]) == (
        0,
        ["1 verification", "1 canceled", "0 subscribers"],
    )
    assert asked(config, "SELECT status, to_masked FROM verification") == [("canceled", "{}")]
    # A program asks without being asked, and finds nobody any more.
    again = run("--to", EMAIL, "--yes", "--json")
    assert {0} == set(json.loads(again.stdout).values())
    assert again.stderr == f"{NOBODY}\n"


def test_where_there_is_nobody_the_question_says_what_the_address_was_taken_for(run, config):
    migrated(config)
    done = run("--to", EMAIL, typed="n\n")
    assert done.stderr.startswith(f"{NOBODY} Erase what is counted by it all the same? [y/N]:")


def test_the_question_counts_authenticators_and_names_the_services_they_are_of(run, config):
    asyncio.run(_enroll(load_settings(config)))
    done = run("--to", "user-42", typed="n\n")
    assert "Erase this recipient, 2 authenticators of default, shop, for good?" in done.stderr
    done = run("--to", "telegram=user-42", "--service", "shop", typed="y\n")
    assert "Erase this recipient, 1 authenticator of shop, for good?" in done.stderr
    assert asked(config, "SELECT service FROM authenticator") == [("default",)]
    done = run("--to", "user-42", "--service", "shop", "--yes")
    assert done.stderr == (
        "Nobody by this address was found; it was taken for a reference (telegram) of the service shop.\n"
    )


async def _enroll(settings: Settings) -> None:
    """Make an authenticator of the same reference for each service."""
    async with opened_store(settings) as store:
        brands = {"default": "Example", "shop": "Shop"}
        enrolling = built(store.database, store.sealer, store.hasher, store.clock, brands).enrolling
        for service in brands:
            await enrolling.create(enrolling.prepare(service, Wanted("totp", "user-42", "Ann")))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--to", ""), "no kind of address"),
        (("--to", "cust77@example"), "--to: this is not an e-mail address; a reference that is written like one"),
        (("--to", "+491512345600"), "--to: this is not a phone number in use; a reference that is written like one"),
        (("--to", "phone=123"), "--to: phone: a phone number starts with +"),
        (("--to", EMAIL, "--service", "desk"), "no service 'desk'; configured are default, shop"),
    ],
)
def test_what_cannot_be_meant_is_exit_code_2(run, config, words, told):
    migrated(config)
    done = run(*words, "--yes")
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr


def test_with_an_attempt_that_does_not_end_it_fails_and_says_what_to_do(run, config, started, monkeypatch):
    asked(
        config,
        """INSERT INTO attempt (message_id, number, verification_id, token_hash, node, started_at)
        SELECT 'msg_1', 1, id, x'00', 'node', created_at FROM verification""",
    )
    monkeypatch.setattr("gateway.verification.erasing.PATIENCE", 0.0)
    done = run("--to", EMAIL, "--yes")
    assert done.exit_code == 1
    assert done.stderr == "error: 1 verification had an attempt under way; erase again in a minute\n"


def test_beside_a_long_reader_it_says_that_it_can_still_be_read_and_a_gateway_finishes_it(
    run, config, started, monkeypatch
):
    for wait in ("PAUSE", "PATIENCE"):
        monkeypatch.setattr(f"gateway.housekeeping.checkpoint.{wait}", 0.0)
    path = config.with_name("otp-gateway.db")
    files = lambda: b"".join(each.read_bytes() for each in (path, path.with_name(f"{path.name}-wal")))  # noqa: E731
    [(masked,)] = asked(config, "UPDATE verification SET to_masked = 'ann whom nobody forgot' RETURNING to_masked")
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM verification").fetchall()
        done = run("--to", EMAIL, "--yes", "--json")
        assert (done.exit_code, json.loads(done.stdout)["still_readable"]) == (1, True)
        assert done.stderr.startswith("error: what was erased can still be read in the database's files")
        # A gateway's house-keeper, while the reader is there and a minute later.
        asyncio.run(Checkpoint(path).empty())
        assert masked.encode() in files()
        reader.execute("COMMIT")
        asyncio.run(Checkpoint(path).empty())
        assert masked.encode() not in files()
