"""Attempts with purposes of other limits, new codes, own codes and clocks that are set back."""

from __future__ import annotations

import pytest

from gateway.config import CodeSettings
from gateway.errors import Cooldown, InvalidRequest, RateLimited, WrongCode
from tests.verification.limits.test_limits import approve, guess, sent, wrong
from tests.world import EMAIL, PHONE


@pytest.fixture
def engine_name() -> str:
    """No statement of these is left out of the tests of both engines."""
    return "sqlite"


async def test_a_new_code_ends_the_old_one_and_brings_no_further_checks(make_world, clock):
    world = make_world(cooldown=1, code=CodeSettings(resend="new"))
    view = await sent(world, {"phone": PHONE, "email": EMAIL})
    old = world.code
    await guess(world, view, 3)
    clock.advance(2)
    await world.verifications.resend("shop", view.id, "email")
    await world.attempt()
    new = world.channels["email"].sent[-1].code
    assert old != new
    with pytest.raises(WrongCode):
        await world.checking.check("shop", view.id, old)
    assert (await world.look(view)).checks_left == 1
    await world.checking.check("shop", view.id, new)


async def test_a_clock_that_is_set_back_prolongs_what_it_counted_by_so_much_and_no_more(make_world, clock):
    world = make_world(cooldown=0)
    for _ in range(4):
        await guess(world, await sent(world), 5)
    clock.advance(-3600)
    with pytest.raises(RateLimited) as refused:
        await world.start()
    assert int(refused.value.headers["Retry-After"]) == 7200
    # Nor does asking meanwhile: the end is fixed.
    clock.advance(7199)
    with pytest.raises(RateLimited):
        await world.start()
    clock.advance(1)
    await world.start()


async def test_of_purposes_with_different_limits_sends_count_together_and_guesses_apart(make_world):
    lax = {"channels": ("sms",), "limits": {"sends_per_10m": 0, "mode": "observe", "cooldown": 0}}
    world = make_world(cooldown=0, purposes={"lax": lax})
    for _ in range(5):
        await guess(world, await sent(world, purpose="lax"), 4)
    with pytest.raises(RateLimited) as refused:
        await world.start()
    assert refused.value.extra["limit"] == "sends_per_10m"
    assert (await world.start(purpose="lax")).checks_left == 5


async def test_a_services_own_codes_tell_it_nothing_while_a_limit_refuses_it(make_world):
    owner = make_world(cooldown=0, sends_per_10m=1)
    await sent(owner)
    code = owner.code
    thief = make_world(code=CodeSettings(custom=True), sends_per_10m=1)
    told = []
    for value in (code, wrong(code)):
        with pytest.raises((RateLimited, Cooldown, InvalidRequest)) as refused:
            await thief.start(value=value)
        told.append((type(refused.value), str(refused.value)))
    assert told[0] == told[1]
    assert told[0][0] is RateLimited


async def test_a_services_own_codes_tell_it_nothing_of_anothers(make_world, clock):
    owner = make_world(name="bank", cooldown=0)
    await owner.start()
    await owner.attempt()
    thief = make_world(code=CodeSettings(custom=True), cooldown=0)
    assert (await thief.start(value=owner.code)).status == "pending"
    assert (await thief.start(value=wrong(owner.code))).status == "pending"
    with pytest.raises(InvalidRequest):
        await thief.start(value=owner.code)


async def test_an_approval_of_one_purpose_forgives_no_other(make_world, database, clock):
    world = make_world(cooldown=0)
    await guess(world, await sent(world, purpose="payment"), 5)
    clock.advance(1)
    await approve(world, await sent(world, purpose="login"))
    assert [item["purpose"] for item in await database.fetch("SELECT purpose FROM guess")] == ["payment"]


@pytest.mark.parametrize(
    ("first", "second", "alphabet"), [("ABCDEFGH", "abcdefgh", "upper"), ("123456", "123-456", "digits")]
)
async def test_an_own_code_that_was_sent_already_is_not_another_by_its_spelling(
    make_world, clock, first, second, alphabet
):
    world = make_world(code=CodeSettings(custom=True, alphabet=alphabet))
    await sent(world, value=first)
    clock.advance(31)
    with pytest.raises(InvalidRequest):
        await sent(world, value=second)
