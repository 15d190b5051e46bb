"""Codes without bias, of every alphabet, read leniently, counted exactly."""

from __future__ import annotations

import contextlib
import itertools
import math
import random
from collections import Counter
from contextlib import nullcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.segments import GSM_BASIC
from gateway.verification import codes
from gateway.verification.codes import (
    ALPHABETS,
    CLASSES,
    FEWEST,
    LONGEST,
    MAX_LENGTH,
    MalformedCodeError,
    WeakPasswordError,
    alphabet_named,
    check_classes,
    check_length,
    combinations,
    entropy,
    example,
    folded,
    make,
    make_anew,
    plain,
    read,
    same,
    shown,
)

digits = st.text("0123456789", min_size=1, max_size=10)
between = st.lists(st.sampled_from(["", " ", "-", "  ", " - "]), min_size=11, max_size=11)
alphabets = st.sampled_from(sorted(ALPHABETS))
every_class = ("lower", "upper", "digits", "symbols")


def fixed(*numbers: int):
    """A source that draws these numbers, and the bounds it was asked below."""
    left, bounds = list(numbers), []

    def below(bound: int) -> int:
        bounds.append(bound)
        return left.pop(0)

    return below, bounds


# --- Making ---------------------------------------------------------------------------------------------------------


def test_every_number_below_the_bound_becomes_its_own_code():
    """With a uniform source below 10**n, that makes every code as likely as any other."""
    bounds = []

    def source(number: int):
        def below(bound: int) -> int:
            bounds.append(bound)
            return number

        return below

    made = [make(3, random_below=source(number)) for number in range(1000)]
    assert set(bounds) == {1000}
    assert made == [f"{number:03}" for number in range(1000)]


@given(length=st.integers(1, 10))
def test_a_code_has_its_length_with_leading_zeros(length):
    assert make(length, random_below=lambda _: 0) == "0" * length
    assert make(length, random_below=lambda bound: bound - 1) == "9" * length
    assert len(make(length)) == length


@pytest.mark.parametrize("name", [name for name in ALPHABETS if name != "digits"])
def test_each_character_is_drawn_by_itself_below_the_size_of_the_alphabet(name):
    """With a uniform source, every string of the alphabet is as likely as any other."""
    characters = ALPHABETS[name].characters
    for numbers in ((0, 1, 2), (len(characters) - 1,) * 3):
        below, bounds = fixed(*numbers)
        assert plain(make(3, name, (), below)) == "".join(characters[number] for number in numbers)
        assert bounds == [len(characters)] * 3


@given(name=alphabets, length=st.integers(codes.SHORTEST, 10), seed=st.integers(0))
def test_a_code_is_of_its_alphabet_and_length_and_shown_as_it_is_read(name, length, seed):
    code = make(length, name, (), random.Random(seed).randrange)
    assert len(plain(code)) == length
    assert set(plain(code)) <= set(ALPHABETS[name].characters)
    assert folded(read(code), name) == plain(code)
    assert code == shown(plain(code), name)


def test_with_classes_exactly_the_codes_that_have_them_come_about_and_each_in_one_way():
    """All draws of a small alphabet, enumerated: what is accepted is every string with all classes, once."""
    accepted, classes = [], ("lower", "digits", "symbols")
    for numbers in itertools.product(range(4), repeat=5):
        below, _ = fixed(*numbers)
        with contextlib.suppress(IndexError):  # drawn anew, and there is nothing left to draw
            accepted.append(codes._holding(5, "a0A!", classes, below))
    every = ["".join(letters) for letters in itertools.product("a0A!", repeat=5)]
    assert accepted == [text for text in every if {"a", "0", "!"} <= set(text)]
    assert len(accepted) == codes._counted(5, "a0A!", classes)


def chi_square(found: Counter[str], size: int) -> float:
    expected = sum(found.values()) / size
    return sum((found[key] - expected) ** 2 for key in found) / expected + (size - len(found)) * expected


def test_what_the_machine_draws_is_uniform():
    """Chi-square over 10,000 codes of 4 digits: with 9,999 degrees of freedom, below its mean plus 6 deviations."""
    found = Counter(make(4) for _ in range(60_000))
    assert chi_square(found, 10_000) < 9_999 + 6 * math.sqrt(2 * 9_999)


def test_passwords_the_machine_draws_are_uniform_in_every_place():
    """Each place of a password has each character of a class as often; the first is no likelier to be a sign."""
    made = [make(9, "symbols", every_class) for _ in range(6_000)]
    assert all(not set(CLASSES[name]).isdisjoint(code) for code in made for name in every_class)
    for place in (0, 8):
        # Given that all classes are there, a lower-case letter is as likely in one place as in another.
        found = Counter(code[place] for code in made if code[place] in CLASSES["lower"])
        assert chi_square(found, 26) < 25 + 6 * math.sqrt(2 * 25)
    signs = [sum(code[place] in CLASSES["symbols"] for code in made) for place in range(9)]
    mean = sum(signs) / 9
    assert sum((number - mean) ** 2 for number in signs) / mean < 8 + 6 * math.sqrt(2 * 8)


@pytest.mark.parametrize(
    ("code", "alphabet", "classes", "kept"),
    [
        ("012345", "digits", (), ()),
        ("CFGH-2345", "unambiguous", (), ()),
        ("aB3!aB3!a", "symbols", every_class, every_class),
        ("012345", "digits", every_class, ("digits",)),  # the policy asks for more since it was made
    ],
)
def test_a_code_made_anew_is_like_the_one_before(code, alphabet, classes, kept):
    found = make_anew(code, alphabet, classes, random.Random(1).randrange)
    assert (len(found), found == code) == (len(code), False)
    assert all(not set(CLASSES[name]).isdisjoint(found) for name in kept)


# --- Showing and reading ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "groups"), [(4, [4]), (5, [3, 2]), (6, [3, 3]), (8, [4, 4]), (9, [3, 3, 3]), (10, [4, 3, 3])]
)
def test_unambiguous_codes_are_shown_in_even_groups_of_four_at_most(length, groups):
    assert [len(group) for group in shown("C" * length, "unambiguous").split("-")] == groups


def test_the_longest_code_is_looked_at_and_others_are_in_one_piece():
    assert len(shown("C" * LONGEST, "unambiguous")) == 39 <= MAX_LENGTH
    assert shown("c" * LONGEST, "lower") == "c" * LONGEST


def test_no_sign_of_any_code_costs_more_in_an_sms_or_is_changed_on_its_way():
    signs = set(CLASSES["symbols"])
    assert signs <= GSM_BASIC
    assert not signs & set(" -\"'<>&`.,;:#@%\\")
    assert set("-" + "".join(alphabet.characters for alphabet in ALPHABETS.values())) <= GSM_BASIC


@given(code=digits, gaps=between)
def test_spaces_and_dashes_are_dropped(code, gaps):
    typed = "".join(gap + digit for gap, digit in zip(gaps, code, strict=False)) + gaps[-1]
    assert read(typed) == code


@given(st.text(max_size=80))
def test_what_is_read_is_plain_or_refused(given_text):
    try:
        code = read(given_text)
    except MalformedCodeError:
        return
    assert code.isascii()
    assert not set(code) & {" ", "-"}
    assert 0 < len(code) <= MAX_LENGTH
    assert read(code) == code


@pytest.mark.parametrize(
    "bad", ["", " - ", "1" * 65, "12345\u00e9", "\uff11\uff12\uff13", "12\n34", "12.34", "1\x002", "12@34"]
)
def test_what_is_no_code_is_malformed_and_not_repeated(bad):
    with pytest.raises(MalformedCodeError) as caught:
        read(bad)
    assert len(bad) < 4 or bad not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "alphabet", "expected"),
    [
        ("cfgh2345", "unambiguous", "CFGH2345"),
        ("abc", "upper", "ABC"),
        ("ABC", "lower", "abc"),
        ("aBc", "letters", "aBc"),
        ("aB3", "alphanumeric", "aB3"),
        ("aB!", "symbols", "aB!"),
        ("123", "digits", "123"),
    ],
)
def test_case_does_not_matter_where_the_alphabet_has_one(code, alphabet, expected):
    assert folded(code, alphabet) == expected


@pytest.mark.parametrize(
    ("code", "alphabet"),
    [
        ("12345o", "digits"),
        ("ABCD0", "unambiguous"),
        ("abc1", "letters"),
        ("aB3!", "alphanumeric"),
        ("\u00df", "upper"),  # its capital is SS
        ("\u212a", "lower"),  # the Kelvin sign's small letter is k
        ("\u0663", "digits"),
    ],
)
def test_a_character_the_alphabet_does_not_have_is_malformed(code, alphabet):
    with pytest.raises(MalformedCodeError):
        folded(code, alphabet)


@given(one=digits, other=digits)
def test_codes_are_the_same_only_if_they_are_equal(one, other):
    assert same(one, other) is (one == other)


def test_a_row_without_an_alphabet_is_of_digits():
    assert [alphabet_named(name) for name in (None, "unambiguous", "runes")] == ["digits", "unambiguous", "digits"]


# --- Counting ---------------------------------------------------------------------------------------------------------


@given(
    characters=st.sets(st.sampled_from("ab01AB!$"), min_size=2, max_size=5),
    classes=st.sets(st.sampled_from(every_class)),
    length=st.integers(1, 4),
)
@settings(max_examples=60)
def test_codes_are_counted_as_an_enumeration_counts_them(characters, classes, length):
    text, wanted = "".join(sorted(characters)), sorted(classes)
    counted = codes._counted(length, text, wanted)
    every = itertools.product(text, repeat=length)
    assert counted == sum(all(set(CLASSES[name]) & set(code) for name in wanted) for code in every)


@pytest.mark.parametrize(
    ("length", "alphabet", "classes", "bits"),
    [
        (6, "digits", (), math.log2(10**6)),
        (8, "unambiguous", (), 8 * math.log2(20)),
        (LONGEST, "symbols", (), LONGEST * math.log2(72)),
        (9, "letters", ("lower", "upper"), math.log2(52**9 - 2 * 26**9)),
    ],
)
def test_entropy_is_the_logarithm_of_how_many_there_are(length, alphabet, classes, bits):
    assert entropy(length, alphabet, classes) == pytest.approx(bits)


@given(alphabets, st.integers(codes.SHORTEST, LONGEST))
def test_an_example_is_a_code_of_its_policy_and_always_the_same(name, length):
    assert len(plain(example(length, name))) == length
    assert folded(read(example(length, name)), name) == plain(example(length, name))
    assert example(length, name) == example(length, name)


# --- What a policy may ask for --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALPHABETS)
def test_the_shortest_codes_are_at_least_as_many_as_those_of_six_digits(name):
    shortest = ALPHABETS[name].shortest
    assert combinations(shortest, name) >= FEWEST > combinations(shortest - 1, name)


@pytest.mark.parametrize(
    ("alphabet", "classes", "fault"),
    [
        ("letters", ("digits",), "the alphabet letters has nothing of digits"),
        ("unambiguous", ("lower",), "the alphabet unambiguous has nothing of lower"),
        ("symbols", ("lower", "lower"), "must name a class once only"),
        ("unambiguous", ("upper", "digits"), None),
        ("digits", (), None),
    ],
)
def test_classes_must_be_in_the_alphabet(alphabet, classes, fault):
    with nullcontext() if fault is None else pytest.raises(ValueError, match=f"^{fault}$"):
        check_classes(alphabet, classes)


@pytest.mark.parametrize(
    ("length", "alphabet", "classes", "error"),
    [
        (3, "digits", (), ValueError),
        (11, "digits", (), ValueError),
        (33, "lower", (), ValueError),
        (8, "symbols", ("lower",), WeakPasswordError),
        (9, "symbols", ("lower",), None),
        (32, "lower", (), None),
        (10, "digits", (), None),
        (4, "digits", (), None),
    ],
)
def test_a_length_that_codes_cannot_have_is_refused_and_a_weak_password_by_name(length, alphabet, classes, error):
    if error is None:
        check_length(length, alphabet, classes)
        return
    with pytest.raises(ValueError, match=r"must be \d+ or (more|less)") as caught:
        check_length(length, alphabet, classes)
    assert caught.type is error
