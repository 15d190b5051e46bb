"""Without the service's secrets, as whoever looks after a gateway under systemd is: what sends nothing asks for none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.app import open_channels
from gateway.cli import app
from gateway.config import load_settings, whole_channels
from tests.cli.databases import migrated

CONFIG = """
[channels.email]
adapter = "email"
host = "smtp.example.org"
username = "codes@example.org"
from = "codes@example.org"
smtputf8 = true
[channels.sms]
adapter = "sms"
account_sid = "AC00000000000000000000000000000001"
from = "+15005550006"
[channels.sms_by_key]
adapter = "sms"
account_sid = "AC00000000000000000000000000000001"
api_key_sid = "SK00000000000000000000000000000001"
from = "+15005550006"
[channels.telegram]
adapter = "telegram"
[services.default]
channels = ["telegram", "sms", "sms_by_key", "email"]
"""


@pytest.fixture
def config(tmp_path) -> Path:
    path: Path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return migrated(path)


def run(config: Path, *words: str) -> Any:
    return CliRunner().invoke(app, [*words, "--config", str(config)], env={"OTP_GATEWAY_CONFIG": None})


@pytest.mark.parametrize(
    "words",
    [
        ("unlock", "--to", "ännä@example.org"),
        ("erase", "--to", "ännä@example.org", "--yes"),
        ("logs", "--to", "ännä@example.org"),
        ("policy", "replay"),
    ],
    ids=lambda words: words[0],
)
def test_what_sends_nothing_works_and_reads_addresses_as_the_channels_do(config, words):
    result = run(config, *words)
    # Beyond ASCII before the @: an address for a channel that says so, and for no other.
    taken = "taken for an e-mail address, or a reference (telegram) of any service" if "--to" in words else ""
    assert (result.exit_code, taken in result.stderr, bool(result.stderr)) == (0, True, bool(taken))


@pytest.mark.parametrize("words", [("check-config",), ("doctor",), ("send", "--to", "ann@example.org")])
def test_what_sends_or_looks_at_it_names_the_variable_that_is_missing(config, words):
    result = run(config, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    for name in ("EMAIL__PASSWORD", "SMS__AUTH_TOKEN", "SMS_BY_KEY__API_KEY_SECRET", "TELEGRAM__TOKEN"):
        assert f"OTP_GATEWAY_CHANNELS__{name}" in result.stderr


def test_what_doctor_can_see_without_them_it_tells_and_asks_no_provider(config):
    result = run(config, "doctor", "--only", "database,clock,keys")
    assert result.exit_code == 0, result.output
    asked = [line for line in result.stdout.splitlines() if line.split()[1] == "clock"]
    unasked = "not asked, for its secrets are not in this environment"
    assert [line.split(": ", 1)[1] for line in asked if line.startswith("warning")] == [unasked] * 4


def test_a_channel_without_its_secrets_is_not_whole_and_what_else_is_wrong_with_it_is_told(config):
    settings = load_settings(config, {"OTP_GATEWAY_CHANNELS__SMS__AUTH_TOKEN": "0123456789abcdef0123456789abcdef"})
    assert whole_channels(settings) == {"sms"}
    assert list(open_channels(settings, idle=True)) == ["email", "sms", "sms_by_key", "telegram"]
    config.write_text(CONFIG.replace('from = "codes@example.org"\n', ""))
    result = run(config, "unlock", "--to", "ann@example.org")
    assert (result.exit_code, "[channels.email] from: is missing" in result.stderr) == (2, True)
