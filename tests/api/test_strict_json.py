"""Strict JSON: one reading of every body, or none."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.strict_json import MAX_DEPTH, parse
from gateway.errors import BadRequest

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "the body is not JSON (line 1, column 1)"),
        (b'{"a": ', "the body is not JSON (line 1, column 7)"),
        (b'{"a": 1} {}', "the body is not JSON (line 1, column 10)"),
        (b"{'a': 1}", "the body is not JSON (line 1, column 2)"),
        (b'\xef\xbb\xbf{"a": 1}', "the body starts with a byte order mark"),
        (b'{"a": "\xff"}', "the body is not UTF-8 (byte 7)"),
        (b'{"a": "\xed\xa0\x80"}', "the body is not UTF-8 (byte 7)"),
        (b'{"a": 1, "a": 1}', "an object of the body names a key twice"),
        (b'{"b": {"a": 1, "\\u0061": 2}}', "an object of the body names a key twice"),
        (b'{"a": NaN}', "NaN and Infinity are not JSON"),
        (b'{"a": -Infinity}', "NaN and Infinity are not JSON"),
        (b'{"a": 1e999}', "a number of the body is too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number of the body is too large"),
        (b'{"a": "\\u0000"}', "a string of the body holds a NUL character"),
        (b'{"a\\u0000": 1}', "a string of the body holds a NUL character"),
        (b'[{"a": ["\\ud800"]}]', "a string of the body holds half of a surrogate pair"),
        (b'{"a": "\x00"}', "the body is not JSON (line 1, column 8)"),
        ("[" * 17 + "]" * 17, "the body nests deeper than 16 levels"),
        ('{"a":' * 17 + "1" + "}" * 17, "the body nests deeper than 16 levels"),
        ("[" * 16_000, "the body nests deeper than 16 levels"),
    ],
)
def test_what_can_be_read_in_two_ways_or_none_is_refused(raw, told):
    with pytest.raises(BadRequest) as refused:
        parse(raw if isinstance(raw, bytes) else raw.encode())
    assert (told, 400) == (refused.value.detail, refused.value.status)


def test_sixteen_levels_are_read():
    assert json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH) == parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


def test_many_brackets_side_by_side_are_not_deep():
    assert parse(json.dumps([[]] * 40).encode()) == [[]] * 40


def test_a_whole_surrogate_pair_is_one_character():
    assert parse(b'{"a": "\\ud83d\\ude00"}') == {"a": "😀"}


@given(JSON_VALUES)
def test_what_json_can_say_is_read_as_it_was_written(value):
    raw = json.dumps(value).encode()
    if b"\\u0000" in raw.replace(b"\\\\", b""):
        with pytest.raises(BadRequest, match="NUL"):
            parse(raw)
    else:
        assert parse(raw) == value


@given(st.binary(max_size=200) | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_do_anything_but_parse_or_be_refused(raw):
    with contextlib.suppress(BadRequest):
        # What is taken, every other reader takes as the same.
        assert parse(raw) == json.loads(raw.decode("utf-8"))
