"""What would be accepted only to die waiting is refused, and the caller told when to come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from gateway.errors import Unavailable
from gateway.verification.admission import LONGEST, LONGEST_RETRY, REMEMBERED, Admission
from tests.world import EMAIL, PHONE, World, two_channels

BOTH = {"phone": PHONE, "email": EMAIL}


class Waits:
    """How long each channel's messages are expected to wait; those that are not usable pass them on."""

    def __init__(self, waits: Mapping[str, float], unusable: tuple[str, ...] = ()) -> None:
        self.waits = dict(waits)
        self.unusable = unusable
        #: How long channels are known to send nothing.
        self.rests: dict[str, float] = {}
        self.asked: list[tuple[str, str]] = []

    def expected(self, channel: str, service: str) -> float:
        self.asked.append((channel, service))
        return self.waits[channel]

    def usable(self, channel: str) -> bool:
        return channel not in self.unusable

    @property
    def admission(self) -> Admission:
        return Admission(self.expected, self.usable, rest=lambda channel: self.rests.get(channel, 0.0))


@pytest.fixture
def make_world(database, clock, sealer, hasher) -> Callable[..., World]:
    return lambda waits: World(database, clock, sealer, hasher, two_channels(), admission=waits.admission)


def test_where_nothing_waits_everything_is_taken_and_little_asked():
    waits = Waits({"sms": 0.0})
    waits.admission.check("shop", ["sms", "email"], 5.0)
    assert waits.asked == [("sms", "shop")]


@pytest.mark.parametrize(("lives", "limit"), [(300.0, LONGEST), (120.0, 30.0), (60.0, 15.0), (4.0, 1.0)])
def test_a_code_may_wait_for_a_quarter_of_its_life_and_half_a_minute(lives, limit):
    Waits({"sms": limit}).admission.check("shop", ["sms"], lives)
    with pytest.raises(Unavailable):
        Waits({"sms": limit + 0.1}).admission.check("shop", ["sms"], lives)


@pytest.mark.parametrize(
    ("route", "unusable", "told"),
    # By the channel that would send; what is guessed beyond that is told up to a minute.
    [(["sms"], (), "70"), (["sms", "email"], ("sms",), "370"), (["email", "sms"], ("email",), "70")],
)
def test_a_wait_that_a_provider_asked_for_is_told_whole(route: list[str], unusable: tuple[str, ...], told: str):
    """Told of a minute, a caller who obeys is refused once more."""
    waits = Waits({"sms": 130.0, "email": 500.0}, unusable)
    waits.rests = {"sms": 100.0, "email": 400.0}
    with pytest.raises(Unavailable) as refusal:
        waits.admission.check("shop", route, 300.0)
    assert refusal.value.headers == {"Retry-After": told}


@pytest.mark.parametrize(
    ("wait", "told"), [(30.1, "1"), (42.5, "13"), (89.0, "59"), (500.0, "60"), (float("inf"), "60")]
)
def test_the_caller_is_told_when_it_is_likely_over(wait, told):
    with pytest.raises(Unavailable) as refusal:
        Waits({"sms": wait}).admission.check("shop", ["sms"], 300.0)
    assert refusal.value.headers == {"Retry-After": told}
    assert float(told) <= LONGEST_RETRY


def test_a_channel_that_passes_messages_on_is_not_waited_for():
    waits = Waits({"sms": 500.0, "email": 0.0}, unusable=("sms",))
    waits.admission.check("shop", ["sms", "email"], 300.0)
    waits.waits["email"] = 31.0
    with pytest.raises(Unavailable):
        waits.admission.check("shop", ["sms", "email"], 300.0)


def test_a_channel_that_sends_is_waited_for_whatever_the_next_one_has_free():
    with pytest.raises(Unavailable):
        Waits({"sms": 31.0, "email": 0.0}).admission.check("shop", ["sms", "email"], 300.0)


def test_where_no_channel_sends_the_last_is_waited_for():
    waits = Waits({"sms": 500.0, "email": 5.0}, unusable=("sms", "email"))
    waits.admission.check("shop", ["sms", "email"], 300.0)
    assert waits.asked[-1] == ("email", "shop")


def test_a_wait_is_remembered_for_a_moment_and_for_its_own_service_alone(clock):
    waits = Waits({"sms": 0.0})
    admission = Admission(waits.expected, waits.usable, clock)
    admission.check("shop", ["sms"], 300.0)
    waits.waits["sms"] = 31.0
    admission.check("shop", ["sms"], 300.0)
    with pytest.raises(Unavailable):
        admission.check("bank", ["sms"], 300.0)
    clock.advance(REMEMBERED)
    with pytest.raises(Unavailable):
        admission.check("shop", ["sms"], 300.0)
    assert waits.asked == [("sms", "shop"), ("sms", "bank"), ("sms", "shop")]


async def test_a_new_verification_is_refused_before_anything_is_written(make_world):
    world = make_world(Waits({"sms": 31.0, "email": 0.0}))
    with pytest.raises(Unavailable) as refusal:
        await world.start(BOTH)
    assert refusal.value.status == 503
    assert await world.database.fetch("SELECT id FROM verification") == []
    await world.start({"email": EMAIL})


async def test_a_resend_is_refused_and_nothing_is_spent(make_world, clock):
    waits = Waits({"sms": 0.0, "email": 0.0})
    world = make_world(waits)
    view = await world.start(BOTH)
    clock.advance(30.0)
    waits.waits["sms"] = 31.0
    with pytest.raises(Unavailable):
        await world.verifications.resend("shop", view.id, None)
    assert await world.statuses(view) == [("sms", "queued")]
    await world.verifications.resend("shop", view.id, "email")
    assert (await world.statuses(view))[1:] == [("email", "queued")]


async def test_a_resend_may_wait_for_a_quarter_of_the_life_that_is_left(make_world, clock):
    waits = Waits({"sms": 16.0, "email": 0.0})
    world = make_world(waits)
    view = await world.start()
    clock.advance(240.0)
    with pytest.raises(Unavailable) as refusal:
        await world.verifications.resend("shop", view.id, None)
    assert refusal.value.headers == {"Retry-After": "1"}
    waits.waits["sms"] = 15.0
    await world.verifications.resend("shop", view.id, None)
