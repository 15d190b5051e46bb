"""A link, opened and confirmed in time by one chat, connects a person; everything else connects nobody."""

from __future__ import annotations

import asyncio

import pytest

from channels.kinds import KINDS
from gateway.conversation import chats
from gateway.conversation.subscribers import LINK_LIFETIME
from gateway.errors import Unavailable
from gateway.storage.database import Database
from tests.conversation.conftest import CHAT, OTHER_CHAT
from tests.world import PHONE


async def status(talk, view):
    return (await talk.subscribers.one("shop", view.id)).status


async def test_a_person_links_a_chat_by_link_and_confirmation(talk):
    view = await talk.invite()
    [asked] = await talk.start(view.link)
    assert "Shop &amp; Söhne" in asked.text
    assert [button.label for button in asked.buttons[0]] == [
        talk.text("confirm", "confirm.txt"),
        talk.text("confirm", "decline.txt"),
    ]
    assert [button.data for button in asked.buttons[0]] == [f"yes:{view.id}", f"no:{view.id}"]
    [linked] = await talk.press(asked, 0)
    assert "Shop &amp; Söhne" in linked.text
    again = await talk.subscribers.one("shop", view.id)
    assert (again.status, again.display_name, again.expires_at) == ("linked", "Ann Ö.", None)


async def test_a_name_that_would_turn_an_applications_words_around_is_kept_without_what_does(talk):
    view = await talk.invite()
    [asked] = await talk.start(view.link)
    await talk.press(asked, 0, display_name="\u202eÖ nnA\n\u2066")
    assert (await talk.subscribers.one("shop", view.id)).display_name == "Ö nnA"


async def test_the_question_turns_into_its_answer(talk):
    for place in (0, 1):
        [asked] = await talk.start((await talk.invite()).link)
        assert asked.replaces is None
        [answer] = await talk.press(asked, place, message_id="55")
        assert (answer.replaces, answer.buttons) == ("55", ())


async def test_opening_a_link_alone_links_nothing(talk):
    view = await talk.invite()
    await talk.start(view.link)
    assert await status(talk, view) == "pending"
    assert await talk.rows("chat") == []


async def test_what_waited_for_the_link_is_sent_to_the_chat(talk):
    verification = await talk.verify()
    assert verification.messages[0].status == "waiting"
    [asked] = await talk.start(verification.link)
    await talk.press(asked, 0)
    assert talk.announced == ["bot"]
    assert await talk.world.statuses(verification) == [("bot", "queued")]
    assert await talk.world.claim("bot") == 1
    await talk.world.attempt()
    assert talk.bot.sent[0].address == CHAT
    assert await talk.world.statuses(verification) == [("bot", "sent")]
    await talk.world.checking.check("shop", verification.id, talk.world.code)


@pytest.mark.parametrize(("chosen", "locale"), [(None, "de-AT"), ("en", "en")])
async def test_what_waited_comes_in_the_persons_language(talk, chosen, locale):
    await talk.turned(lambda turn: chats.choose_language(turn, chosen), language="de-AT")
    verification = await talk.verify()
    [asked] = await talk.start(verification.link, language="de-AT")
    await talk.press(asked, 0, language="de-AT")
    await talk.world.claim("bot")
    await talk.world.attempt()
    assert talk.bot.sent[0].locale == locale


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
    assert talk.bot.sent[0].address == CHAT


async def test_used_expired_and_forged_links_look_the_same(talk, clock):
    used = await talk.invite("used")
    await talk.start(used.link)
    expired = await talk.invite("expired")
    clock.advance(LINK_LIFETIME)
    answers = [await talk.start(link) for link in (used.link, expired.link, "https://bot.test/?start=forged")]
    assert {answer[0].text for answer in answers} == {answers[0][0].text}
    assert answers[0][0].text == talk.text("link_invalid")


async def test_a_link_confirmed_too_late_links_nothing(talk, clock):
    view = await talk.invite()
    [asked] = await talk.start(view.link)
    clock.advance(LINK_LIFETIME)
    [reply] = await talk.press(asked, 0)
    assert reply.text == talk.text("link_invalid")
    assert await status(talk, view) == "pending"


async def test_of_two_who_open_a_link_at_once_one_is_asked(talk, make_talk, make_engine):
    view = await talk.invite()
    async with Database(make_engine()) as second:
        other = make_talk(node="node-b", within=second)
        other.updates = 100
        answers = await asyncio.gather(talk.start(view.link), other.start(view.link, OTHER_CHAT))
    assert sorted(len(answer[0].buttons) for answer in answers) == [0, 1]


async def test_another_chat_cannot_confirm_or_decline(talk):
    view = await talk.invite()
    [asked] = await talk.start(view.link)
    for place in (0, 1):
        [reply] = await talk.press(asked, place, OTHER_CHAT)
        assert reply.text == talk.text(("link_invalid", "question_over")[place])
    assert await status(talk, view) == "pending"
    await talk.press(asked, 0)
    assert await status(talk, view) == "linked"


async def test_a_second_press_links_nothing_again(talk):
    view = await talk.invite()
    [asked] = await talk.start(view.link)
    [linked] = await talk.press(asked, 0, message_id="55")
    for place in (0, 1):
        [again] = await talk.press(asked, place, message_id="55")
        assert (again.text, again.replaces) == (linked.text, "55")
    assert [name for name, _, _ in await talk.events()] == ["subscriber.created", "subscriber.linked"]


async def test_who_declines_is_not_linked_and_cannot_confirm_any_more(talk):
    view = await talk.invite()
    [asked] = await talk.start(view.link)
    [declined] = await talk.press(asked, 1)
    about = {"brand": "Shop & Söhne", "account": KINDS["telegram"]("user-42").masked}
    assert declined.text == talk.text("declined", **about)
    [again] = await talk.press(asked, 1)
    assert (again.text, again.replaces) == (talk.text("question_over"), None)
    [reply] = await talk.press(asked, 0)
    assert reply.text == talk.text("link_invalid")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("yes:", "link_invalid"),
        ("yes:sub_none", "link_invalid"),
        ("no:sub_none", "question_over"),
        ("no:", "question_over"),
    ],
)
async def test_forged_buttons_do_nothing(talk, data, said):
    [reply] = await talk.say(text=data, press="p1")
    assert reply.text == talk.text(said)


async def test_who_was_forgotten_can_link_again(talk):
    view = await talk.link()
    await talk.turned(chats.forget)
    again = await talk.invite()
    assert (again.id, again.status) == (view.id, "pending")
    await talk.confirm(again, OTHER_CHAT)
    assert await status(talk, view) == "linked"


async def test_a_question_ends_where_the_chat_is_forgotten(talk):
    view = await talk.invite()
    [asked] = await talk.start(view.link)
    await talk.turned(chats.forget)
    [reply] = await talk.press(asked, 0)
    assert reply.text == talk.text("link_invalid")


async def test_a_relink_moves_the_person_to_the_new_chat_and_tells_the_old(talk):
    await talk.link()
    again = await talk.invite()
    assert again.status == "linked"
    [asked] = await talk.start(again.link, OTHER_CHAT)
    said = await talk.hear(OTHER_CHAT, text=asked.buttons[0][0].data, press="p1", message_id="9")
    assert [len(said[chat]) for chat in (CHAT, OTHER_CHAT)] == [1, 1]
    [told] = said[CHAT]
    assert told.replaces is None
    await talk.verify()
    await talk.world.attempt()
    assert talk.bot.sent[0].address == OTHER_CHAT


async def test_the_old_chat_is_told_in_its_own_language(talk):
    await talk.link()
    await talk.turned(lambda turn: chats.choose_language(turn, "de"))
    [asked] = await talk.start((await talk.invite()).link, OTHER_CHAT)
    said = await talk.hear(OTHER_CHAT, text=asked.buttons[0][0].data, press="p1")
    about = {"brand": "Shop & Söhne", "account": KINDS["telegram"]("user-42").masked}
    assert said[CHAT][0].text == talk.text("moved", language="de", **about)
    assert said[OTHER_CHAT][0].text == talk.text("linked", **about)


async def test_a_relink_of_the_same_chat_tells_nobody_else(talk):
    await talk.link()
    [asked] = await talk.start((await talk.invite()).link)
    said = await talk.hear(text=asked.buttons[0][0].data, press="p1")
    assert {chat: len(replies) for chat, replies in said.items()} == {CHAT: 1}


async def test_where_the_service_gave_a_phone_the_contact_is_asked_for(talk):
    linked, asking = await talk.confirm(await talk.invite(phone=PHONE))
    assert linked.asks_contact is None
    assert asking.asks_contact == talk.text("contact", "share.txt")
    assert PHONE[-3:] in asking.text
    assert PHONE not in asking.text


async def test_a_number_that_this_chat_has_proved_is_not_asked_for_again(talk):
    await talk.turned(lambda turn: chats.prove(turn, KINDS["phone"](PHONE)))
    assert len(await talk.confirm(await talk.invite(phone=PHONE))) == 1
    assert len(await talk.confirm(await talk.invite("user-2", phone="+4915112345679"))) == 2


async def test_the_question_is_in_the_persons_language(talk):
    view = await talk.invite()
    [asked] = await talk.start(view.link, language="de")
    assert "Ihr Konto" in asked.text
    assert asked.buttons[0][0].label == talk.text("confirm", "confirm.txt", "de")
    [linked] = await talk.press(asked, 0, language="de-AT")
    assert "Fertig" in linked.text


async def test_where_the_persons_language_is_not_known_it_is_the_services(talk):
    view = await talk.invite(service="bank")
    [asked] = await talk.start(view.link, language=None)
    assert "Ihr Konto" in asked.text


async def test_a_name_cannot_write_html_into_a_question(talk):
    view = await talk.invite("<b>user</b>")
    [asked] = await talk.start(view.link)
    assert "<b>user" not in asked.text


async def test_the_account_is_shown_masked(talk):
    view = await talk.invite(phone=PHONE)
    [asked] = await talk.start(view.link)
    assert PHONE not in asked.text
    assert PHONE[-3:] in asked.text


async def test_no_text_name_or_chat_is_in_a_row(talk):
    # So long that no random id or sealed byte spells them by chance.
    chat, name = "-7001700170017001", "Ann of Green Gables"
    [asked] = await talk.start((await talk.invite()).link, chat, display_name=name)
    await talk.press(asked, 0, chat, display_name=name)
    assert [row["status"] for row in await talk.rows("subscriber")] == ["linked"]
    rows = [row for table in ("subscriber", "chat", "reply", "event", "heard") for row in await talk.rows(table)]
    stored = repr(rows) + "".join(
        bytes(value).decode("latin-1") for row in rows for value in row.values() if isinstance(value, bytes)
    )
    for secret in (chat, name, "user-42"):
        assert secret not in stored


async def test_a_request_that_met_a_confirmation_gets_no_link_to_the_linked_person(talk):
    """Whoever opened it would become that person: somebody who knows a reference asks while its person presses yes."""
    view, plain = await talk.invite(), talk.bot.link
    [asked] = await talk.start(view.link)
    looked_up, may_go = asyncio.Event(), asyncio.Event()

    async def slow(token: str) -> str:
        looked_up.set()
        await may_go.wait()
        return str(await plain(token))

    talk.bot.link = slow
    stranger = asyncio.create_task(talk.verify("user-42"))
    await looked_up.wait()
    talk.bot.link = plain
    await talk.press(asked, 0)
    may_go.set()
    with pytest.raises(Unavailable):
        await stranger
    assert await status(talk, view) == "linked"
    # Asked again, the code goes to the person.
    assert (await talk.verify("user-42")).messages[0].status == "queued"
    assert (await talk.subscribers.resolve("shop", KINDS["telegram"]("user-42"))).chat == CHAT


async def test_a_lock_that_runs_stays_with_a_link_that_another_chat_takes_and_locks_nothing_else_of_that(talk, clock):
    """A stranger who locks their own account and hands its link to somebody must not lock all that they have."""
    await talk.link()
    until = clock.now() + 60
    await talk.turned(lambda turn: chats.lock(turn, until))
    theirs = await talk.invite("user-7")
    for view in (theirs, await talk.invite()):
        [asked] = await talk.start(view.link, OTHER_CHAT)
        await talk.hear(OTHER_CHAT, text=asked.buttons[0][0].data, press="1")
    reach = await talk.subscribers.resolve("shop", KINDS["telegram"]("user-42"))
    assert (reach.chat, reach.locked_until) == (OTHER_CHAT, until)
    other = await talk.subscribers.resolve("shop", KINDS["telegram"]("user-7"))
    assert (other.chat, other.locked_until) == (OTHER_CHAT, None)
    clock.advance(60)
    after = await talk.subscribers.resolve("shop", KINDS["telegram"]("user-42"))
    assert after.locked_until is None or after.locked_until <= clock.now()
