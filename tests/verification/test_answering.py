"""Answering at once: what it writes, what it leaves to a unit of work, and what comes in between; on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

import pytest

from gateway.errors import AlreadyApproved, Gone, InvalidRequest, Problem, WrongCode
from gateway.storage.database import Database
from gateway.storage.unit import Move, Record
from gateway.verification.answering import AHEAD, Answering
from gateway.verification.limits.windows import DAY, HOUR
from gateway.verification.proof import Approval
from tests.verification.limits.conftest import limited
from tests.world import EMAIL, PHONE, World, two_channels

#: What is counted against a person, less who they are and what tells of them.
_COUNTED = {
    "recipient": "ten_minutes, hour, day, wrong, forget_at",
    "guess": "service, purpose, context, hour, hour_until, day, day_until, streak, locked_until, forget_at",
    "trusted": "service, context, until",
    "block": "sends, approved, until, rests_until",
    "cooldown": "service, since, until",
}


@pytest.fixture
def world(database, clock, sealer, hasher) -> World:
    return World(database, clock, sealer, hasher, two_channels())


@pytest.fixture
def make_world(database, clock, sealer, hasher) -> Callable[..., World]:
    return lambda **limits: World(database, clock, sealer, hasher, two_channels(), service=limited(**limits))


@pytest.fixture
async def sent(world):
    return await begun(world)


async def begun(world: World, to: Any = None, **asked: Any) -> Any:
    view = await world.start(to, **asked)
    await world.attempt()
    return view


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"


async def answered(world: World, view: Any, code: str, *, on: Any = None, locks_out: bool = False) -> Any:
    answering = Answering(on or world.database, world.queue, world.sealer, world.hasher, world.clock)
    return await answering.answer("shop", view.id, code, {}, lambda _: locks_out)


async def by_work(world: World, view: Any, code: str) -> Any:
    return await world.database.run(partial(world.checking._compare, "shop", view.id, code, {}))


async def of_person(database: Database, address_hash: bytes, view: Any) -> dict[str, list[tuple[Any, ...]]]:
    """Return what is counted against a person, and the rows of their verification and its events."""
    found = {}
    for table, columns in _COUNTED.items():
        where = "" if table == "block" else " WHERE hash = :hash"
        values = {} if table == "block" else {"hash": address_hash}
        found[table] = [
            tuple(cast("Any", row)) for row in await database.fetch(f"SELECT {columns} FROM {table}{where}", **values)
        ]
    ended = "SELECT status, checks, ended_at, code_sealed IS NULL, bind_hash IS NULL FROM verification WHERE id = :id"
    told = "SELECT name, milliseconds FROM event WHERE verification_id = :id ORDER BY id"
    found["verification"] = [tuple(cast("Any", row)) for row in await database.fetch(ended, id=view.id)]
    found["event"] = [tuple(cast("Any", row)) for row in await database.fetch(told, id=view.id)]
    return found


@pytest.mark.parametrize("given", [(True,), (False, True), (False, False, False)], ids=["right", "second", "wrong"])
@pytest.mark.parametrize(
    "asked", [{}, {"client_reference": "phone-7", "client_ip": "203.0.113.9"}], ids=["", "context"]
)
async def test_at_once_or_by_a_unit_of_work_the_same_is_written(make_world, clock, given, asked):
    world = make_world(cooldown=1, prefix_per_hour=0)
    found = []
    for way, address in ((answered, "ann@example.org"), (by_work, "bob@example.org")):
        view = await begun(world, {"email": address}, **asked)
        told = [await way(world, view, world.code if right else wrong(world.code)) for right in given]
        counted = await of_person(world.database, world.hasher.hash("email", address), view)
        shown = [(type(item), item.extra if isinstance(item, Problem) else item.channel) for item in told]
        found.append((shown, counted))
    assert found[0] == found[1]
    assert found[0][0][-1][0] is (Approval if given[-1] else WrongCode)


async def test_wrong_codes_are_counted_in_windows_that_end(make_world, clock):
    world = make_world(cooldown=1, guesses_per_hour=0, guesses_per_day=0, sends_per_10m=0)
    found = []
    for way, address in ((answered, "ann@example.org"), (by_work, "bob@example.org")):
        began = clock.now()
        for pause in (0, HOUR - 1, 1, DAY):
            clock.advance(pause)
            view = await begun(world, {"email": address})
            await way(world, view, wrong(world.code))
        address_hash = world.hasher.hash("email", address)
        [row] = await world.database.fetch("SELECT * FROM guess WHERE hash = :hash", hash=address_hash)
        until = [row[name] - began for name in ("hour_until", "day_until", "forget_at")]
        found.append([row["hour"], row["day"], row["streak"], *until])
    assert found[0] == found[1] == [1, 1, 4, 2 * HOUR + DAY, HOUR + 2 * DAY, HOUR + 2 * DAY]


async def test_a_number_that_was_approved_counts_in_its_block(make_world, database):
    world = make_world(cooldown=1)
    views = [await begun(world, {"phone": f"+49151123456{number}"}) for number in range(70, 73)]
    codes = {view.id: envelope.code for view, envelope in zip(views, world.channels["sms"].sent, strict=True)}
    await asyncio.gather(*(answered(world, view, codes[view.id]) for view in views))
    assert [(row["sends"], row["approved"]) for row in await database.fetch("SELECT * FROM block")] == [(3, 3)]


async def test_wrong_codes_for_one_person_in_one_batch_are_all_counted(make_world, database, clock):
    world = make_world(cooldown=1)
    views = []
    for _ in range(3):
        views.append(await begun(world, client_reference="phone-7"))
        clock.advance(2)
    await asyncio.gather(*(answered(world, view, "00000000") for view in views))
    [row] = await database.fetch("SELECT hour, day, streak, (SELECT wrong FROM recipient) AS wrong FROM guess")
    assert [row[name] for name in ("hour", "day", "streak", "wrong")] == [3, 3, 3, 3]


async def test_approvals_of_one_person_from_one_device_in_one_batch_trust_it_once(make_world, database, clock):
    world, views = make_world(cooldown=1), []
    for _ in range(2):
        view = await begun(world, client_reference="phone-7")
        views.append((view, world.code))
        clock.advance(2)
    told = await asyncio.gather(*(answered(world, view, code) for view, code in views))
    assert [type(item) for item in told] == [Approval, Approval]
    assert [row["context"] for row in await database.fetch("SELECT context FROM trusted")] == ["reference:phone-7"]


async def test_what_needs_more_is_left_to_a_unit_of_work_and_nothing_is_written(world, clock):
    async def left(view: Any, **how: Any) -> bool:
        events = await world.events(view)
        told = await answered(world, view, world.code, **how)
        return told is None and await world.events(view) == events

    view = await begun(world)
    assert await left(view, locks_out=True)
    for _ in range(4):
        await answered(world, view, wrong(world.code))
    assert await left(view), "its last check"
    again = await begun(world, {"email": EMAIL})
    clock.advance(30)
    await world.verifications.resend("shop", again.id, None)
    assert await left(again), "a message is queued"
    await world.attempt()
    clock.advance(270 - AHEAD)
    assert await left(again), "it ends soon"


async def test_nobody_elses_verification_and_none_at_all_are_left_alike(world, sent):
    answering = Answering(world.database, world.queue, world.sealer, world.hasher, world.clock)
    assert await answering.answer("other", sent.id, world.code, {}, lambda _: False) is None
    assert await answering.answer("shop", "ver_none", world.code, {}, lambda _: False) is None
    assert (await world.look(sent)).checks_left == 5


async def test_what_is_no_code_of_its_alphabet_costs_nothing(world, sent):
    with pytest.raises(InvalidRequest):
        await answered(world, sent, "12345A")
    assert (await world.look(sent)).checks_left == 5


async def test_a_second_answer_at_the_same_time_is_left_to_a_unit_of_work(world, sent):
    answering = Answering(world.database, world.queue, world.sealer, world.hasher, world.clock)
    told = await asyncio.gather(
        *(answering.answer("shop", sent.id, wrong(world.code), {}, lambda _: False) for _ in range(3))
    )
    assert [type(item) for item in told] == [WrongCode, type(None), type(None)]
    assert isinstance(await answered(world, sent, wrong(world.code)), WrongCode)


class Meddled:
    """A database beside which something happens after each look."""

    def __init__(self, database: Database, act: Callable[[], Awaitable[Any]]) -> None:
        self._database = database
        self._act = act

    async def look(self, sql: str, **values: Any) -> list[Record]:
        found = await self._database.look(sql, **values)
        await self._act()
        return found

    async def write(self, move: Move) -> bool:
        return await self._database.write(move)


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("meanwhile", ["guessed", "canceled", "sent_again", "taken_over"])
async def test_what_came_in_between_is_never_overwritten(make_world, clock, meanwhile, right):
    world = make_world(cooldown=1)
    view = await begun(world)
    clock.advance(2)

    async def act() -> None:
        match meanwhile:
            case "guessed":
                await by_work(world, view, wrong(world.code))
            case "canceled":
                await world.checking.cancel("shop", view.id)
            case "sent_again":
                await world.verifications.resend("shop", view.id, None)
                await world.attempt()
            case "taken_over":
                fewer = "UPDATE verification SET max_checks = max_checks - 1 RETURNING id"
                await world.database.run(lambda connection: connection.fetch(fewer))

    before = await world.events(view)
    code = world.code if right else wrong(world.code)
    assert await answered(world, view, code, on=Meddled(world.database, act)) is None
    told = [name for name in await world.events(view) if name not in before]
    assert told.count("verification.approved") == 0
    assert told.count("verification.check_failed") == (1 if meanwhile == "guessed" else 0)


async def test_the_right_code_that_was_looked_at_before_all_guesses_were_spent_comes_too_late(world, sent):
    """Else whoever guesses on several nodes at once would have one guess more on each."""

    async def spend() -> None:
        for _ in range(5):
            await by_work(world, sent, wrong(world.code))

    world.checking._answering = Answering(
        cast("Database", Meddled(world.database, spend)), world.queue, world.sealer, world.hasher, world.clock
    )
    with pytest.raises(Gone) as caught:
        await world.checking.check("shop", sent.id, world.code)
    assert caught.value.code == "max_attempts_reached"


async def test_right_and_wrong_on_two_nodes_at_once_cost_a_check_each_and_approve_once(
    make_engine, clock, sealer, hasher
):
    async with Database(make_engine()) as one, Database(make_engine()) as two:
        nodes = [World(base, clock, sealer, hasher, two_channels(), node=f"node-{base}") for base in (one, two)]
        for turn in range(4):
            view = await begun(nodes[0], {"phone": f"{PHONE[:-1]}{turn}"})
            right = nodes[0].code
            codes = [wrong(right)] * 4 + [right] * 4
            calls = [
                nodes[n % 2].checking.check("shop", view.id, code) for n, code in enumerate(codes[turn:] + codes[:turn])
            ]
            told = await asyncio.gather(*calls, return_exceptions=True)
            failed = [item for item in told if isinstance(item, WrongCode)]
            assert [type(item) for item in told].count(str) == 1
            assert len({item.extra["checks_left"] for item in failed}) == len(failed)
            assert {type(item) for item in told} <= {str, WrongCode, AlreadyApproved}
            [row] = await one.fetch("SELECT checks FROM verification WHERE id = :id", id=view.id)
            assert row["checks"] == len(failed) + 1
            assert (await nodes[0].events(view)).count("verification.approved") == 1
