"""A right code is right once, wrong ones are counted by person, and however many come at once, no more is compared."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from gateway.errors import InvalidRequest, NotFound, RateLimited, WrongCode
from gateway.storage import models
from gateway.storage.database import Database
from gateway.verification.authenticators.otp import RESYNC
from gateway.verification.authenticators.parts import built
from gateway.verification.authenticators.throttling import FREE, REMEMBERED
from tests.rows import count
from tests.verification.authenticators.conftest import BRANDS, SERVICE, Enrolled


async def test_the_first_right_code_activates(enrolled, clock):
    app = await enrolled.enrol()
    assert await enrolled.status(app) == "pending"
    clock.advance(1)
    assert await enrolled.check(app, app.code()) == 0
    view = await enrolled.parts.enrolling.one(SERVICE, app.id)
    assert ("active", clock.now(), clock.now()) == (view.status, view.activated_at, view.used_at)
    assert await enrolled.events() == ["created", "activated"]


async def test_a_wrong_code_does_not_activate(enrolled):
    app = await enrolled.enrol()
    with pytest.raises(WrongCode) as caught:
        await enrolled.check(app, app.wrong())
    assert caught.value.extra == {"checks_left": 4}
    assert (await enrolled.status(app), await enrolled.events()) == ("pending", ["created", "failed"])


async def test_a_step_is_taken_once_and_none_before_it(enrolled, clock):
    app = await enrolled.enrol()
    codes = [app.code(-1), app.code(0), app.code(1)]
    assert await enrolled.outcome(app, codes[1]) == "approved"
    assert [await enrolled.outcome(app, code) for code in codes] == ["wrong_code", "wrong_code", "approved"]
    clock.advance(60)
    assert await enrolled.outcome(app, app.code()) == "approved"
    assert await enrolled.events() == ["created", "activated", "failed", "failed", "checked", "checked"]


@pytest.mark.parametrize("behind", [3600, -3600])
async def test_the_step_is_that_of_the_persons_own_clock(enrolled, clock, behind):
    """Else, on a node that was started with another time, a code that was seen an hour ago is right, and none of now."""
    app = await enrolled.enrol()
    clock.behind = float(behind)
    steps = behind // 30
    assert await enrolled.outcome(app, app.code(0)) == "wrong_code"
    assert await enrolled.outcome(app, app.code(steps)) == "approved"


@pytest.mark.parametrize("made", [{"algorithm": "SHA256", "digits": 8}, {"algorithm": "SHA512", "period": 60}])
async def test_every_sort_of_code_is_taken_as_it_is_typed(enrolled, made):
    app = await enrolled.enrol(**made)
    code = app.code()
    assert await enrolled.outcome(app, f" {code[:3]} {code[3:]}-") == "approved"


async def test_a_counter_is_taken_once_and_none_before_it(enrolled):
    app = await enrolled.enrol("hotp")
    given = [0, 0, 3, 2, 3, 13, 14]
    assert [await enrolled.outcome(app, app.code(counter)) for counter in given] == [
        *("approved", "wrong_code", "approved", "wrong_code", "wrong_code", "approved", "approved")
    ]


async def test_a_device_far_ahead_is_taken_with_its_second_code(enrolled):
    app = await enrolled.enrol("hotp")
    given = [50, 52, 53, 53, 52, 54]
    assert [await enrolled.outcome(app, app.code(counter)) for counter in given] == [
        *("wrong_code", "wrong_code", "approved", "wrong_code", "wrong_code", "approved")
    ]


async def test_codes_far_ahead_have_to_follow_each_other(enrolled):
    app = await enrolled.enrol("hotp")
    given = [app.code(50), app.wrong(), app.code(51), app.code(RESYNC + 50)]
    assert [await enrolled.outcome(app, code) for code in given] == ["wrong_code"] * 4


async def test_five_failures_lock_for_a_minute_and_further_ones_for_longer(enrolled, clock):
    app = await enrolled.active()
    assert await enrolled.fail(app, 6) == ["wrong_code"] * FREE + ["rate_limited"]
    for seconds in (60, 120, 240):
        with pytest.raises(RateLimited) as caught:
            await enrolled.check(app, app.code())
        assert str(seconds) == caught.value.headers["Retry-After"]
        clock.advance(seconds - 0.5)
        assert await enrolled.outcome(app, app.code()) == "rate_limited"
        clock.advance(0.5)
        assert await enrolled.outcome(app, app.wrong()) == "wrong_code"
    clock.advance(480)
    assert await enrolled.outcome(app, app.code()) == "approved"
    assert await enrolled.fail(app, 4) == ["wrong_code"] * 4
    assert (await enrolled.events()).count("locked") == 4


async def test_failures_are_forgotten_after_a_day_of_quiet(enrolled, clock):
    app = await enrolled.active()
    await enrolled.fail(app, 4)
    clock.advance(REMEMBERED)
    assert await enrolled.fail(app, 6) == ["wrong_code"] * FREE + ["rate_limited"]


async def test_failures_count_over_all_authenticators_of_a_person(enrolled):
    one, other = await enrolled.active(), await enrolled.active("hotp")
    await enrolled.fail(one, 3)
    await enrolled.fail(other, 2)
    assert await enrolled.outcome(one, one.code()) == "rate_limited"


async def test_a_right_answer_takes_back_the_failures_at_its_own_authenticator(enrolled, clock):
    app = await enrolled.active()
    for _ in range(3):
        assert await enrolled.fail(app, FREE - 1) == ["wrong_code"] * (FREE - 1)
        assert await enrolled.outcome(app, app.code()) == "approved"
        clock.advance(60)
    assert await count(enrolled.database, models.Throttle) == 0


async def test_right_answers_of_another_authenticator_take_back_nothing(enrolled, clock):
    """Else who has one of a person's could guess at the other for ever."""
    target, own = await enrolled.active(), await enrolled.enrol()
    outcomes = []
    for _ in range(FREE):
        outcomes += [*await enrolled.fail(target, 1), await enrolled.outcome(own, own.code())]
        clock.advance(60)
    assert outcomes == ["wrong_code", "approved"] * (FREE - 1) + ["wrong_code", "rate_limited"]


async def test_deleting_and_enrolling_anew_resets_nothing(enrolled):
    app = await enrolled.active()
    await enrolled.fail(app, FREE)
    await enrolled.parts.enrolling.delete(SERVICE, app.id)
    again = await enrolled.enrol()
    assert await enrolled.outcome(again, again.code()) == "rate_limited"


async def test_failures_at_deleted_authenticators_count_on(enrolled):
    outcomes = []
    for _ in range(FREE + 1):
        app = await enrolled.enrol()
        outcomes += await enrolled.fail(app, 1)
        await enrolled.parts.enrolling.delete(SERVICE, app.id)
    assert outcomes == ["wrong_code"] * FREE + ["rate_limited"]


async def test_other_people_and_other_services_are_not_held_up(enrolled):
    app = await enrolled.active()
    await enrolled.fail(app, FREE)
    neighbour, namesake = await enrolled.enrol(reference="user-43"), await enrolled.enrol(service="bank")
    assert await enrolled.outcome(neighbour, neighbour.code()) == "approved"
    assert await enrolled.outcome(namesake, namesake.code(), service="bank") == "approved"


async def test_another_services_authenticator_is_not_found_and_counts_nothing(enrolled):
    app = await enrolled.active()
    for _ in range(FREE + 1):
        with pytest.raises(NotFound):
            await enrolled.check(app, app.code(), service="bank")
    assert await count(enrolled.database, models.Throttle) == 0


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({}, "/code"),
        ({"code": "123456", "recovery_code": "CFGH-2345"}, "/recovery_code"),
        ({"code": ""}, "/code"),
        ({"code": "12.34"}, "/code"),
        ({"code": "12345x"}, "/code"),
        ({"recovery_code": "ä"}, "/recovery_code"),
        ({"recovery_code": "AAAA-AAAA"}, "/recovery_code"),
        ({"recovery_code": " - "}, "/recovery_code"),
    ],
)
async def test_what_is_no_code_is_named_and_counts_nothing(enrolled, given, pointer):
    app = await enrolled.enrol()
    with pytest.raises(InvalidRequest) as caught:
        await enrolled.parts.checking.check(SERVICE, app.id, **given)
    assert [pointer] == [fault.pointer for fault in caught.value.errors]
    assert await count(enrolled.database, models.Throttle) == 0


async def test_of_parallel_right_codes_on_two_nodes_one_is_taken(enrolled, make_engine, sealer, hasher, clock):
    app = await enrolled.active()
    async with Database(make_engine()) as second:
        other = Enrolled(built(second, sealer, hasher, clock, BRANDS), clock, second)
        code = app.code()
        outcomes = await asyncio.gather(*(node.outcome(app, code) for _ in range(50) for node in (enrolled, other)))
    assert Counter(outcomes) == {"approved": 1, "wrong_code": FREE, "rate_limited": 94}


async def test_of_parallel_wrong_codes_on_two_nodes_five_are_compared(enrolled, make_engine, sealer, hasher, clock):
    apps = [await enrolled.active(), await enrolled.active("hotp")]
    async with Database(make_engine()) as second:
        other = Enrolled(built(second, sealer, hasher, clock, BRANDS), clock, second)
        nodes = [(node, app) for _ in range(25) for node in (enrolled, other) for app in apps]
        outcomes = await asyncio.gather(*(node.outcome(app, app.wrong()) for node, app in nodes))
    assert Counter(outcomes) == {"wrong_code": FREE, "rate_limited": 95}
    assert (await enrolled.events()).count("failed") == FREE


async def test_failures_that_count_no_more_are_deleted(enrolled, clock):
    await enrolled.fail(await enrolled.active(), 1)
    assert await enrolled.parts.checking.forget() == 0
    clock.advance(REMEMBERED)
    # The authenticator's and the person's own.
    assert (await enrolled.parts.checking.forget(), await count(enrolled.database, models.Throttle)) == (2, 0)


async def test_what_is_told_names_nobody_and_holds_no_code(enrolled, committed):
    app = await enrolled.active()
    await enrolled.fail(app, FREE)
    told = repr(committed)
    assert "u•••2" in told
    assert not any(secret in told for secret in ("user-42", "ann@", app.view.secret, app.wrong()))
