"""An answer on its way is sealed, held by one node at a time, and gone once it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.chat import Button, Reply
from gateway.config import SealingKey
from gateway.conversation.replies import LEASE, MAX_AGE, Replies
from gateway.events.event import recorded
from gateway.storage.database import Database
from gateway.storage.sealing import Sealer
from tests.conftest import HandClock
from tests.conversation.conftest import CHAT

REPLY = Reply(
    "<b>Hi</b>",
    ((Button("Yes", "yes:1"), Button("No", "no:1")), (Button("Später", "later:"),)),
    replaces="55",
    asks_contact="Share",
    clears_keyboard=True,
    leaves=True,
)


@pytest.fixture
def make_replies(database, sealer, clock):
    return lambda node="node-a", sealer=sealer, database=database: Replies(database, sealer, clock, node)


@pytest.fixture
def replies(make_replies: Callable[..., Replies]) -> Replies:
    return make_replies()


async def written(replies, database, *, reply=REPLY, channel="bot", chat=CHAT):
    waiting, write = replies.write(channel, chat, reply, replies._clock.now())
    await database.write(recorded(write, [], []))
    return waiting


async def ids(replies, number=100, channel="bot"):
    return [waiting.id for waiting in await replies.claim(channel, number)]


def whole(reply: Reply) -> Reply:
    """A reply with its rows as tuples, to be compared."""
    return Reply(
        reply.text,
        tuple(tuple(row) for row in reply.buttons),
        reply.replaces,
        reply.asks_contact,
        reply.clears_keyboard,
        reply.leaves,
    )


async def test_an_answer_is_read_back_as_it_was_written(replies, database, clock):
    first = await written(replies, database)
    clock.advance(LEASE)
    [again] = await replies.claim("bot", 10)
    assert (again.id, again.chat, again.tries, again.created_at) == (first.id, CHAT, 0, first.created_at)
    assert whole(again.reply) == REPLY
    assert again.held_until == clock.now() + LEASE


@given(
    st.builds(
        Reply,
        st.text(st.characters(exclude_categories=["Cs"])),
        st.lists(st.lists(st.builds(Button, st.text(max_size=5, alphabet="añ🙂<"), st.just("yes:1")))),
        replaces=st.none() | st.just("1"),
    )
)
def test_any_answer_survives_the_database(reply):
    sealer = Sealer((SealingKey("k1", bytes(32)),))
    unused: Database = None  # type: ignore[assignment]
    replies = Replies(unused, sealer, HandClock(), "node")
    _, (_, row) = replies.write("bot", CHAT, reply, 1.0)
    record = {"id": row[0], "channel": row[1], "sealed": row[2], "tries": row[5], "created_at": row[6]}
    opened = asyncio.run(replies._opened(record, 2.0))
    assert opened is not None
    assert whole(opened.reply) == whole(reply)


async def test_neither_text_nor_chat_is_stored_or_shown(replies, database):
    waiting = await written(replies, database)
    [row] = await database.fetch("SELECT * FROM reply")
    stored = repr(dict(row)) + bytes(row["sealed"]).decode("latin-1") + repr(waiting)
    assert not any(secret in stored for secret in (CHAT, "Hi"))


async def test_a_fresh_answer_is_its_nodes_until_the_lease_ends(replies, make_replies, database, clock):
    waiting = await written(replies, database)
    other = make_replies("node-b")
    clock.advance(LEASE - 0.1)
    assert await ids(other) == []
    clock.advance(0.1)
    assert await ids(other) == [waiting.id]
    assert not await replies.hold(waiting)
    await replies.done(waiting)
    assert len(await database.fetch("SELECT id FROM reply")) == 1


async def test_a_hold_past_half_of_the_lease_is_renewed(replies, make_replies, database, clock):
    waiting = await written(replies, database)
    clock.advance(LEASE - 1)
    assert await replies.hold(waiting)
    clock.advance(LEASE - 1)
    assert await ids(make_replies("node-b")) == []


async def test_a_hold_of_a_fresh_answer_asks_nobody(replies, clock):
    waiting, _ = replies.write("bot", CHAT, REPLY, clock.now())
    assert await replies.hold(waiting)


async def test_a_sent_answer_is_gone(replies, database):
    await replies.done(await written(replies, database))
    assert await database.fetch("SELECT id FROM reply") == []


async def test_an_answer_is_tried_again_when_due_by_anybody(replies, make_replies, database, clock):
    await replies.again(await written(replies, database), clock.now() + 3)
    other = make_replies("node-b")
    assert await ids(other) == []
    clock.advance(3)
    [again] = await other.claim("bot", 10)
    assert again.tries == 1


async def test_a_released_answer_counts_no_try(replies, make_replies, database, clock):
    first, second = await written(replies, database), await written(replies, database)
    await replies.release([first, second], clock.now())
    assert [waiting.tries for waiting in await make_replies("node-b").claim("bot", 10)] == [0, 0]


async def test_the_oldest_are_claimed_first_and_in_order(replies, database, clock):
    made = []
    for _ in range(3):
        made.append((await written(replies, database)).id)
        clock.advance(1)
    await written(replies, database, channel="other")
    clock.advance(LEASE)
    assert await ids(replies, 2) == made[:2]
    assert await ids(replies) == made[2:]
    assert await ids(replies) == []


async def test_nodes_that_claim_at_once_share_what_is_due(replies, make_engine, make_replies, database, clock):
    made = {(await written(replies, database)).id for _ in range(20)}
    clock.advance(LEASE)
    async with Database(make_engine()) as second:
        other = make_replies("node-b", database=second)
        claims = await asyncio.gather(*(ids(node, 7) for node in (replies, other) * 4))
    claimed = [reply_id for claim in claims for reply_id in claim]
    assert len(claimed) == len(set(claimed))
    assert set(claimed) <= made
    claimed += await ids(replies)
    assert set(claimed) == made


async def test_an_answer_that_cannot_be_read_is_deleted_and_holds_up_nobody(
    replies, make_replies, database, clock, caplog
):
    await written(replies, database)
    newer = make_replies(sealer=Sealer((SealingKey("k2", bytes(32)),)))
    readable = await written(newer, database)
    clock.advance(LEASE)
    assert await ids(newer) == [readable.id]
    assert "cannot be read: UnsealError" in caplog.text
    assert [row["id"] for row in await database.fetch("SELECT id FROM reply")] == [readable.id]


async def test_what_nobody_sends_is_deleted_whichever_channel_it_is_of(replies, database, clock):
    """A bot that was taken out of the configuration gives up nothing any more."""
    for channel in ("bot", "gone"):
        await written(replies, database, channel=channel)
    clock.advance(MAX_AGE + LEASE)
    kept = await written(replies, database)
    assert await replies.forget_old(10) == 0
    clock.advance(0.001)
    assert [await replies.forget_old(number) for number in (1, 10, 10)] == [1, 1, 0]
    assert [row["id"] for row in await database.fetch("SELECT id FROM reply")] == [kept.id]
