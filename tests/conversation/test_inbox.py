"""What people write and press becomes a link, its end, or an answer in their language."""

from __future__ import annotations

import asyncio

import pytest

from gateway.conversation.subscribers import LINK_LIFETIME
from tests.conversation.conftest import CHAT, OTHER_CHAT
from tests.world import PHONE

INVALID = "does not work"


async def rows(talk):
    return await talk.world.database.fetch("SELECT * FROM subscriber ORDER BY id")


async def test_a_person_links_a_chat_by_link_and_confirmation(talk, clock):
    view = await talk.invite()
    [asked] = await talk.start(view.link)
    assert "Shop &amp; Söhne" in asked.text
    assert [button.label for button in asked.buttons[0]] == ["Yes, connect", "Not me"]
    [linked] = await talk.press(asked, 0)
    assert "Shop &amp; Söhne" in linked.text
    again = await talk.subscribers.one("shop", view.id)
    assert (again.status, again.display_name, again.expires_at) == ("linked", "Ann Ö.", None)


async def test_opening_a_link_alone_links_nothing(talk):
    view = await talk.invite()
    await talk.start(view.link)
    assert (await talk.subscribers.one("shop", view.id)).status == "pending"


async def test_what_waited_for_the_link_is_sent_to_the_chat(talk):
    verification = await talk.verify()
    assert verification.messages[0].status == "waiting"
    [asked] = await talk.start(verification.link)
    await talk.press(asked, 0)
    assert talk.announced == ["bot"]
    assert await talk.world.statuses(verification) == [("bot", "queued")]
    assert await talk.world.claim("bot") == 1
    await talk.world.attempt()
    assert talk.world.channels["bot"].sent[0].address == CHAT
    assert await talk.world.statuses(verification) == [("bot", "sent")]
    await talk.world.checking.check("shop", verification.id, talk.world.code)


async def test_what_expired_while_it_waited_is_not_sent(talk, clock):
    verification = await talk.verify()
    [asked] = await talk.start(verification.link)
    clock.advance(300)
    await talk.press(asked, 0)
    assert talk.announced == []
    assert await talk.world.claim("bot") == 0


async def test_what_was_canceled_while_it_waited_is_not_sent(talk):
    verification = await talk.verify()
    await talk.world.checking.cancel("shop", verification.id)
    [asked] = await talk.start(verification.link)
    await talk.press(asked, 0)
    assert await talk.world.statuses(verification) == [("bot", "canceled")]


async def test_a_linked_person_is_sent_to_at_once(talk):
    await talk.link()
    verification = await talk.verify()
    assert verification.link is None
    await talk.world.attempt()
    assert talk.world.channels["bot"].sent[0].address == CHAT


async def test_a_used_link_opens_nothing(talk):
    view = await talk.invite()
    await talk.start(view.link)
    [reply] = await talk.start(view.link, OTHER_CHAT)
    assert INVALID in reply.text


async def test_an_expired_link_opens_nothing(talk, clock):
    view = await talk.invite()
    clock.advance(LINK_LIFETIME)
    [reply] = await talk.start(view.link)
    assert INVALID in reply.text


async def test_a_link_confirmed_too_late_links_nothing(talk, clock):
    view = await talk.invite()
    [asked] = await talk.start(view.link)
    clock.advance(LINK_LIFETIME)
    [reply] = await talk.press(asked, 0)
    assert INVALID in reply.text
    assert (await talk.subscribers.one("shop", view.id)).status == "pending"


async def test_used_expired_and_forged_links_look_the_same(talk, clock):
    used = await talk.invite("used")
    await talk.start(used.link)
    expired = await talk.invite("expired")
    clock.advance(LINK_LIFETIME)
    answers = [await talk.start(link) for link in (used.link, expired.link, "https://bot.test/?start=forged")]
    assert len({answer[0].text for answer in answers}) == 1


async def test_of_two_who_open_a_link_at_once_one_is_asked(talk):
    view = await talk.invite()
    answers = await asyncio.gather(*(talk.start(view.link, chat) for chat in (CHAT, OTHER_CHAT)))
    assert sorted(len(answer[0].buttons) for answer in answers) == [0, 1]


async def test_another_chat_cannot_confirm(talk):
    view = await talk.invite()
    [asked] = await talk.start(view.link)
    [reply] = await talk.press(asked, 0, OTHER_CHAT)
    assert INVALID in reply.text
    assert (await talk.subscribers.one("shop", view.id)).status == "pending"


async def test_a_second_press_links_nothing_again(talk):
    view = await talk.invite()
    [asked] = await talk.start(view.link)
    await talk.press(asked, 0)
    [reply] = await talk.press(asked, 0)
    assert INVALID in reply.text


async def test_who_declines_is_not_linked_and_cannot_confirm_any_more(talk):
    view = await talk.invite()
    [asked] = await talk.start(view.link)
    [declined] = await talk.press(asked, 1)
    assert "Nothing was connected" in declined.text
    [reply] = await talk.press(asked, 0)
    assert INVALID in reply.text


async def test_another_chat_cannot_decline(talk):
    view = await talk.invite()
    [asked] = await talk.start(view.link)
    [reply] = await talk.press(asked, 1, OTHER_CHAT)
    assert INVALID in reply.text
    await talk.press(asked, 0)
    assert (await talk.subscribers.one("shop", view.id)).status == "linked"


@pytest.mark.parametrize("data", ["", "yes:", "yes:sub_none", "no:sub_none", "rubbish"])
async def test_forged_buttons_do_nothing(talk, data):
    [reply] = await talk.say(text=data, press="p1")
    assert reply.buttons == ()


async def test_a_stop_forgets_the_chat_and_the_name(talk):
    view = await talk.link()
    [reply] = await talk.say(command="stop")
    assert "disconnected" in reply.text
    assert (await talk.subscribers.one("shop", view.id)).status == "unlinked"
    [row] = await rows(talk)
    for column in ("chat_sealed", "chat_hash", "display_name_sealed", "linked_at", "asked_chat_hash"):
        assert row[column] is None, column


async def test_a_stop_ends_every_link_of_the_chat_and_no_other(talk):
    first, second = await talk.link(reference="user-1"), await talk.link(reference="user-2")
    stranger = await talk.link(OTHER_CHAT, reference="user-3")
    await talk.say(command="stop")
    statuses = [(await talk.subscribers.one("shop", view.id)).status for view in (first, second, stranger)]
    assert statuses == ["unlinked", "unlinked", "linked"]


async def test_a_stop_ends_a_question_that_was_not_answered(talk):
    view = await talk.invite()
    [asked] = await talk.start(view.link)
    await talk.say(command="stop")
    [reply] = await talk.press(asked, 0)
    assert INVALID in reply.text


async def test_there_may_be_nothing_to_stop(talk):
    [reply] = await talk.say(command="stop")
    assert "nothing to stop" in reply.text.lower()


async def test_after_a_stop_nothing_is_sent_to_the_chat(talk):
    await talk.link()
    await talk.say(command="stop")
    verification = await talk.verify()
    assert verification.link is not None
    assert verification.messages[0].status == "waiting"


async def test_who_stopped_can_link_again(talk):
    view = await talk.link()
    await talk.say(command="stop")
    again = await talk.invite()
    assert (again.id, again.status) == (view.id, "pending")
    [asked] = await talk.start(again.link, OTHER_CHAT)
    await talk.press(asked, 0, OTHER_CHAT)
    assert (await talk.subscribers.one("shop", view.id)).status == "linked"


async def test_a_relink_moves_the_person_to_the_new_chat(talk):
    await talk.link()
    again = await talk.invite()
    assert again.status == "linked"
    [asked] = await talk.start(again.link, OTHER_CHAT)
    await talk.press(asked, 0, OTHER_CHAT)
    await talk.verify()
    await talk.world.attempt()
    assert talk.world.channels["bot"].sent[0].address == OTHER_CHAT


async def test_groups_are_refused(talk):
    view = await talk.invite()
    [reply] = await talk.start(view.link, private=False)
    assert reply.buttons == ()
    [asked] = await talk.start(view.link)
    assert asked.buttons != ()


async def test_who_blocks_the_bot_is_not_sent_to_until_it_is_unblocked(talk):
    view = await talk.link()
    assert await talk.say(blocked=True) == ()
    assert (await talk.subscribers.one("shop", view.id)).status == "blocked"
    assert (await talk.verify()).messages[0].status == "waiting"
    assert await talk.say(blocked=False) == ()
    assert (await talk.subscribers.one("shop", view.id)).status == "linked"


async def test_a_stranger_may_block_the_bot(talk):
    assert await talk.say(blocked=True) == ()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"command": "start"}, "Hello!"),
        ({"command": "help"}, "/stop"),
        ({"command": "dance"}, "/help"),
        ({"text": "492039"}, "/help"),
    ],
)
async def test_everything_else_is_answered_too(talk, written, said):
    [reply] = await talk.say(**written)
    assert said in reply.text


async def test_answers_are_in_the_persons_language(talk):
    view = await talk.invite()
    [asked] = await talk.start(view.link, language="de")
    assert "Ist das Ihr Konto" in asked.text
    assert [button.label for button in asked.buttons[0]] == ["Ja, verbinden", "Das bin ich nicht"]
    [linked] = await talk.press(asked, 0, language="de-AT")
    assert linked.text.startswith("Fertig.")


@pytest.mark.parametrize("language", [None, "tlh", "", "x" * 50])
async def test_an_unknown_language_is_answered_in_the_fallback(talk, language):
    [reply] = await talk.say(command="start", language=language)
    assert "Hello!" in reply.text


async def test_a_name_cannot_write_html_into_an_answer(talk):
    view = await talk.invite("<b>user</b>")
    [asked] = await talk.start(view.link)
    assert "<b>user" not in asked.text


async def test_the_account_is_shown_masked(talk):
    view = await talk.invite(phone=PHONE)
    [asked] = await talk.start(view.link)
    assert PHONE not in asked.text
    assert PHONE[-3:] in asked.text


async def test_no_text_name_or_chat_is_in_a_repr_or_a_row(talk):
    await talk.link()
    [row] = await rows(talk)
    stored = b"".join(bytes(value) for value in tuple(dict(row).values()) if isinstance(value, bytes))
    for secret in (CHAT, "Ann", "user-42"):
        assert secret.encode() not in stored


async def test_moves_are_told_in_the_timeline(talk):
    await talk.link()
    await talk.say(blocked=True)
    await talk.say(blocked=False)
    await talk.say(command="stop")
    found = await talk.world.database.fetch("SELECT name FROM event WHERE name LIKE 'subscriber.%' ORDER BY at, id")
    names = [record["name"].removeprefix("subscriber.") for record in found]
    assert names == ["created", "linked", "blocked", "linked", "unlinked"]
