"""Following one verification: until it is sent, cannot be, or takes too long."""

from __future__ import annotations

import pytest

from gateway.cli.following import PATIENCE, Follow
from gateway.verification.view import MessageView, VerificationView


def view(*messages: tuple[str, str], status: str = "pending") -> VerificationView:
    return VerificationView(
        id="ver_1",
        status=status,
        service="shop",
        purpose="login",
        locale="en",
        to={},
        channel=None,
        next_channels=(),
        created_at=0,
        expires_at=300,
        resend_at=30,
        checks_left=5,
        messages=tuple(MessageView(f"msg_{channel}", channel, state) for channel, state in messages),
    )


class Looking:
    """A verification as it is at each look; the last stays."""

    def __init__(self, *views: VerificationView, runs: bool = True) -> None:
        self.views = list(views)
        self.runs = runs

    async def look(self, service, verification_id):
        assert (service, verification_id) == ("shop", "ver_1")
        return self.views.pop(0) if len(self.views) > 1 else self.views[0]

    async def node_runs(self):
        return self.runs


@pytest.fixture
def follow(clock):
    """Follow; return whether it was sent and what was told."""

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)

    async def run(looking: Looking, seconds: float = 20.0) -> tuple[bool, list[str]]:
        told: list[str] = []
        found, sent = await Follow(looking, clock, tell=told.append, sleep=sleep).until_sent("shop", "ver_1", seconds)
        assert found is looking.views[0]
        return sent, told

    return run


@pytest.mark.parametrize("end", ["sent", "delivered"])
async def test_it_ends_with_the_first_message_that_is_sent(follow, end):
    steps = [
        view(("sms", "queued")),
        view(("sms", "queued")),
        view(("sms", "sending")),
        view(("sms", "failed"), ("email", "queued")),
        view(("sms", "failed"), ("email", end)),
    ]
    assert await follow(Looking(*steps)) == (
        True,
        ["sms queued", "sms sending", "sms failed", "email queued", f"email {end}"],
    )


@pytest.mark.parametrize("status", ["failed", "expired", "canceled"])
async def test_it_ends_unsent_where_nothing_will_be_sent(follow, status):
    assert await follow(Looking(view(("sms", "failed"), status=status))) == (False, ["sms failed"])


async def test_it_ends_when_its_time_is_over(follow, clock):
    begun = clock.monotonic()
    sent, told = await follow(Looking(view(("sms", "sending"))), 1.1)
    assert (sent, told[-1]) == (False, "not sent within 1.1 s; it goes on without being watched")
    assert clock.monotonic() - begun == pytest.approx(1.1)


@pytest.mark.parametrize(("runs", "word"), [(True, "otp-gateway stats"), (False, "start `otp-gateway serve`")])
async def test_what_stays_queued_is_explained_once(follow, runs, word):
    _, told = await follow(Looking(view(("sms", "queued")), runs=runs), 3 * PATIENCE)
    assert (len(told), word in told[1]) == (3, True)
