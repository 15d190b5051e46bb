"""``otp-gateway doctor``: what is asked, printed and answered with, against servers of this machine."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from channels.findings import Verdict
from gateway.cli import app as program
from gateway.cli.doctor import _print, _public_name, doctor, of_lint, render_json
from gateway.config import load_settings
from gateway.delivery.writing.linting import Finding as LintFinding
from gateway.delivery.writing.linting import Severity
from gateway.diagnosis.seen import Area, Seen

CONFIG = '[channels.pager]\nadapter = "console"\n[services.default]\nchannels = ["pager"]\n'

app = typer.Typer()
app.command()(doctor)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return path


def run(config: Path, *arguments: str, **environ: str) -> Any:
    given = {f"OTP_GATEWAY_{name}": value for name, value in environ.items()}
    return CliRunner().invoke(app, ["--config", str(config), *arguments], env={"OTP_GATEWAY_CONFIG": None, **given})


def test_nothing_at_fault_is_told_area_by_area_and_exits_with_0(config):
    result = run(config)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert {line.split()[0] for line in lines[:-1]} == {"ok"}
    areas = [line.split()[1] for line in lines[:-1]]
    assert list(dict.fromkeys(areas)) == ["configuration", "channels", "database", "clock", "keys"]
    assert lines[-1] == f"{len(lines) - 1} looked at: 0 faults, 0 warnings"
    # Looking made neither database nor keys.
    assert [path.name for path in config.parent.iterdir()] == ["config.toml"]


def test_a_fault_exits_with_1_and_names_what_to_do(config):
    config.write_text(
        f'{CONFIG}[channels.mail]\nadapter = "email"\nhost = "127.0.0.1"\nport = 1\ntls = "none"\nfrom = "a@shop.example"\n'
    )
    result = run(config, "--only", "channels")
    assert result.exit_code == 1, result.output
    assert result.stdout.splitlines() == [
        "ok       channels       pager: messages: go to this machine's own terminal, codes included; nobody else is reached",
        "fault    channels       mail: connection: no connection; check host, port, this machine's DNS and its network",
        "2 looked at: 1 fault, 0 warnings",
    ]


def test_json_is_for_programs(config):
    result = run(config, "--json", "--only", "configuration, database")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["verdict"]) == (0, "ok")
    assert {item["area"] for item in found["findings"]} == {"configuration", "database"}
    assert {tuple(item) for item in found["findings"]} == {("area", "subject", "verdict", "told")}
    assert found["at"].endswith("Z")


def test_a_configuration_that_cannot_be_used_exits_with_2(config):
    config.write_text(f'{CONFIG}webhook_url = "https://shop.example:9"\nconfirm_within = {{ pager = 5 }}\nbogus = 1\n')
    assert (run(config).exit_code, run(config).stdout) == (2, "")
    config.write_text(config.read_text().replace("bogus = 1", ""))
    result = run(config, SERVICES__DEFAULT__WEBHOOK_SECRET="whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    assert (result.exit_code, result.stdout, result.stderr.count("error: ")) == (2, "", 2)


def test_an_area_or_a_resolver_that_does_not_exist_is_told(config):
    result = run(config, "--only", "channels,mail")
    assert (result.exit_code, "there is no 'mail'" in result.stderr) == (2, True)
    result = run(config, "--dns", "nobody")
    assert (result.exit_code, result.stdout, "--dns: must be an IP address" in result.stderr) == (2, "", True)


def test_domains_are_asked_about_at_the_resolver_that_is_named(config):
    mail = 'adapter = "email"\nhost = "127.0.0.1"\ntls = "none"\nfrom = "codes@shop.example"\n'
    config.write_text(f"{CONFIG}[channels.mail]\n{mail}")
    result = run(config, "--only", "dns", "--dns", "127.0.0.1:9")
    assert (result.exit_code, result.stdout.splitlines()[0].split()[:3]) == (0, ["warning", "dns", "shop.example:"])


def test_templates_that_are_missing_are_a_fault(config):
    config.write_text(CONFIG + 'templates = "none"\n')
    result = run(config, "--only", "configuration")
    assert (result.exit_code, "templates: there is no folder" in result.stdout) == (1, True)


def test_what_lint_calls_an_error_is_a_fault_with_file_and_line(config, tmp_path):
    own = tmp_path / "mine" / "console" / "verification"
    own.mkdir(parents=True)
    (own / "body.txt").write_text("Your code\n{{ cod }} {{ code }}")
    config.write_text(CONFIG + 'templates = "mine"\n')
    result = run(config, "--only", "configuration")
    told = f"fault    configuration  templates: {own / 'body.txt'}:2: unknown variable cod; did you mean code?"
    assert (result.exit_code, told in result.stdout.splitlines()) == (1, True)


def test_of_many_errors_the_first_are_told_and_how_many_more_there_are():
    errors = [LintFinding("a.txt", None, Severity.ERROR, str(number)) for number in range(7)]
    found = of_lint([LintFinding("a.txt", 1, Severity.WARNING, "so"), *errors])
    assert [item.told for item in found][4:] == ["a.txt: 4", "2 further errors; `otp-gateway templates lint` shows all"]
    assert {item.verdict for item in found} == {Verdict.FAULT}


def test_messages_that_wait_while_no_node_runs_are_a_fault(config):
    runner = CliRunner()
    assert runner.invoke(program, ["send", "--to", "ann@example.org", "--config", str(config)]).exit_code == 0
    result = run(config, "--only", "database")
    told = "1 message waits and no node sends what is queued in this database: start `otp-gateway serve`"
    assert (result.exit_code, f"fault    database       nodes: {told}" in result.stdout.splitlines()) == (1, True)


def test_the_name_of_public_url_is_looked_up_where_it_is_one(config):
    settings = {"https://codes.shop.dev": "codes.shop.dev", "https://192.0.2.7": None, "http://localhost:1": None}
    assert _public_name(load_settings(config, {"OTP_GATEWAY_SERVER__HOST": "0.0.0.0"})) is None
    for url, expected in settings.items():
        chosen = load_settings(config, {"OTP_GATEWAY_SERVER__PUBLIC_URL": url})
        assert _public_name(chosen) == expected


FOUND = [
    Seen(Area.CHANNELS, "mail: login", Verdict.FAULT, "refused (535); check username and password " + "x" * 200),
    Seen(Area.CHANNELS, "mail: \x1b[31msender", Verdict.WARNING, "so"),
    Seen(Area.CLOCK, "database", Verdict.OK, "well"),
]


def printed(*, terminal: bool) -> str:
    out = io.StringIO()
    colours = "standard" if terminal else None
    _print(Console(file=out, force_terminal=terminal, width=100, color_system=colours, highlight=False), FOUND)  # type: ignore[arg-type]
    return out.getvalue()


def test_a_terminal_gets_a_table_with_colours():
    shown = printed(terminal=True)
    assert "\x1b[1;31mfault" in shown
    assert "\\x1b[31msender" in shown
    assert shown.count("channels") == 1
    assert max(map(len, re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines())) <= 100


def test_into_a_pipe_no_line_is_folded():
    lines = printed(terminal=False).splitlines()
    assert (len(lines), len(lines[0]) > 200, "\x1b" in "".join(lines)) == (4, True, False)
    assert lines[-1] == "3 looked at: 1 fault, 1 warning"
    assert json.loads(render_json(FOUND))["verdict"] == "fault"
