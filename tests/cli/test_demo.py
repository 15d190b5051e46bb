"""``otp-gateway demo``: the main job by every channel, without any account."""

from __future__ import annotations

import re

from typer.testing import CliRunner

from gateway.cli import app


def test_the_first_round_delivers_and_checks_a_code_by_every_channel():
    result = CliRunner().invoke(app, ["demo", "--once", "--port", "0"])
    assert result.exit_code == 0, result.output
    # The page comes first: whoever tries it opens that.
    assert re.match(
        r"\nSee it all at http://127\.0\.0\.1:\d+, the sandbox's page\.\n\notp-gateway is up at http", result.output
    )
    assert re.findall(r"─ (SMS|E-mail|Telegram) to (\S+)", result.output) == [
        ("SMS", "+4915112345678"),
        ("E-mail", "ann@example.org"),
        ("Telegram", "4242"),
    ]
    assert result.output.count("✓ approved after") == 3
    assert result.output.count("message.sending") == 3
