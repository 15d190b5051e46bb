"""What a chat is known by: its language, its number, what its person mutes, locks and erases."""

from __future__ import annotations

import asyncio

import pytest

from channels.kinds import KINDS
from gateway.conversation import chats
from gateway.conversation.chats import Forgotten
from gateway.errors import RecipientRefused
from tests.conversation.conftest import CHAT, OTHER_CHAT
from tests.world import PHONE

OTHER_PHONE = "+4915112345679"
MASKED = KINDS["phone"](PHONE).masked


async def rows(talk):
    return await talk.world.database.fetch("SELECT * FROM chat ORDER BY created_at, hash")


async def prove(talk, chat=CHAT, phone=PHONE):
    return await talk.turned(lambda turn: chats.prove(turn, KINDS["phone"](phone)), chat)


async def locked(talk, *hashes, service="shop"):
    return await chats.any_locked(talk.world.hasher, talk.world.database.fetch, hashes, talk.world.clock.now(), service)


async def test_a_stranger_is_not_known(talk):
    assert await talk.turned(lambda turn: chats.known(turn.connection, turn.chat_hash)) is None


async def test_a_chat_is_made_once_and_follows_its_clients_language(talk, clock):
    await talk.turned(chats.ensure, language="de")
    made = clock.now()
    clock.advance(1)
    for language in ("en", None):
        await talk.turned(chats.ensure, language=language)
    [row] = await rows(talk)
    assert (row["told_language"], row["language"], row["created_at"]) == ("en", None, made)


async def test_a_refresh_makes_a_row_for_a_linked_chat_alone(talk):
    await talk.turned(chats.refresh)
    assert await rows(talk) == []
    await talk.link()
    await talk.world.database.run(lambda connection: connection.fetch("DELETE FROM chat RETURNING hash"))
    await talk.turned(chats.refresh, language="de")
    await talk.turned(chats.refresh, language="fr")
    assert [row["told_language"] for row in await rows(talk)] == ["fr"]


async def test_a_language_is_chosen_and_given_back_to_the_client(talk):
    await talk.turned(lambda turn: chats.choose_language(turn, "de"))
    assert await talk.turned(language) == "de"
    await talk.turned(lambda turn: chats.choose_language(turn, None))
    assert await talk.turned(language) == "en"


async def language(turn):
    return turn.language


async def test_a_lock_is_told_once_and_never_shortened(talk, clock):
    for until in (3600.0, 1800.0):
        await talk.turned(lambda turn, until=until: chats.lock(turn, clock.now() + until))
    [row] = await rows(talk)
    assert row["locked_until"] == clock.now() + 3600
    assert await talk.events() == [("subscriber.locked", "", None)]


async def test_a_lock_counts_for_the_proved_number_until_it_ends(talk, clock, hasher):
    await prove(talk)
    await talk.turned(lambda turn: chats.lock(turn, clock.now() + 3600))
    mine, other = hasher.hash("phone", PHONE), hasher.hash("phone", OTHER_PHONE)
    assert await locked(talk, other, mine)
    assert not await locked(talk, other)
    assert not await locked(talk)
    clock.advance(3600)
    assert not await locked(talk, mine)


async def test_a_lock_counts_for_the_references_of_linked_services(talk, clock, hasher):
    await talk.link()
    await talk.turned(lambda turn: chats.lock(turn, clock.now() + 3600))
    mine = hasher.hash("telegram", "user-42")
    assert await locked(talk, mine)
    assert not await locked(talk, mine, service="bank")


async def test_a_lock_of_a_stranger_counts_for_nobody(talk, clock, hasher):
    await talk.link()
    await talk.turned(lambda turn: chats.lock(turn, clock.now() + 3600), OTHER_CHAT)
    assert not await locked(talk, hasher.hash("telegram", "user-42"))


async def test_a_proved_number_is_sealed_masked_and_told(talk, clock):
    assert await prove(talk) is None
    [row] = await rows(talk)
    assert (row["phone_masked"], row["proved_at"]) == (MASKED, clock.now())
    assert await talk.events() == [("subscriber.proved", "", MASKED)]
    stored = b"".join(value for value in dict(row).values() if isinstance(value, bytes))
    assert PHONE.encode() not in stored
    assert CHAT.encode() not in stored


async def test_a_number_proved_again_by_the_same_chat_moves_nothing(talk, clock):
    await prove(talk)
    at = clock.now()
    clock.advance(60)
    assert await prove(talk) is None
    assert [row["proved_at"] for row in await rows(talk)] == [at]
    assert len(await talk.events()) == 1


async def test_a_number_proved_by_another_chat_leaves_the_first(talk):
    await prove(talk)
    assert await prove(talk, OTHER_CHAT) == CHAT
    first, second = sorted(await rows(talk), key=lambda row: row["phone_hash"] is not None)
    assert (first["phone_sealed"], first["phone_masked"], first["proved_at"]) == (None, None, None)
    assert second["phone_masked"] is not None


async def test_a_chat_has_the_number_it_proved_last(talk, hasher):
    await prove(talk)
    assert await prove(talk, phone=OTHER_PHONE) is None
    assert [row["phone_hash"] for row in await rows(talk)] == [hasher.hash("phone", OTHER_PHONE)]


async def test_of_two_chats_that_prove_a_number_at_once_one_has_it(talk):
    await asyncio.gather(prove(talk), prove(talk, OTHER_CHAT))
    assert sorted(row["phone_hash"] is not None for row in await rows(talk)) == [False, True]


async def test_a_number_can_be_forgotten_alone(talk):
    await prove(talk)
    assert await talk.turned(chats.forget_phone)
    assert not await talk.turned(chats.forget_phone)
    [row] = await rows(talk)
    assert {row[name] for name in ("phone_hash", "phone_sealed", "phone_masked", "proved_at")} == {None}


async def test_a_service_is_muted_once_and_unmuted_once(talk):
    for expected in (True, False):
        assert await talk.turned(lambda turn: chats.mute(turn, "shop")) is expected
    assert await talk.turned(chats.muted) == ["shop"]
    assert await talk.turned(chats.muted, OTHER_CHAT) == []
    for expected in (True, False):
        assert await talk.turned(lambda turn: chats.unmute(turn, "shop")) is expected
    assert await talk.turned(chats.muted) == []
    assert await talk.events() == [("subscriber.muted", "shop", None), ("subscriber.unmuted", "shop", None)]


async def test_a_service_that_is_not_configured_cannot_be_muted(talk):
    assert not await talk.turned(lambda turn: chats.mute(turn, "nobody"))
    assert await talk.turned(chats.muted) == []


async def test_the_services_of_a_chat_are_those_it_is_linked_to_by_age(talk, clock):
    second = await talk.invite("user-2")
    first = await talk.link(reference="user-1")
    clock.advance(1)
    await talk.confirm(second)
    await talk.link(OTHER_CHAT, reference="user-3")
    assert [record["id"] for record in await talk.turned(chats.services)] == [first.id, second.id]


async def test_everything_about_a_chat_is_erased_and_named(talk, clock):
    await talk.link(reference="user-1")
    await talk.link(reference="user-2")
    await talk.link(OTHER_CHAT, reference="user-3")
    await prove(talk)
    await talk.turned(lambda turn: chats.mute(turn, "shop"))
    await talk.turned(lambda turn: chats.choose_language(turn, "de"))
    gone = await talk.turned(chats.forget)
    assert gone == Forgotten(["shop"], MASKED, ["shop"], "de")
    assert gone.anything
    assert await talk.turned(lambda turn: chats.known(turn.connection, turn.chat_hash)) is None
    assert await talk.turned(chats.muted) == []
    assert len(await talk.turned(chats.services, OTHER_CHAT)) == 1


async def test_of_a_stranger_there_is_nothing_to_erase(talk):
    gone = await talk.turned(chats.forget)
    assert gone == Forgotten([], None, [], None)
    assert not gone.anything


async def test_one_link_can_be_ended_by_its_own_chat_alone(talk):
    kept, ended = await talk.link(reference="user-1"), await talk.link(reference="user-2")
    assert await talk.turned(lambda turn: chats.unlink(turn, ended.id), OTHER_CHAT) is None
    record = await talk.turned(lambda turn: chats.unlink(turn, ended.id))
    assert (record["id"], record["status"], record["service"]) == (ended.id, "linked", "shop")
    assert await talk.turned(lambda turn: chats.unlink(turn, ended.id)) is None
    assert [record["id"] for record in await talk.turned(chats.services)] == [kept.id]


@pytest.mark.parametrize("subscriber_id", ["", "sub_none"])
async def test_a_forged_id_ends_no_link(talk, subscriber_id):
    assert await talk.turned(lambda turn: chats.unlink(turn, subscriber_id)) is None


async def test_a_block_and_its_end_are_noted_once(talk, clock):
    await talk.turned(chats.ensure)
    for expected in (True, False):
        assert await talk.turned(lambda turn: chats.block(turn.connection, turn.chat_hash, turn.now)) is expected
    assert [row["blocked_at"] for row in await rows(talk)] == [clock.now()]
    for expected in (True, False):
        assert await talk.turned(lambda turn: chats.unblock(turn.connection, turn.chat_hash)) is expected


async def test_a_chat_is_its_persons_by_a_link_or_a_proved_number(talk):
    await talk.link()
    await prove(talk, OTHER_CHAT)
    hashes = {chat: talk.world.hasher.hash("chat", chat) for chat in (CHAT, OTHER_CHAT)}
    reference, number = (talk.world.hasher.hash(*what) for what in (("telegram", "user-42"), ("phone", PHONE)))

    async def theirs(chat, address, service="shop"):
        return await chats.is_theirs(talk.world.database.fetch, hashes[chat], address, service)

    assert [await theirs(CHAT, reference), await theirs(CHAT, reference, "bank")] == [True, False]
    assert [await theirs(OTHER_CHAT, number), await theirs(OTHER_CHAT, number, "bank")] == [True, True]
    assert [await theirs(OTHER_CHAT, reference), await theirs(CHAT, number)] == [False, False]


async def sent_again(talk, view):
    """Whether a code that is asked for once more reached a chat."""
    before = len(talk.bot.sent)
    talk.world.clock.advance(90)
    try:
        await talk.world.verifications.resend("shop", view.id, None)
    except RecipientRefused:
        assert talk.world.handed_over == []
        return False
    await talk.world.attempt()
    return len(talk.bot.sent) > before


async def test_a_code_is_not_sent_again_into_the_chat_that_lost_the_number(talk):
    await prove(talk)
    view = await talk.world.start({"phone": PHONE}, channels=["bot"])
    await talk.world.attempt()
    assert await sent_again(talk, view)
    await prove(talk, OTHER_CHAT)
    assert not await sent_again(talk, view)


async def test_a_code_is_not_sent_again_to_who_said_stop(talk):
    await talk.link()
    view = await talk.verify()
    await talk.world.attempt()
    await talk.turned(chats.forget)
    assert not await sent_again(talk, view)


async def test_a_code_is_not_sent_again_into_the_chat_that_was_linked_before(talk):
    await talk.link()
    view = await talk.verify()
    await talk.world.attempt()
    await talk.link(OTHER_CHAT)
    assert not await sent_again(talk, view)


async def test_nobody_else_can_take_the_place_of_who_blocked_the_bot(talk):
    await talk.link()
    await talk.say(blocked=True)
    with pytest.raises(RecipientRefused):
        await talk.verify()
    assert (await talk.rows("subscriber"))[0]["link_token_hash"] is None
    await talk.say(blocked=False)
    assert (await talk.verify()).link is None
