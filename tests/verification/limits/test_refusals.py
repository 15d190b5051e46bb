"""What a refusal says of the limit that is in the way."""

from __future__ import annotations

import pytest

from gateway.config.services import LimitSettings
from gateway.verification.limits.claims import Claim
from gateway.verification.limits.refusals import CONSECUTIVE_WRONG, Reason, refusal
from gateway.verification.limits.windows import DAY

CLAIM = Claim(
    verification_id="ver_1", service="shop", purpose="login", hash=b"h", at=1000.0, limits=LimitSettings(), need=5
)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (Reason("sends_per_10m", 5, 600, 430.2), "sends_per_10m: no more than 5 in 600 s; again in 431 s"),
        (
            Reason("lockout", 3, 600, 599.5),
            "lockout: no more than 3 wrong codes in a row, then locked for 600 s; again in 600 s",
        ),
        (
            Reason(CONSECUTIVE_WRONG, 1, DAY, 80_000.0),
            "consecutive_wrong: no more than 1 in 86400 s after 100 wrong codes in a row; again in 80000 s",
        ),
    ],
)
def test_a_refusal_says_what_is_allowed_and_when_again(reason, told):
    found = refusal(CLAIM, [reason])
    assert (found.detail, found.extra["limit"]) == (told, reason.limit)


def test_of_several_limits_the_one_that_lasts_longest_is_told():
    found = refusal(CLAIM, [Reason("sends_per_10m", 5, 600, 430.0), Reason("sends_per_hour", 10, 3600, 900.0)])
    assert (found.extra["limit"], found.headers["Retry-After"]) == ("sends_per_hour", "900")
