"""URIs are in the key URI format, and say what they were made of."""

from __future__ import annotations

import base64
from urllib.parse import parse_qsl, unquote, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from gateway.verification.authenticators.enrolling import DIGITS, PERIODS
from gateway.verification.authenticators.otp import ALGORITHMS, SECRET_BYTES, Device, Kind
from gateway.verification.authenticators.uri import key_uri, secret_text

LABELS = st.text(st.characters(exclude_categories=("C", "Z")).filter(lambda sign: sign != ":"), min_size=1, max_size=30)


@st.composite
def devices(draw: st.DrawFn) -> Device:
    kind = draw(st.sampled_from(Kind))
    period = draw(st.sampled_from(PERIODS)) if kind is Kind.TOTP else None
    secret = draw(st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES))
    return Device(kind, secret, draw(st.sampled_from(list(ALGORITHMS))), draw(st.sampled_from(DIGITS)), period)


def test_a_time_based_one_is_written_like_this():
    device = Device(Kind.TOTP, b"12345678901234567890", "SHA256", 8, 60)
    assert key_uri(device, "ann@example.org", "Ann's Shop") == (
        "otpauth://totp/Ann%27s%20Shop:ann@example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
        "&issuer=Ann%27s%20Shop&algorithm=SHA256&digits=8&period=60"
    )


def test_a_counter_based_one_begins_at_nought():
    device = Device(Kind.HOTP, b"12345678901234567890", "SHA1", 6, None)
    assert key_uri(device, "ann", "Shop") == (
        "otpauth://hotp/Shop:ann?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Shop&algorithm=SHA1&digits=6&counter=0"
    )


@given(devices(), LABELS, LABELS)
def test_every_uri_is_read_back_as_it_was_meant(device, account, issuer):
    parts = urlsplit(key_uri(device, account, issuer))
    # As apps do it: a plus is a plus.
    query = dict(parse_qsl(parts.query.replace("+", "%2B"), strict_parsing=True))
    assert ("otpauth", device.kind, f"/{issuer}:{account}") == (parts.scheme, parts.netloc, unquote(parts.path))
    assert device.secret == base64.b32decode(query.pop("secret"))
    last = {"counter": "0"} if device.period is None else {"period": str(device.period)}
    assert {"issuer": issuer, "algorithm": device.algorithm, "digits": str(device.digits), **last} == query


@given(st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES))
def test_a_secret_is_32_letters_without_padding(secret):
    text = secret_text(secret)
    assert (32, secret) == (len(text), base64.b32decode(text))
