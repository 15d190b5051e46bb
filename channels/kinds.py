"""The address kinds the shipped adapters share: phone numbers, e-mail addresses, a service's own references.

Each function turns what a caller wrote into one ``Address`` or raises ``InvalidAddressError`` with a
sentence that never repeats it. Which countries and sorts of numbers are served is policy, decided elsewhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from channels.base import Address, InvalidAddressError, Normalize
from channels.numbering import Country, country_of

_BULLET: Final = "•"

#: Longest phone number read, in characters: 15 digits (E.164) with room for separators.
_PHONE_INPUT_MAX: Final = 64
_SEPARATORS: Final = str.maketrans("", "", " .-()")
#: E.164: a country code that does not start with 0, 15 digits at most. Checked before libphonenumber, which
#: would also read extensions, letters and the digits of other scripts.
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
#: Country codes of satellite networks (ITU-T E.164 assigned country codes): 870 Inmarsat, 881 global mobile
#: satellite systems, 882 and 883 international networks. libphonenumber calls some of them mobile.
_SATELLITE: Final = frozenset({870, 881, 882, 883})
#: The last digits of a number that tell it from its neighbours: whoever rents numbers to be sent to has a range of them.
_BLOCK_DIGITS: Final = 4


def phone(value: str) -> Address:
    """Return the number in E.164 with its region and sort.

    ASCII spaces, dots, dashes and parentheses are dropped; everything else but ``+`` and digits is refused.
    ``country`` is ``"001"`` for numbers of no country (satellite, international free phone), so that no list
    of countries lets them in; ``number_type`` is libphonenumber's in lower case, or ``satellite``.
    """
    country, national, e164 = _parse_phone(value)
    # libphonenumber's is_valid_number is "the sort is known".
    found = country.find(national)
    if found is None:
        raise InvalidAddressError("this is not a phone number in use")
    region, sort = found
    masked = _mask_phone(e164, len(country.prefix))
    # By place: the names of what is given here come in the order of the fields.
    return Address(
        "phone",
        e164,
        masked,
        e164,
        region,
        "satellite" if country.code in _SATELLITE else sort,
        e164[:-_BLOCK_DIGITS],
    )


def _parse_phone(value: str) -> tuple[Country, str, str]:
    """Return a number's country code, its national number and both in E.164. Raises ``InvalidAddressError``."""
    if not value.startswith("+"):
        raise InvalidAddressError("a phone number starts with + and its country code")
    digits = value
    if not _E164.fullmatch(digits):
        digits = value.translate(_SEPARATORS) if len(value) <= _PHONE_INPUT_MAX else ""
        if not _E164.fullmatch(digits):
            raise InvalidAddressError(
                "a phone number is + and 7 to 15 digits; spaces, dots, dashes and brackets may part them"
            )
    country = country_of(digits)
    if country is not None and country.is_plain(national := digits[len(country.prefix) :]):
        return country, national, digits
    return _parse_by_library(digits)


def _parse_by_library(digits: str) -> tuple[Country, str, str]:
    """Return the same where only libphonenumber knows what is left without a prefix for calls at home."""
    try:
        number = phonenumbers.parse(digits, None)
    except phonenumbers.NumberParseException:
        # Without its cause: that exception's text holds what was parsed.
        raise InvalidAddressError("this country code is not in use") from None
    e164: str = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    country = country_of(e164)
    assert country is not None, "it was found by libphonenumber, in the same table"
    return country, e164[len(country.prefix) :], e164


def _mask_phone(e164: str, prefix: int) -> str:
    """Hide all but the country code (``prefix`` characters with ``+``) and the last three digits."""
    return f"{e164[:prefix]}{_BULLET * (len(e164) - prefix - 3)}{e164[-3:]}"


#: Octets of a whole address (RFC 5321 4.5.3.1.3 less its brackets, RFC 3696 erratum 1690).
_EMAIL_MAX: Final = 254
#: Octets of a local part (RFC 5321 4.5.3.1.1).
_LOCAL_MAX: Final = 64
#: Octets of a label of a host name (RFC 1035, 2.3.4), and so characters of one beyond ASCII, which grows as it is encoded;
#: and what parts labels (RFC 3490, 3.1).
_LABEL_MAX: Final = 63
_DOTS: Final = re.compile("[.\u3002\uff0e\uff61]")
#: Plain ASCII addresses, which are nearly all of them: an RFC 5322 dot-atom without what ``_MISREAD`` looks for, at a host
#: name of two labels or more (RFC 1123, 63 octets each) whose last ends with a letter.
#: Every quantifier is over characters the next one cannot start with, or bounded: no catastrophic backtracking.
_PLAIN_EMAIL: Final = re.compile(
    r"((?![-/|])[A-Za-z0-9#$&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9#$&'*+/=?^_`{|}~-]+)*)"
    r"@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61})?)?[A-Za-z]))",
).fullmatch
#: Names that can never receive mail: .arpa (RFC 3172), .invalid (RFC 6761), .onion (RFC 7686). The other special
#: names (.test, .localhost, .local) are how people try the gateway and how inner networks are named.
_NO_MAIL: Final = frozenset({"arpa", "invalid", "onion"})
#: Local parts that programs on the way read as something else, so that a mail goes to another person or to a program: an
#: encoded word (forbidden there by RFC 2047 5, decoded all the same), source routes (``bob%b.example@a.example`` and
#: ``b.example!bob@a.example`` reach bob@b.example by way of a.example), and what begins like a file, a pipe or an option.
#: Exim's default configuration refuses those with ``%``, ``!``, ``/`` and ``|``, Postfix's those with ``-``.
_MISREAD: Final = re.compile(r"=\?|[%!]|\A[-/|]")


def email(value: str) -> Address:
    """Return the address with its domain in lower-case ASCII (A-labels) and its local part as written.

    The local part must be ASCII, and nothing that other software reads as another address; at most 254 octets in all.
    ``canonical`` folds case and drops a ``+tag``.
    """
    return _email(value, smtputf8=False)


def email_utf8(value: str) -> Address:
    """Return what ``email`` would, but accept local parts beyond ASCII (RFC 6531) as well."""
    return _email(value, smtputf8=True)


def _email(value: str, *, smtputf8: bool) -> Address:
    """Read an address. email-validator costs ten times the pattern, so it sees only the unusual."""
    if len(value) > _EMAIL_MAX:
        raise InvalidAddressError("an e-mail address has at most 254 characters")
    plain = _PLAIN_EMAIL(value)
    if plain is None:
        return _unusual_email(value, smtputf8=smtputf8)
    local, domain, top = plain.groups()
    domain, top = domain.lower(), top.lower()
    if len(local) > _LOCAL_MAX or "--" in domain or "=?" in local:
        return _unusual_email(value, smtputf8=smtputf8)
    if top in _NO_MAIL:
        raise InvalidAddressError("nothing at this domain can receive mail")
    return _email_address(local, domain, top, local.lower())


def _unusual_email(value: str, *, smtputf8: bool) -> Address:
    local, _, host = value.rpartition("@")
    if any(len(label) > _LABEL_MAX for label in _DOTS.split(host)):
        # Not after IDNA has gone through it: 240 characters beyond ASCII take it 19 ms.
        raise InvalidAddressError("this is not an e-mail address")
    if _MISREAD.search(local):
        raise InvalidAddressError("what is before the @ could be read as another address")
    try:
        # test_environment lets names under .test through; no DNS is asked on the way to a code.
        checked = validate_email(
            value, allow_smtputf8=smtputf8, strict=True, check_deliverability=False, test_environment=True
        )
    except EmailNotValidError:
        # Without its cause: that exception's text quotes characters of the address.
        raise InvalidAddressError("this is not an e-mail address") from None
    local, domain = checked.local_part, checked.ascii_domain
    return _email_address(local, domain, domain.rpartition(".")[2], _folded(local))


def _folded(local: str) -> str:
    """Return what all spellings of a mailbox share that a mail server may take for one (Unicode 3.13, D146).

    Compatible characters (full-width ones) are folded too. What is folded is composed once more: the capitals of ``ΐ`` fold
    to what ``ΐ`` is composed of.
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", local).casefold())


def _email_address(local: str, domain: str, top: str, folded: str) -> Address:
    # By place, in the order of its fields. A domain of one label shows nothing but itself.
    first = domain[:1] if len(domain) > len(top) else ""
    return Address(
        "email",
        f"{local}@{domain}",
        f"{local[0]}{_BULLET * 3}@{first}{_BULLET * 3}.{top}",
        f"{folded.partition('+')[0] or folded}@{domain}",
    )


#: Longest reference, in characters.
_REFERENCE_MAX: Final = 128


def reference(value: str) -> Address:
    """Return a service's own reference for a person: 1 to 128 printable characters, no space at either end."""
    if not 1 <= len(value) <= _REFERENCE_MAX:
        raise InvalidAddressError("a reference has 1 to 128 characters")
    if not value.isprintable() or value != value.strip():
        raise InvalidAddressError("a reference has printable characters only and no space at either end")
    masked = f"{value[0]}{_BULLET * 3}{value[-1]}" if len(value) > 2 else _BULLET * 3
    return Address(kind="telegram", value=value, masked=masked, canonical=value)


#: Every kind by its name in ``to``.
KINDS: Final[Mapping[str, Normalize]] = {"phone": phone, "email": email, "telegram": reference}
