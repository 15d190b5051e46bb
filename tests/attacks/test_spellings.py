"""Attempts to be somebody else to the limits by spelling an address differently."""

from __future__ import annotations

import pytest

from channels.kinds import KINDS


@pytest.mark.parametrize(
    ("kind", "spellings"),
    [
        (
            "phone",
            ["+4915112345678", "+49 151 123-456.78", "+49 (0)151 12345678", "+49015112345678", "+(49)15112345678"],
        ),
        ("phone", ["+79161234567", "+7 8 916 1234567"]),
        ("phone", ["+5491123456789", "+54 11 15 2345 6789"]),
        (
            "email",
            [
                "ann@xn--bcher-kva.de",
                "ANN@BÜCHER.de",
                "Ann+1@bücher.de",
                "ann+@bu\u0308cher.de",
                "ann+a+b@XN--BCHER-KVA.DE",
            ],
        ),
        ("email", ["ann@example.org", "ann@\uff45xample.org", "aNN+@example\u3002org", "ann@EXAMPLE.ORG"]),
    ],
)
def test_one_recipient_whatever_is_written(kind, spellings):
    assert len({KINDS[kind](text).canonical for text in spellings}) == 1
