"""An update is taken in once, whatever happens, and answered by whoever the table names."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from channels.chat import Contact, Inbound
from gateway.conversation import groups
from gateway.conversation.inbox import HEARD, TABLE, TRIES
from gateway.conversation.replies import LEASE
from gateway.conversation.turn import Outcome, Said
from gateway.storage.database import Database
from gateway.storage.unit import StorageError, StorageUnavailableError
from tests.conversation.conftest import CHAT, OTHER_CHAT


@pytest.fixture
def handlers(make_talk):
    """A node with handlers of a test's own: ``handlers(commands={"dance": handler})``."""
    return lambda **tables: make_talk(table=replace(TABLE, **tables))


def said(talk):
    """Every text that was sent, in order."""
    return [what[2].text for what in talk.bot.did if what[0] == "say"]


async def test_an_update_is_taken_in_once_however_often_it_comes(talk, make_talk, make_engine):
    view = await talk.invite()
    [asked] = await talk.start(view.link)
    update = talk.inbound(text=asked.buttons[0][0].data, press="p1")
    async with Database(make_engine()) as second:
        other = make_talk(node="node-b", within=second)
        nodes = (talk.inbox, other.inbox) * 20
        await asyncio.gather(*(inbox.handle("bot", update) for inbox in nodes))
        for node in (talk, other):
            await node.replying.send_once("bot")
        assert len(said(talk)) + len(said(other)) == 2
    assert await talk.rows("reply") == []
    assert [name for name, _, _ in await talk.events()] == ["subscriber.created", "subscriber.linked"]


async def test_the_same_number_on_another_channel_is_another_update(talk):
    update = talk.inbound(command="help")
    for channel in ("bot", "bot_eu"):
        await talk.inbox.handle(channel, update)
    assert sorted(row["channel"] for row in await talk.rows("heard")) == ["bot", "bot_eu"]
    assert sorted(row["channel"] for row in await talk.rows("reply")) == ["bot", "bot_eu"]


async def test_an_answer_written_down_by_a_node_that_died_is_sent_by_another(talk, make_talk, clock):
    await talk.inbox.handle("bot", talk.inbound(command="help"))
    other = make_talk(node="node-b")
    assert await other.replying.send_once("bot") == 0
    clock.advance(LEASE)
    assert await other.replying.send_once("bot") == 1
    assert said(other) == [talk.text("help")]
    await talk.replying.send_once("bot")
    assert said(talk) == []


async def test_answers_wait_for_the_commit_and_not_for_the_provider(talk):
    await talk.inbox.handle("bot", talk.inbound(command="help"))
    assert said(talk) == []
    assert len(await talk.rows("reply")) == 1


async def test_the_answers_of_a_chat_are_sent_in_the_order_they_were_written(talk):
    for text in ("/", "a", "b"):
        await talk.inbox.handle("bot", talk.inbound(command="help" if text == "/" else None, text=text))
    await talk.replying.send_once("bot")
    assert said(talk) == [talk.text("help"), *(talk.text("unknown"),) * 2]


@pytest.mark.parametrize(
    "written", [{"text": "hi"}, {"command": "start"}, {"press": "p", "text": "yes:"}, {"joined": True}]
)
async def test_groups_are_refused_and_left(talk, written):
    [reply] = await talk.say(**written, private=False)
    assert (reply.text, reply.leaves, reply.buttons) == (talk.text("private_only"), True, ())


async def test_a_group_is_told_once_an_hour_and_otherwise_left_without_a_word(talk, clock):
    """Telegram takes few messages in a group, and whoever puts the bot in again decides how many there would be."""

    async def put_in(chat: str) -> tuple[str, bool]:
        [reply] = await talk.say(chat, joined=True, private=False)
        return reply.text, reply.leaves

    told, silent = (talk.text("private_only"), True), ("", True)
    assert [await put_in(chat) for chat in ("-100", "-100", "-200", "-100")] == [told, silent, told, silent]
    clock.advance(groups.WITHIN - 1)
    assert await put_in("-100") == silent
    clock.advance(1)
    assert [await put_in("-100"), await put_in("-100")] == [told, silent]


async def test_so_many_groups_are_remembered(talk, monkeypatch):
    monkeypatch.setattr(groups, "MOST", 2)
    for chat in ("-1", "-2", "-3", "-2", "-1"):
        await talk.say(chat, joined=True, private=False)
    assert said(talk) == [talk.text("private_only")] * 3 + ["", talk.text("private_only")]


async def test_a_link_opened_in_a_group_stays_good(talk):
    view = await talk.invite()
    await talk.start(view.link, private=False)
    [asked] = await talk.start(view.link)
    assert len(asked.buttons[0]) == 2


async def test_a_press_goes_to_its_verb_with_what_follows_the_colon(handlers):
    heard = []

    async def handler(turn):
        heard.append((turn.argument, turn.channel, turn.known))
        return Outcome((turn.say("help"),), frozenset({"sms", "bot"}))

    talk = handlers(presses={"dance": handler})
    await talk.say(press="p1", text="dance:a:b")
    assert heard == [("a:b", "bot", None)]
    assert talk.announced == ["bot", "sms"]


@pytest.mark.parametrize("text", ["", "dance", "rubbish:", ":", "DANCE:"])
async def test_other_presses_are_unknown(handlers, text):
    talk = handlers(presses={"dance": TABLE.typed})
    [reply] = await talk.say(press="p1", text=text)
    assert (reply.text, reply.buttons) == (talk.text("unknown"), ())


async def test_commands_contacts_and_texts_have_their_handlers(handlers):
    async def command(turn):
        return Outcome((turn.say("start"),))

    async def contact(turn):
        return Outcome((turn.say("help"),))

    async def typed(turn):
        return Outcome((turn.say("declined", brand=turn.argument, account=""),))

    talk = handlers(commands={"dance": command}, contact=contact, typed=typed)
    assert [reply.text for reply in await talk.say(command="dance")] == [talk.text("start")]
    assert [reply.text for reply in await talk.say(contact=Contact("1", own=True))] == [talk.text("help")]
    assert "hello" in (await talk.say(text="hello"))[0].text
    assert [reply.text for reply in await talk.say(command="sing")] == [talk.text("unknown")]


async def test_an_answer_may_go_to_another_chat(handlers):
    async def typed(turn):
        return Outcome((turn.say("help"), Said(turn.say("start").reply, OTHER_CHAT)))

    talk = handlers(typed=typed)
    heard = await talk.hear(text="hello")
    assert {chat: [reply.text for reply in replies] for chat, replies in heard.items()} == {
        CHAT: [talk.text("help")],
        OTHER_CHAT: [talk.text("start")],
    }


async def test_what_fails_by_itself_is_tried_again_and_then_left(handlers, caplog):
    tried = []

    async def typed(turn):
        tried.append(turn.inbound.text)
        await turn.connection.fetch("DELETE FROM subscriber RETURNING id")
        raise ValueError(turn.inbound.text)

    talk = handlers(typed=typed)
    view = await talk.invite()
    update = talk.inbound(text="a secret")
    for _ in range(2):
        await talk.inbox.handle("bot", update)
    assert len(tried) == TRIES
    assert "failed: ValueError" in caplog.text
    assert "a secret" not in caplog.text
    assert (await talk.subscribers.one("shop", view.id)).status == "pending"
    assert [reply.text for reply in await talk.say(command="help")] == [talk.text("help")]


async def test_a_try_that_crossed_another_transaction_succeeds_the_second_time(handlers):
    faults = [StorageError("PostgreSQL: UniqueViolationError 23505")]

    async def typed(turn):
        if faults:
            raise faults.pop()
        return Outcome((turn.say("help"),))

    talk = handlers(typed=typed)
    assert [reply.text for reply in await talk.say(text="hello")] == [talk.text("help")]


async def test_without_a_database_an_update_is_to_be_given_again(handlers):
    async def typed(turn):
        raise StorageUnavailableError("SQLite: database is locked")

    talk = handlers(typed=typed)
    update = talk.inbound(text="hello")
    with pytest.raises(StorageUnavailableError):
        await talk.inbox.handle("bot", update)
    assert await talk.rows("heard") == []
    assert await talk.rows("reply") == []


@pytest.mark.parametrize("text", ["\0", "\ud800", "yes:\0", "no:sub_\ud800", "x" * 5000])
@pytest.mark.parametrize("kind", [{}, {"command": "start"}, {"press": "p1"}])
async def test_no_text_stops_the_updates_behind_it(talk, text, kind):
    await talk.say(text=text, **kind)
    assert [reply.text for reply in await talk.say(command="help")] == [talk.text("help")]


@pytest.mark.parametrize("language", [None, "tlh", "", "x" * 50, "de\0", "\ud800"])
async def test_a_language_that_is_none_is_answered_in_the_fallback(talk, language):
    [reply] = await talk.say(command="start", language=language)
    assert reply.text == talk.text("start")


async def test_answers_are_in_the_persons_language(talk):
    [reply] = await talk.say(command="help", language="de-AT")
    assert reply.text == talk.text("help", language="de")
    assert reply.text != talk.text("help")


async def test_a_chat_linked_before_there_were_rows_gets_one_by_its_next_word(talk):
    await talk.link()
    await talk.world.database.run(lambda connection: connection.fetch("DELETE FROM chat RETURNING hash"))
    await talk.say(text="hello", language="de")
    assert [row["told_language"] for row in await talk.rows("chat")] == ["de"]


async def test_of_a_stranger_nothing_is_kept_but_the_number_of_the_update(talk):
    await talk.say(text="hello")
    assert [len(await talk.rows(table)) for table in ("chat", "reply", "event", "heard")] == [0, 0, 0, 1]


async def test_numbers_are_forgotten_after_two_days(talk, clock):
    await talk.say(command="help")
    clock.advance(HEARD / 2)
    await talk.say(command="help")
    assert await talk.inbox.forget_heard() == 0
    clock.advance(HEARD / 2)
    assert await talk.inbox.forget_heard() == 1
    assert [row["update_id"] for row in await talk.rows("heard")] == [2]


async def test_numbers_are_forgotten_some_at_a_time(talk, clock):
    for _ in range(3):
        await talk.say(command="help")
    clock.advance(HEARD)
    assert [await talk.inbox.forget_heard(2) for _ in range(3)] == [2, 1, 0]


def test_an_inbound_shows_no_text_name_or_chat():
    shown = repr(
        Inbound(1, CHAT, None, "492039", "Ann Ö.", "en", private=True, contact=Contact("+4915112345678", own=True))
    )
    assert not any(secret in shown for secret in (CHAT, "492039", "Ann", "4915"))
