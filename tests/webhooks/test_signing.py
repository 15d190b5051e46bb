"""Signatures, with the official library as the judge."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from gateway.webhooks.signing import headers, signature

SECRET = b"0123456789abcdef01234567"
SECRETS = st.binary(min_size=24, max_size=64)
#: JSON as we send it is text; the library reads it as such.
BODIES = st.text().map(str.encode)


def theirs(secret: bytes) -> Webhook:
    return Webhook(f"whsec_{base64.b64encode(secret).decode()}")


def test_the_example_of_the_specification_is_signed_as_it_says():
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(secret=SECRETS, timestamp=st.integers(0, 2**31), body=BODIES)
def test_the_official_library_signs_the_same(secret, timestamp, body):
    at = datetime.fromtimestamp(timestamp, UTC)
    assert signature(secret, "whk_1", timestamp, body) == theirs(secret).sign("whk_1", at, body.decode())


@given(old=SECRETS, new=SECRETS)
def test_while_a_secret_is_replaced_receivers_with_either_accept(old, new):
    signed = headers((new, old), "whk_1", int(time.time()), b'{"a":1}')
    for secret in (old, new):
        assert theirs(secret).verify(b'{"a":1}', signed) == {"a": 1}
    assert len(signed["webhook-signature"].split(" ")) == 2


def test_a_receiver_refuses_another_body_id_time_or_secret():
    now = int(time.time())
    signed = headers((SECRET,), "whk_1", now, b"{}")
    for body, changed in (
        (b'{"a":1}', signed),
        (b"{}", {**signed, "webhook-id": "whk_2"}),
        (b"{}", {**signed, "webhook-timestamp": str(now - 1)}),
        (b"{}", headers((SECRET[::-1],), "whk_1", now, b"{}")),
    ):
        with pytest.raises(WebhookVerificationError):
            theirs(SECRET).verify(body, changed)
