"""Attempts on authenticators: resynchronising as a way to guess, clocks, and two ways in at once."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import NotFound, WrongCode
from gateway.storage.database import Database
from gateway.verification.authenticators.otp import LOOK_AHEAD, RESYNC
from gateway.verification.authenticators.parts import built
from gateway.verification.authenticators.unlocking import unlock
from tests.verification.authenticators.conftest import BRANDS, Enrolled


@pytest.fixture
def engine_name() -> str:
    """What serialises checks is tested on both engines where it lives."""
    return "sqlite"


@pytest.fixture
def enrolled(database, sealer, hasher, clock) -> Enrolled:
    return Enrolled(built(database, sealer, hasher, clock, BRANDS), clock, database)


async def test_codes_far_ahead_are_failures_and_open_only_to_the_very_next_one(enrolled):
    app = await enrolled.active("hotp")
    far = LOOK_AHEAD + 40
    outcomes = [await enrolled.outcome(app, app.code(counter)) for counter in (far, far + 2, RESYNC + 10, far + 1)]
    # The last was the next one of the first only, which was not the one before it.
    assert outcomes == ["wrong_code"] * 4
    assert await enrolled.outcome(app, app.code(far + 2)) == "approved"


async def test_the_same_code_far_ahead_given_twice_is_not_two_in_a_row(enrolled):
    app = await enrolled.active("hotp")
    assert [await enrolled.outcome(app, app.code(60)) for _ in range(4)] == ["wrong_code"] * 4


async def test_a_clock_set_back_an_hour_makes_no_used_step_good_again(enrolled, clock):
    app = await enrolled.active()
    code, earlier = app.code(), app.code(-1)
    await enrolled.check(app, code)
    clock.advance(-3600)
    assert [await enrolled.outcome(app, given) for given in (code, earlier, app.code())] == ["wrong_code"] * 3


async def test_one_recovery_code_at_once_with_others_is_used_once_and_a_code_beside_it_once(enrolled):
    app = await enrolled.active()
    codes = await enrolled.parts.recovery.renew("shop", app.id)
    ways = [enrolled.recover(app, codes[0]), enrolled.check(app, app.code())]
    ways += [enrolled.recover(app, codes[0]), enrolled.check(app, app.code())]
    found = await asyncio.gather(*ways, return_exceptions=True)
    assert [isinstance(item, int) for item in found] == [True, True, False, False]


async def test_deleting_and_enrolling_anew_forgives_no_failure(enrolled):
    app = await enrolled.active()
    codes = await enrolled.parts.recovery.renew("shop", app.id)
    await enrolled.fail(app, 5)
    await enrolled.parts.enrolling.delete("shop", app.id)
    with pytest.raises(NotFound):
        await enrolled.recover(app, codes[0])
    again = await enrolled.enrol()
    assert await enrolled.outcome(again, again.code()) == "rate_limited"


@pytest.mark.parametrize(
    "code",
    [
        "\u0660\u0661\u0662\u0663\u0664\u0665",
        "\uff10\uff11\uff12\uff13\uff14\uff15",
        "+12345",
        "0x1234",
        "1_2345",
        "12345\n6",
    ],
)
async def test_what_only_looks_like_digits_is_no_code_and_no_failure(enrolled, code):
    app = await enrolled.active()
    assert await enrolled.outcome(app, code) == "invalid_request"
    assert await enrolled.database.fetch("SELECT * FROM throttle WHERE failures > 0") == []


async def test_an_unlock_amid_a_storm_gives_five_more_tries_and_no_more(make_engine, sealer, hasher, clock):
    async with Database(make_engine()) as one, Database(make_engine()) as other:
        known = {"sealer": sealer, "hasher": hasher, "clock": clock, "brands": BRANDS}
        nodes = [Enrolled(built(database=database, **known), clock, database) for database in (one, other)]
        apps = [await nodes[0].active() for _ in range(2)]

        async def check(number: int) -> None:
            app = apps[number % 3 == 0]
            await nodes[number % 2].check(app, app.wrong())

        checks = [check(number) for number in range(24)]
        unlocking = unlock(one, sealer, apps[0].id, clock.now())
        jobs = [*checks[:12], unlocking, *checks[12:]]
        found = await asyncio.gather(*jobs, return_exceptions=True)
        assert sum(isinstance(item, WrongCode) for item in found) <= 10
