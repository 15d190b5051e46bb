from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr

from gateway.config import LogSettings, RawChannel, Settings
from gateway.config.schema import Sort, holds_secret, known_paths, locate, read_json, read_text
from tests.config.samples import refusal


@pytest.mark.parametrize(
    ("path", "sort"),
    [
        (("server",), Sort.TABLE),
        (("services",), Sort.TABLE),
        (("services", "any"), Sort.TABLE),
        (("services", "any", "code", "ttl"), Sort.KEY),
        (("channels", "any", "timeout"), Sort.KEY),
        (("channels", "any", "host"), Sort.OPTION),
        (("channels", "any", "deep", "er"), Sort.OPTION),
        (("serve",), Sort.UNKNOWN),
        (("server", "port", "x"), Sort.UNKNOWN),
        (("services", "any", "code", "tll"), Sort.UNKNOWN),
    ],
)
def test_a_path_leads_to_its_sort(path, sort):
    assert locate(path).sort is sort


def test_a_wrong_key_knows_what_could_stand_there():
    spot = locate(("log", "lvl", "x"))
    assert (spot.depth, spot.choices) == (1, ("format", "level"))


def test_only_secrets_are_secret():
    assert locate(("secrets", "keys")).secret is True
    assert locate(("database", "url")).secret is False
    assert holds_secret(Annotated[SecretStr | None, Field()]) is True
    assert holds_secret(dict[str, str]) is False


def test_every_known_path_is_a_key():
    paths = list(known_paths({"channels": ["a"], "services": ["b", "c"]}))
    # What is set by a channel's name is a table of its own.
    tables = {path[2:] for path in paths if locate(path).sort is Sort.TABLE}
    assert tables == {("confirm_within",), ("prices",)}
    assert {locate(path).sort for path in paths} == {Sort.KEY, Sort.TABLE}
    assert {path[1] for path in paths if path[0] in {"channels", "services"}} == {"a", "b", "c"}
    assert list(known_paths({}, LogSettings)) == [("format",), ("level",)]


def test_the_keys_of_a_purpose_are_known_by_its_name():
    paths = {path[2:] for path in known_paths({"services": ["b"], "purposes": ["login"]}) if path[0] == "services"}
    assert ("purposes", "login", "code", "ttl") in paths
    assert ("purposes", "login", "limits", "lockout", "after") in paths
    assert ("purposes", "login", "limits", "queue_depth") not in paths


class Inner(BaseModel):
    a: int = 1


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (int, "7", 7),
        (int, "x", "x"),
        (int | None, "7", 7),
        (Annotated[float, Field(gt=0)], "1.5", 1.5),
        (bool, "on", True),
        (bool, "FALSE", False),
        (str, "7", "7"),
        (str | int, "7", "7"),
        (int | str, "x", "x"),
        (Literal["a"], "a", "a"),
        (SecretStr, "[1]", "[1]"),
        (list[str], '["a"]', ["a"]),
        (tuple[str, ...], "a,b", "a,b"),
        (Sequence[str], "[]", []),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (Inner, '{"a": 1}', {"a": 1}),
        (Inner | None, "x", "x"),
        (list[str], '["\\ud800"]', '["\\ud800"]'),
    ],
)
def test_text_is_read_as_its_type(annotation, text, value):
    assert read_text(annotation, text) == value


@given(text=st.text())
def test_a_fault_of_json_holds_nothing_of_the_text(text):
    fault = refusal(read_json, text)
    assert fault is None or (str(fault) == "is not valid JSON" and fault.__cause__ is None)


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5_000, "{'a': 1}", ""])
def test_what_no_parser_survives_is_not_json(text):
    with pytest.raises(ValueError, match=r"^is not valid JSON$"):
        read_json(text)


def test_raw_channels_are_the_only_place_of_options():
    assert Settings.model_fields["channels"].annotation is not RawChannel
    assert locate(("x",), RawChannel).sort is Sort.OPTION
