"""The canaries are found in every form a sink could hold them in."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import fields
from urllib.parse import quote, quote_plus, urlencode

import pytest

from tests.events.canary import Canaries

CANARIES = Canaries()
NAMES = [field.name for field in fields(Canaries)]

FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda value: f"x{value}y",
    "upper case": lambda value: value.upper(),
    "url": lambda value: f"?a={quote(value, safe='')}&b",
    "url, lower-case escapes": lambda value: quote(value, safe="").replace("%2B", "%2b").replace("%3A", "%3a"),
    "form": lambda value: urlencode({"value": value}),
    "form, plus": quote_plus,
    "json": lambda value: json.dumps({"value": value}),
    "json with every character escaped": lambda value: "".join(f"\\u{ord(char):04x}" for char in value),
    "json with slashes escaped": lambda value: json.dumps(value).replace("/", "\\/"),
    "json in json": lambda value: json.dumps(json.dumps(value, ensure_ascii=False)),
    "repr": repr,
    "ascii": ascii,
    "repr of bytes": lambda value: repr(value.encode()),
    "repr of latin bytes": lambda value: repr(value.encode("latin-1")),
    "hex": lambda value: value.encode().hex(),
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "base64 at one byte": lambda value: base64.b64encode(b"a" + value.encode() + b"z").decode(),
    "base64 at two bytes": lambda value: base64.b64encode(b"ab" + value.encode() + b"yz").decode(),
    "base64 of a login": lambda value: base64.b64encode(f"\0user\0{value}".encode()).decode(),
    "base64url": lambda value: base64.urlsafe_b64encode(f"???{value}".encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_a_canary_is_found_in_every_form(name, form):
    text = f"before {FORMS[form](getattr(CANARIES, name))} behind"
    assert name in {found for found, _ in CANARIES.found_in(text)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("code", "your code is 73049 18265"),
        ("code", "73049-18265"),
        ("phone", "to=4915735984217"),
        ("key", "Zq8rT4wX2mB6kV9sD3fG7hJ5nL1pC0yE8aU6iO4tR2wQ1zX9c"),
        ("bot_token", "bot/AAHcanaryQ7w-E5rT_y3U1iO9pA8sD6fG4h/getMe"),
    ],
)
def test_a_canary_is_found_as_people_and_providers_write_it(name, text):
    assert [found for found, _ in CANARIES.found_in(text)] == [name]


def test_a_text_without_canaries_passes():
    CANARIES.assert_absent(
        '{"event": "message.sent", "recipient": "+49••••••••217", "attempt": 1} c•••@a•••.org', "log"
    )


def test_a_failure_names_the_canary_the_form_and_the_place_but_not_the_secret():
    with pytest.raises(AssertionError) as caught:
        CANARIES.assert_absent("to %2B4915735984217", "the log")
    assert "the log holds phone (plain), phone (without +)" in str(caught.value)
    assert "4915735984217" not in str(caught.value).partition("assert")[0]


def test_other_canaries_can_be_given():
    assert Canaries(code="1122334455").found_in("1122334455") == [("code", "plain")]
