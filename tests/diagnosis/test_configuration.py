"""What is allowed in the settings and still worth a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from channels.findings import Finding
from gateway.config import load_settings
from gateway.diagnosis.configuration import examine, is_ip_address, unnamed

CHANNEL = '[channels.pager]\nadapter = "console"\n'
SERVICE = '[services.default]\nchannels = ["pager"]\n'


def found(tmp_path: Path, more: str = "", **environ: str) -> dict[str, Finding]:
    file = tmp_path / "config.toml"
    file.write_text(CHANNEL + SERVICE + more)
    return {finding.subject: finding for finding in examine(load_settings(file, environ))}


def test_the_least_there_is_has_no_faults(tmp_path):
    findings = found(tmp_path)
    assert findings["settings"].told == "1 channel, 1 service, no faults"
    assert {finding.verdict for finding in findings.values()} == {"ok"}
    assert list(findings) == ["settings", "[services.default] guessing", "public_url"]


def test_a_channel_that_no_route_has_is_told(tmp_path):
    more = '[services.default.purposes.login]\nchannels = ["other"]\n[channels.spare]\nadapter = "console"\n'
    findings = found(tmp_path, f'{more}[channels.other]\nadapter = "console"\n')
    assert findings["[channels.spare]"].verdict == "warning"
    assert "[channels.other]" not in findings
    assert findings["settings"].told == "3 channels, 1 service, no faults"


def test_the_chance_to_guess_is_told_and_warned_of_where_it_was_allowed(tmp_path):
    assert "recipient and day at worst" in found(tmp_path)["[services.default] guessing"].told
    allowed = found(
        tmp_path, "[services.default.code]\nallow_guessable = true\n[services.default.limits]\nmode = 'observe'\n"
    )
    guessing = allowed["[services.default] guessing"]
    assert (guessing.verdict, "any number of tries" in guessing.told) == ("warning", True)


@pytest.mark.parametrize(
    ("url", "verdict", "word"),
    [
        ("http://127.0.0.1:8080", "ok", "this machine's own"),
        ("http://codes.shop.example", "fault", "TLS"),
        ("https://10.0.0.7", "warning", "private"),
        ("https://codes.shop.example/otp", "ok", "curl https://codes.shop.example/otp/healthz"),
        ("https://8.8.8.8", "ok", "https"),
    ],
)
def test_public_url_must_be_reached_over_tls(tmp_path, url, verdict, word):
    findings = found(tmp_path, OTP_GATEWAY_SERVER__PUBLIC_URL=url)
    assert (findings["public_url"].verdict, word in findings["public_url"].told) == (verdict, True)


def test_a_public_url_that_nobody_said_is_warned_of_with_what_goes_without_it(tmp_path):
    findings = found(tmp_path, OTP_GATEWAY_SERVER__HOST="0.0.0.0")
    told = findings["public_url"].told
    assert (findings["public_url"].verdict, findings["[metrics] token"].verdict) == ("warning", "warning")
    assert "0.0.0.0 is no address to call" in told
    assert told.endswith("set it to the URL by which callers and providers reach the gateway")
    assert (unnamed(load_settings(tmp_path / "config.toml", {})), "no reports" in told) == (None, True)


def test_metrics_that_the_world_may_read_are_told(tmp_path):
    world = {"OTP_GATEWAY_SERVER__PUBLIC_URL": "https://codes.shop.example"}
    assert found(tmp_path, **world)["[metrics] token"].verdict == "warning"
    assert "[metrics] token" not in found(tmp_path, **world, OTP_GATEWAY_METRICS__TOKEN="c1f0a9d27be34c55")


@pytest.mark.parametrize(
    ("host", "expected"), [("::1", True), ("10.1.2.3", True), ("shop.example", False), ("", False)]
)
def test_an_address_is_told_from_a_name(host, expected):
    assert is_ip_address(host) is expected
