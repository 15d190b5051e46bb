"""Groups, channels and forwarded contacts, as python-telegram-bot sees them."""

from __future__ import annotations

import pytest
from telegram import Bot, KeyboardButton, ReplyKeyboardMarkup, Update
from telegram.error import BadRequest, Forbidden
from telegram.request import HTTPXRequest

from gateway.sandbox.inbox import Inbox
from gateway.sandbox.telegram import TelegramSandbox

ANN, GROUP = 4242, -1001


@pytest.fixture
async def server():
    async with TelegramSandbox(Inbox()) as opened:
        yield opened


@pytest.fixture
def ann(server):
    return server.person(ANN, "Ann")


@pytest.fixture
async def bot(server):
    def wire() -> HTTPXRequest:
        return HTTPXRequest(httpx_kwargs={"trust_env": False}, read_timeout=10.0)

    opened = Bot(server.token, base_url=f"{server.base_url}/bot", request=wire(), get_updates_request=wire())
    yield opened
    for wired in opened._request:
        await wired.shutdown()


async def drained(bot: Bot) -> list[Update]:
    return list(await bot.get_updates(timeout=0))


async def test_the_bot_writes_to_a_group_it_is_in_and_leaves_it(server, bot, ann):
    group = server.group(GROUP, "Family")
    with pytest.raises(Forbidden, match="not a member of the supergroup chat"):
        await bot.send_message(GROUP, "hello")
    group.write(ann, "unheard")
    group.add_bot(ann)
    group.add_bot(ann)
    group.write(ann, "/start")
    await bot.send_message(GROUP, "I talk in private only.")
    assert await bot.leave_chat(GROUP)
    assert not group.joined
    with pytest.raises(Forbidden):
        await bot.leave_chat(GROUP)
    joined, wrote, left = await drained(bot)
    assert joined.my_chat_member
    assert (joined.my_chat_member.old_chat_member.status, joined.my_chat_member.new_chat_member.status) == (
        "left",
        "member",
    )
    assert joined.effective_user
    assert joined.effective_user.id == ANN
    assert wrote.message
    assert (wrote.message.text, wrote.message.chat.type, wrote.message.chat.title) == ("/start", "supergroup", "Family")
    assert left.my_chat_member
    assert left.my_chat_member.new_chat_member.status == "left"
    assert [message["text"] for message in server.chat(GROUP)] == ["unheard", "/start", "I talk in private only."]


async def test_the_bot_comes_into_a_channel_as_an_administrator_and_can_be_put_out(server, bot, ann):
    channel = server.group(-1002, "News", "channel")
    channel.add_bot(ann)
    channel.remove_bot(ann)
    came, went = await drained(bot)
    assert came.my_chat_member
    assert came.my_chat_member.new_chat_member.status == "administrator"
    assert went.my_chat_member
    assert went.my_chat_member.new_chat_member.status == "left"


async def test_a_private_chat_cannot_be_left_and_a_group_is_not_asked_for_a_phone(server, bot, ann):
    with pytest.raises(BadRequest, match="private chats"):
        await bot.leave_chat(ANN)
    server.group(GROUP, "Family").add_bot(ann)
    keyboard = ReplyKeyboardMarkup([[KeyboardButton("Share", request_contact=True)]])
    with pytest.raises(BadRequest, match="private chats only"):
        await bot.send_message(GROUP, "Your number?", reply_markup=keyboard)


async def test_a_forwarded_contact_says_that_it_is(bot, ann):
    ann.share_contact("+4915112345678")
    ann.share_contact("+4915112345678", forwarded=True)
    own, forwarded = await drained(bot)
    assert own.message
    assert own.message.forward_origin is None
    assert forwarded.message
    assert forwarded.message.forward_origin
    assert forwarded.message.contact
    assert forwarded.message.contact.user_id == ANN


async def test_people_and_groups_are_told_apart_by_their_numbers(server, ann):
    group = server.group(GROUP, "Family")
    assert server.group(GROUP, "Another name") is group
    assert server.people == [ann]
    with pytest.raises(ValueError, match="negative"):
        server.group(1, "Nobody")
