"""Attempts to get by a person's lock: to end it before its time, or to have a code sent that does not ask for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from channels.chat import Contact
from channels.kinds import KINDS
from gateway.conversation.erasing import Forgetting
from gateway.errors import RecipientRefused
from gateway.verification.addressee import read
from tests.conversation.conftest import CHAT, OTHER_CHAT, Talk
from tests.world import EMAIL, PHONE, Scripted, refused

OTHER = "+4915112345679"
TO = {"telegram": "user-42", "phone": PHONE}
Act = Callable[[Talk], Awaitable[Any]]


@pytest.fixture
def talk(make_talk: Callable[..., Talk]) -> Talk:
    """A gateway with a bot, an SMS and an e-mail channel."""
    return make_talk(beside={"sms": Scripted("sms", ["phone"]), "email": Scripted("email", ["email"])})


async def proves(talk: Talk, chat: str = CHAT, phone: str = PHONE) -> None:
    await talk.hear(chat, contact=Contact(phone, own=True))


async def locks(talk: Talk, chat: str = CHAT) -> None:
    await talk.say(chat, command="lock")


async def erase(talk: Talk, to: str) -> None:
    world = talk.world
    person = read(KINDS, to, {"telegram"}).whom(world.hasher, "shop")
    forgetting = Forgetting(database=world.database, sealer=world.sealer, hasher=world.hasher, replies=talk.replies)
    await forgetting.forget(person, world.clock.now())


async def is_refused(talk: Talk, to: dict[str, str] = TO) -> None:
    with pytest.raises(RecipientRefused, match="locked"):
        await talk.world.start(to, channels=["bot", "sms"])


async def left_alone(_: Talk) -> None:
    pass


async def stops(talk: Talk) -> None:
    await talk.say(OTHER_CHAT, text="stop:yes", press="p")


async def unlinks(talk: Talk) -> None:
    await talk.say(OTHER_CHAT, text="unlink:phone", press="p")


async def proves_another(talk: Talk) -> None:
    await proves(talk, OTHER_CHAT, OTHER)


async def proves_another_and_it_again(talk: Talk) -> None:
    await proves_another(talk)
    await proves(talk, OTHER_CHAT)
    await proves_another(talk)


@pytest.mark.parametrize("then", [left_alone, stops, unlinks, proves_another, proves_another_and_it_again])
async def test_who_has_taken_a_number_over_cannot_end_its_lock(talk, then: Act):
    await proves(talk)
    await locks(talk)
    await proves(talk, OTHER_CHAT)
    await then(talk)
    await is_refused(talk, {"phone": PHONE})


async def stops_elsewhere(talk: Talk) -> None:
    await talk.link(OTHER_CHAT)
    await stops(talk)


async def unlinks_elsewhere(talk: Talk) -> None:
    await talk.link(OTHER_CHAT)
    await talk.say(OTHER_CHAT, command="unlink", text="shop")


async def is_deleted(talk: Talk) -> None:
    [row] = await talk.rows("subscriber")
    await talk.subscribers.delete("shop", row["id"])
    await talk.invite()


@pytest.mark.parametrize("then", [stops_elsewhere, unlinks_elsewhere, is_deleted])
async def test_who_has_taken_a_link_over_cannot_end_its_lock(talk, then: Act):
    await talk.link()
    await locks(talk)
    await then(talk)
    await is_refused(talk)


async def is_asked_to_open_the_bot(talk: Talk) -> None:
    await talk.invite()


async def links_anew(talk: Talk) -> None:
    await talk.link()


@pytest.mark.parametrize("then", [left_alone, is_asked_to_open_the_bot, links_anew])
async def test_a_lock_of_a_reference_that_was_erased_holds_whatever_its_service_does(talk, clock, then: Act):
    await talk.link()
    view = await talk.verify()
    await locks(talk)
    await erase(talk, "user-42")
    await then(talk)
    await is_refused(talk)
    clock.advance(120)
    with pytest.raises(RecipientRefused, match="locked"):
        await talk.world.verifications.resend("shop", view.id, None)


async def test_a_lock_holds_for_a_number_that_is_erased_twice(talk):
    for chat in (CHAT, OTHER_CHAT):
        await proves(talk, chat)
        await locks(talk, chat)
        await erase(talk, PHONE)
    await is_refused(talk, {"phone": PHONE})


async def test_the_longer_lock_holds_for_a_reference_that_is_erased_twice(talk, clock):
    for _ in range(2):
        await talk.link()
        await locks(talk)
        await erase(talk, "user-42")
        clock.advance(1800)
    clock.advance(900)
    await is_refused(talk)


async def test_a_lock_that_was_taken_over_with_a_number_stays_off_the_number_before(talk):
    await proves(talk)
    await locks(talk)
    await proves_another(talk)
    await proves(talk, OTHER_CHAT)
    assert (await talk.world.start({"phone": OTHER}, channels=["sms"])).channel == "sms"
    await is_refused(talk, {"phone": PHONE})


async def mutes(talk: Talk) -> None:
    await talk.say(command="mute", text="shop")


@pytest.mark.parametrize(("before", "channels"), [(left_alone, ["sms"]), (mutes, ["bot", "sms"])])
async def test_a_lock_holds_a_resend_back_though_its_route_does_not_lead_to_the_chat(
    talk, clock, before: Act, channels
):
    await talk.link()
    await before(talk)
    view = await talk.world.start(TO, channels=channels)
    await locks(talk)
    clock.advance(60)
    with pytest.raises(RecipientRefused, match="locked"):
        await talk.world.verifications.resend("shop", view.id, None)


async def test_a_lock_holds_the_next_channel_back_though_its_route_does_not_lead_to_the_chat(talk):
    await talk.link()
    talk.world.channels["sms"].script.append(refused())
    view = await talk.world.start({**TO, "email": EMAIL}, channels=["sms", "email"])
    await locks(talk)
    await talk.world.attempt()
    assert await talk.world.statuses(view) == [("sms", "failed")]
    assert (await talk.world.look(view)).status == "failed"


@pytest.mark.parametrize("unwanting", [locks, mutes])
async def test_what_waits_for_a_link_does_not_come_to_a_chat_that_wants_none(talk, clock, unwanting: Act):
    await proves(talk)
    await talk.link(service="shop", reference="user-41")
    await unwanting(talk)
    view = await talk.verify()
    [reply] = await talk.start(view.link)
    await talk.press(reply, 0)
    assert await talk.world.claim("bot") == 0
    assert await talk.world.statuses(view) == [("bot", "waiting")]
    clock.advance(60)
    with pytest.raises(RecipientRefused):
        await talk.world.verifications.resend("shop", view.id, None)


async def test_what_waited_in_a_chat_that_wanted_none_comes_there_once_it_does(talk, clock):
    await talk.link(reference="user-41")
    await mutes(talk)
    view = await talk.verify()
    [reply] = await talk.start(view.link)
    await talk.press(reply, 0)
    await talk.say(command="unmute", text="shop")
    clock.advance(60)
    await talk.world.verifications.resend("shop", view.id, None)
    await talk.world.attempt()
    assert await talk.world.statuses(view) == [("bot", "canceled"), ("bot", "sent")]
    assert [envelope.address for envelope in talk.bot.sent] == [CHAT]
