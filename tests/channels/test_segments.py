"""Counting SMS segments against the boundaries of 3GPP TS 23.038 and 23.040."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.segments import GSM_BASIC, GSM_EXTENSION, GSM_TWINS, avoidable, measure


@pytest.mark.parametrize(
    ("text", "encoding", "units", "count"),
    [
        ("", "GSM-7", 0, 1),
        ("a" * 160, "GSM-7", 160, 1),
        ("a" * 161, "GSM-7", 161, 2),
        ("a" * 306, "GSM-7", 306, 2),
        ("a" * 307, "GSM-7", 307, 3),
        ("€" * 80, "GSM-7", 160, 1),
        ("€" * 81, "GSM-7", 162, 2),
        # 153 is odd: the 77th pair does not fit into the first segment, nor a last one into the second.
        ("€" * 152, "GSM-7", 304, 2),
        ("€" * 153, "GSM-7", 306, 3),
        ("я" * 70, "UCS-2", 70, 1),
        ("я" * 71, "UCS-2", 71, 2),
        ("я" * 134, "UCS-2", 134, 2),
        ("я" * 135, "UCS-2", 135, 3),
        ("😀" * 35, "UCS-2", 70, 1),
        ("😀" * 36, "UCS-2", 72, 2),
        # 67 is odd as well.
        ("😀" * 66, "UCS-2", 132, 2),
        ("😀" * 67, "UCS-2", 134, 3),
        ("Don\u2019t", "UCS-2", 5, 1),
        ("Grüße à la §5: {1}", "GSM-7", 20, 1),
        ("ç", "UCS-2", 1, 1),
    ],
)
def test_texts_are_cut_where_the_standard_says(text: str, encoding: str, units: int, count: int) -> None:
    found = measure(text)
    assert (found.encoding, found.units, found.count) == (encoding, units, count)


def test_the_alphabet_has_127_characters_and_the_escape() -> None:
    assert (len(GSM_BASIC), len(GSM_EXTENSION), GSM_BASIC & GSM_EXTENSION) == (127, 10, frozenset())


def test_a_measure_reads_as_a_sentence() -> None:
    assert str(measure("a" * 97)) == "GSM-7, 97 of 160 characters, 1 segment"
    assert str(measure("я" * 100)) == "UCS-2, 100 characters, 2 segments of 67"


def test_characters_with_a_twin_are_named_once_and_in_order() -> None:
    assert avoidable("\u2019a\u00a0b\u2019") == ("\u00a0", "\u2019")


@pytest.mark.parametrize("text", ["plain", "Привет \u2019", "😀"])
def test_nothing_is_avoidable_in_gsm_7_or_where_ucs_2_is_needed_anyway(text: str) -> None:
    assert avoidable(text) == ()


def test_every_twin_is_inside_gsm_7_and_its_character_outside() -> None:
    assert all(measure(twin).encoding == "GSM-7" for twin in GSM_TWINS.values())
    assert all(measure(character).encoding == "UCS-2" for character in GSM_TWINS)


@given(st.text(max_size=700))
def test_segments_hold_the_text_and_no_more_than_needed(text: str) -> None:
    found = measure(text)
    assert found.units <= found.count * found.capacity
    # Each cut wastes at most one unit.
    assert found.count == 1 or found.units > (found.count - 1) * (found.capacity - 1)


@given(st.text(max_size=300), st.text(max_size=300))
def test_a_longer_text_never_takes_fewer_segments(text: str, more: str) -> None:
    assert measure(text + more).count >= measure(text).count


@given(st.text(alphabet=sorted(GSM_TWINS), min_size=1, max_size=50))
def test_replacing_the_avoidable_characters_makes_a_text_gsm_7(text: str) -> None:
    replaced = "".join(GSM_TWINS[character] if character in avoidable(text) else character for character in text)
    assert measure(replaced).encoding == "GSM-7"
