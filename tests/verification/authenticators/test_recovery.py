"""Recovery codes: ten, each right once, replaced together, known by their hashes alone."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

import pytest

from gateway.errors import InvalidRequest, NotFound, Problem
from gateway.randomness import random_below
from gateway.storage import models
from gateway.storage.database import Database
from gateway.verification.authenticators.parts import built
from gateway.verification.authenticators.recovery import NUMBER, Recovery
from gateway.verification.authenticators.throttling import FREE
from tests.rows import count
from tests.verification.authenticators.conftest import BRANDS, SERVICE, App, Enrolled


async def renewed(enrolled: Enrolled, app: App) -> list[str]:
    return await enrolled.parts.recovery.renew(SERVICE, app.id)


async def outcome(enrolled: Enrolled, app: App, code: str) -> str:
    try:
        await enrolled.recover(app, code)
    except Problem as problem:
        return problem.code
    return "approved"


async def test_there_are_ten_of_the_form_that_people_can_type(enrolled):
    codes = await renewed(enrolled, await enrolled.active())
    assert (len(codes), len(set(codes))) == (NUMBER, NUMBER)
    assert all(re.fullmatch(r"[2-9CFGHJMPQRVWX]{4}-[2-9CFGHJMPQRVWX]{4}", code) for code in codes)


async def test_each_is_right_once_however_it_is_typed(enrolled):
    app = await enrolled.active()
    first, second, *_ = await renewed(enrolled, app)
    assert await enrolled.recover(app, first) == 9
    assert await outcome(enrolled, app, first) == "wrong_code"
    assert await enrolled.recover(app, second.replace("-", " ").lower()) == 8
    assert (await enrolled.parts.enrolling.one(SERVICE, app.id)).recovery_codes_left == 8
    assert await enrolled.events() == ["created", "activated", "renewed", "recovered", "failed", "recovered"]


@pytest.mark.parametrize("is_right", [True, False])
async def test_one_given_between_two_codes_far_ahead_parts_them(enrolled, is_right):
    app = await enrolled.active("hotp")
    right = (await renewed(enrolled, app))[0]
    assert await enrolled.outcome(app, app.code(50)) == "wrong_code"
    between = await outcome(enrolled, app, right if is_right else "CFGH-2345")
    assert between == ("approved" if is_right else "wrong_code")
    assert await enrolled.outcome(app, app.code(51)) == "wrong_code"
    assert await enrolled.outcome(app, app.code(52)) == "approved"


async def test_they_are_replaced_as_a_whole(enrolled):
    app = await enrolled.active()
    old, new = await renewed(enrolled, app), await renewed(enrolled, app)
    assert await count(enrolled.database, models.RecoveryCode) == NUMBER
    assert [await outcome(enrolled, app, code) for code in (old[0], new[0])] == ["wrong_code", "approved"]


async def test_of_parallel_uses_on_two_nodes_one_is_right(enrolled, make_engine, sealer, hasher, clock):
    app = await enrolled.active()
    code = (await renewed(enrolled, app))[0]
    async with Database(make_engine()) as second:
        other = Enrolled(built(second, sealer, hasher, clock, BRANDS), clock, second)
        found = await asyncio.gather(*(outcome(node, app, code) for _ in range(10) for node in (enrolled, other)))
    assert Counter(found) == {"approved": 1, "wrong_code": FREE, "rate_limited": 14}


async def test_made_on_two_nodes_at_once_only_ten_remain(enrolled, make_engine, sealer, hasher, clock):
    app = await enrolled.active()
    async with Database(make_engine()) as second:
        other = Enrolled(built(second, sealer, hasher, clock, BRANDS), clock, second)
        await asyncio.gather(*(renewed(node, app) for _ in range(3) for node in (enrolled, other)))
    assert await count(enrolled.database, models.RecoveryCode) == NUMBER


async def test_wrong_ones_are_throttled_with_wrong_codes_and_a_right_one_resets(enrolled):
    app = await enrolled.active()
    codes = await renewed(enrolled, app)
    await enrolled.fail(app, FREE - 1)
    assert await outcome(enrolled, app, codes[0]) == "approved"
    assert [await outcome(enrolled, app, "2222-2222") for _ in range(FREE)] == ["wrong_code"] * FREE
    assert await outcome(enrolled, app, codes[1]) == "rate_limited"
    assert await enrolled.outcome(app, app.code()) == "rate_limited"


@pytest.mark.parametrize("typed", ["2345", "2222-2222", "2345-CFGH-2345"])
async def test_one_that_was_never_made_is_wrong(enrolled, typed):
    app = await enrolled.active()
    await renewed(enrolled, app)
    assert await outcome(enrolled, app, typed) == "wrong_code"


async def test_one_of_another_authenticator_is_wrong(enrolled):
    one, other = await enrolled.active(), await enrolled.active()
    code = (await renewed(enrolled, one))[0]
    assert await outcome(enrolled, other, code) == "wrong_code"
    assert await outcome(enrolled, one, code) == "approved"


async def test_there_are_none_before_the_authenticator_is_active(enrolled):
    app = await enrolled.enrol()
    with pytest.raises(InvalidRequest, match="not active"):
        await renewed(enrolled, app)


async def test_another_service_gets_none(enrolled):
    app = await enrolled.active()
    with pytest.raises(NotFound):
        await enrolled.parts.recovery.renew("bank", app.id)


async def test_they_are_stored_as_keyed_hashes_that_go_with_the_authenticator(enrolled):
    app = await enrolled.active()
    codes = await renewed(enrolled, app)
    rows = [dict(row) for row in await enrolled.database.fetch("SELECT * FROM recovery_code")]
    assert {32} == {len(row["hash"]) for row in rows}
    assert not any(code in repr(rows) or code.replace("-", "") in repr(rows) for code in codes)
    await enrolled.parts.enrolling.delete(SERVICE, app.id)
    assert await count(enrolled.database, models.RecoveryCode) == 0


async def test_two_that_are_the_same_by_chance_are_drawn_again(enrolled, sealer, hasher, clock):
    app = await enrolled.active()
    drawn = iter([7, 7])
    recovery = Recovery(
        database=enrolled.database,
        sealer=sealer,
        hasher=hasher,
        clock=clock,
        random_below=lambda limit: next(drawn, None) or random_below(limit),
    )
    assert len(set(await recovery.renew(SERVICE, app.id))) == NUMBER
