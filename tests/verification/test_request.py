"""A request may tighten its service's policy and never loosen it; addresses are normalised and checked against it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import Address
from channels.kinds import KINDS
from gateway.config import CodeSettings, ServiceSettings
from gateway.errors import InvalidRequest, Problem, RecipientRefused
from gateway.verification.codes import ALPHABETS, combinations
from gateway.verification.request import MAX_CODE_LENGTH, MIN_TTL, Asked, addresses, code_policy
from tests.world import EMAIL, PHONE


def service(**settings) -> ServiceSettings:
    return ServiceSettings(name="Shop", channels=("sms",), **settings)


def asked(**fields) -> Asked:
    return Asked(to={"phone": PHONE}, **fields)


def test_what_is_not_asked_for_is_the_policys():
    policy = code_policy(asked(), service(code=CodeSettings(length=8, ttl=120, max_checks=3)))
    assert (policy.length, policy.ttl, policy.max_checks, policy.value) == (8, 120, 3, None)


@given(
    length=st.none() | st.integers(-2, 40),
    ttl=st.none() | st.integers(-10, 900),
    alphabet=st.none() | st.sampled_from([*ALPHABETS, "runes"]),
    policys=st.sampled_from(sorted(ALPHABETS)),
)
def test_no_request_loosens_the_policy(length, ttl, alphabet, policys):
    settings = service(code=CodeSettings(alphabet=policys, length=7, ttl=300))
    try:
        policy = code_policy(asked(length=length, ttl=ttl, alphabet=alphabet), settings)
    except InvalidRequest:
        return
    assert 7 <= policy.length <= ALPHABETS[policy.alphabet].longest <= MAX_CODE_LENGTH
    assert MIN_TTL <= policy.ttl <= 300
    assert combinations(policy.length, policy.alphabet) >= combinations(7, policys)
    assert set(ALPHABETS[policys].characters) <= set(ALPHABETS[policy.alphabet].characters)


@pytest.mark.parametrize(
    ("policys", "alphabet", "taken"),
    [
        ("digits", "alphanumeric", True),
        ("digits", "symbols", True),
        ("upper", "letters", True),
        ("unambiguous", "alphanumeric", True),
        ("digits", "unambiguous", False),
        ("digits", "letters", False),
        ("letters", "lower", False),
        ("digits", "", False),
    ],
)
def test_another_alphabet_must_have_every_character_of_the_policys(policys, alphabet, taken):
    settings = service(code=CodeSettings(alphabet=policys, length=8))
    if taken:
        assert code_policy(asked(alphabet=alphabet), settings).alphabet == alphabet
        return
    with pytest.raises(InvalidRequest) as caught:
        code_policy(asked(alphabet=alphabet), settings)
    assert [fault.pointer for fault in caught.value.errors] == ["/code/alphabet"]


def test_a_request_for_another_alphabet_keeps_the_classes():
    code = CodeSettings(alphabet="alphanumeric", classes=("lower", "digits"), length=9)
    policy = code_policy(asked(alphabet="symbols", length=20), service(code=code))
    assert (policy.alphabet, policy.length, list(policy.classes)) == ("symbols", 20, ["lower", "digits"])


@pytest.mark.parametrize(
    ("alphabet", "value", "shown"),
    [
        ("unambiguous", "cfgh2345", "CFGH-2345"),
        ("unambiguous", "CFGH-2345", "CFGH-2345"),
        ("upper", "abcdefgh", "ABCDEFGH"),
        ("symbols", "aB3!aB3!", "aB3!aB3!"),
        ("unambiguous", "ABCDEFGH", None),
        ("upper", "stra\u00dfe!", None),
        ("digits", "1234-5678", None),
        ("unambiguous", "CFGH", None),
    ],
)
def test_a_services_own_code_is_kept_as_people_are_shown_it(alphabet, value, shown):
    settings = service(code=CodeSettings(alphabet=alphabet, length=8, custom=True))
    if shown is not None:
        assert code_policy(asked(value=value), settings).value == shown
        return
    with pytest.raises(InvalidRequest) as caught:
        code_policy(asked(value=value), settings)
    assert [fault.pointer for fault in caught.value.errors] == ["/code/value"]
    assert value not in str(caught.value)


def test_a_services_own_password_has_the_classes_of_the_policy():
    settings = service(code=CodeSettings(alphabet="letters", classes=("lower", "upper"), length=9, custom=True))
    assert code_policy(asked(value="abcdefghI"), settings).value == "abcdefghI"
    with pytest.raises(InvalidRequest, match="asks for lower, upper"):
        code_policy(asked(value="abcdefghi"), settings)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"length": 5}, "/code/length"),
        ({"length": 11}, "/code/length"),
        ({"ttl": 4}, "/ttl"),
        ({"ttl": 301}, "/ttl"),
        ({"alphabet": "runes"}, "/code/alphabet"),
        ({"value": "123456"}, "/code/value"),
    ],
)
def test_what_the_policy_does_not_allow_is_named(fields, pointer):
    with pytest.raises(InvalidRequest) as caught:
        code_policy(asked(**fields), service())
    assert [error.pointer for error in caught.value.errors] == [pointer]


@pytest.mark.parametrize("value", ["12345", "1" * 11, "12345a", "12 456", "\u0661\u0662\u0663\u0664\u0665\u0666"])
def test_a_services_own_code_keeps_to_the_policy_too(value):
    with pytest.raises(InvalidRequest):
        code_policy(asked(value=value), service(code=CodeSettings(custom=True)))


def test_a_services_own_code_is_taken_where_that_is_allowed():
    policy = code_policy(asked(value="012345"), service(code=CodeSettings(custom=True)))
    assert policy.value == "012345"
    assert "012345" not in repr(policy)


def test_addresses_are_normalised_by_kind():
    found = addresses(Asked(to={"phone": "+49 151 12345678", "email": EMAIL}), service(), KINDS, sandbox=False)
    assert {kind: address.value for kind, address in found.items()} == {"phone": PHONE, "email": EMAIL}


@pytest.mark.parametrize(
    ("to", "pointer"), [({}, "/to"), ({"pigeon": "roof"}, "/to/pigeon"), ({"phone": "12345"}, "/to/phone")]
)
def test_an_address_that_cannot_be_used_is_named_and_not_repeated(to, pointer):
    with pytest.raises(InvalidRequest) as caught:
        addresses(Asked(to=to), service(), KINDS, sandbox=False)
    assert [error.pointer for error in caught.value.errors] == [pointer]
    assert "12345" not in str(caught.value)


def number(country: str = "DE", number_type: str = "mobile", value: str = PHONE):
    return {"phone": lambda _: Address("phone", value, "\u2022\u2022\u2022", value, country, number_type)}


@pytest.mark.parametrize(
    ("settings", "kinds", "refused"),
    [
        ({}, number("DE"), False),
        ({"countries": ("AT",)}, number("DE"), True),
        ({"countries": ("AT", "DE")}, number("DE"), False),
        ({}, number(number_type="premium_rate"), True),
        ({"number_types": ("premium_rate",)}, number(number_type="premium_rate"), False),
        ({}, number("001", "satellite"), True),
        ({"countries": ("DE",)}, {"phone": lambda _: Address("phone", "x", "x", "x")}, False),
    ],
)
def test_the_policy_says_which_numbers_are_served(settings, kinds, refused):
    def read() -> object:
        return addresses(asked(), service(**settings), kinds, sandbox=False)

    if refused:
        with pytest.raises(RecipientRefused):
            read()
    else:
        assert read()


@pytest.mark.parametrize(
    ("value", "sandbox", "served"),
    [
        ("+15005550006", True, True),
        ("+15005550010", True, True),
        ("+15005550006", False, False),
        ("+15005551006", True, False),
    ],
)
def test_providers_test_numbers_are_served_in_a_sandbox_only(value, sandbox, served):
    try:
        found = addresses(asked(), service(), number("US", "personal_number", value), sandbox=sandbox)
    except Problem:
        found = {}
    assert bool(found) is served


def test_a_request_shows_no_address_code_or_parameter():
    request = Asked(to={"phone": PHONE}, value="012345", params={"name": "Ann"}, client_ip="203.0.113.9")
    assert not any(value in repr(request) for value in (PHONE, "012345", "Ann", "203.0.113.9"))
