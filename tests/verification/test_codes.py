"""Codes without bias, read leniently."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.verification.codes import MAX_LENGTH, MalformedCodeError, make, read, same

digits = st.text("0123456789", min_size=1, max_size=10)
between = st.lists(st.sampled_from(["", " ", "-", "  ", " - "]), min_size=11, max_size=11)


def test_every_number_below_the_bound_becomes_its_own_code():
    """With a uniform source below 10**n, that makes every code as likely as any other."""
    bounds = []

    def source(number: int):
        def below(bound: int) -> int:
            bounds.append(bound)
            return number

        return below

    codes = [make(3, source(number)) for number in range(1000)]
    assert set(bounds) == {1000}
    assert codes == [f"{number:03}" for number in range(1000)]


@given(length=st.integers(1, 10))
def test_a_code_has_its_length_with_leading_zeros(length):
    assert make(length, lambda _: 0) == "0" * length
    assert make(length, lambda bound: bound - 1) == "9" * length
    assert len(make(length)) == length


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
    assert code.isalnum()
    assert 0 < len(code) <= MAX_LENGTH
    assert read(code) == code


@pytest.mark.parametrize("bad", ["", " - ", "1" * 65, "12345\u00e9", "\uff11\uff12\uff13", "12\n34", "12.34", "1\x002"])
def test_what_is_no_code_is_malformed_and_not_repeated(bad):
    with pytest.raises(MalformedCodeError) as caught:
        read(bad)
    assert len(bad) < 4 or bad not in str(caught.value)


@given(one=digits, other=digits)
def test_codes_are_the_same_only_if_they_are_equal(one, other):
    assert same(one, other) is (one == other)
