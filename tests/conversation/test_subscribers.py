"""Services make, see and forget their own subscribers."""

from __future__ import annotations

import asyncio

import pytest

from channels.kinds import KINDS
from gateway.conversation import chats
from gateway.conversation.subscribers import LINK_LIFETIME, Subscribers
from gateway.delivery.person import Reach
from gateway.errors import Cooldown, InvalidRequest, NotFound, Unavailable
from gateway.storage.database import Database
from gateway.storage.sealing import token_hash
from gateway.storage.unit import Connection, StorageContendedError
from gateway.verification.request import Asked
from gateway.verification.view import VerificationView
from tests.conversation.conftest import CHAT, OTHER_CHAT
from tests.world import PHONE, Scripted


async def test_a_new_subscriber_is_pending_with_a_link(talk, clock):
    view = await talk.invite()
    assert (view.reference, view.status, view.display_name) == ("user-42", "pending", None)
    assert view.link.startswith("https://bot.test/?start=")
    assert view.expires_at == clock.now() + LINK_LIFETIME


async def test_a_link_token_has_128_bits_and_is_stored_hashed(talk):
    token = (await talk.invite()).link.rpartition("=")[2]
    assert len(token) == 22
    [row] = await talk.world.database.fetch("SELECT * FROM subscriber")
    assert row["link_token_hash"] == token_hash(token)
    assert token not in repr(dict(row))


async def test_the_link_is_shown_once_only(talk):
    view = await talk.invite()
    assert (await talk.subscribers.one("shop", view.id)).link is None


async def test_a_known_person_gets_a_new_link_and_the_old_one_ends(talk):
    first, second = await talk.invite(), await talk.invite()
    assert first.id == second.id
    [reply] = await talk.start(first.link)
    assert reply.buttons == ()
    [reply] = await talk.start(second.link)
    assert reply.buttons != ()


async def test_every_link_that_a_restored_backup_has_open_is_ended(talk, clock):
    """One that was used since would link somebody else."""
    invited = await talk.invite()
    assert await talk.subscribers.end_restored() == 1
    assert (await talk.subscribers.one("shop", invited.id)).expires_at == clock.now()
    assert await talk.subscribers.end_restored() == 0


DAY = 86_400.0


async def test_who_never_linked_is_forgotten_some_days_after_their_latest_link_ended(talk, clock):
    view = await talk.invite()
    clock.advance(29 * DAY)
    again = await talk.invite()
    clock.advance(LINK_LIFETIME + 30 * DAY)
    assert (again.id, await talk.subscribers.forget(30)) == (view.id, 0)
    clock.advance(1)
    assert (await talk.subscribers.forget(30), await talk.subscribers.forget(30)) == (1, 0)
    with pytest.raises(NotFound):
        await talk.subscribers.one("shop", view.id)


@pytest.mark.parametrize("ended", ["declined", "unlinked", "stopped", "stopped while asked"])
async def test_who_said_no_or_took_the_link_back_is_forgotten_some_days_after_that(talk, clock, ended):
    clock.advance(40 * DAY)
    view = await talk.invite()
    [asked] = await talk.start(view.link)
    if ended in {"unlinked", "stopped"}:
        await talk.press(asked, 0)
        clock.advance(40 * DAY)
    if ended == "declined":
        await talk.press(asked, 1)
    elif ended == "unlinked":
        await talk.turned(lambda turn: chats.unlink(turn, view.id))
    else:
        await talk.turned(chats.forget)
    clock.advance(30 * DAY)
    assert await talk.subscribers.forget(30) == 0
    clock.advance(1)
    assert await talk.subscribers.forget(30) == 1


async def test_who_is_linked_is_never_forgotten_nor_who_blocked_the_bot(talk, clock):
    view = await talk.link()
    blocked = await talk.link(OTHER_CHAT, reference="user-7")
    await talk.hear(OTHER_CHAT, blocked=True)
    # Another link of theirs that nobody opened changes nothing.
    await talk.invite()
    clock.advance(400 * DAY)
    assert await talk.subscribers.forget(30) == 0
    assert [(await talk.subscribers.one("shop", one.id)).status for one in (view, blocked)] == ["linked", "blocked"]


async def test_who_is_invited_again_without_a_phone_keeps_the_known_one(talk):
    await talk.invite(phone=PHONE)
    again = await talk.invite()
    [asked] = await talk.start(again.link)
    assert PHONE[-3:] in asked.text


async def test_nodes_that_invite_a_person_at_once_make_one_row(talk, make_engine, sealer, hasher, clock):
    async with Database(make_engine()) as second:
        other = Subscribers(
            database=second,
            sealer=sealer,
            hasher=hasher,
            clock=clock,
            bot=talk.world.channels["bot"],
            phone=KINDS["phone"],
        )

        async def invite(side: Subscribers):
            return await side.create(await side.prepare("shop", "user-42", None))

        views = await asyncio.gather(*(invite(side) for side in (talk.subscribers, other) * 4))
    assert len({view.id for view in views}) == 1


async def opened(talk, link: str | None) -> bool:
    """Whether a link can be opened, by somebody who does."""
    [reply] = await talk.start(link)
    return bool(reply.buttons)


async def test_of_two_verifications_at_once_the_one_that_is_made_has_a_link_that_lives(make_talk, make_engine):
    async with Database(make_engine()) as second:
        talk, other = make_talk(), make_talk(node="node-b", within=second)
        found = await asyncio.gather(talk.verify(), other.verify(), talk.verify(), return_exceptions=True)
        [made] = [item for item in found if isinstance(item, VerificationView)]
        assert [type(item) for item in found if item is not made] == [Cooldown] * 2
        assert await opened(talk, made.link)


async def test_a_verification_that_is_refused_leaves_the_link_before_it_alive(talk, clock):
    first = await talk.verify()
    clock.advance(1)
    with pytest.raises(Cooldown):
        await talk.verify()
    assert await opened(talk, first.link)


async def test_a_request_that_came_to_nothing_leaves_the_link_before_it_alive(talk):
    view = await talk.invite()
    await talk.world.verifications.prepare("shop", Asked(to={"telegram": "user-42"}, channels=["bot"]))
    assert await opened(talk, view.link)


async def test_who_links_in_the_middle_of_an_invitation_undoes_it_whole(talk, database):
    """Nobody knew the person when they were looked for: only the link itself can find out."""
    verifications, told = talk.world.verifications, Asked(to={"telegram": "user-42"}, channels=["bot"])
    prepared = await verifications.prepare("shop", told)
    await talk.link()

    async def work(connection: Connection) -> None:
        await prepared.draft.invitation.write(connection)

    with pytest.raises(StorageContendedError):
        await database.run(work)
    with pytest.raises(Unavailable):
        await verifications.start(prepared)
    assert await database.fetch("SELECT id FROM verification") == []


async def test_another_services_subscriber_is_not_found(talk):
    view = await talk.invite()
    with pytest.raises(NotFound):
        await talk.subscribers.one("bank", view.id)
    with pytest.raises(NotFound):
        await talk.subscribers.delete("bank", view.id)
    assert (await talk.subscribers.one("shop", view.id)).id == view.id


async def test_services_do_not_share_people(talk):
    await talk.link()
    reference = KINDS["telegram"]("user-42")
    assert (await talk.subscribers.resolve("shop", reference)).chat == CHAT
    assert await talk.subscribers.resolve("bank", reference) == Reach()


async def test_a_deleted_subscriber_is_gone_and_not_sent_to(talk):
    view = await talk.link()
    await talk.subscribers.delete("shop", view.id)
    with pytest.raises(NotFound):
        await talk.subscribers.one("shop", view.id)
    with pytest.raises(NotFound):
        await talk.subscribers.delete("shop", view.id)
    assert await talk.subscribers.resolve("shop", KINDS["telegram"]("user-42")) == Reach()


@pytest.mark.parametrize(("reference", "phone", "pointer"), [("", None, "/reference"), ("user-42", "12345", "/phone")])
async def test_what_is_wrong_is_named(talk, reference, phone, pointer):
    with pytest.raises(InvalidRequest) as caught:
        await talk.subscribers.prepare("shop", reference, phone)
    assert [error.pointer for error in caught.value.errors] == [pointer]


async def test_without_a_bot_nobody_can_be_invited(database, clock, sealer, hasher):
    for bot in (None, Scripted("mute", ["telegram"], needs_subscriber=True)):
        subscribers = Subscribers(
            database=database, sealer=sealer, hasher=hasher, clock=clock, bot=bot, phone=KINDS["phone"]
        )
        with pytest.raises(InvalidRequest, match="bot"):
            await subscribers.prepare("shop", "user-42", None)


async def test_a_view_shows_no_person_in_its_repr(talk):
    view = await talk.link()
    assert not any(value in repr(view) for value in ("user-42", "Ann"))


async def test_a_person_is_reached_by_reference_or_by_proved_phone(talk):
    await talk.link()
    phone, reference = KINDS["phone"](PHONE), KINDS["telegram"]("user-42")
    assert await talk.subscribers.resolve("shop", phone) == Reach()
    await talk.turned(lambda turn: chats.prove(turn, phone))
    for address in (phone, reference):
        assert await talk.subscribers.resolve("shop", address) == Reach(chat=CHAT, locale="en")


async def test_a_phone_that_only_the_service_knows_reaches_nobody(talk):
    await talk.link(phone=PHONE)
    assert await talk.subscribers.resolve("shop", KINDS["phone"](PHONE)) == Reach()


async def test_the_chosen_language_goes_before_the_clients(talk):
    await talk.link()
    reference = KINDS["telegram"]("user-42")
    await talk.say(text="hello", language="de-AT")
    assert (await talk.subscribers.resolve("shop", reference)).locale == "de-AT"
    await talk.turned(lambda turn: chats.choose_language(turn, "en"))
    assert (await talk.subscribers.resolve("shop", reference)).locale == "en"


async def test_a_mute_is_of_one_service(talk):
    phone = KINDS["phone"](PHONE)
    await talk.turned(lambda turn: chats.prove(turn, phone))
    await talk.turned(lambda turn: chats.mute(turn, "shop"))
    await talk.link()
    muted = [(await talk.subscribers.resolve(service, phone)).muted for service in ("shop", "bank")]
    assert muted == [True, False]
    assert (await talk.subscribers.resolve("shop", KINDS["telegram"]("user-42"))).muted


async def test_a_lock_ends_by_itself(talk, clock):
    await talk.link()
    reference, until = KINDS["telegram"]("user-42"), clock.now() + 3600
    await talk.turned(lambda turn: chats.lock(turn, until))
    assert (await talk.subscribers.resolve("shop", reference)).locked_until == until
    clock.advance(3600)
    assert await talk.subscribers.resolve("shop", reference) == Reach(chat=CHAT, locale="en")


async def test_who_blocks_the_bot_is_locked_all_the_same(talk, clock):
    await talk.link()
    until = clock.now() + 3600
    await talk.turned(lambda turn: chats.lock(turn, until))
    await talk.say(blocked=True)
    reach = await talk.subscribers.resolve("shop", KINDS["telegram"]("user-42"))
    assert (reach.chat, reach.blocked, reach.locked_until) == (CHAT, "bot", until)


async def test_a_chat_linked_before_there_were_rows_is_reached(talk):
    await talk.link()
    await talk.world.database.run(lambda connection: connection.fetch("DELETE FROM chat RETURNING hash"))
    assert await talk.subscribers.resolve("shop", KINDS["telegram"]("user-42")) == Reach(chat=CHAT)


async def test_a_person_who_was_only_invited_is_not_reached(talk):
    await talk.invite()
    assert await talk.subscribers.resolve("shop", KINDS["telegram"]("user-42")) == Reach()
