"""A route is the configured channels that reach one of the given addresses, in order."""

from __future__ import annotations

from channels.kinds import KINDS
from gateway.delivery.routing import plan
from tests.world import EMAIL, PHONE, Scripted

CHANNELS = {
    "pigeon": Scripted("pigeon", ["phone"]),
    "owl": Scripted("owl", ["email", "phone"]),
    "bot": Scripted("bot", ["telegram", "phone"], needs_subscriber=True),
}


def to(**addresses: str):
    return {kind: KINDS[kind](value) for kind, value in addresses.items()}


def test_channels_without_an_address_are_skipped():
    steps = plan(["pigeon", "owl"], CHANNELS, to(email=EMAIL))
    assert [(step.channel, step.kind, step.address) for step in steps] == [("owl", "email", EMAIL)]


def test_the_routes_order_is_kept():
    steps = plan(["owl", "pigeon"], CHANNELS, to(phone=PHONE, email=EMAIL))
    assert [step.channel for step in steps] == ["owl", "pigeon"]


def test_an_adapters_best_kind_wins():
    [step] = plan(["owl"], CHANNELS, to(phone=PHONE, email=EMAIL))
    assert (step.kind, step.address) == ("email", EMAIL)


def test_an_address_that_needs_a_subscriber_is_not_known_yet():
    [step] = plan(["bot"], CHANNELS, to(telegram="user-42"))
    assert (step.address, step.needs_subscriber) == (None, True)


def test_a_route_may_reach_nobody():
    assert plan(["pigeon"], CHANNELS, to(email=EMAIL)) == []


def test_a_step_shows_its_masked_address_alone():
    [step] = plan(["pigeon"], CHANNELS, to(phone=PHONE))
    assert step.recipient in repr(step)
    assert PHONE not in repr(step)
