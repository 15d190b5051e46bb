"""A route is the configured channels that reach one of the given addresses, in order."""

from __future__ import annotations

import pytest

from channels.kinds import KINDS
from gateway.delivery.person import Reach
from gateway.delivery.routing import Step, blocked, muted, plan
from tests.world import EMAIL, PHONE, Scripted

CHANNELS = {
    "pigeon": Scripted("pigeon", ["phone"]),
    "owl": Scripted("owl", ["email", "phone"]),
    "bot": Scripted("bot", ["telegram", "phone"], needs_subscriber=True),
    "other": Scripted("other", ["telegram", "phone"], needs_subscriber=True),
}
NOBODY = Reach()
CHAT = Reach("4242", locale="de")
MUTED = Reach("4242", muted=True)
BLOCKED = Reach("4242", blocked="bot")


def to(**addresses: str):
    return {kind: KINDS[kind](value) for kind, value in addresses.items()}


def steps(route, to, **reaches: Reach) -> list[Step]:
    """Plan where the bot reaches nobody but whom ``reaches`` names."""
    return plan(route, CHANNELS, to, {kind: reaches.get(kind, NOBODY) for kind in to})


def test_channels_without_an_address_are_skipped():
    assert [(step.channel, step.kind, step.address) for step in steps(["pigeon", "owl"], to(email=EMAIL))] == [
        ("owl", "email", EMAIL)
    ]


def test_the_routes_order_is_kept():
    assert [step.channel for step in steps(["owl", "pigeon"], to(phone=PHONE, email=EMAIL))] == ["owl", "pigeon"]


def test_an_adapters_best_kind_wins():
    [step] = steps(["owl"], to(phone=PHONE, email=EMAIL))
    assert (step.kind, step.address) == ("email", EMAIL)


def test_a_bot_sends_to_the_chat_in_the_persons_language():
    [step] = steps(["bot"], to(telegram="user-42"), telegram=CHAT)
    assert (step.address, step.kind, step.locale) == ("4242", "telegram", "de")
    assert step.recipient == KINDS["telegram"]("user-42").masked


def test_a_reference_that_nobody_linked_waits_for_its_chat():
    [step] = steps(["bot"], to(telegram="user-42"))
    assert (step.address, step.kind, step.locale) == (None, "telegram", None)


def test_a_proved_phone_is_reached_by_the_bot():
    address = to(phone=PHONE)
    [step] = steps(["bot"], address, phone=CHAT)
    assert (step.address, step.kind, step.recipient) == ("4242", "phone", address["phone"].masked)


def test_an_unproved_phone_is_no_address_for_the_bot():
    assert steps(["bot"], to(phone=PHONE)) == []


def test_a_proved_phone_goes_before_waiting_for_a_link():
    [step] = steps(["bot"], to(telegram="user-42", phone=PHONE), phone=CHAT)
    assert (step.address, step.kind) == ("4242", "phone")


def test_a_linked_reference_goes_before_a_proved_phone():
    [step] = steps(["bot"], to(phone=PHONE, telegram="user-42"), phone=Reach("1"), telegram=CHAT)
    assert (step.address, step.kind) == ("4242", "telegram")


@pytest.mark.parametrize("kind", ["telegram", "phone"])
def test_a_muted_bot_is_skipped_and_the_route_goes_on(kind):
    addresses = to(**{kind: "user-42" if kind == "telegram" else PHONE}, email=EMAIL)
    assert [step.channel for step in steps(["bot", "owl"], addresses, **{kind: MUTED})] == ["owl"]


def test_who_muted_one_chat_is_reached_in_another():
    [step] = steps(["bot"], to(telegram="user-42", phone=PHONE), telegram=MUTED, phone=Reach("7"))
    assert (step.address, step.kind) == ("7", "phone")


def test_a_route_tells_whether_a_mute_is_why_it_is_short():
    reaches = {"telegram": MUTED, "phone": NOBODY}
    assert muted(["owl", "bot"], CHANNELS, reaches)
    assert not muted(["owl"], CHANNELS, reaches)
    assert not muted(["bot"], CHANNELS, {"phone": CHAT})


@pytest.mark.parametrize("kind", ["telegram", "phone"])
def test_a_blocked_bot_is_skipped_and_another_writes_to_the_chat(kind):
    addresses = to(**{kind: "user-42" if kind == "telegram" else PHONE})
    planned = steps(["bot", "other"], addresses, **{kind: BLOCKED})
    assert [(step.channel, step.address) for step in planned] == [("other", "4242")]


def test_who_blocked_the_bot_in_one_chat_is_reached_in_another():
    [step] = steps(["bot"], to(telegram="user-42", phone=PHONE), telegram=BLOCKED, phone=Reach("7"))
    assert (step.address, step.kind) == ("7", "phone")


def test_a_route_tells_whether_a_block_is_why_it_is_short():
    reaches = {"telegram": BLOCKED, "phone": NOBODY}
    assert blocked(["owl", "bot"], CHANNELS, reaches)
    assert not blocked(["other"], CHANNELS, reaches)
    assert not blocked(["bot"], CHANNELS, {"phone": CHAT})


def test_a_route_may_reach_nobody():
    assert steps(["pigeon"], to(email=EMAIL)) == []


def test_a_step_shows_its_masked_address_alone():
    [step] = steps(["pigeon"], to(phone=PHONE))
    assert step.recipient in repr(step)
    assert PHONE not in repr(step)
