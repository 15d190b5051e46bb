"""A number that is sent to after its chat: counted in its block, not once more against its recipient."""

from __future__ import annotations

from typing import Any

import pytest

from channels.base import Reason
from gateway.delivery.person import Reach
from gateway.storage.unit import Guard, Move
from gateway.verification.limits import statements as sql
from tests.verification.limits.test_limits import approve, sent
from tests.world import Scripted, World, refused


async def linked(*_: Any) -> Reach:
    return Reach(chat="4242")


@pytest.fixture
def make_chat_world(make_world):
    """A gateway that sends to a chat first, which fails as often as a test says, and then to the number."""

    def make(failures: int = 1, **limits: Any) -> World:
        channels = {"bot": Scripted("bot", ["phone"], needs_subscriber=True), "sms": Scripted("sms", ["phone"])}
        world: World = make_world(channels=channels, cooldown=0, **limits)
        world.service = world.service.model_copy(update={"channels": ("bot", "sms")})
        world.resolve = linked
        world.__post_init__()
        channels["bot"].script = [refused(Reason.BLOCKED)] * failures
        return world

    return make


async def fallen_back(world: World) -> Any:
    """Start a verification and let the chat fail, and the number be sent to if it may be."""
    view = await sent(world)
    while world.handed_over:
        await world.attempt()
    return view


async def counted(database: Any) -> tuple[int, int, int]:
    """Return the sends of the recipient's hour, those of the block's, and how many of them were approved."""
    [recipient] = await database.fetch("SELECT hour FROM recipient")
    blocks = await database.fetch("SELECT sends, approved FROM block")
    return recipient["hour"], sum(row["sends"] for row in blocks), sum(row["approved"] for row in blocks)


async def test_a_number_that_takes_over_from_its_chat_counts_in_its_block_and_once_for_its_recipient(
    make_chat_world, database
):
    world = make_chat_world()
    view = await fallen_back(world)
    assert await world.statuses(view) == [("bot", "failed"), ("sms", "sent")]
    assert await counted(database) == (1, 1, 0)
    await approve(world, view)
    assert await counted(database) == (1, 1, 1)


async def test_a_full_block_refuses_the_number_that_takes_over_and_tells_of_it(make_chat_world, database):
    world = make_chat_world(2, prefix_per_hour=1)
    await fallen_back(world)
    view = await fallen_back(world)
    assert await world.statuses(view) == [("bot", "failed")]
    assert "limit.refused" in await world.events(view)
    # Nor does what was refused count, while the chat that failed is given back.
    assert await counted(database) == (1, 1, 0)


async def test_recipients_whose_windows_are_full_are_still_reached_by_their_number(make_chat_world, database):
    world = make_chat_world(sends_per_10m=1)
    view = await fallen_back(world)
    assert await world.statuses(view) == [("bot", "failed"), ("sms", "sent")]


async def test_what_never_left_is_given_back_to_recipient_and_block_once_each(make_chat_world, database):
    world = make_chat_world()
    world.channels["sms"].script = [refused()]
    await fallen_back(world)
    assert await counted(database) == (0, 0, 0)


async def test_a_full_block_is_told_of_where_limits_observe(make_chat_world, database):
    world = make_chat_world(2, prefix_per_hour=1, mode="observe")
    await fallen_back(world)
    view = await fallen_back(world)
    assert await world.statuses(view) == [("bot", "failed"), ("sms", "sent")]
    details = [event.details for event in (await world.look(view)).events or () if event.name == "limit.observed"]
    assert "prefix_per_hour" in {item["reason"] for item in details}
    assert await counted(database) == (2, 2, 0)


async def test_two_of_a_recipient_that_are_given_back_at_once_count_no_more(make_world, database, clock):
    channels = {name: Scripted(name, ["phone"]) for name in ("sms", "voice")}
    world = make_world(channels=channels, cooldown=0)
    world.service = world.service.model_copy(update={"channels": ("sms", "voice")})
    world.__post_init__()
    channels["sms"].script = [refused(Reason.BLOCKED)] * 2
    view = await world.start()
    await world.attempt()

    async def fails_while_another_is_asked_for(_: Any) -> Any:
        channels["voice"].act, channels["voice"].script = None, [refused(Reason.BLOCKED)]
        clock.advance(200)
        await world.verifications.resend("shop", view.id, "sms")
        await world.attempt()
        raise refused(Reason.BLOCKED)

    channels["voice"].act = fails_while_another_is_asked_for
    while world.handed_over:
        await world.attempt()
    assert [status for _, status in await world.statuses(view)] == ["failed"] * 4
    assert await counted(database) == (0, 0, 0)


@pytest.mark.parametrize(("before", "left"), [(0, (0, False)), (3, (3, True))])
async def test_of_two_claims_of_one_block_that_are_undone_at_once_neither_counts(database, before, left):
    """One is of a service that enforces, one of a service that observes."""
    block, now = b"block", 1_777_891_200.0
    for _ in range(before):
        assert await database.write(Move((sql.CLAIM_BLOCK, (block, now, 20))))
    back = (sql.BLOCK_BACK, (block, now + 1))
    claims = [Guard(sql.CLAIM_BLOCK, (block, now + 1, 20), back), Guard(sql.FORCE_BLOCK, (block, now + 1), back)]
    # Nothing is there to be taken: both fall.
    moves = [Move((sql.TAKE_CHECKS, (f"ver_{number}", 1)), first=(claim,)) for number, claim in enumerate(claims)]
    assert [done.value for done in await database._engine.commit(moves)] == [None, None]
    [row] = await database.fetch("SELECT sends, until FROM block")
    assert (row["sends"], row["until"] > now + 1) == left
