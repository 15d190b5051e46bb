"""Policies at work, on both engines: codes of every alphabet from the request to the check, and what a purpose changes."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config import CodeSettings, LimitSettings, ServiceSettings
from gateway.config.services import PurposeLimits, PurposeSettings
from gateway.errors import Cooldown, InvalidRequest, RecipientRefused, WrongCode
from gateway.verification.request import Asked
from tests.world import EMAIL, PHONE, World, two_channels

BOTH = {"phone": PHONE, "email": EMAIL}


@pytest.fixture
def make_world(database, clock, sealer, hasher):
    def make(**settings: Any) -> World:
        settings = {"limits": LimitSettings(cooldown=30), "channels": ("sms", "email"), **settings}
        return World(database, clock, sealer, hasher, two_channels(), service=ServiceSettings(name="Shop", **settings))

    return make


async def sent(world: World, **asked: Any) -> Any:
    view = await world.start(BOTH, **asked)
    await world.attempt()
    return view


async def test_a_grouped_code_checks_in_any_case_and_grouping(make_world):
    world = make_world(code=CodeSettings(alphabet="unambiguous", length=8))
    for typed in (str.lower, lambda code: code.replace("-", ""), lambda code: f" {code[:3]} {code[3:].lower()}"):
        view = await sent(world)
        assert len(world.code) == 9
        assert world.code[4] == "-"
        await world.checking.check("shop", view.id, typed(world.code))
        assert (await world.look(view)).status == "approved"


async def test_where_case_counts_another_case_is_wrong_and_other_signs_cost_nothing(make_world):
    world = make_world(code=CodeSettings(alphabet="letters", length=8))
    view = await sent(world)
    with pytest.raises(InvalidRequest) as caught:
        await world.checking.check("shop", view.id, world.code[:-1] + "7")
    assert [error.pointer for error in caught.value.errors] == ["/code"]
    assert (await world.look(view)).checks_left == 5
    with pytest.raises(WrongCode):
        await world.checking.check("shop", view.id, world.code.swapcase())
    assert (await world.look(view)).checks_left == 4
    await world.checking.check("shop", view.id, world.code)


async def test_a_letter_among_digits_costs_no_check(make_world):
    world = make_world()
    view = await sent(world)
    with pytest.raises(InvalidRequest):
        await world.checking.check("shop", view.id, world.code[:-1] + "O")
    assert (await world.look(view)).checks_left == 5


async def test_a_code_outlives_a_change_of_its_policy(make_world):
    """A restart with another alphabet must not make those wrong that people hold."""
    before = make_world(code=CodeSettings(alphabet="unambiguous", length=8))
    view = await sent(before)
    after = make_world(code=CodeSettings())
    await after.checking.check("shop", view.id, before.code.lower())
    assert (await after.look(view)).status == "approved"


async def test_a_request_may_have_an_alphabet_of_more(make_world):
    world = make_world()
    view = await sent(world, alphabet="alphanumeric", length=20)
    assert len(world.code) == 20
    assert not world.code.isdigit()
    await world.checking.check("shop", view.id, world.code)


async def test_a_services_own_code_of_groups_is_sent_grouped(make_world):
    world = make_world(code=CodeSettings(alphabet="unambiguous", length=8, custom=True))
    view = await sent(world, value="cfgh2345")
    assert world.code == "CFGH-2345"
    await world.checking.check("shop", view.id, "cfgh 2345")


async def test_a_new_password_is_like_the_one_before_and_the_old_one_is_wrong(make_world, clock):
    classes = ("lower", "upper", "digits", "symbols")
    code = CodeSettings(alphabet="symbols", classes=classes, length=12, resend="new")
    world = make_world(code=code)
    view = await sent(world, length=14)
    old = world.code
    clock.advance(30)
    await world.verifications.resend("shop", view.id, None)
    await world.attempt()
    new = world.channels["sms"].sent[-1].code
    assert (len(new), new == old) == (14, False)
    assert any(sign in new for sign in "!$()*+/=?_")
    with pytest.raises(WrongCode):
        await world.checking.check("shop", view.id, old)
    await world.checking.check("shop", view.id, new)


def payments(**settings: Any) -> dict[str, PurposeSettings]:
    return {"payment": PurposeSettings(**{"channels": ("email",), **settings})}


async def test_a_purpose_has_its_own_codes_route_language_and_cooldown(make_world, clock):
    own = payments(
        locale="de", code=CodeSettings(length=8, ttl=60, max_checks=2, resend="new"), limits=PurposeLimits(cooldown=50)
    )
    world = make_world(purposes=own)
    plain, paying = await sent(world), await sent(world, purpose="payment")
    assert (plain.channel, list(plain.next_channels), plain.locale, plain.checks_left) == ("sms", ["email"], "en", 5)
    assert (paying.channel, list(paying.next_channels), paying.locale, paying.checks_left) == ("email", [], "de", 2)
    assert (plain.expires_at - plain.created_at, paying.expires_at - paying.created_at) == (300, 60)
    assert (plain.resend_at - plain.created_at, paying.resend_at - paying.created_at) == (30, 50)
    assert (len(world.channels["sms"].sent[0].code), len(world.channels["email"].sent[0].code)) == (6, 8)
    clock.advance(50)
    await world.verifications.resend("shop", paying.id, None)
    await world.attempt()
    first, second = (envelope.code for envelope in world.channels["email"].sent)
    assert first != second
    assert (await world.look(paying)).resend_at == clock.now() + 100


async def test_a_purposes_cooldown_is_named_where_it_refuses(make_world):
    world = make_world(purposes=payments(limits=PurposeLimits(cooldown=50)))
    await sent(world, purpose="payment")
    with pytest.raises(Cooldown) as caught:
        await world.start(BOTH, purpose="payment")
    assert caught.value.headers["RateLimit-Policy"] == '"cooldown";q=1;w=50'


async def test_a_purpose_may_serve_fewer_countries(make_world):
    world = make_world(purposes=payments(channels=("sms",), countries=("AT",)))
    await world.start(BOTH)
    with pytest.raises(RecipientRefused):
        await world.verifications.prepare("shop", Asked(to=BOTH, purpose="payment"))
