"""Whatever is wrong, every verb tells it in one form: ``error: `` and a sentence a line, on standard error."""

from __future__ import annotations

from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gateway.cli import app
from gateway.cli.faults import tell
from tests.cli.test_help import ALL

#: Every verb, less the groups.
VERBS = {words: verb for words, verb in ALL.items() if not getattr(verb, "commands", None)}
GROUPS = [words for words in ALL if words not in VERBS]
WITH_CONFIG = [words for words, verb in VERBS.items() if any("--config" in item.opts for item in verb.params)]


def faults(*words: str) -> list[str]:
    """Return what a command that cannot be used is told, less ``error: ``; nothing else may stand there but its usage."""
    result = CliRunner().invoke(app, [*words])
    lines = [line for line in result.stderr.splitlines() if not line.startswith(("Usage: ", "Try '"))]
    assert (result.exit_code, result.stdout) == (2, "")
    assert [line for line in lines if not line.startswith("error: ")] == []
    return [line.removeprefix("error: ") for line in lines]


def required(verb: Any) -> list[str]:
    """Return words a verb cannot do without."""
    options = [item.opts[0] for item in verb.params if item.required and item.param_type_name == "option"]
    arguments = ["x" for item in verb.params if item.required and item.param_type_name == "argument"]
    return [*arguments, *(word for option in options for word in (option, "x"))]


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_an_option_that_does_not_exist(words):
    assert faults(*words, "--zzz") == ["No such option: --zzz"]


@pytest.mark.parametrize("words", GROUPS, ids=" ".join)
def test_a_verb_that_does_not_exist(words):
    assert faults(*words, "nonsense") == ["No such command 'nonsense'."]


@pytest.mark.parametrize("words", GROUPS, ids=" ".join)
def test_a_group_by_its_name_alone_is_its_help_and_no_fault(words):
    result = CliRunner().invoke(app, [*words])
    assert (result.exit_code, "Usage: " in result.stdout, result.stderr) == (2, True, "")


@pytest.mark.parametrize("words", WITH_CONFIG, ids=" ".join)
def test_a_config_file_that_is_not_there(words, tmp_path):
    chosen = {("send",): ["--to", "x"], ("unlock",): ["--to", "x"], ("webhooks", "replay"): ["whk_1"]}.get(words, [])
    missing = tmp_path / "no.toml"
    told = faults(*words, *required(VERBS[words]), *chosen, "--config", str(missing))
    assert told == [f"--config: {missing} cannot be read: No such file or directory"]


def test_a_value_that_an_option_does_not_take():
    assert faults("logs", "--since", "long") == ["Invalid value for --since: a number and s, m, h or d, like 30m"]


def test_several_faults_are_a_line_each_and_red_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    tell("one\ntwo")
    assert capsys.readouterr().err == "\x1b[1;31merror: \x1b[0mone\n\x1b[1;31merror: \x1b[0mtwo\n"


def test_whoever_runs_it_within_a_program_is_raised_the_fault():
    with pytest.raises(typer.TyperException, match="--nonsense"):
        typer.main.get_command(app).main(["--nonsense"], standalone_mode=False)
