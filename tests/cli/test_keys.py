"""``otp-gateway keys``: what it prints, where, and how it exits."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from gateway.api.keys import PATTERN
from gateway.cli.keys import app

CONFIG = """
[channels.console]
adapter = "console"
[services.default]
name = "Example"
channels = ["console"]
[services.shop]
name = "Shop"
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture
def run(config):
    """Return a function that runs a verb over a config of two services and a new SQLite file."""
    return lambda *arguments: CliRunner().invoke(app, [*arguments, "--config", str(config)])


def test_create_prints_the_key_alone_on_stdout_and_a_note_beside_it(run):
    result = run("create", "--service", "shop", "--name", "till")
    assert (result.exit_code, result.stdout.count("\n")) == (0, 1)
    assert PATTERN.fullmatch(result.stdout.removesuffix("\n"))
    assert "only its hash is stored" in result.stderr


def test_create_refuses_a_service_that_is_not_configured(run):
    result = run("create", "--service", "desk")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: no service 'desk'; configured are default, shop\n"


def test_create_needs_a_service(run):
    assert run("create").exit_code == 2


def test_list_shows_ids_by_service_and_no_key(run):
    till, desk = (
        run("create", "--service", "shop", "--name", "till [b]").stdout,
        run("create", "--service", "default").stdout,
    )
    result = run("list")
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [
        ["id", "service"],
        [desk[5:13], "default"],
        [till[5:13], "shop"],
    ]
    assert "till [b]" in result.stdout
    assert till[14:57] not in result.stdout


def test_list_of_nothing_is_its_heading(run):
    assert run("list").stdout.split() == ["id", "service", "name", "created", "revoked"]


def test_list_as_json_can_be_narrowed_to_a_service(run):
    key = run("create", "--service", "shop", "--name", "till").stdout
    run("create", "--service", "default")
    found = json.loads(run("list", "--service", "shop", "--json").stdout)
    created_at = found[0]["created_at"]
    assert found == [{"id": key[5:13], "service": "shop", "name": "till", "created_at": created_at, "revoked_at": None}]
    assert created_at.endswith("Z")


def test_a_revoked_key_is_listed_as_such(run):
    key = run("create", "--service", "shop").stdout
    result = run("revoke", key[5:13])
    assert (result.exit_code, result.stdout) == (0, "")
    assert json.loads(run("list", "--json").stdout)[0]["revoked_at"] is not None
    assert run("revoke", key[5:13]).exit_code == 0


def test_revoking_what_is_not_there_fails_and_repeats_nothing(run):
    result = run("revoke", "otpg_secret")
    assert (result.exit_code, "otpg_secret" in result.output) == (1, False)
    assert "no key with that id" in result.stderr


@pytest.mark.parametrize("verb", [("create", "--service", "shop"), ("list",), ("revoke", "x")])
def test_a_config_that_cannot_be_used_is_exit_code_2(run, config, verb):
    config.write_text("[server]\nport = 'x'\n", encoding="utf-8")
    result = run(*verb)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")


def test_a_database_that_cannot_be_opened_is_exit_code_1(run, config):
    config.write_text(f'{CONFIG}[database]\nurl = "postgresql://nobody@127.0.0.1:1/none"\n', encoding="utf-8")
    ring = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    result = CliRunner().invoke(
        app, ["list", "--config", str(config)], env={"OTP_GATEWAY_SECRETS__KEYS": json.dumps([ring])}
    )
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")


def test_a_terminal_gets_a_table(run, config):
    key = run("create", "--service", "shop").stdout
    terminal = {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "120"}
    result = CliRunner().invoke(app, ["list", "--config", str(config)], env=terminal)
    assert key[5:13] in result.stdout
    assert "\x1b[" in result.stdout
