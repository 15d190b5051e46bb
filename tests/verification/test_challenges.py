"""A challenge is unguessable for as long as it lives, and read however people type it."""

from __future__ import annotations

import re
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from gateway.verification import challenges
from gateway.verification.challenges import ALPHABET, LENGTH, MAX_TYPED

CHALLENGES = st.text(ALPHABET, min_size=LENGTH, max_size=LENGTH)


def test_there_are_34_bits_of_them():
    assert len(set(ALPHABET)) == 20
    assert 20**LENGTH > 2**34


def test_no_two_letters_are_read_as_each_other():
    for alike in ("0OQD", "1IL", "2Z", "5S", "8B", "UV"):
        assert len(set(alike) & set(ALPHABET)) <= 1
    assert not set("AEIOUY") & set(ALPHABET)


def test_every_number_is_another_challenge():
    numbers = [*range(400), 20**LENGTH - 1]
    made = [challenges.make(partial(min, number)) for number in numbers]
    assert len(set(made)) == len(numbers)
    assert all(challenges.read(challenge) == challenge for challenge in made)


@given(CHALLENGES)
def test_what_is_shown_is_read_back(challenge):
    assert re.fullmatch(r"\w{4}-\w{4}", challenges.shown(challenge))
    assert challenges.read(challenges.shown(challenge)) == challenge


@given(CHALLENGES, st.data())
def test_case_spaces_and_dashes_do_not_matter(challenge, data):
    parts = [data.draw(st.sampled_from([letter, letter.lower()])) for letter in challenge]
    gaps = [data.draw(st.text(" -", max_size=4)) for _ in range(LENGTH + 1)]
    typed = gaps[0] + "".join(part + gap for part, gap in zip(parts, gaps[1:], strict=True))
    assert challenges.read(typed) == challenge


@given(st.text(max_size=2 * MAX_TYPED))
def test_any_text_is_read_as_one_or_none(typed):
    read = challenges.read(typed)
    assert read is None or (set(read) <= set(ALPHABET) and len(read) == LENGTH and typed.isascii())


def test_nothing_else_is_a_challenge():
    # The ligature folds to two letters of the alphabet, the full-width digit is a digit elsewhere.
    for typed in ("", "2345", "2345CFGHJ", "0345-CFGH", "234\uff15-CFGH", "\ufb00345CFG", "2345_CFGH", "2345-CFGH\n"):
        assert challenges.read(typed) is None
    assert challenges.read("2345-CFGH" + " " * MAX_TYPED) is None
