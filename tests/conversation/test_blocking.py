"""Who blocks the bot is not written to; who lets it in again, or writes, is."""

from __future__ import annotations

import pytest

from channels.base import PermanentError, Reason
from channels.chat import Contact
from channels.kinds import KINDS
from gateway.conversation.blocking import Blocking
from tests.conversation.conftest import CHAT
from tests.world import PHONE


@pytest.fixture
def blocking(database, hasher, clock) -> Blocking:
    return Blocking(database, hasher, clock)


async def reached(talk):
    """Where the bot writes to by the reference, and by the phone."""
    kinds = (KINDS["telegram"]("user-42"), KINDS["phone"](PHONE))
    return [(await talk.subscribers.resolve("shop", address)).chat for address in kinds]


@pytest.fixture
async def known(talk):
    """A linked subscriber who also proved a number."""
    view = await talk.link()
    await talk.say(contact=Contact(PHONE, own=True))
    assert await reached(talk) == [CHAT, CHAT]
    return view


async def test_who_blocks_the_bot_is_not_sent_to_until_it_is_unblocked(talk, known):
    assert await talk.say(blocked=True) == []
    assert (await talk.subscribers.one("shop", known.id)).status == "blocked"
    assert await reached(talk) == [None, None]
    assert await talk.say(blocked=False) == []
    assert (await talk.subscribers.one("shop", known.id)).status == "linked"
    assert await reached(talk) == [CHAT, CHAT]


async def test_any_word_of_a_person_ends_a_block(talk, known, blocking):
    await blocking.blocked(CHAT)
    await talk.say(text="hello")
    assert (await talk.subscribers.one("shop", known.id)).status == "linked"
    assert await reached(talk) == [CHAT, CHAT]


async def test_a_stranger_may_block_the_bot(talk):
    assert await talk.say(blocked=True) == []
    assert await talk.say(blocked=False) == []
    assert await talk.rows("chat") == []


async def test_a_failed_answer_marks_the_chat(talk, known):
    talk.bot.failures["say"] = [PermanentError(Reason.BLOCKED)]
    await talk.say(command="help")
    assert (await talk.subscribers.one("shop", known.id)).status == "blocked"
    assert await reached(talk) == [None, None]


async def test_a_failed_code_marks_the_chat(talk, known):
    verification = await talk.verify()
    talk.bot.script = [PermanentError(Reason.BLOCKED)]
    await talk.world.attempt()
    assert (await talk.subscribers.one("shop", known.id)).status == "blocked"
    assert await talk.world.statuses(verification) == [("bot", "failed")]


async def test_a_mark_is_told_once(talk, known, blocking):
    for _ in range(2):
        await blocking.blocked(CHAT)
    for _ in range(2):
        await talk.say(blocked=False)
    names = [name.removeprefix("subscriber.") for name, _, _ in await talk.events()]
    assert names == ["created", "linked", "proved", "blocked", "linked"]
