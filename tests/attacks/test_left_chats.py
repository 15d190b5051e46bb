"""Attempts to have a route's next channel send a code to a chat that its person has left, or to one who wants none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from channels.base import Reason, TransientError
from channels.chat import Contact
from tests.conversation.conftest import OTHER_CHAT, Talk
from tests.world import PHONE, Scripted, refused


@pytest.fixture
def talk(make_talk: Callable[..., Talk]) -> Talk:
    """A gateway with a bot and an SMS channel."""
    return make_talk(beside={"sms": Scripted("sms", ["phone"])})


async def moves(talk: Talk) -> None:
    await talk.hear(OTHER_CHAT, contact=Contact(PHONE, own=True))


async def stops(talk: Talk) -> None:
    await talk.say(text="stop:yes", press="p")


async def unlinks(talk: Talk) -> None:
    await talk.say(text="unlink:phone", press="p")


async def mutes(talk: Talk) -> None:
    await talk.say(command="mute", text="shop")


async def locks(talk: Talk) -> None:
    await talk.say(command="lock")


async def attempted(talk: Talk) -> None:
    """Make every attempt that follows."""
    await talk.world.attempt()
    while talk.world.handed_over:
        await talk.world.attempt()


@pytest.mark.parametrize("then", [moves, stops, unlinks, mutes, locks])
async def test_a_fallback_does_not_come_to_a_chat_that_its_person_has_left(
    talk, then: Callable[[Talk], Awaitable[Any]]
):
    await talk.hear(contact=Contact(PHONE, own=True))
    talk.world.channels["sms"].script.append(refused())
    view = await talk.world.start({"phone": PHONE}, channels=["sms", "bot"])
    await then(talk)
    await attempted(talk)
    assert talk.bot.sent == []
    assert (await talk.world.look(view)).status == "failed"


async def test_a_fallback_passes_over_a_chat_that_is_muted_and_ends_where_codes_are_locked(talk, clock):
    await talk.hear(contact=Contact(PHONE, own=True))
    sms, statuses = talk.world.channels["sms"], []
    for then in (mutes, locks):
        sms.script.append(refused())
        view = await talk.world.start({"phone": PHONE}, channels=["sms", "bot", "sms"])
        await then(talk)
        await attempted(talk)
        statuses.append(await talk.world.statuses(view))
        await talk.say(command="unmute", text="shop")
        clock.advance(60)
    assert statuses == [[("sms", "failed"), ("sms", "sent")], [("sms", "failed")]]


@pytest.mark.parametrize("then", [moves, stops, unlinks, mutes, locks])
async def test_a_retry_does_not_come_to_a_chat_that_its_person_has_left(
    talk, clock, then: Callable[[Talk], Awaitable[Any]]
):
    await talk.hear(contact=Contact(PHONE, own=True))
    talk.bot.script.append(TransientError(Reason.UNAVAILABLE))
    view = await talk.world.start({"phone": PHONE}, channels=["bot", "sms"])
    await talk.world.attempt()
    await then(talk)
    clock.advance(60)
    await talk.world.claim("bot")
    await attempted(talk)
    assert len(talk.bot.sent) == 1
    others = [] if then is locks else [("sms", "sent")]
    assert await talk.world.statuses(view) == [("bot", "failed"), *others]


async def test_a_retry_goes_to_who_is_still_there(talk, clock):
    await talk.hear(contact=Contact(PHONE, own=True))
    talk.bot.script.append(TransientError(Reason.UNAVAILABLE))
    view = await talk.world.start({"phone": PHONE}, channels=["bot"])
    await talk.world.attempt()
    clock.advance(60)
    await talk.world.claim("bot")
    await attempted(talk)
    assert await talk.world.statuses(view) == [("bot", "sent")]
