"""Locales: normalised keys and what they fall back to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery.writing.locales import PLAIN, choices, fallbacks, normalize, written


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("de-AT", ("de-at", "de", "")),
        ("de_AT", ("de-at", "de", "")),
        ("DE", ("de", "")),
        ("zh-Hant-TW", ("zh-hant-tw", "zh-hant", "zh", "")),
        (" en ", ("en", "")),
        ("", ("",)),
        ("*", ("",)),
        ("de-", ("",)),
        ("../../etc", ("",)),
        ("deutsch", ("",)),
        ("de\n", ("de", "")),
    ],
)
def test_a_tag_falls_back_to_its_language_and_then_to_the_plain_files(tag, expected):
    assert fallbacks(tag) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-at", "de-AT"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("sl-1994", "sl-1994"),
    ],
)
def test_a_key_is_written_as_people_write_it(key, expected):
    assert written(key) == expected


@given(st.text())
def test_no_text_makes_the_fallback_raise_or_lose_the_plain_files(tag):
    found = fallbacks(tag)
    assert found[-1] == PLAIN
    assert len(found) <= 9
    assert all(normalize(key) == key for key in found)


@given(st.from_regex(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8}){0,3}", fullmatch=True))
def test_case_and_separator_do_not_count(tag):
    assert fallbacks(tag.upper().replace("-", "_")) == fallbacks(tag.lower().replace("_", "-"))
    assert fallbacks(written(normalize(tag))) == fallbacks(tag)


@pytest.mark.parametrize(
    ("wished", "expected"),
    [
        (("fr", "de-AT"), ("fr", "de-at", "de", "")),
        (("en", "de"), ("en", "")),
        (("en-GB", "de"), ("en-gb", "en", "")),
        (("", "de"), ("de", "")),
        (("fr", "en"), ("fr", "en", "")),
        ((), ("",)),
    ],
)
def test_wishes_are_tried_in_order_and_the_plain_files_are_english(wished, expected):
    assert choices(*wished) == expected
