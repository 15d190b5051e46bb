"""What looks like a secret or an address is masked, what we masked ourselves stays, and no text is too odd."""

from __future__ import annotations

import json
import string
from datetime import UTC, date, datetime
from enum import IntEnum, StrEnum
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.kinds import email, phone, reference
from gateway.errors import ConfigError
from gateway.events.redaction import MASK, MIN_SECRET, Redactor

REDACTOR = Redactor()
TOKEN = "739184652:AAHcanaryQ7w-E5rT_y3U1iO9pA8sD6fG4h"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("sent to +4915112345678.", "sent to ••••."),
        ("To=%2B4915112345678&From=x", "To=••••&From=x"),
        ("+1234567890123456789", "••••"),
        ("ann@example.org", "••••"),
        ("<ann.b+tag@example.org>: refused", "<••••>: refused"),
        ('{"to":"ann@example.org"}', '{"to":"••••"}'),
        ("to=ann%40example.org&x", "to=••••&x"),
        ("%40ann@example.org", "%40••••"),
        ("100%ann@example.org", "100%••••"),
        ("ann%2Btag@example.org", "••••"),
        ("jörg@exämple.org", "••••"),
        ("ann@[192.0.2.1]", "••••]"),
        ("postgresql://gateway:hunter22@db/otp", "postgresql://gateway:••••/otp"),
        ("key otpg_a1B2_c3D4e5F6 used", "key otpg_•••• used"),
        (f"https://api.telegram.org/bot{TOKEN}/sendMessage", "https://api.telegram.org/bot••••/sendMessage"),
        (f"token {TOKEN}", "token ••••"),
        (f"token {TOKEN.replace(':', '%3A')}", "token ••••"),
        ("/bot12:short/getMe", "/bot••••/getMe"),
        ("Authorization: Bearer otpg_a_b", "Authorization: Bearer ••••"),
        ("authorization: basic QUM6c2VjcmV0", "authorization: basic ••••"),
        ("{'Authorization': 'Bearer abc.def'}", "{'Authorization': 'Bearer ••••'}"),
        ("a=Bearer%20abc&b=1", "a=Bearer%20••••&b=1"),
        ('Bearer "abc"', 'Bearer "••••"'),
    ],
)
def test_secrets_and_addresses_are_masked(text, masked):
    assert REDACTOR.text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "message.sent",
        "+49•••••••678",
        "j•••@e•••.com",
        "2026-05-04T10:40:00.000Z",
        "550 5.1.1",
        "127.0.0.1:8080",
        "msg_0123456789abcdef0123456789abcdef",
        "otpg_",
        "@my_bot",
        "a + b = 123456",
        "GSM-7, 97 of 160 characters: 100 %",
        "basically nothing",
    ],
)
def test_other_text_stays_as_it_is(text):
    assert REDACTOR.text(text) == text


@pytest.mark.parametrize(
    "address", [phone("+49 151 12345678"), phone("+12015550123"), email("ann@example.org"), reference("user-42")]
)
def test_our_own_masked_forms_stay(address):
    assert REDACTOR.text(f"to {address.masked}, again") == f"to {address.masked}, again"


def test_configured_secrets_are_masked_in_every_spelling():
    secret = 'p/"ä\\ss word+'
    redactor = Redactor([secret])
    texts = (secret, quote(secret, safe=""), json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret))
    assert {redactor.text(text).strip("\"'") for text in texts} == {MASK}


def test_a_secret_that_is_a_part_of_another_leaves_no_rest():
    assert Redactor(["word", "password1"]).text("password1 word") == f"{MASK} {MASK}"


def test_a_secret_goes_before_a_pattern_that_would_leave_its_end():
    assert Redactor(["5678-abcdef"]).text("+49151123456785678-abcdef") == f"{MASK}{MASK}"


def test_a_secret_too_short_to_search_for_is_left():
    assert Redactor(["", "abc"]).text("abc") == "abc"


def test_values_are_masked_at_every_depth_and_fit_for_json():
    class Colour(StrEnum):
        RED = "red"

    class Size(IntEnum):
        BIG = 9

    fields = {
        "to": ["+4915112345678", ("ann@example.org",)],
        "ann@example.org": {"+4915112345678": {"otpg_a_b"}},
        "big": 2**70,
        "small": [1, 1.5, True, None, Size.BIG],
        "enum": Colour.RED,
        "time": datetime(2026, 5, 4, tzinfo=UTC),
        "day": date(2026, 5, 4),
        "path": Path("/var/lib"),
        "uuid": UUID(int=1),
        "object": object(),
        "bytes": b"492039",
        "surrogate": "a\udc80",
        "foreign": ValueError("492039"),
        "ours": ConfigError(["a fault"]),
        "key": {("492039",): 1},
    }
    assert orjson.loads(orjson.dumps(REDACTOR(None, "", fields))) == {
        "to": [MASK, [MASK]],
        MASK: {MASK: ["otpg_••••"]},
        "big": str(2**70),
        "small": [1, 1.5, True, None, 9],
        "enum": "red",
        "time": "2026-05-04 00:00:00+00:00",
        "day": "2026-05-04",
        "path": "/var/lib",
        "uuid": "00000000-0000-0000-0000-000000000001",
        "object": "<object>",
        "bytes": "<bytes>",
        "surrogate": "a\\udc80",
        "foreign": "ValueError",
        "ours": "ConfigError: a fault",
        "key": {"…": 1},
    }


def test_a_list_that_holds_itself_is_cut():
    ring: list[object] = []
    ring.append(ring)
    assert orjson.dumps(REDACTOR.value(ring)).decode() == '[[[[[["…"]]]]]]'


WORD = st.text(string.ascii_letters + string.digits, min_size=1, max_size=20)
SECRETS = st.one_of(
    st.builds("otpg_{}_{}".format, WORD, WORD),
    st.builds("{}:{}".format, st.integers(100_000, 10**12), st.text(string.ascii_letters + "_-9", min_size=30)),
    st.builds("+{}".format, st.integers(10**6, 10**15 - 1)),
    st.builds("{}.{}+{}@{}.{}.org".format, WORD, WORD, WORD, WORD, WORD),
    # A sign that stands around addresses far more often than in one ends what is taken for one: nothing of "=@a.org" is.
    st.emails().filter(lambda address: address.partition("@")[0][-1] not in "=/?&'%"),
)
# What may stand around a secret; a letter beside it would make another secret of it.
AROUND = st.text(
    st.characters(exclude_categories=("L", "N", "Cs")) | st.sampled_from(" \n\"'<>(){}[],;=/"), max_size=20
)


@given(AROUND, SECRETS, AROUND)
def test_every_secret_by_its_looks_is_gone(before, secret, behind):
    assert secret not in REDACTOR.text(f"{before} {secret} {behind}")


@given(st.lists(st.text(min_size=MIN_SECRET), max_size=4), st.text(), st.text())
def test_every_configured_secret_is_gone(secrets, before, behind):
    redactor = Redactor(secrets)
    masked = redactor.text(before + behind.join(secrets) + behind)
    assert [secret for secret in secrets if secret in masked and secret != MASK] == []


@given(st.lists(st.text(), max_size=3), st.text() | st.text("+@:%•abot/earnsic 0123456789_g.\udc80"))
def test_masking_twice_is_masking_once(secrets, text):
    redactor = Redactor(secrets)
    once = redactor.text(text)
    assert redactor.text(once) == once


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.builds(object),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), ANYTHING))
def test_every_value_can_be_written_as_json(fields):
    assert isinstance(orjson.dumps(REDACTOR(None, "", fields)), bytes)
