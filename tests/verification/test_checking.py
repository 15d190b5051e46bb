"""Checking: counted, compared and consumed as one, on both engines."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import AlreadyApproved, Gone, InvalidRequest, NotFound, Problem, WrongCode
from tests.world import World, two_channels


@pytest.fixture
def world(database, clock, sealer, hasher) -> World:
    return World(database, clock, sealer, hasher, two_channels())


@pytest.fixture
async def sent(world):
    view = await world.start()
    await world.attempt()
    return view


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"


async def test_the_right_code_approves_once(world, sent):
    await world.checking.check("shop", sent.id, world.code)
    assert (await world.look(sent)).status == "approved"
    with pytest.raises(AlreadyApproved):
        await world.checking.check("shop", sent.id, world.code)


async def test_spaces_and_dashes_do_not_matter(world, sent):
    await world.checking.check("shop", sent.id, f" {world.code[:3]}-{world.code[3:]} ")


async def test_a_wrong_code_says_how_many_checks_are_left(world, sent):
    with pytest.raises(WrongCode) as caught:
        await world.checking.check("shop", sent.id, wrong(world.code))
    assert caught.value.extra == {"checks_left": 4}
    assert (await world.look(sent)).checks_left == 4


async def test_the_last_wrong_check_says_none_left_and_the_next_that_it_is_over(world, sent):
    for left in (4, 3, 2, 1, 0):
        with pytest.raises(WrongCode) as caught:
            await world.checking.check("shop", sent.id, wrong(world.code))
        assert caught.value.extra == {"checks_left": left}
    with pytest.raises(Gone) as over:
        await world.checking.check("shop", sent.id, world.code)
    assert over.value.code == "max_attempts_reached"


@pytest.mark.parametrize(
    "given", ["", "  ", "-", "1" * 65, "12345é", "123456\n", "\uff11\uff12\uff13\uff14\uff15\uff16", "12'456"]
)
async def test_what_is_no_code_costs_no_check(world, sent, given):
    with pytest.raises(InvalidRequest):
        await world.checking.check("shop", sent.id, given)
    assert (await world.look(sent)).checks_left == 5


async def test_an_expired_code_is_gone_even_before_the_sweep(world, sent, clock):
    clock.advance(300)
    with pytest.raises(Gone) as caught:
        await world.checking.check("shop", sent.id, world.code)
    assert caught.value.code == "expired"
    assert (await world.look(sent)).status == "expired"


async def test_a_code_works_until_its_last_moment(world, sent, clock):
    clock.advance(299.999)
    await world.checking.check("shop", sent.id, world.code)


async def test_another_service_cannot_check_and_costs_nothing(world, sent):
    with pytest.raises(NotFound):
        await world.checking.check("other", sent.id, world.code)
    assert (await world.look(sent)).checks_left == 5


async def test_parallel_guesses_never_exceed_the_limit(world, sent):
    guesses = (world.checking.check("shop", sent.id, wrong(world.code)) for _ in range(100))
    outcomes = await asyncio.gather(*guesses, return_exceptions=True)
    compared = [outcome for outcome in outcomes if isinstance(outcome, WrongCode)]
    assert sorted(outcome.extra["checks_left"] for outcome in compared) == [0, 1, 2, 3, 4]
    assert {outcome.code for outcome in outcomes if isinstance(outcome, Gone)} == {"max_attempts_reached"}


async def test_of_parallel_right_answers_one_approves(world, sent):
    answers = (world.checking.check("shop", sent.id, world.code) for _ in range(100))
    outcomes = await asyncio.gather(*answers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(str) == 1
    assert [type(outcome) for outcome in outcomes].count(AlreadyApproved) == 99
    assert (await world.events(sent)).count("verification.approved") == 1


async def test_two_nodes_together_keep_the_limit(world, sent, make_engine, clock, sealer, hasher):
    from gateway.storage.database import Database

    async with Database(make_engine()) as database:
        other = World(database, clock, sealer, hasher, two_channels(), node="node-b")
        code = wrong(world.code)
        guesses = (side.checking.check("shop", sent.id, code) for _ in range(20) for side in (world, other))
        outcomes = await asyncio.gather(*guesses, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(WrongCode) == 5
    assert [outcome for outcome in outcomes if not isinstance(outcome, Problem)] == []


@pytest.mark.parametrize("end", ["approve", "cancel", "guess", "expire"])
async def test_the_code_and_parameters_are_wiped_at_every_end(world, database, clock, end):
    view = await world.start(params={"name": "Ann"})
    await world.attempt()
    match end:
        case "approve":
            await world.checking.check("shop", view.id, world.code)
        case "cancel":
            await world.checking.cancel("shop", view.id)
        case "guess":
            for _ in range(5):
                with pytest.raises(WrongCode):
                    await world.checking.check("shop", view.id, wrong(world.code))
        case "expire":
            clock.advance(300)
            assert await world.checking.expire_overdue() == 1
    [record] = await database.fetch("SELECT code_sealed, params_sealed, ended_at FROM verification")
    assert (record["code_sealed"], record["params_sealed"]) == (None, None)
    assert record["ended_at"] == clock.now()


async def test_what_a_restored_backup_has_pending_is_ended_and_nothing_of_it_is_sent(world, database, clock):
    """Its codes may have been used since, and would approve once more."""
    views = [await world.start({"phone": f"+491511234{n:04d}"}) for n in range(3)]
    await world.attempt()
    await world.checking.cancel("shop", views[2].id)
    assert await world.checking.expire_restored() == 2
    found = await database.fetch("SELECT status, code_sealed, ended_at FROM verification ORDER BY id")
    assert [(item["status"], item["code_sealed"]) for item in found] == [("expired", None)] * 2 + [("canceled", None)]
    assert [await world.statuses(view) for view in views] == [
        [("sms", "sent")],
        [("sms", "expired")],
        [("sms", "canceled")],
    ]
    with pytest.raises(Gone):
        await world.checking.check("shop", views[0].id, world.code)
    told = await database.fetch("SELECT reason FROM event WHERE name = 'verification.expired'")
    assert [item["reason"] for item in told] == ["restored"] * 2
    assert await world.checking.expire_restored() == 0


async def test_an_approval_cancels_what_is_still_queued(world, clock):
    view = await world.start()
    await world.attempt()
    clock.advance(30)
    await world.verifications.resend("shop", view.id, None)
    await world.checking.check("shop", view.id, world.code)
    assert await world.statuses(view) == [("sms", "sent"), ("sms", "canceled")]


async def test_canceling_twice_is_the_same_as_once(world, sent):
    await world.checking.cancel("shop", sent.id)
    await world.checking.cancel("shop", sent.id)
    assert (await world.events(sent)).count("verification.canceled") == 1


async def test_what_ended_otherwise_cannot_be_canceled(world, sent):
    await world.checking.check("shop", sent.id, world.code)
    with pytest.raises(AlreadyApproved):
        await world.checking.cancel("shop", sent.id)
    with pytest.raises(NotFound):
        await world.checking.cancel("shop", "ver_none")


async def test_the_sweep_ends_what_is_overdue_and_its_messages(world, clock):
    view = await world.start()
    clock.advance(299)
    assert await world.checking.expire_overdue() == 0
    clock.advance(1)
    assert await world.checking.expire_overdue() == 1
    assert await world.statuses(view) == [("sms", "expired")]
    assert (await world.events(view))[-2:] == ["verification.expired", "message.expired"]
