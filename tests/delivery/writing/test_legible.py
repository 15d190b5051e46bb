"""What others wrote stands on one line of ours, seen whole, and turns nothing around."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery.writing.legible import one_line, visible

#: Format characters that stay: the joiners, and the Arabic signs that are seen.
KEPT = {*map(chr, (0x200C, 0x200D, *range(0x600, 0x606), 0x6DD, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD))}
EVERY = [chr(number) for number in range(0x110000)]
#: Classes of UAX 9 that override, embed, isolate or part paragraphs.
MOVING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "B", "S"}


@given(st.text())
def test_a_value_is_one_line_without_controls(text):
    shown = visible(text)
    assert shown == " ".join(shown.split()) == visible(shown)
    assert [char for char in shown if unicodedata.category(char) in {"Cc", "Zl", "Zp"}] == []
    assert one_line(one_line(text)) == one_line(text)


def test_no_format_character_is_left_but_those_that_words_are_made_of():
    formats = [char for char in EVERY if unicodedata.category(char) == "Cf"]
    assert {char for char in formats if char in visible(f"a{char}b")} == KEPT


def test_nothing_is_left_that_moves_what_is_beside_it():
    moving = [char for char in EVERY if unicodedata.bidirectional(char) in MOVING]
    assert [char for char in moving if char in visible(f"a{char}b").replace(" ", "")] == []
    assert [mark for mark in "\u200e\u200f\u061c" if mark in visible(f"a{mark}b")] == []


def test_every_letter_from_right_to_left_is_set_apart():
    letters = [char for char in EVERY if unicodedata.bidirectional(char) in {"R", "AL", "AN"} and visible(char)]
    assert len(letters) > 1000
    assert [char for char in letters if one_line(char) != f"\u2068{char}\u2069"] == []


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Acme", "Acme"),
        (" Acme \t Shop ", "Acme Shop"),
        ("Söhne\u2028123456", "Söhne 123456"),
        ("Pay\u00adPal\u200b", "PayPal"),
        ("\u202e123456\u202c", "123456"),
        ("\u05e9\u05dc\u05d5\u05dd", "\u2068\u05e9\u05dc\u05d5\u05dd\u2069"),
        ("\u2068\u05e9\u05dc\u05d5\u05dd", "\u2068\u05e9\u05dc\u05d5\u05dd\u2069"),
        ("Acme 👩\u200d💻", "Acme 👩\u200d💻"),
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u2068\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645\u2069",
        ),
        ("\u200f \u3164", ""),
    ],
)
def test_words_and_emoji_stay_as_they_are(written, shown):
    assert one_line(written) == shown
