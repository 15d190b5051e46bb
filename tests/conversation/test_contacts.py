"""A person proves a number by their own contact, and by nothing else."""

from __future__ import annotations

import asyncio

import pytest

from channels.chat import Contact
from channels.kinds import KINDS
from gateway.conversation import chats, contacts
from gateway.storage.database import Database
from tests.conversation.conftest import CHAT, OTHER_CHAT
from tests.world import PHONE

OTHER_PHONE = "+4915112345679"
MASKED = KINDS["phone"](PHONE).masked


async def share(talk, phone=PHONE, chat=CHAT, *, own=True):
    return await talk.hear(chat, contact=Contact(phone, own))


async def proved(talk):
    """The masked numbers that chats have proved."""
    return [row["phone_masked"] for row in await talk.rows("chat") if row["phone_masked"] is not None]


@pytest.mark.parametrize("phone", [PHONE, PHONE.removeprefix("+"), "49 151 1234-5678"])
async def test_ones_own_contact_proves_the_number(talk, phone):
    said = await share(talk, phone)
    [reply] = said[CHAT]
    assert MASKED in reply.text
    assert PHONE not in reply.text
    assert (reply.clears_keyboard, reply.asks_contact) == (True, None)
    assert await proved(talk) == [MASKED]
    assert await talk.events() == [("subscriber.proved", "", MASKED)]


async def test_who_proved_a_number_is_reached_by_it_for_every_service(talk):
    await share(talk)
    for service in ("shop", "bank"):
        assert (await talk.subscribers.resolve(service, KINDS["phone"](PHONE))).chat == CHAT


async def test_a_contact_of_somebody_else_proves_nothing_and_may_be_tried_again(talk):
    [reply] = (await share(talk, own=False))[CHAT]
    assert (reply.asks_contact, reply.clears_keyboard) == (talk.text("contact", "share.txt"), False)
    assert await proved(talk) == []
    assert (await talk.subscribers.resolve("shop", KINDS["phone"](PHONE))).chat is None


@pytest.mark.parametrize(
    "phone", ["", "+", "++4915112345678", "12345", "004915112345678", "anna", "+49151\x0012345678"]
)
async def test_what_is_no_number_proves_nothing(talk, phone):
    [reply] = (await share(talk, phone))[CHAT]
    assert (reply.asks_contact, reply.clears_keyboard) == (None, True)
    assert await proved(talk) == []


async def test_a_contact_in_a_group_proves_nothing(talk):
    [reply] = await talk.say(contact=Contact(PHONE, own=True), private=False)
    assert reply.leaves
    assert await talk.rows("chat") == []


async def test_a_number_proved_by_another_chat_leaves_the_first_which_is_told(talk):
    await share(talk)
    said = await share(talk, chat=OTHER_CHAT)
    [told] = said[CHAT]
    assert MASKED in told.text
    assert (told.clears_keyboard, told.asks_contact) == (False, None)
    assert len(said[OTHER_CHAT]) == 1
    assert (await talk.subscribers.resolve("shop", KINDS["phone"](PHONE))).chat == OTHER_CHAT


async def test_the_number_that_a_service_has_is_told_as_proved(talk):
    await talk.link(phone=OTHER_PHONE, reference="user-1")
    await talk.link(phone=PHONE)
    [reply] = (await share(talk))[CHAT]
    assert "Shop" not in reply.text


async def test_a_number_that_differs_from_the_services_is_proved_and_said_to_differ(talk):
    await talk.link(phone=OTHER_PHONE)
    [reply] = (await share(talk))[CHAT]
    assert "Shop &amp; Söhne" in reply.text
    assert OTHER_PHONE not in reply.text
    assert KINDS["phone"](OTHER_PHONE).masked in reply.text
    assert await proved(talk) == [MASKED]


async def test_services_without_a_number_want_none(talk):
    await talk.link()
    [reply] = (await share(talk))[CHAT]
    assert "Shop" not in reply.text


async def test_no_phone_is_in_a_row_in_plain(talk):
    await share(talk)
    rows = [row for table in ("chat", "reply", "event") for row in await talk.rows(table)]
    stored = repr(rows) + "".join(
        bytes(value).decode("latin-1") for row in rows for value in row.values() if isinstance(value, bytes)
    )
    assert PHONE.removeprefix("+") not in stored


async def test_the_question_may_name_no_service(talk):
    async def ask(turn):
        return contacts.ask(turn, "", "")

    said = await talk.turned(ask)
    assert said.reply.asks_contact == talk.text("contact", "share.txt")
    assert "<b>" not in said.reply.text


async def test_a_proof_counts_for_a_lock_at_once(talk, clock, hasher):
    await talk.turned(lambda turn: chats.lock(turn, clock.now() + 60))
    await share(talk)
    assert (await talk.subscribers.resolve("shop", KINDS["phone"](PHONE))).locked_until == clock.now() + 60


async def test_of_two_chats_that_prove_a_number_on_two_nodes_at_once_one_has_it(talk, make_talk, make_engine):
    async with Database(make_engine()) as second:
        other = make_talk(node="node-b", within=second)
        other.updates = 100
        answers = await asyncio.gather(share(talk), share(other, chat=OTHER_CHAT))
    assert await proved(talk) == [MASKED]
    # Whoever came first may have been told already that it is over.
    assert all(MASKED in said[chat][0].text for said, chat in zip(answers, (CHAT, OTHER_CHAT), strict=True))


async def test_a_lock_that_runs_comes_along_with_the_number(talk, clock):
    """Whoever has taken over a number (by its SIM) shares it in a chat of their own."""
    await share(talk)
    until = clock.now() + 60
    await talk.turned(lambda turn: chats.lock(turn, until))
    await share(talk, chat=OTHER_CHAT)
    reach = await talk.subscribers.resolve("shop", KINDS["phone"](PHONE))
    assert (reach.chat, reach.locked_until) == (OTHER_CHAT, until)
