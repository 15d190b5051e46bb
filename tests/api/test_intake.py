"""Bodies and queries as what the core is asked: taken whole, or refused where the fault is; never anything else."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.api.authenticator_shapes import CheckAuthenticator, CreateAuthenticator
from gateway.api.intake import MOST_FAULTS, asked, bound, parameters, shaped
from gateway.api.recipient_shapes import EraseRecipient
from gateway.api.shapes import (
    CheckCode,
    ClientTold,
    CodeWish,
    CreateBatch,
    CreateSubscriber,
    CreateVerification,
    Resend,
)
from gateway.errors import FieldError, InvalidRequest

T = TypeVar("T")

SHAPES = [
    CreateVerification,
    CreateBatch,
    CheckCode,
    Resend,
    CreateSubscriber,
    CreateAuthenticator,
    CheckAuthenticator,
    EraseRecipient,
]
#: Names that some shape has, and others.
NAMES = sorted({name for shape in (*SHAPES, CodeWish, ClientTold) for name in shape.__struct_fields__})
TEXTS = st.text(max_size=30) | st.sampled_from(["login", "de-AT", "2001:db8::1", "203.0.113.9", "a" * 201, "inbound"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=8,
)
#: Bodies that are nearly right.
BODIES = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6).map(lambda body: {"to": "+4915112345678", **body})


def tried(call: Callable[[], T]) -> tuple[T | None, Sequence[FieldError]]:
    """Return what a call gives, or the faults it refuses for."""
    try:
        return call(), ()
    except InvalidRequest as refused:
        return None, refused.errors


def test_every_field_that_is_missing_or_wrong_is_named_at_once():
    _, faults = tried(lambda: shaped({"ttl": "x", "code": {"length": 0}, "params": {"a": 1}}, CreateVerification))
    assert [(fault.pointer, fault.detail) for fault in faults] == [
        ("/to", "required"),
        ("/params/a", "a text, not a whole number"),
        ("/code/length", "a whole number, 1 or more"),
        ("/ttl", "a whole number or null, not a text"),
    ]


@settings(max_examples=80)
@given(st.sampled_from(SHAPES), JSON | BODIES)
@example(CreateVerification, {"to": {"a/b~c": 1}})
@example(CreateVerification, {"to": "x", "params": {"a": "x" * 201}})
@example(CreateVerification, {"to": "x", "params": {"a": 1, "b": "x" * 201}})
@example(CheckCode, {"code": "1", "bind": {"a.b[...]": None}})
@example(EraseRecipient, {"to": {"a": "x" * 1001}})
@example(EraseRecipient, {"to": [1]})
def test_a_body_is_its_shape_or_refused_with_a_pointer_into_it(shape, value):
    taken, faults = tried(lambda: shaped(value, shape))
    assert (taken is None) == bool(faults)
    assert all(fault.pointer == "" or fault.pointer.startswith("/") for fault in faults)
    # Told to the caller as JSON.
    json.dumps([fault.detail for fault in faults])
    if taken is not None:
        assert isinstance(taken, shape)
        assert set(value) <= set(shape.__struct_fields__)


@settings(max_examples=80)
@given(BODIES)
@example({"to": "x", "client": {"ip": "fe80::1%eth0"}})
@example({"to": "x", "client": {"ip": "010.0.0.1"}})
@example({"to": "x", "locale": "de\n"})
@example({"to": "x", "purpose": "login\n"})
@example({"to": "x", "purpose": "../login"})
@example({"to": "x", "params": {"a": "b"}, "bind": {"session\n": "s"}})
def test_what_is_asked_is_within_the_contract(body):
    wanted, _ = tried(lambda: asked(shaped(body, CreateVerification)))
    if wanted is None:
        return
    assert str.isascii(wanted.purpose)
    assert set(wanted.purpose) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_")
    assert wanted.locale is None or wanted.locale.replace("-", "").isalnum()
    assert wanted.client_ip is None or str(ipaddress.ip_address(wanted.client_ip)) == wanted.client_ip
    for values in (wanted.params, wanted.bind):
        assert len(values) <= 20
        assert all(name.isidentifier() and len(name) <= 64 and len(value) <= 200 for name, value in values.items())
    assert wanted.ttl is None or 5 <= wanted.ttl <= 600


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=4))
def test_a_bind_is_taken_whole_or_refused(bind):
    taken, faults = tried(lambda: bound(bind))
    assert (taken, [fault.pointer for fault in faults]) in [(bind, []), (None, ["/bind"])]


@given(st.binary(max_size=60))
@example(b"limit=1&limit=2")
@example(b"%00=%ff")
@example(b"a=1;b=2")
def test_any_query_is_known_parameters_once_each_or_refused(query):
    found, faults = tried(lambda: parameters(query, ("limit", "cursor")))
    assert (found is None) == bool(faults)
    assert all(fault.pointer.startswith("?") for fault in faults)
    assert set(found or {}) <= {"limit", "cursor"}


@given(st.fixed_dictionaries({}, optional={"limit": st.text(), "cursor": st.text(), "to": st.text()}))
def test_a_query_is_read_as_it_was_written(values):
    query = urlencode(values, encoding="utf-8").encode()
    assert parameters(query, ("limit", "cursor", "to")) == values


@pytest.mark.parametrize("name", ["x" * 41, "x" * 10_000])
def test_a_long_name_is_not_repeated_whole(name):
    with pytest.raises(InvalidRequest) as refused:
        parameters(urlencode({name: "1"}).encode())
    assert refused.value.errors[0].pointer == f"?{'x' * 40}…"


@pytest.mark.parametrize("shape", [CreateVerification, CreateBatch])
def test_of_any_number_of_unknown_names_a_few_are_told(shape):
    """Told of all, who sends 1 MiB of them is answered with 4, and everybody waits a second."""
    with pytest.raises(InvalidRequest) as caught:
        shaped({f"n{number}": 1 for number in range(50_000)}, shape)
    assert [fault.detail for fault in caught.value.errors] == ["no such field"] * MOST_FAULTS
