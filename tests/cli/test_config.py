from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from gateway.cli.config import check_config, render, render_json
from gateway.config import diagnose
from tests.config.samples import MINIMAL, key, write

app = typer.Typer()
app.command("check-config")(check_config)


def run(*arguments: str, **environ: str):
    return CliRunner().invoke(app, list(arguments), env={"OTP_GATEWAY_CONFIG": None, **environ})


def faults(file: Path, **environ: str) -> list[str]:
    """Return what is told of a file that cannot be used, less the line that names it."""
    result = run("--config", str(file), **environ)
    *told, named = str(result.stderr).splitlines()
    assert (result.exit_code, result.stdout) == (2, "")
    assert named == f"Read from the environment and {file}"
    return told


@pytest.fixture
def file(tmp_path):
    return write(tmp_path)


def test_the_configuration_is_printed_as_toml_with_origins(file):
    result = run("--config", str(file), OTP_GATEWAY_SERVER__PORT="9000")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:6] == [
        f"# {file}",
        "",
        "[server]",
        'host = "127.0.0.1"  # default',
        "port = 9000  # OTP_GATEWAY_SERVER__PORT",
        'public_url = "http://127.0.0.1:9000"  # default',
    ]
    assert "# templates is not set" in result.stdout.splitlines()


def test_what_is_printed_is_toml_without_colours(file):
    result = run("--config", str(file), COLUMNS="20")
    assert "\x1b" not in result.stdout
    table = tomllib.loads(result.stdout)
    assert table["services"]["default"]["channels"] == ["console"]
    assert table["server"]["trusted_proxies"] == []


def test_a_terminal_gets_colours(file, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    result = run("--config", str(file), FORCE_COLOR="1", TERM="xterm-256color")
    assert "\x1b[1m[server]" in result.stdout


def test_json_is_for_programs(file):
    result = run("--config", str(file), "--json", OTP_GATEWAY_SERVER__PORT="9000")
    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert document["file"] == str(file)
    assert document["settings"]["server"]["port"] == 9000
    assert document["origins"]["server.port"] == "OTP_GATEWAY_SERVER__PORT"
    assert document["origins"]["server.host"] == "default"
    assert document["settings"]["services"]["default"]["templates"] is None


PURPOSES = """\
[services.shop.purposes.invite.code]
alphabet = "unambiguous"
length = 8
[services.shop.purposes.login.limits]
mode = "observe"
[services.shop.purposes.login.code]
allow_guessable = true
"""


def test_purposes_and_how_likely_codes_are_guessed_are_printed_and_it_is_still_toml(tmp_path):
    result = run("--config", str(write(tmp_path, MINIMAL + PURPOSES)))
    assert (result.exit_code, result.stderr) == (0, "")
    purposes = tomllib.loads(result.stdout)["services"]["shop"]["purposes"]
    assert (purposes["invite"]["code"]["length"], purposes["invite"]["channels"]) == (8, ["console"])
    assert "[services.shop.purposes.invite.code]\n" in result.stdout
    assert 'channels = ["console"]  # config.toml, by [services.default]\n' in result.stdout
    why = "30 guesses_per_day + 24 x 10 context_per_hour"
    table = [line.split("  ") for line in result.stdout.rstrip().splitlines()[-5:]]
    assert [[cell.strip() for cell in row if cell.strip()] for row in table] == [
        ["# service", "purpose", "codes", "bits", "tries a day", "chance", "because of"],
        ["# default", "(any other)", "6 digits", "19.9", "270", "1 in 3,704", why],
        ["# shop", "(any other)", "6 digits", "19.9", "270", "1 in 3,704", why],
        ["# shop", "invite", "8 unambiguous", "34.6", "270", "1 in 94,814,815", why],
        ["# shop", "login", "6 digits", "19.9", "any number", "certain", 'with mode = "observe" nothing is refused'],
    ]


def test_json_has_the_same_figures(tmp_path):
    result = run("--config", str(write(tmp_path, MINIMAL + PURPOSES)), "--json")
    document = json.loads(result.stdout)
    assert document["settings"]["services"]["shop"]["purposes"]["invite"]["code"]["alphabet"] == "unambiguous"
    assert document["guessing"][2] == {
        "service": "shop",
        "purpose": "invite",
        "made_of": "8 unambiguous",
        "codes": 20**8,
        "entropy": 34.575,
        "tries_a_day": 270,
        "because": "30 guesses_per_day + 24 x 10 context_per_hour",
        "chance": 270 / 20**8,
    }
    assert (document["guessing"][3]["tries_a_day"], document["guessing"][3]["chance"]) == (None, 1.0)


def test_codes_that_are_guessed_too_easily_are_a_fault_with_the_arithmetic(tmp_path):
    text = MINIMAL + "[services.default.limits]\nmode = 'observe'\n"
    assert faults(write(tmp_path, text)) == [
        (
            'error: [services.default.code] length: any number of tries a day (with mode = "observe" nothing is refused) guess '
            "a recipient's code of 6 digits; more than 1 in 1,000 is refused: make codes longer or limits lower, or set "
            "allow_guessable = true"
        ),
    ]


def test_every_fault_goes_to_standard_error_and_the_exit_code_is_two(tmp_path):
    file = write(tmp_path, MINIMAL + "[server]\nprot = 1\n[channels.mail]\nadapter = 'emial'\n")
    result = run("--config", str(file), "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[:-1] == faults(file)
    assert faults(file) == [
        "error: [server] prot: unknown key; did you mean port?",
        'error: [channels.mail] adapter: there is no adapter "emial"; did you mean email?',
    ]


def test_what_serve_would_refuse_is_a_fault(tmp_path):
    """Both only show where the settings meet the parts they are for, and both are told."""
    more = """webhook_url = "https://shop.example:9"\nconfirm_within = { console = 5 }\n"""
    secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    confirmed, port = faults(write(tmp_path, MINIMAL + more), OTP_GATEWAY_SERVICES__DEFAULT__WEBHOOK_SECRET=secret)
    assert confirmed == (
        "error: [services.default] confirm_within: console does not report deliveries with these settings; take it out"
    )
    assert port.startswith("error: [services.default] webhook_url: ")


BROKEN = "[services.shop]\ntemplates = 'nowhere'\n[services.bank]\ntemplates = 'own'\n"


def test_templates_that_would_stop_the_start_are_faults(tmp_path):
    part = tmp_path / "own" / "console" / "verification" / "body.txt"
    part.parent.mkdir(parents=True)
    part.write_text("{{ code")
    folder, syntax = faults(write(tmp_path, MINIMAL + BROKEN))
    assert folder == (
        f"error: [services.shop] templates: there is no folder {tmp_path}/nowhere; make it, or correct the key"
    )
    assert syntax.startswith(f"error: {part}:1: ")


def test_another_fault_hides_none_of_the_templates(tmp_path):
    file = write(tmp_path, MINIMAL + "[services.shop]\ntemplates = 'nowhere'\n[server]\nprot = 1\nport = 'x'\n")
    places = [line.split(": ")[1] for line in faults(file)]
    assert places == ["[server] prot", "[server] port", "[services.shop] templates"]


def test_what_an_adapter_refuses_is_told_once_beside_another_fault(tmp_path):
    sms = '[channels.sms]\nadapter = "sms"\naccount_sid = "AC0"\nfrom = "+15005550006"\n'
    places = [line.split(": ")[1] for line in faults(write(tmp_path, f"{MINIMAL}{sms}[server]\nport = 'x'\n"))]
    assert places == ["[server] port", "[channels.sms] account_sid"]


def test_sealing_keys_that_would_stop_the_start_are_faults_and_none_are_made(tmp_path):
    file = write(tmp_path)
    assert run("--config", str(file)).exit_code == 0
    assert [item.name for item in tmp_path.iterdir()] == ["config.toml"]
    (tmp_path / "otp-gateway.db").write_bytes(b"SQLite format 3")
    lost = run("--config", str(file))
    assert (lost.exit_code, "otp-gateway.db.secrets: is missing" in lost.stderr) == (2, True)
    told = f"error: OTP_GATEWAY_DATABASE__URL: there is no folder {tmp_path}/no; make it, or correct the path"
    assert faults(file, OTP_GATEWAY_DATABASE__URL="sqlite:///no/otp.db") == [told]
    shared = run("--config", str(file), OTP_GATEWAY_DATABASE__URL="postgresql://otp@localhost/otp")
    assert (shared.exit_code, "OTP_GATEWAY_SECRETS__KEYS: is missing" in shared.stderr) == (2, True)


def test_a_purpose_cannot_wait_for_reports_that_never_come_either(tmp_path):
    text = MINIMAL + "[services.shop.purposes.login]\nconfirm_within = { console = 5 }\n"
    assert faults(write(tmp_path, text)) == [
        (
            "error: [services.shop.purposes.login] confirm_within: console does not report deliveries with these settings; "
            "take it out"
        ),
    ]


def test_a_file_that_is_not_there_is_a_fault(tmp_path):
    result = run("--config", str(tmp_path / "no.toml"))
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: --config: {tmp_path}/no.toml cannot be read: No such file or directory\n",
    )


def test_tables_are_printed_as_toml(tmp_path):
    text = MINIMAL + (
        "[channels.sms]\nadapter = 'sms'\naccount_sid = 'AC00000000000000000000000000000001'\nfrom = '+15005550006'\n"
        "codes = { 30003 = 'transient:unreachable' }\n"
    )
    result = run("--config", str(write(tmp_path, text)), OTP_GATEWAY_CHANNELS__SMS__AUTH_TOKEN="hunter2hunter2")
    assert result.stderr == ""
    assert tomllib.loads(result.stdout)["channels"]["sms"]["codes"] == {"30003": "transient:unreachable"}
    assert tomllib.loads(result.stdout)["channels"]["sms"]["auth_token"] == "••••"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    password=st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=12, max_size=30),
    database=st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=12, max_size=30),
    seed=st.integers(min_value=0),
)
def test_no_secret_is_ever_printed(file, password, database, seed):
    sealing = key("k1", seed)
    # A mark, so that no secret is by chance a word of the page.
    password, database = f"¤{password}", f"zQ9{database}"
    environ = {
        "OTP_GATEWAY_SECRETS__KEYS": json.dumps([sealing]),
        "OTP_GATEWAY_DATABASE__URL": f"postgresql://u:{database}@h/n?sslpassword={database}",
        "OTP_GATEWAY_CHANNELS__MAIL__ADAPTER": "email",
        "OTP_GATEWAY_CHANNELS__MAIL__HOST": "127.0.0.1",
        "OTP_GATEWAY_CHANNELS__MAIL__FROM": "codes@example.org",
        "OTP_GATEWAY_CHANNELS__MAIL__USERNAME": "codes",
        "OTP_GATEWAY_CHANNELS__MAIL__PASSWORD": password,
    }
    found = diagnose(file, environ)
    printed = [render(*found).plain, render_json(*found), repr(found)]
    for secret in (sealing[3:], database, password, json.dumps(password)[1:-1]):
        assert [text for text in printed if secret in text] == []
