"""Who blocks the bot is not written to; who lets it in again, or writes, is. No other bot has a say in that."""

from __future__ import annotations

import pytest

from channels.base import PermanentError, Reason
from channels.chat import Contact
from channels.kinds import KINDS
from gateway.conversation.blocking import Blocking
from gateway.delivery.routing import plan
from gateway.errors import RecipientRefused
from tests.conversation.conftest import CHAT, OTHER_CHAT, Bot
from tests.world import PHONE


@pytest.fixture
def talk(make_talk):
    """Two bots, of which ``bot`` hands out links."""
    return make_talk(beside={"alt": Bot("alt", ["telegram", "phone"])})


@pytest.fixture
def blocking(database, hasher, clock) -> Blocking:
    return Blocking(database, hasher, clock, "bot")


async def reached(talk, by="bot"):
    """Where a bot writes to by the reference, and by the phone."""
    addresses = {"telegram": KINDS["telegram"]("user-42"), "phone": KINDS["phone"](PHONE)}
    reaches = {kind: await talk.subscribers.resolve("shop", address) for kind, address in addresses.items()}
    steps = {
        kind: plan([by], talk.world.channels, {kind: address}, {kind: reaches[kind]})
        for kind, address in addresses.items()
    }
    return [step[0].address if step else None for step in steps.values()]


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
    await blocking.blocked("bot", CHAT)
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
        await blocking.blocked("bot", CHAT)
    for _ in range(2):
        await talk.say(blocked=False)
    names = [name.removeprefix("subscriber.") for name, _, _ in await talk.events()]
    assert names == ["created", "linked", "proved", "blocked", "linked"]


async def state(talk, known):
    """How the subscriber stands, and what each bot writes to."""
    return (await talk.subscribers.one("shop", known.id)).status, await reached(talk), await reached(talk, "alt")


OPEN = ("linked", [CHAT, CHAT], [CHAT, CHAT])
CLOSED = ("blocked", [None, None], [CHAT, CHAT])


async def blocked_code(talk, channel, to):
    """Have a code sent by a bot that may not write there."""
    talk.world.channels[channel].script = [PermanentError(Reason.BLOCKED)]
    view = await talk.world.start(to, channels=[channel])
    await talk.world.attempt()
    return view


@pytest.mark.parametrize("to", [{"telegram": "user-42"}, {"phone": PHONE}], ids=["reference", "phone"])
async def test_a_bot_that_a_person_never_opened_ends_no_code_of_the_other(talk, known, to):
    view = await blocked_code(talk, "alt", to)
    assert await talk.world.statuses(view) == [("alt", "failed")]
    assert await state(talk, known) == OPEN
    view = await talk.world.start(to, channels=["bot"])
    await talk.world.attempt()
    assert await talk.world.statuses(view) == [("bot", "sent")]


async def test_a_route_goes_on_from_a_bot_that_a_person_never_opened_to_the_one_they_use(talk, known):
    talk.world.channels["alt"].script = [PermanentError(Reason.BLOCKED)]
    view = await talk.world.start({"telegram": "user-42"}, channels=["alt", "bot"])
    for _ in range(2):
        await talk.world.attempt()
    assert await talk.world.statuses(view) == [("alt", "failed"), ("bot", "sent")]


async def test_who_blocks_another_bot_is_sent_to_by_the_first(talk, known):
    assert await talk.say(to="alt", blocked=True) == []
    assert await state(talk, known) == OPEN


async def test_an_answer_that_another_bot_may_not_give_marks_no_chat(talk, known):
    talk.world.channels["alt"].failures["say"] = [PermanentError(Reason.BLOCKED)]
    await talk.say(to="alt", command="help")
    assert await state(talk, known) == OPEN


@pytest.mark.parametrize("written", [{"text": "hello"}, {"blocked": False}], ids=["word", "let_in"])
async def test_what_a_person_says_to_another_bot_lets_the_first_write_no_more_than_before(talk, known, written):
    await talk.say(blocked=True)
    await talk.say(to="alt", **written)
    assert await state(talk, known) == CLOSED
    with pytest.raises(RecipientRefused, match="blocked the bot"):
        await talk.verify()


async def test_who_blocks_the_first_bot_is_sent_to_by_another_and_sees_their_services_there(talk, known):
    await blocked_code(talk, "bot", {"telegram": "user-42"})
    assert await state(talk, known) == CLOSED
    view = await talk.world.start({"telegram": "user-42"}, channels=["bot", "alt"])
    await talk.world.attempt()
    assert await talk.world.statuses(view) == [("alt", "sent")]
    [unlink] = await talk.say(to="alt", command="unlink")
    assert "Shop" in str(unlink)
    [codes] = await talk.say(to="alt", command="codes")
    assert codes.text.startswith(talk.text("codes"))


async def test_a_link_confirmed_at_another_bot_stays_blocked_at_the_first(talk, known):
    await talk.say(blocked=True)
    view = await talk.invite(reference="user-43")
    await talk.confirm(view, to="alt")
    assert (await talk.subscribers.one("shop", view.id)).status == "blocked"
    await talk.say(text="hello")
    assert (await talk.subscribers.one("shop", view.id)).status == "linked"


async def test_a_second_press_at_another_bot_says_once_more_what_is_linked(talk, known):
    await talk.say(blocked=True)
    view = await talk.invite(reference="user-43")
    [question] = await talk.start(view.link, to="alt")
    said = [await talk.press(question, 0, to="alt") for _ in range(2)]
    assert said[0][0].text == said[1][0].text


async def took_over(talk, what, by):
    """Have another chat take over what is known, by a bot; return what the robbed chat is told, by bot."""
    if what == "number":
        await talk.hear(OTHER_CHAT, to=by, contact=Contact(PHONE, own=True))
    else:
        again = await talk.invite()
        [asked] = await talk.start(again.link, OTHER_CHAT, to=by)
        await talk.press(asked, 0, OTHER_CHAT, to=by)
    told = {}
    for name in ("bot", "alt"):
        await talk.replying.send_once(name)
        did = talk.world.channels[name].did
        told[name] = [reply.text for kind, *what in did if kind == "say" for chat, reply in [what] if chat == CHAT]
    return told


@pytest.mark.parametrize("by", ["bot", "alt"])
@pytest.mark.parametrize("what", ["number", "link"])
async def test_who_loses_a_number_or_a_link_is_told_by_every_bot_whichever_it_was_taken_by(talk, known, what, by):
    """They may have opened one alone, and whoever takes it chooses the bot."""
    before = {name: len(talk.world.channels[name].did) for name in ("bot", "alt")}
    for name, number in before.items():
        del talk.world.channels[name].did[:number]
    told = await took_over(talk, what, by)
    assert [len(texts) for texts in told.values()] == [1, 1]
    assert told["bot"] == told["alt"]
    assert "tell the service" in told["bot"][0] if what == "link" else "another chat" in told["bot"][0]
