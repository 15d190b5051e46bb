"""Whose a database is: the ring's that made it, by ``migrate`` or the first node, and never that of who merely looked."""

from __future__ import annotations

import base64
import json

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from tests.conftest import aside, empty

CONFIG = """
[channels.console]
adapter = "console"
[services.default]
channels = ["console"]
"""
READING = [
    ("stats",),
    ("logs",),
    ("keys", "list"),
    ("webhooks", "list"),
    ("policy", "replay"),
]


def ring(name: str, first: int) -> str:
    """The value of ``SECRETS__KEYS`` for a ring of one key."""
    return json.dumps([f"{name}:{base64.b64encode(bytes(range(first, first + 32))).decode()}"])


OURS, OTHERS, NAMESAKE = ring("k1", 0), ring("k7", 100), ring("k1", 100)


@pytest.fixture
def url(engine_name, request, tmp_path) -> str:
    if engine_name == "sqlite":
        return f"sqlite:///{tmp_path / 'gateway.db'}"
    found: str = request.getfixturevalue("migrated_postgresql")
    aside(empty(found))
    return found


@pytest.fixture
def ask(tmp_path, url):
    """Asks a verb with a ring; ``None``: with none."""
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)

    def ask(keys: str | None, *words: str):
        given = {"OTP_GATEWAY_DATABASE__URL": url, "OTP_GATEWAY_SECRETS__KEYS": keys}
        return CliRunner().invoke(app, [*words, "--config", str(path)], env=given)

    return ask


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_look_with_other_keys_at_an_empty_database_does_not_make_it_theirs(ask, words, engine_name):
    # A SQLite file that is not there is not even made.
    assert ask(OTHERS, *words).exit_code == (2 if engine_name == "sqlite" else 0)
    assert ask(OURS, "keys", "create", "--service", "default").exit_code == 0
    assert ask(OURS, *words).exit_code == 0


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_database_that_was_migrated_is_its_keys_and_others_are_told_whose_it_is(ask, words):
    assert ask(OURS, "migrate").exit_code == 0
    assert ask(OURS, *words).exit_code == 0
    refused = ask(OTHERS, *words)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.strip() == (
        "error: [secrets] keys: another ring sealed this database: its key is k1, yours k7; give it the keys it was made with"
    )


def test_another_key_of_the_same_name_is_told_as_that(ask):
    ask(OURS, "migrate")
    refused = ask(NAMESAKE, "migrate")
    assert refused.exit_code == 2
    assert "another ring sealed this database: its k1 is another key than yours; give it" in refused.stderr


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_who_migrates_without_keys_makes_it_nobodys_and_says_so(ask):
    made = ask(None, "migrate")
    assert (made.exit_code, made.stdout.startswith("the schema is at revision ")) == (0, True)
    assert made.stderr == "no [secrets] keys were given: the first node's keys will seal this database\n"
    assert ask(OTHERS, "migrate").exit_code == 0
