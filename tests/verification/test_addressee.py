"""What somebody wrote as an address is read as all it may be, and a mistyped one is nobody's reference."""

from __future__ import annotations

import pytest

from channels.base import Address
from channels.kinds import KINDS
from gateway.verification.addressee import NobodyError, named, read

OWN = {"telegram"}
PHONE = "+4915112345678"


def badge(value: str) -> Address:
    """Read an address of an adapter's own, which begins with ``@``."""
    return Address("badge", value, "•", value)


@pytest.mark.parametrize("to", ["", {"phone": "nonsense"}, {"pigeon": "x"}, {"phone": PHONE, "email": "x"}, {}])
def test_what_is_nobodys_address_is_refused_without_repeating_it(to):
    with pytest.raises(NobodyError) as told:
        read(KINDS, to)
    assert "nonsense" not in str(told.value)


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("cust77@example", "this is not an e-mail address"),
        ("+491512345600", "this is not a phone number in use"),
        ("+49151abc", "a phone number is + and 7 to 15 digits"),
        ("@ann", "this is not an e-mail address"),
    ],
)
def test_what_looks_like_an_address_and_is_none_is_no_reference_unless_it_is_said_to_be_one(to, told):
    with pytest.raises(NobodyError, match=told.replace("+", "\\+")) as error:
        read(KINDS, to)
    assert error.value.reference == "telegram"
    assert read(KINDS, {"telegram": to}, OWN).taken_for() == "a reference (telegram) of any service"


def test_of_addresses_by_kind_the_one_at_fault_is_named():
    with pytest.raises(NobodyError) as error:
        read(KINDS, {"telegram": "user-42", "email": "cust77@example"})
    assert (error.value.kind, error.value.reference) == ("email", "")


def test_a_kind_that_an_adapter_brings_may_be_written_as_it_likes():
    assert [*read({**KINDS, "badge": badge}, "@ann").addresses] == ["telegram", "badge"]


def test_one_text_is_read_as_every_kind_and_told_apart(hasher):
    addressee = read(KINDS, "Ann@Example.org", OWN)
    person = addressee.whom(hasher, "shop")
    assert person.everywhere == (hasher.hash("email", KINDS["email"]("ann@example.org").canonical),)
    assert person.references == (hasher.hash("telegram", "Ann@Example.org"),)
    assert addressee.hashes(hasher) == [*person.hashes]
    assert "nn@" not in f"{person!r}{addressee!r}"


def test_what_it_was_taken_for_is_told_in_words():
    kinds = {**KINDS, "badge": badge}
    told = "an e-mail address, or a reference (telegram) of the service shop, or an address of the kind badge"
    assert read(kinds, "ann@example.org", OWN).taken_for("shop") == told
    assert read(kinds, PHONE, OWN).taken_for().startswith("a phone number, or a reference (telegram) of any service")


@pytest.mark.parametrize(
    ("text", "to"),
    [
        ("telegram=ann@home", {"telegram": "ann@home"}),
        ("telegram=a=b", {"telegram": "a=b"}),
        ("pigeon=x", "pigeon=x"),
        ("ann@example.org", "ann@example.org"),
    ],
)
def test_a_kind_before_an_equals_sign_says_what_it_is(text, to):
    assert named(KINDS, text) == to
