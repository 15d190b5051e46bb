"""``otp-gateway templates``: what it prints and how it exits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.linted import _longest_code
from gateway.cli.templates import app
from gateway.config import CodeSettings, ServiceSettings, shipped
from gateway.config.services import PurposeSettings
from gateway.delivery.writing.linting import LONGEST_CODE
from tests.channels.contract import SHIPPED_CHANNELS

CONFIG = """
[channels.console]
adapter = "console"
[channels.sms_eu]
adapter = "sms"
{channel}
[services.default]
name = "Example & Co"
channels = ["console"]
locale = "de"
[services.shop]
name = "Shop"
locale = "en"
templates = "mine"
code = {{ length = 8 }}
[services.shop.purposes.invite]
locale = "de"
code = {{ alphabet = "unambiguous", length = 8 }}
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a verb over a config whose service ``shop`` has the templates ``files``."""

    def call(*arguments, files=None, channel="", env=None):
        (tmp_path / "mine").mkdir(exist_ok=True)
        for name, text in (files or {}).items():
            path = tmp_path / "mine" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        config = tmp_path / "config.toml"
        config.write_text(CONFIG.format(channel=channel), encoding="utf-8")
        return CliRunner().invoke(app, [*arguments, "--config", str(config)], env={"COLUMNS": "200"} | (env or {}))

    return call


def test_list_shows_every_template_aligned_and_without_colours_in_a_pipe(run, tmp_path):
    result = run("list", files={"sms/login/body.txt": "{{ code }}"})
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0].split() == ["channel", "template", "parts", "locales", "folder"]
    assert any(line.split() == ["sms", "login", "body.txt", "en", str(tmp_path / "mine")] for line in lines)
    assert any(
        line.split() == ["sms", "verification", "body.txt", "en,", "de", str(shipped("templates"))] for line in lines
    )
    start = lines[0].index("folder")
    assert {line[start - 2 : start] for line in lines} == {"  "}
    assert {line[start] for line in lines[1:]} == {"/"}
    assert "\x1b" not in result.stdout


def test_list_prints_json(run, tmp_path):
    result = run("list", "--json", files={"email/pay/subject.txt": "{{ brand }}", "email/pay/subject.de-AT.txt": ""})
    rows = json.loads(result.stdout)
    assert {
        "channel": "email",
        "template": "pay",
        "parts": ["subject.txt"],
        "locales": ["en", "de-AT"],
        "folder": str(tmp_path / "mine"),
    } in rows
    assert [row["channel"] for row in rows] == sorted(row["channel"] for row in rows)


def test_preview_renders_in_the_services_locale_with_the_summary(run):
    result = run("preview", "sms_eu")
    assert result.exit_code == 0
    assert result.stdout.startswith("--- body.txt\nExample & Co: Ihr Code ist 418529. Er gilt noch 5 Minuten.")
    assert "GSM-7" in result.stdout


def test_preview_takes_a_locale_a_service_a_template_and_params(run):
    files = {"sms/pay/body.txt": "{{ brand }} {{ code }} {{ params.amount }} {{ locale }} {{ purpose }} [b] :lock:"}
    arguments = ["--service", "shop", "--template", "pay", "--locale", "fr", "--param", "amount=1=2"]
    result = run("preview", "sms", *arguments, files=files)
    assert "Shop 41852963 1=2 fr pay [b] :lock:\n" in result.stdout


def test_preview_takes_what_a_code_is_bound_to(run):
    files = {"sms/pay/body.txt": "{{ code }} {{ bind.amount }} {{ bind.payee }}"}
    arguments = ["--service", "shop", "--template", "pay", "--bind", "amount=1.00", "--bind", "payee=A=B"]
    assert " 1.00 A=B\n" in run("preview", "sms", *arguments, files=files).stdout
    wrong = run("preview", "sms", "--bind", "amount")
    assert (wrong.exit_code, "--bind takes name=value" in wrong.stderr) == (2, True)


def test_preview_prints_the_source_of_html_and_json(run):
    result = run("preview", "telegram", "--json", "--locale", "en")
    printed = json.loads(result.stdout)
    assert printed["parts"]["copy.txt"] == "Copy code"
    assert printed["parts"]["body.html"].startswith("<b>Example &amp; Co</b>\n")
    assert printed["faults"] == []
    assert printed["summary"]


def test_preview_prints_the_faults_the_adapter_sees(run):
    result = run(
        "preview", "sms", "--service", "shop", files={"sms/verification/body.txt": "{{ code }} \u201cquoted\u201d" * 12}
    )
    assert result.exit_code == 0
    assert "fault: " in result.stdout


def test_preview_shows_what_the_bot_answers(run):
    result = run("preview", "conversation", "--template", "confirm", "--locale", "en")
    assert "--- reply.html\n<b>Example &amp; Co</b> wants" in result.stdout
    assert "ann@example.org" in result.stdout
    assert "--- decline.txt\nNot me\n" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["pager"], 2, "no channel or adapter 'pager'"),
        (["../x"], 2, "no channel or adapter '../x'"),
        (["sms", "--service", "gone"], 2, "no service 'gone': config.toml has default, shop"),
        (["sms", "--param", "amount"], 2, "--param takes name=value"),
        (["sms", "--param", "=1"], 2, "--param takes name=value"),
        (["sms", "--locale", "!!"], 2, "--locale: a language tag, like de or de-AT"),
        (["sms", "--locale", ""], 2, "--locale: a language tag, like de or de-AT"),
        (["conversation"], 2, "the bot has no reply 'verification'; --template takes start, help"),
        (["sms", "--service", "shop", "--template", "pay"], 1, "body.txt:1: a value is not defined here"),
    ],
)
def test_preview_says_what_is_wrong(run, arguments, code, text):
    result = run("preview", *arguments, files={"sms/pay/body.txt": "{{ params.amount }}"})
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("error: ")
    assert text in result.stderr


def test_a_broken_config_is_told_with_exit_code_2(run):
    for verb in (["list"], ["lint"], ["preview", "sms"]):
        result = run(*verb, channel="[nonsense]")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "nonsense" in result.stderr


def test_broken_templates_are_told_with_file_and_line(run, tmp_path):
    result = run("list", files={"sms/verification/body.txt": "hello\n{{ code"})
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: {tmp_path}/mine/sms/verification/body.txt:2: unexpected end of template")


def test_lint_is_content_with_what_is_shipped(run):
    count = len(json.loads(run("list", "--json").stdout))
    result = run("lint")
    assert (result.stderr, result.exit_code) == ("", 0)
    # A channel of one's own in the checkout may speak no German: told, and no more.
    found = json.loads(run("lint", "--json").stdout)
    assert found or result.stdout == f"no faults in {count} templates\n"
    assert [item for item in found if {*SHIPPED_CHANNELS} & {*Path(item["file"]).parts}] == []


def test_a_set_without_german_is_told_and_does_not_fail(run, tmp_path):
    result = run("lint", files={"sms/pay/body.txt": "{{ code }}"})
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if line.startswith(f"{tmp_path}/")]
    assert line.split(maxsplit=2) == [f"{tmp_path}/mine/sms/pay", "warning", "missing locale: other templates have de"]


def test_lint_finds_faults_in_a_services_own_templates(run, tmp_path):
    files = {
        "sms/verification/body.txt": "hello",
        "sms/login/body.txt": "{{ cod }}{{ code }}",
        "sms/login/body.de.txt": "{{ code }}",
    }
    result = run("lint", files=files)
    lines = [line for line in result.stdout.splitlines() if line.startswith(("file ", f"{tmp_path}/"))]
    assert result.exit_code == 1
    assert lines[0].split() == ["file", "line", "severity", "text"]
    assert lines[1].split(maxsplit=3) == [
        f"{tmp_path}/mine/sms/login/body.txt",
        "1",
        "error",
        "unknown variable cod; did you mean code?",
    ]
    assert lines[2].split(maxsplit=2)[:2] == [f"{tmp_path}/mine/sms/verification/body.txt", "error"]
    assert len(lines) == 3


def test_lint_tells_syntax_errors_of_all_files_as_findings(run, tmp_path):
    files = {"sms/verification/body.txt": "\n{{ code", "sms/login/body.txt": "{% if %}"}
    result = run("lint", "--json", files=files)
    findings = json.loads(result.stdout)
    assert result.exit_code == 1
    told = [(finding["file"], finding["line"]) for finding in findings if finding["severity"] == "error"]
    assert told == [
        (f"{tmp_path}/mine/sms/login/body.txt", 1),
        (f"{tmp_path}/mine/sms/verification/body.txt", 2),
    ]


def test_a_warning_alone_does_not_fail(run):
    result = run("lint", files={"smss/verification/body.txt": "{{ code }}"})
    assert result.exit_code == 0
    assert "did you mean sms" in result.stdout


def test_preview_shows_a_purposes_codes_in_groups_and_in_its_language(run):
    result = run("preview", "sms", "--service", "shop", "--template", "invite")
    assert result.stdout.startswith("--- body.txt\nShop: Ihr Code ist 6HW7-JX8M. Er gilt noch 5 Minuten.")


def test_lint_measures_with_the_longest_code_of_any_purpose():
    def owner(*policies: CodeSettings) -> ServiceSettings:
        purposes = {f"p{place}": PurposeSettings(channels=("sms",), code=code) for place, code in enumerate(policies)}
        return ServiceSettings(channels=("sms",), purposes=purposes)

    grouped, password = CodeSettings(alphabet="unambiguous", length=8), CodeSettings(alphabet="symbols", length=14)
    assert _longest_code(None) == _longest_code(owner(grouped)) == LONGEST_CODE
    assert len(_longest_code(owner(grouped, password))) == 14
    assert len(_longest_code(owner(CodeSettings(alphabet="unambiguous", length=32)))) == 39


def test_lint_measures_with_the_name_it_is_given(run):
    result = run("lint", "--brand", "\u0160koda " * 12)
    assert result.exit_code == 1
    assert str(shipped("templates") / "sms") in result.stdout


def test_a_terminal_gets_colours(run):
    result = run("lint", files={"sms/verification/body.txt": "hello [b]"}, env={"FORCE_COLOR": "1", "TERM": "xterm"})
    assert "\x1b[31m" in result.stdout
    assert result.exit_code == 1


def test_an_adapter_whose_library_is_missing_is_left_out_and_told(run, tmp_path, monkeypatch):
    """A new adapter in the folder of adapters, whose import fails as that of an optional extra would."""
    import channels

    (tmp_path / "beeper.py").write_text("import a_library_nobody_has\n")
    monkeypatch.setattr(channels, "__path__", [*channels.__path__, str(tmp_path)])
    files = {"beeper/verification/body.txt": "{{ code }}"}
    linted = run("lint", files=files)
    assert "beeper: not looked at, a_library_nobody_has is not installed" in linted.stderr
    shown = run("preview", "beeper", files=files)
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "adapter 'beeper' needs a_library_nobody_has" in shown.stderr
