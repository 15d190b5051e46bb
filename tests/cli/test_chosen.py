"""In a folder without a config.toml: which file and database are used is told, and looking makes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.config import shipped

CONFIG = '[channels.console]\nadapter = "console"\n[services.default]\nchannels = ["console"]\n'
#: Every verb that works with what is in a database.
READING = (
    ("logs",),
    ("stats", "--json"),
    ("keys", "list"),
    ("keys", "rotate", "TX7jaCXn"),
    ("keys", "revoke", "TX7jaCXn"),
    ("keys", "rotate-secrets"),
    ("keys", "rotate-secrets", "--add"),
    ("unlock", "--to", "ann@example.org"),
    ("unlock", "--authenticator", "auth_1"),
    ("erase", "--to", "ann@example.org", "--yes"),
    ("webhooks", "list"),
    ("webhooks", "replay", "whk_1"),
    ("policy", "replay"),
    ("backup", "copy.db"),
)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The working directory, empty."""
    monkeypatch.chdir(tmp_path)
    found: Path = tmp_path
    return found


def run(*words: str, **environ: str) -> Any:
    given = {f"OTP_GATEWAY_{name}": value for name, value in environ.items()}
    return CliRunner().invoke(app, [*words], env={"OTP_GATEWAY_CONFIG": None, **given})


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_verb_that_reads_says_that_there_is_nothing_to_read_and_makes_nothing(here, words):
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    used, fault = result.stderr.splitlines()
    assert used == (
        f"warning: using {shipped('config.toml')}, which came with the program, for no config.toml is here and none was named by "
        f"--config or OTP_GATEWAY_CONFIG; the database is {here}/otp-gateway.db"
    )
    assert fault == (
        f"error: [database] url: there is no database yet at {here}/otp-gateway.db: `otp-gateway serve` makes it; or correct "
        "the path"
    )
    assert list(here.iterdir()) == []


def test_a_trial_of_a_list_of_people_makes_nothing_either(here):
    (here / "people.csv").write_text("to\nann@example.org\n")
    result = run("send", "--from", "people.csv", "--dry-run")
    assert (result.exit_code, "there is no database yet" in result.stderr) == (2, True)
    assert [path.name for path in here.iterdir()] == ["people.csv"]


def test_who_chose_a_file_is_told_which_one_has_no_database(here):
    (here / "config.toml").write_text(CONFIG)
    told = run("stats").stderr.splitlines()
    assert (told[0].startswith("error: [database] url: "), told[1:]) == (
        True,
        [f"Read from the environment and {here}/config.toml"],
    )


def test_a_first_key_is_made_with_its_database_and_says_where(here):
    result = run("keys", "create", "--service", "default")
    assert (result.exit_code, f"the database is {here}/otp-gateway.db" in result.stderr) == (0, True)
    assert {path.name for path in here.iterdir()} >= {"otp-gateway.db", "otp-gateway.db.secrets"}
    listed = run("keys", "list")
    assert (listed.exit_code, result.stdout[5:13] in listed.stdout) == (0, True)


@pytest.mark.parametrize(
    ("words", "environ"),
    [
        (("keys", "create", "--service", "default", "--config", "mine.toml"), {}),
        (("keys", "create", "--service", "default"), {"CONFIG": "mine.toml"}),
        # Who runs the gateway by variables alone has said which database is meant.
        (("keys", "create", "--service", "default"), {"DATABASE__URL": "sqlite:///mine.db"}),
    ],
)
def test_who_chose_is_told_nothing(here, words, environ):
    (here / "mine.toml").write_text(CONFIG)
    result = run(*words, **environ)
    assert (result.exit_code, "warning: " in result.stderr) == (0, False)


def test_a_verb_without_a_database_names_none(here):
    result = run("templates", "list", "--json")
    assert (result.exit_code, "came with the program" in result.stderr, "database" in result.stderr) == (0, True, False)


def test_a_fault_of_the_shipped_file_and_the_environment_names_the_file(here):
    result = run("keys", "list", CHANNELS__SMS__AUTH_TOKEN="0123456789abcdef0123456789abcdef")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "error: [channels.sms] adapter: is missing",
        (
            f"Read from the environment and {shipped('config.toml')}, which came with the program, for no config.toml is here "
            "and none was named by --config or OTP_GATEWAY_CONFIG"
        ),
    ]
