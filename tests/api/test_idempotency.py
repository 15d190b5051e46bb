"""``Idempotency-Key`` as a header: bare, quoted, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from gateway.api.idempotency import key_of
from gateway.errors import BadRequest

PRINTABLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255)


def request(*values: str) -> Request:
    headers = [(b"idempotency-key", value.encode("latin-1")) for value in values]
    return Request({"type": "http", "headers": headers})


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("order-7", "order-7"),
        ('"order-7"', "order-7"),
        ('  "order 7" ', "order 7"),
        (r'"a\"b\\c"', 'a"b\\c'),
        ("x" * 255, "x" * 255),
        ('"' + "x" * 255 + '"', "x" * 255),
    ],
)
def test_a_key_is_bare_or_quoted_and_the_same(value, key):
    assert key == key_of(request(value))


@pytest.mark.parametrize("value", ["", " ", '""', '"', '"a', '"a"b"', r'"a\b"', "x" * 256, "a\tb", "schlüssel", '"ü"'])
def test_what_is_no_key_is_refused_by_the_headers_name(value):
    with pytest.raises(BadRequest) as told:
        key_of(request(value))
    assert told.value.detail.startswith("Idempotency-Key:")


def test_two_keys_are_refused():
    with pytest.raises(BadRequest):
        key_of(request("a", "b"))


def test_no_header_is_no_key():
    assert key_of(request()) is None


@given(PRINTABLE)
def test_quoting_a_key_does_not_change_it(key):
    quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert key == key_of(request(quoted))
    if not key.startswith('"'):
        assert key == key_of(request(key))


@given(st.binary(max_size=300))
def test_any_header_is_a_key_of_its_length_or_refused(value):
    try:
        key = key_of(Request({"type": "http", "headers": [(b"idempotency-key", value)]}))
    except BadRequest:
        return
    assert key is not None
    assert 1 <= len(key) <= 255
    assert key.isascii()
    assert key.isprintable()
