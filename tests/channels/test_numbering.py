"""Numbering plans say what libphonenumber says, of every region's numbers and of what is nearly one."""

from __future__ import annotations

import re
from collections.abc import Iterator

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, PhoneNumberType

from channels.base import InvalidAddressError
from channels.kinds import phone
from channels.numbering import country_of

_SORTS = {number: name.lower() for name, number in vars(PhoneNumberType).items() if isinstance(number, int)}
_SATELLITE = {870, 881, 882, 883}


def by_library(written: str) -> tuple[str, str | None, str | None] | None:
    """Return a number in E.164, its region and its sort; ``None`` where libphonenumber does not call it valid."""
    try:
        number = phonenumbers.parse(written)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    sort = "satellite" if number.country_code in _SATELLITE else _SORTS[phonenumbers.number_type(number)]
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return e164, phonenumbers.region_code_for_number(number), sort


def by_us(written: str) -> tuple[str, str | None, str | None] | None:
    try:
        found = phone(written)
    except InvalidAddressError:
        return None
    return found.value, found.country, found.number_type


def examples() -> Iterator[str]:
    """Yield libphonenumber's own example of each sort in each region, and the same with the prefix for calls at home."""
    for code, regions in COUNTRY_CODE_TO_REGION_CODE.items():
        for region in regions:
            metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
            assert metadata is not None
            descriptions = [getattr(metadata, sort, None) for sort in _SORTS.values()]
            numbers = {found.example_number for found in descriptions if found is not None} - {None}
            for number in sorted(numbers):
                yield f"+{code}{number}"
                if metadata.national_prefix is not None:
                    yield f"+{code}{metadata.national_prefix}{number}"


EXAMPLES = sorted({written for written in examples() if re.fullmatch(r"\+[0-9]{7,15}", written)})
_DIGITS = "0123456789"


def changed(written: str, at: int, instead: str, removed: int) -> str:
    """Return a number with some of its digits gone and others put in their place."""
    at = 2 + at % (len(written) - 1)
    return written[:at] + instead + written[at + removed :]


#: Numbers that are nearly one: some digits of an example are others, or more, or fewer.
NEARLY = st.builds(
    changed, st.sampled_from(EXAMPLES), st.integers(0, 14), st.text(_DIGITS, max_size=6), st.integers(0, 6)
).filter(re.compile(r"\+[1-9][0-9]{6,14}").fullmatch)


def test_every_region_s_examples_are_read_as_libphonenumber_reads_them():
    assert {written: by_library(written) for written in EXAMPLES} == {written: by_us(written) for written in EXAMPLES}


@settings(deadline=None, max_examples=100)
@given(NEARLY)
def test_what_is_nearly_a_number_is_read_as_libphonenumber_reads_it(written: str):
    assert by_library(written) == by_us(written)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        # Argentina: what is dialled at home has 15 where what is dialled from abroad begins with 9.
        ("+54111512345678", ("+5491112345678", "AR", "mobile")),
        ("+5491112345678", ("+5491112345678", "AR", "mobile")),
        # Numbers of Italy keep their 0, those of Russia may begin with the prefix for calls at home.
        ("+390236618300", ("+390236618300", "IT", "fixed_line")),
        ("+78121234567", ("+78121234567", "RU", "fixed_line")),
        # Regions that share a country code: by what a number begins with, or by all of it.
        ("+77011234567", ("+77011234567", "KZ", "mobile")),
        ("+77991234567", None),
        ("+12684641234", ("+12684641234", "AG", "mobile")),
        ("+12680001234", None),
        ("+14165550123", ("+14165550123", "CA", "fixed_line_or_mobile")),
        ("+447400123456", ("+447400123456", "GB", "mobile")),
        ("+447797712345", ("+447797712345", "JE", "mobile")),
        # No region has a number of this length.
        ("+4930", None),
        ("+12025550", None),
    ],
)
def test_a_number_is_of_one_region_and_sort(written: str, expected: tuple[str, str, str] | None):
    assert expected == by_us(written)
    assert expected == by_library(written)


def test_only_what_begins_with_a_country_code_has_a_country():
    assert country_of("+999123456789") is None
    assert country_of("+49") is country_of("+4915112345678") is not None


def test_what_begins_like_a_region_s_numbers_is_nobody_else_s():
    country = country_of("+7")
    assert country is not None
    assert country.find("7991234567") is None
    assert country.find("0") is None
