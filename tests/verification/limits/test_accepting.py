"""What is read before a verification is written: who is invited, who only opens the bot, and who answers there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.config import LimitSettings
from gateway.delivery.person import Invitation, Reach, Verdict
from gateway.errors import Cooldown, RateLimited, Unavailable
from gateway.verification.limits import refusals
from gateway.verification.limits.refusals import Found, Reason
from gateway.verification.request import Asked
from tests.verification.limits.test_claims import claim
from tests.world import PHONE, Talker, World, unwritten

CHAT = b"c" * 32
REFERENCE = {"telegram": "user-42"}


@pytest.fixture
def make_bot_world(make_world):
    def make(**limits: Any) -> World:
        world: World = make_world(channels={"bot": Talker("bot", ["telegram", "phone"])}, **limits)
        world.service = world.service.model_copy(update={"channels": ("bot",)})
        world.__post_init__()
        return world

    return make


class Inviting:
    """Counts the invitations that are written, each of which ends the one before it."""

    def __init__(self, world: World) -> None:
        self.made = self.number = 0
        world.verifications._invite = self._invite

    async def _invite(self, *_: Any) -> Invitation:
        self.made += 1
        return Invitation(f"https://bot.test/?start={self.made}", unwritten, self._write)

    async def _write(self, _: Any) -> None:
        self.number += 1


@pytest.mark.parametrize(
    ("limits", "seconds", "refused"), [({}, 29, Cooldown), ({"sends_per_10m": 1}, 599, RateLimited)]
)
async def test_nobody_is_invited_anew_by_a_request_that_is_refused(make_bot_world, clock, limits, seconds, refused):
    world = make_bot_world(**limits)
    inviting = Inviting(world)
    await world.start(REFERENCE)
    clock.advance(seconds)
    with pytest.raises(refused):
        await world.start(REFERENCE)
    assert inviting.number == 1
    clock.advance(1)
    assert (await world.start(REFERENCE)).link == "https://bot.test/?start=3"
    assert inviting.number == 2


async def test_where_limits_observe_everybody_is_invited(make_bot_world):
    world = make_bot_world(mode="observe")
    inviting = Inviting(world)
    for _ in range(2):
        await world.start(REFERENCE)
    assert inviting.number == 2


async def linked(_service: str, _address: Any) -> Reach:
    return Reach(chat="4242")


async def inbound(world: World, **asked: Any):
    world.verifications._resolve = linked
    return await world.start({"phone": PHONE}, mode="inbound", **asked)


async def test_who_opens_the_bot_is_counted_as_a_visitor_and_nothing_else(make_bot_world, database, clock):
    world = make_bot_world(ip_per_hour=2)
    for _ in range(2):
        view = await inbound(world, client_ip="203.0.113.9")
        assert view.sends_left is None
    with pytest.raises(RateLimited) as caught:
        await inbound(world, client_ip="203.0.113.9")
    assert (caught.value.extra["limit"], caught.value.headers["Retry-After"]) == ("ip_per_hour", "3600")
    assert (await inbound(world, client_ip="203.0.113.10")).status == "pending"
    assert (await inbound(world)).status == "pending"
    assert await database.fetch("SELECT hash FROM recipient") == []


async def test_a_challenge_that_is_somebody_elses_takes_nothing_from_its_visitor(make_bot_world, database):
    world = make_bot_world()
    world.reverse._random_below = lambda _: 1
    await inbound(world, client_ip="203.0.113.9")
    with pytest.raises(Unavailable):
        await inbound(world, client_ip="203.0.113.9")
    assert [row["count"] for row in await database.fetch("SELECT count FROM visitor")] == [1]


async def test_a_visitor_who_only_opens_the_bot_is_observed(make_bot_world):
    world = make_bot_world(ip_per_hour=1, mode="observe")
    await inbound(world, client_ip="203.0.113.9")
    view = await inbound(world, client_ip="203.0.113.9")
    events = (await world.look(view)).events or ()
    assert [event.details["reason"] for event in events if event.name == "limit.observed"] == ["ip_per_hour"]


async def test_a_yes_in_the_chat_wipes_wrong_codes_and_trusts_the_device(make_bot_world, database):
    world = make_bot_world()
    view = await inbound(world, client_reference="device-7")
    hashed = world.hasher.hash("phone", PHONE)
    counted = "INSERT INTO guess (service, purpose, hash, context, hour, hour_until, day, day_until, streak, forget_at) VALUES ('shop', 'verification', :hash, '', 9, 9, 9, 9, 9, 9)"
    await database.run(lambda connection: connection.fetch(counted, hash=hashed))

    async def answer(connection: Any) -> Any:
        await world.reverse.open(connection, str(view.link).rpartition("=")[2], CHAT, hashed, world.clock.now())
        return await world.reverse.answer(connection, view.id, CHAT, hashed, world.clock.now())

    assert await database.run(answer) is Verdict.APPROVED
    assert await database.fetch("SELECT hash FROM guess") == []
    trusted = await database.fetch("SELECT hash, context FROM trusted")
    assert [(bytes(row["hash"]), row["context"]) for row in trusted] == [(hashed, "reference:device-7")]


async def test_checks_that_were_used_since_the_look_are_not_taken_over(make_world, database, clock):
    world = make_world(lockout=(3, 600), cooldown=0)
    first = await world.start()
    prepared = await world.verifications.prepare("shop", Asked(to={"phone": PHONE}))
    # As it was looked at before three checks of the first one became two.
    late = replace(prepared.claim, need=3, takes=[(first.id, 3)])
    draft = replace(prepared.draft, claim=late, max_checks=3)
    accepting = world.verifications._accepting
    stale = accepting._prepared(draft)
    written = await accepting._written(database.claim, database.fetch, stale)
    assert (written.view.checks_left, (await world.look(first)).checks_left) == (2, 1)


@given(
    after=st.integers(1, 8),
    streak=st.integers(0, 7),
    held=st.lists(st.integers(1, 5), max_size=5),
    wanted=st.integers(1, 8),
)
def test_with_what_it_takes_over_a_verification_brings_no_more_checks_than_are_left(after, streak, held, wanted):
    limits = LimitSettings.model_validate({"lockout": {"after": after, "for": 600}})
    asked = replace(claim(need=wanted), limits=limits, starts=True)
    reserved = [{"id": f"ver_{n}", "checks": checks, "expires_at": 2000.0} for n, checks in enumerate(held)]
    row = dict.fromkeys(("hour", "hour_until", "day", "day_until"), 0) | {"streak": streak, "locked_until": None}
    found = Found(guess=row, reserved=reserved)
    if any(reason.limit == "lockout" for reason in refusals.reasons(asked, found)):
        assert min(streak, after - 1) + len(held) >= after
        return
    claimed = refusals.bounded(asked, found)
    taken = dict(claimed.takes)
    kept = [row["checks"] - taken.get(row["id"], 0) for row in reserved]
    assert 1 <= claimed.need <= wanted
    assert min(kept, default=1) >= 1
    assert min(streak, after - 1) + sum(kept) + claimed.need <= after
    assert claimed.adds == claimed.need - sum(taken.values())


def test_what_is_gone_before_it_is_looked_for_is_asked_for_again_in_a_moment():
    found = refusals.refusal(claim(cooldown=30.0), [])
    assert (found.extra["limit"], found.headers["Retry-After"]) == ("cooldown", "1")


def test_of_several_reasons_the_longest_is_told():
    reasons = [Reason("sends_per_10m", 5, 600, 431.2), Reason("guesses_per_hour", 20, 3600, 9.0)]
    found = refusals.refusal(claim(), reasons)
    assert found.extra == {"limit": "sends_per_10m"}
    assert found.headers == {
        "RateLimit-Policy": '"sends_per_10m";q=5;w=600',
        "RateLimit": '"sends_per_10m";r=0;t=432',
        "Retry-After": "432",
    }


def test_what_never_fits_waits_for_a_whole_window():
    found = refusals.reasons(claim(need=25), Found())
    assert [(reason.limit, reason.wait) for reason in found] == [("guesses_per_hour", 3600.0)]


def test_the_earliest_time_at_which_enough_checks_are_free_is_told():
    guess = {"hour": 8, "hour_until": 1500.0, "day": 8, "day_until": 9000.0}
    reserved = [{"checks": 5, "expires_at": 1100.0}, {"checks": 5, "expires_at": 1200.0}]
    [reason] = refusals.reasons(claim(need=5), Found(guess=guess, reserved=reserved))
    assert (reason.limit, reason.wait) == ("guesses_per_hour", 100.0)


def test_nothing_counted_is_nothing_in_the_way():
    limits = {"lockout": {"after": 5, "for": 600}}
    assert refusals.reasons(claim(starts=True, cooldown=30.0, limits=limits), Found()) == []
