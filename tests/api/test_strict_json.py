"""Strict JSON: one reading of every body, or none."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.strict_json import MAX_DEPTH, _read_plainly, _read_strictly, parse
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


#: Members of plain bodies, some of one name, as they are written.
MEMBERS = st.lists(
    st.tuples(
        st.sampled_from(["to", "code", "a:b", "é"]),
        st.sampled_from(
            [
                *("null", "true", "1", "-0", "1.0", "1e2", "9007199254740993", '"x"', '"a:b"', '"☃"', '"\x7f"', "NaN"),
                *("[]", '["x"]', "[1]", "{}", '{"a": 1, "b": "x"}', '{"a": 1, "a": 2}', '{"a": {"b": 1}}', '"\\u0061"'),
            ]
        ),
    ),
    max_size=5,
).map(lambda pairs: ("{" + ", ".join(f'"{name}": {value}' for name, value in pairs) + "}").encode())


@given(MEMBERS)
def test_a_plain_body_is_read_as_the_strict_reader_reads_it(raw):
    plain = _read_plainly(raw)
    if plain is not None:
        # By their texts: to Python 1, 1.0 and True are the same.
        assert repr(_read_strictly(raw)) == repr(plain)


@pytest.mark.parametrize(
    "raw", [b'{"to": "a"}', b'{"to": {"phone": "1"}, "ttl": 60, "channels": ["sms"], "mode": null}']
)
def test_what_applications_send_is_plain(raw):
    assert json.loads(raw) == _read_plainly(raw)


@given(st.binary(max_size=200) | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_do_anything_but_parse_or_be_refused(raw):
    with contextlib.suppress(BadRequest):
        # What is taken, every other reader takes as the same.
        assert parse(raw) == json.loads(raw.decode("utf-8"))
