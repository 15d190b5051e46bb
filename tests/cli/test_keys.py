"""``otp-gateway keys``: what it prints, where, and how it exits."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from inspect import signature

import pytest
from typer.testing import CliRunner

from gateway.api.keys.keys import GRACE
from gateway.api.keys.text import PATTERN
from gateway.cli.age import seconds_of
from gateway.cli.keys import app, rotate
from tests.cli.databases import migrated

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


def test_list_of_nothing_is_its_heading(run, config):
    migrated(config)
    headings = ["id", "service", "name", "scopes", "from", "created", "expires", "last used", "revoked"]
    assert headings == re.split(r"  +", run("list").stdout.strip())


def test_list_warns_of_a_service_that_is_not_configured_and_has_no_keys(run, config):
    run("create", "--service", "shop")
    assert run("list", "--service", "default").stderr == ""
    assert run("list", "--service", "desk").stderr == (
        "warning: no service 'desk', and nothing is kept of one; configured are default, shop\n"
    )
    config.write_text(CONFIG.replace("[services.shop]", "[services.desk]"), encoding="utf-8")
    assert run("list", "--service", "shop").stderr == ""


def test_list_as_json_can_be_narrowed_to_a_service(run):
    key = run("create", "--service", "shop", "--name", "till").stdout
    run("create", "--service", "default")
    found = json.loads(run("list", "--service", "shop", "--json").stdout)
    created_at = found[0]["created_at"]
    assert found == [
        {
            "id": key[5:13],
            "service": "shop",
            "name": "till",
            "prefix": key[:13],
            "scopes": ["verify:create", "verify:check", "verify:read", "subscribers", "authenticators"],
            "networks": None,
            "created_at": created_at,
            "expires_at": None,
            "used_at": None,
            "revoked_at": None,
        }
    ]
    assert created_at.endswith("Z")


def test_a_revoked_key_is_listed_as_such(run):
    key = run("create", "--service", "shop").stdout
    result = run("revoke", key[5:13])
    assert (result.exit_code, result.stdout) == (0, "")
    assert json.loads(run("list", "--json").stdout)[0]["revoked_at"] is not None
    assert run("revoke", key[5:13]).exit_code == 0


def test_a_key_is_made_for_what_it_may_do_for_how_long_and_from_where(run):
    wanted = ("--scope", "verify:check", "--scope", "verify:read", "--expires", "90d", "--allow-ip", "192.0.2.0/24")
    run("create", "--service", "shop", *wanted, "--allow-ip", "2001:db8::1")
    [found] = json.loads(run("list", "--json").stdout)
    lived = datetime.fromisoformat(found["expires_at"]) - datetime.fromisoformat(found["created_at"])
    assert (
        *(found["scopes"], lived / timedelta(days=1)),
        found["networks"],
    ) == (["verify:check", "verify:read"], 90.0, ["192.0.2.0/24", "2001:db8::1/128"])
    assert "verify:check verify:read" in run("list").stdout


def test_admin_is_listed_by_its_name_alone(run):
    run("create", "--service", "shop", "--scope", "admin")
    assert re.search(r" admin +everywhere ", run("list").stdout)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (("--scope", "everything"), "scope"),
        (("--expires", "soon"), "a number and s, m, h or d"),
        (("--allow-ip", "192.0.2.1/24"), "write 192.0.2.0/24"),
    ],
)
def test_what_no_key_can_be_is_refused(run, wanted, told):
    result = run("create", "--service", "shop", *wanted)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_rotate_prints_the_new_key_alone_and_says_when_the_old_one_ends(run):
    old = run("create", "--service", "shop", "--name", "till").stdout
    result = run("rotate", old[:13], "--grace", "2h")
    assert (result.exit_code, result.stdout.count("\n")) == (0, 1)
    assert PATTERN.fullmatch(result.stdout.removesuffix("\n"))
    assert "The old key ends in 2h" in result.stderr
    ends = {key["id"]: key["expires_at"] for key in json.loads(run("list", "--json").stdout)}
    assert ends[old[5:13]] is not None
    assert ends[result.stdout[5:13]] is None


def test_a_third_live_key_of_one_name_is_refused(run):
    old = run("create", "--service", "shop", "--name", "till").stdout
    run("rotate", old[5:13])
    for words in (("rotate", old[5:13]), ("create", "--service", "shop", "--name", "till")):
        result = run(*words)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "two keys of shop called 'till' are live" in result.stderr


def test_rotating_what_is_not_there_fails_and_repeats_nothing(run, config):
    migrated(config)
    result = run("rotate", "otpg_secret")
    assert (result.exit_code, "secret" in result.output) == (1, False)


def test_an_old_key_goes_on_for_a_day_unless_told_otherwise():
    assert seconds_of(signature(rotate).parameters["grace"].default, "--grace") == GRACE


def test_revoking_what_is_not_there_fails_and_repeats_nothing(run, config):
    migrated(config)
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


@pytest.fixture
def table(config):
    """Return a function that lists the keys as a terminal of 80 columns shows them."""
    terminal = {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}
    return lambda: CliRunner().invoke(app, ["list", "--config", str(config)], env=terminal).stdout


def test_a_terminal_gets_a_table(run, table):
    run("create", "--service", "shop")
    assert "\x1b[" in table()


def test_a_narrow_terminal_shows_ids_and_days_whole(run, table):
    """What is cut cannot be revoked by."""
    options = ("--name", "till of the shop in Vienna", "--scope", "verify:check", "--allow-ip", "192.0.2.0/24")
    keys = [run("create", "--service", "shop", *options, "--expires", "90d").stdout[5:13] for _ in range(2)]
    run("revoke", keys[0])
    shown = table()
    ends = [key["expires_at"][:10] for key in json.loads(run("list", "--json").stdout)]
    assert all(key in shown for key in keys)
    assert ends[1] in shown
    assert "revoked" in shown
    assert "…" not in shown


def test_scopes_are_spelt_out_only_where_they_are_not_the_usual_ones(run):
    run("create", "--service", "shop")
    run("create", "--service", "shop", "--scope", "verify:check", "--scope", "verify:read")
    usual, other = run("list").stdout.splitlines()[1:]
    assert "  all but admin  " in usual
    assert "  verify:check verify:read  " in other


def test_a_key_that_would_have_ended_is_refused(run):
    result = run("create", "--service", "shop", "--expires", "0s")
    assert (result.exit_code, result.stdout) == (2, "")
