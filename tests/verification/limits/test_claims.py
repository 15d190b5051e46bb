"""What one send claims: built, written on both engines by many at once, and undone without a trace."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from channels.kinds import KINDS
from gateway.config import LimitSettings
from gateway.errors import Cooldown, RateLimited, Refused
from gateway.storage.database import Database
from gateway.storage.ids import least_id
from gateway.verification.limits import claims
from gateway.verification.limits.claims import LOOK_BACK, Claim
from gateway.verification.limits.windows import OFF
from tests.verification.limits.conftest import everything
from tests.verification.limits.test_limits import guess, sent
from tests.world import PHONE

FREE = {"cooldown": 0, "guesses_per_hour": 0, "guesses_per_day": 0, "sends_per_10m": 0, "prefix_per_hour": 0}


@pytest.mark.parametrize(
    ("ip", "visitor"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        # All of IPv4 behind a translator, as a data centre of IPv6 alone sees it.
        ("64:ff9b::203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
    ],
)
def test_an_ip_address_stands_for_itself_and_of_ipv6_for_its_network(ip, visitor):
    assert claims.visitor_of(ip) == visitor


def test_who_does_not_say_who_asks_is_no_visitor(hasher):
    assert claims.visitor_hash(hasher, "shop", None) is None


def test_neighbouring_numbers_are_one_block_and_other_kinds_are_in_none(hasher):
    one, neighbour, other = (KINDS["phone"](number) for number in (PHONE, "+4915112349999", "+4915112355678"))
    assert claims.block_hash(hasher, one) == claims.block_hash(hasher, neighbour) != claims.block_hash(hasher, other)
    assert claims.block_hash(hasher, KINDS["email"]("ann@example.org")) is None
    assert "1511234" not in repr(one)


def test_a_code_is_remembered_by_service_and_recipient(hasher):
    known = claims.code_hash(hasher, "shop", b"a", "123456")
    assert known == claims.code_hash(hasher, "shop", b"a", "123456")
    assert known != claims.code_hash(hasher, "shop", b"b", "123456")
    assert known != claims.code_hash(hasher, "bank", b"a", "123456")


@pytest.mark.parametrize(
    ("limits", "counted", "left"),
    [
        ({}, (1, 1, 1), 4),
        ({}, (0, 9, 9), 1),
        ({}, (0, 0, 25), 0),
        ({"sends_per_10m": 0, "sends_per_hour": 0}, (9, 9, 9), 11),
        ({"sends_per_10m": 0, "sends_per_hour": 0, "sends_per_day": 0}, (9, 9, 9), None),
    ],
)
def test_sends_left_is_the_least_of_the_windows(limits, counted, left):
    row = dict(zip(("ten_minutes", "hour", "day"), counted, strict=True))
    assert claims.sends_left(LimitSettings.model_validate(limits), row) == left


def test_to_whom_nothing_was_sent_all_sends_are_left():
    assert claims.sends_left(LimitSettings(), None) == 5


def claim(**fields) -> Claim:
    limits = LimitSettings.model_validate(fields.pop("limits", {}))
    known = {"verification_id": "ver_1", "service": "shop", "purpose": "login", "hash": b"h", "at": 1000.0, "need": 5}
    return Claim(**{**known, "limits": limits, **fields})


def test_a_cooldown_without_length_is_still_a_row_to_wait_for_where_guesses_are_compared():
    assert claim(cooldown=0.0).cools
    assert not claim(cooldown=0.0, limits={"guesses_per_hour": 0, "guesses_per_day": 0}).cools
    assert not claim().cools


def test_a_trusted_context_has_a_budget_of_its_own():
    theirs = claim(context="reference:device-7")
    assert (theirs.guesses_per_hour, theirs.guesses_per_day) == (10, OFF)
    assert (claim().guesses_per_hour, claim().guesses_per_day) == (20, 30)


def test_a_claim_looks_as_far_back_as_any_verification_may_be_pending():
    second, next_one = least_id("ver", 1000 - LOOK_BACK), least_id("ver", 1001 - LOOK_BACK)
    assert [second, second, next_one] == [claim(at=at).since for at in (1000.0, 1000.999, 1001.0)]


def test_a_limit_that_is_off_has_no_guard():
    limits = {"prefix_per_hour": 0, "ip_per_hour": 0}
    first, _ = claims.guards(claim(block=b"b", visitor=b"v", starts=True, limits=limits))
    assert first == []


def test_what_is_claimed_is_not_in_its_repr():
    shown = repr(claim(hash=b"recipient", code=b"code", block=b"block", visitor=b"visitor", context="reference:x"))
    assert not any(word in shown for word in ("recipient", "code", "b'block", "b'visitor", "reference"))


async def nodes(stack: AsyncExitStack, make_engine, make_world, **limits):
    databases = [await stack.enter_async_context(Database(make_engine())) for _ in range(4)]
    return databases[0], [make_world(on=database, **limits) for database in databases]


async def outcomes(worlds, asked) -> list[Any]:
    starts = (worlds[n % len(worlds)].start(**wanted) for n, wanted in enumerate(asked))
    found: list[Any] = await asyncio.gather(*starts, return_exceptions=True)
    return found


@pytest.mark.parametrize(
    ("limits", "number", "limit"),
    [
        ({**FREE, "sends_per_10m": 7}, 7, "sends_per_10m"),
        ({**FREE, "sends_per_hour": 3}, 3, "sends_per_hour"),
        ({**FREE, "guesses_per_hour": 20}, 4, "guesses_per_hour"),
        ({**FREE, "guesses_per_day": 11}, 2, "guesses_per_day"),
    ],
)
async def test_of_forty_at_once_on_four_nodes_exactly_as_many_pass_as_there_is_room_for(
    make_engine, make_world, limits, number, limit
):
    async with AsyncExitStack() as stack:
        database, worlds = await nodes(
            stack, make_engine, make_world, **{"sends_per_hour": 0, "sends_per_day": 0, **limits}
        )
        found = await outcomes(worlds, [{}] * 40)
        refusals = [item for item in found if isinstance(item, RateLimited)]
        assert {item.extra["limit"] for item in refusals} == {limit}
        assert len(found) - len(refusals) == number
        rows = await everything(database)
        assert [row["ten_minutes"] for row in rows["recipient"]] == [number]
        assert len(rows["verification"]) == len(rows["message"]) == number


async def test_of_forty_numbers_of_a_block_exactly_as_many_pass(make_engine, make_world):
    async with AsyncExitStack() as stack:
        database, worlds = await nodes(stack, make_engine, make_world, prefix_per_hour=6)
        found = await outcomes(worlds, [{"to": {"phone": f"+49151123456{n:02}"}} for n in range(40)])
        assert sum(not isinstance(item, BaseException) for item in found) == 6
        rows = await everything(database)
        assert [row["sends"] for row in rows["block"]] == [6]
        # Whoever was refused by their block has neither a cooldown nor a count.
        assert len(rows["recipient"]) == len(rows["cooldown"]) == 6


async def test_of_forty_from_one_network_exactly_as_many_pass(make_engine, make_world):
    async with AsyncExitStack() as stack:
        database, worlds = await nodes(stack, make_engine, make_world, ip_per_hour=8)
        asked = [{"to": {"email": f"u{n}@example.org"}, "client_ip": f"2001:db8::{n + 1:x}"} for n in range(40)]
        found = await outcomes(worlds, asked)
        assert sum(not isinstance(item, BaseException) for item in found) == 8
        rows = await everything(database)
        assert [row["count"] for row in rows["visitor"]] == [8]
        assert len(rows["recipient"]) == len(rows["verification"]) == 8


async def test_a_refused_request_leaves_every_row_as_it_was(make_world, database, clock):
    world = make_world(sends_per_10m=1, cooldown=1)
    await world.start(client_ip="203.0.113.9")
    clock.advance(2)
    before = await everything(database)
    for client in ({}, {"client_ip": "203.0.113.9"}):
        with pytest.raises(RateLimited):
            await world.start(**client)
    after = await everything(database)
    # Whoever says who asks waits for the recipient's row, which may be an empty one.
    for rows in (before, after):
        rows["cooldown"] = []
        rows["visitor"] = [row["count"] for row in rows["visitor"]]
    assert after == before


async def test_who_asks_while_the_cooldown_runs_is_told_which_verification_it_is_of(make_world):
    world = make_world()
    first = await world.start(client_ip="203.0.113.9")
    with pytest.raises(Cooldown) as caught:
        await world.start(client_ip="203.0.113.9")
    assert caught.value.extra["verification"] == first.id


@pytest.mark.parametrize("over", ["canceled", "expired", "too many checks"])
async def test_a_cooldown_names_no_verification_that_is_over(make_world, clock, over):
    """Who went on with its id would be told 410 by every call."""
    world = make_world(cooldown=3600)
    first = await sent(world)
    if over == "canceled":
        await world.checking.cancel("shop", first.id)
    elif over == "expired":
        clock.advance(first.expires_at - clock.now())
    else:
        await guess(world, first, first.checks_left)
    with pytest.raises(Cooldown) as caught:
        await world.start()
    assert (caught.value.extra["limit"], "verification" in caught.value.extra) == ("cooldown", False)


async def test_of_forty_at_once_within_the_cooldown_one_passes_on_four_nodes(make_engine, make_world):
    async with AsyncExitStack() as stack:
        _, worlds = await nodes(stack, make_engine, make_world)
        found = await outcomes(worlds, [{}, {"client_reference": "device-7"}] * 20)
        assert sum(not isinstance(item, BaseException) for item in found) == 1
        assert {type(item) for item in found if isinstance(item, Refused)} == {Cooldown}
