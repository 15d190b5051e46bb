"""What libraries say of a value that does not fit, in plain words, whatever the value is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import typer
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from channels.email import EmailSettings
from channels.sms import SmsSettings
from channels.telegram import TelegramSettings
from gateway import phrases
from gateway.cli.faults import _tell_misuse
from gateway.config import RawChannel, ServiceSettings, Settings
from gateway.sandbox import acts
from tests.api.test_intake import BODIES, JSON, SHAPES
from tests.cli.test_help import ALL

#: What nobody reads who never saw Python, or who did not write it.
JARGON = re.compile(
    r"`|\b(?:str|int|float|bool|dict|NoneType|array|got|tuple|frozenset|regex)\b|[Ee]xpected|[Ii]nput|Value error|"
    r"Assertion|items? after|valid (?:integer|number|string|boolean)|should"
)
ACTS = [
    kind
    for kind in vars(acts).values()
    if isinstance(kind, type) and issubclass(kind, acts.Act) and kind is not acts.Act
]
ACT_FIELDS = sorted({name for act in ACTS for name in act.__struct_fields__})
ACT_BODIES = st.dictionaries(st.sampled_from(ACT_FIELDS) | st.text(max_size=4), JSON, max_size=5)
MODELS: list[type[BaseModel]] = [Settings, ServiceSettings, RawChannel, EmailSettings, SmsSettings, TelegramSettings]


READERS: list[Callable[[Any, type], object]] = [
    lambda value, shape: msgspec.convert(value, shape, strict=True),
    lambda value, shape: msgspec.json.decode(json.dumps(value), type=shape),
]


def said(read: Callable[[Any, type], object], value: Any, shape: type) -> str | None:
    """Return what msgspec says of what it cannot read, ``None`` where it can."""
    try:
        read(value, shape)
    except msgspec.ValidationError as error:
        return str(error)
    return None


@settings(max_examples=150)
@given(st.sampled_from([*SHAPES, *ACTS]), JSON | BODIES | ACT_BODIES)
@example(SHAPES[0], {"to": "x", "ttl": 10**40})
@example(SHAPES[0], {"to": "x", "ttl": -(10**40)})
@example(acts.Write, {"person": 2**52, "text": "x"})
@example(acts.SetFault, {"server": "fax", "fault": "none"})
@example(acts.ShareContact, {"person": 1, "phone": "none"})
@example(acts.Write, {"person": 1, "text": "x", "a`b - at `$.c`": 1})
def test_whatever_does_not_fit_one_of_our_shapes_is_told_plainly(shape, value):
    told = [fault for fault in (said(read, value, shape) for read in READERS) if fault is not None]
    assert [fault for fault in told if phrases.of_msgspec(fault)[1] == phrases.OTHERWISE] == []
    assert [fault for fault in told if JARGON.search(phrases.of_msgspec(fault)[1])] == []


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ("Expected `str` of length >= 1 - at `$.code`", ("/code", "a text of at least 1 character")),
        ("Expected `str` of length <= 200 - at `$.params[...]`", ("/params[...]", "a text of at most 200 characters")),
        ("Expected `array` of length <= 10 - at `$.channels`", ("/channels", "a list of at most 10 items")),
        ("Expected `int` <= 600 - at `$.ttl`", ("/ttl", "a whole number, 600 or less")),
        ("Expected `float` > 0.5", ("", "a number, more than 0.5")),
        (
            "Expected `str | null`, got `int` - at `$.channels[1]`",
            ("/channels/1", "a text or null, not a whole number"),
        ),
        ("Expected `datetime`, got `str`", ("", "another value, not a text")),
        ("Object missing required field `to`", ("/to", "required")),
        ("Object missing required field `b` - at `$.a`", ("/a/b", "required")),
        ("Object contains unknown field `x` - at `$.code`", ("/code/x", "no such field")),
        ("JSON is malformed: invalid character (byte 0)", ("", "not JSON")),
        ("Integer value out of range - at `$.ttl`", ("/ttl", "a number nearer to zero")),
        ("Something that a later version says - at `$.ttl`", ("/ttl", "not what belongs here")),
    ],
)
def test_a_sentence_of_msgspec_is_a_place_and_a_phrase(told, fault):
    assert phrases.of_msgspec(told) == fault


@given(st.text())
@example("Expected `` - at `$`")
def test_whatever_msgspec_may_say_later_is_no_error_of_ours(told):
    pointer, what = phrases.of_msgspec(told)
    assert isinstance(pointer, str)
    assert what


@st.composite
def trees(draw: st.DrawFn) -> tuple[type[BaseModel], dict[str, Any]]:
    """A model of the configuration and a table for it: a few of its keys, each with any value."""
    model = draw(st.sampled_from(MODELS))
    return model, draw(tables(model))


def tables(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    inner = {
        name: tables(kind) | JSON if isinstance(kind, type) and issubclass(kind, BaseModel) else JSON
        for name, kind in ((field.alias or name, field.annotation) for name, field in model.model_fields.items())
    }
    return st.fixed_dictionaries({}, optional=inner)


# A network may be given as a number, and false is one to Python for now.
@pytest.mark.filterwarnings("ignore:__int__ returned non-int:DeprecationWarning")
@settings(max_examples=150)
@given(trees())
@example((Settings, {"server": {"port": 70_000, "trusted_proxies": ["x"]}, "retention": {"webhooks": 1}}))
@example(
    (Settings, {"log": {"level": "loud", "format": 1}, "database": {"url": "x"}, "webhooks": {"allow_private": 1}})
)
@example((EmailSettings, {"bounce_token": "short", "port": 1.5, "host": ["a"]}))
def test_whatever_a_setting_is_its_fault_is_told_plainly(tried):
    model, table = tried
    try:
        model.model_validate_json(json.dumps(table), strict=True)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            # What our own validators say may quote a command.
            assert item["type"] == "value_error" or JARGON.search(phrases.of_pydantic(item)) is None, item
            assert not phrases.of_pydantic(item).startswith("Value error")


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        (int, "x", "must be a whole number"),
        (float, "x", "must be a number"),
        (bool, "x", "must be true or false"),
        (list[int], 1, "must be a list"),
        # What is on no list is turned around.
        (bytes, 1, "must be a valid bytes"),
    ],
)
def test_what_pydantic_says_is_the_rest_of_a_sentence(kind, value, told):
    with pytest.raises(ValidationError) as error:
        TypeAdapter(kind).validate_python(value)
    assert phrases.of_pydantic(error.value.errors()[0]) == told


OPTIONS = [
    (words, option)
    for words, verb in ALL.items()
    for option in verb.params
    if option.param_type_name == "option" and not option.is_flag
]


@pytest.mark.parametrize("given", ["x", "-1", "1e99", "9" * 30, ""])
@pytest.mark.parametrize(("words", "option"), OPTIONS, ids=lambda item: getattr(item, "name", None) or " ".join(item))
def test_whatever_an_option_is_given_its_fault_is_told_plainly(words, option, given, capsys):
    try:
        ALL[words].make_context("verb", [option.opts[0], given])
    except typer.TyperException as error:
        _tell_misuse(error)
    assert JARGON.search(capsys.readouterr().err.replace("--", "")) is None
