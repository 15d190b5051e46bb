"""``--help`` of every verb: nothing of what was written is lost on its way to the terminal."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gateway.cli import app


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every verb and group with the words it is called by."""
    yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*words, name))


ALL = dict(commands(typer.main.get_command(app)))


def plain(text: str) -> str:
    """Return a text on one line, without the frame that is drawn around it and the marks of what is set as code."""
    return " ".join(text.translate({ord("│"): " ", ord("`"): None}).split())


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_shows_every_word_of_every_text(words):
    """Typer reads ``[server]`` in a help text as markup, and drops it."""
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "300"})
    texts = [inspect.cleandoc(ALL[words].help), *(option.help for option in ALL[words].params)]
    assert result.exit_code == 0
    assert [text for text in texts if plain(text) not in plain(result.stdout)] == []


def test_the_version_is_told_as_it_is_installed():
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"otp-gateway {version('otp-gateway')}\n")


def test_paragraphs_are_broken_by_the_terminal_and_not_where_the_source_breaks_them():
    result = CliRunner().invoke(app, ["send", "--help"], env={"COLUMNS": "300"})
    second = inspect.cleandoc(ALL[("send",)].help).split("\n\n")[1]
    assert "\n" in second
    assert " ".join(second.split()) in result.stdout
