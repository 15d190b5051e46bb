"""Numbering plans: whose a phone number is and of which sort, by the patterns of libphonenumber's metadata.

libphonenumber tries up to a dozen patterns a number, twice, each found again in a cache that the numbers of fifty
countries overflow. Here what a region's numbers of one length can match is one pattern, in libphonenumber's order, made
when the first such number comes (1 ms) and kept. That both say the same of every region's numbers is tested.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata
from phonenumbers.phonemetadata import PhoneNumberDesc

#: Digits of a country code at most (ITU-T E.164).
_CODE_DIGITS: Final = 3
#: The sorts in the order in which libphonenumber asks for them, less fixed lines and mobiles, which come last.
_SORTS: Final = (
    "premium_rate",
    "toll_free",
    "shared_cost",
    "voip",
    "personal_number",
    "pager",
    "uan",
    "voicemail",
)
#: Every country there are numbers of, by its code (ISO 3166-1 alpha-2, as libphonenumber tells it).
COUNTRIES: Final = frozenset(name for names in COUNTRY_CODE_TO_REGION_CODE.values() for name in names if name.isalpha())
_CODES: Final = {f"+{code}": code for code in COUNTRY_CODE_TO_REGION_CODE}

_Match = Callable[[str], re.Match[str] | None]


class Region:
    """The numbers of one region. ``name`` is its ISO 3166 code, or ``001`` for numbers of no country."""

    def __init__(self, name: str, metadata: PhoneMetadata) -> None:
        self.name = name
        #: Whether a number begins like this region's; ``None``: only its sort tells.
        self.leads: _Match | None = (
            None if metadata.leading_digits is None else re.compile(metadata.leading_digits).match
        )
        self._metadata = metadata
        self._by_length: dict[int, _Match] = {}

    def sort(self, national: str) -> str | None:
        """Return the sort of a national number (``mobile``, ``toll_free`` …), ``None`` where it is in use for nothing."""
        length = len(national)
        match = self._by_length.get(length) or self._by_length.setdefault(length, _sorting(self._metadata, length))
        found = match(national)
        return None if found is None else found.lastgroup


class Country:
    """The numbers of one country code, which several regions may share."""

    def __init__(self, code: int) -> None:
        self.code = code
        #: What an international number begins with.
        self.prefix = f"+{code}"
        names = COUNTRY_CODE_TO_REGION_CODE[code]
        self._regions = [Region(name, _metadata(code, name)) for name in names]
        self._alone = self._regions[0] if len(names) == 1 else None
        trunk = _metadata(code, names[0]).national_prefix_for_parsing
        self._trunk: _Match | None = re.compile(trunk).match if trunk else None

    def is_plain(self, national: str) -> bool:
        """Whether what follows the country code is a national number as it is: without the prefix for calls at home."""
        if self._trunk is None:
            return True
        found = self._trunk(national)
        # Some prefixes may be nothing at all; then nothing is taken away, unless something is put in its place.
        return found is None or (found.end() == 0 and found.lastindex is None)

    def find(self, national: str) -> tuple[str, str] | None:
        """Return the region and the sort of a national number, ``None`` where it is in use nowhere."""
        if self._alone is not None:
            sort = self._alone.sort(national)
            return None if sort is None else (self._alone.name, sort)
        for region in self._regions:
            if region.leads is None:
                if (sort := region.sort(national)) is not None:
                    return region.name, sort
            elif region.leads(national) is not None:
                # It is nobody else's, whether or not it is in use.
                return None if (sort := region.sort(national)) is None else (region.name, sort)
        return None


_countries: dict[str, Country] = {}


def country_of(number: str) -> Country | None:
    """Return the country code of an international number, which begins with ``+``; ``None`` where there is no such code."""
    # No country code is the beginning of another one.
    for end in range(2, _CODE_DIGITS + 2):
        if (known := _countries.get(number[:end])) is not None:
            return known
    for end in range(2, _CODE_DIGITS + 2):
        if (code := _CODES.get(number[:end])) is not None:
            return _countries.setdefault(number[:end], Country(code))
    return None


def _metadata(code: int, region: str) -> PhoneMetadata:
    found = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    assert found is not None, "libphonenumber has metadata for each of its regions"
    return found


def _sorting(metadata: PhoneMetadata, length: int) -> _Match:
    """Return what matches the national numbers of a length; the last group's name is their sort."""
    known = _whole(metadata.general_desc, length)
    sorts = "|".join(_alternatives(metadata, length))
    return re.compile(f"(?={known})(?:{sorts})" if known and sorts else "(?!)").match


def _alternatives(metadata: PhoneMetadata, length: int) -> Iterator[str]:
    for name in _SORTS:
        if (pattern := _whole(getattr(metadata, name), length)) is not None:
            yield f"{pattern}(?P<{name}>)"
    fixed, mobile = _whole(metadata.fixed_line, length), _whole(metadata.mobile, length)
    if metadata.same_mobile_and_fixed_line_pattern:
        # No pattern tells them apart there.
        if fixed is not None:
            yield f"{fixed}(?P<fixed_line_or_mobile>)"
        return
    if fixed is not None and mobile is not None:
        yield f"(?={mobile}){fixed}(?P<fixed_line_or_mobile>)"
    if fixed is not None:
        yield f"{fixed}(?P<fixed_line>)"
    if mobile is not None:
        yield f"{mobile}(?P<mobile>)"


def _whole(numbers: PhoneNumberDesc | None, length: int) -> str | None:
    """Return a pattern of whole numbers, ``None`` where none of that length is among them."""
    if numbers is None or not numbers.national_number_pattern:
        return None
    if numbers.possible_length and length not in numbers.possible_length:
        return None
    return rf"(?:{numbers.national_number_pattern})\Z"
