"""The Bot API as python-telegram-bot and a plain HTTP client see it."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web
from telegram import (
    Bot,
    BotCommandScopeAllPrivateChats,
    CopyTextButton,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    KeyboardButton,
    ReplyKeyboardMarkup,
    ReplyKeyboardRemove,
    Update,
)
from telegram.error import (
    BadRequest,
    Conflict,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
    TimedOut,
)
from telegram.request import HTTPXRequest

from gateway.sandbox.fault import Fault
from gateway.sandbox.inbox import Inbox
from gateway.sandbox.telegram import TelegramSandbox
from gateway.sandbox.telegram_people import CHAT_CAPACITY

ANN = 4242


@pytest.fixture
async def server():
    async with TelegramSandbox(Inbox()) as opened:
        yield opened


@pytest.fixture
def ann(server):
    return server.person(ANN, "Ann", "de")


@pytest.fixture
async def bot(server, request_options):
    def wire() -> HTTPXRequest:
        return HTTPXRequest(httpx_kwargs={"trust_env": False}, **request_options)

    # Without ``initialize``, which would call getMe and shift the counts.
    opened = Bot(server.token, base_url=f"{server.base_url}/bot", request=wire(), get_updates_request=wire())
    yield opened
    for wired in opened._request:
        await wired.shutdown()


@pytest.fixture
def request_options() -> dict[str, float]:
    return {"read_timeout": 10.0}


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


async def drained(bot: Bot, offset: int = 0) -> list[Update]:
    return list(await bot.get_updates(offset=offset, timeout=0))


async def test_get_me_names_the_bot(server, bot):
    me = await bot.get_me()
    assert (me.id, me.username, me.is_bot) == (123456, server.bot_username, True)
    assert server.requests == {"getMe": 1}


async def test_a_message_arrives_as_a_person_reads_it(server, bot, ann):
    keyboard = InlineKeyboardMarkup([[InlineKeyboardButton("Copy", copy_text=CopyTextButton("123456"))]])
    sent = await bot.send_message(
        ANN, "<b>Code</b> 123456 &amp; <i>mehr</i>\n", parse_mode="HTML", reply_markup=keyboard, protect_content=True
    )
    [letter] = server.inbox.letters
    assert (letter.protocol, letter.to, letter.text) == ("telegram", "4242", "Code 123456 & mehr")
    assert letter.id == str(sent.message_id)
    assert letter.fields["chat_id"] == "4242"
    assert "copy_text" in letter.fields["reply_markup"]
    assert b"protect_content=true" in letter.raw
    assert sent.has_protected_content
    assert [entity.type for entity in sent.entities] == ["bold", "italic"]
    [shown] = server.chat(ANN)
    assert shown["reply_markup"]["inline_keyboard"][0][0]["copy_text"] == {"text": "123456"}


async def test_an_unknown_chat_is_not_found(server, bot):
    for chat in (1, "@nobody"):
        with pytest.raises(BadRequest, match="Chat not found"):
            await bot.send_message(chat, "hello")
    assert server.chat(1) == []


async def test_markup_telegram_cannot_parse_is_refused(bot, ann, server):
    with pytest.raises(BadRequest, match="unsupported start tag"):
        await bot.send_message(ANN, "<p>x</p>", parse_mode="HTML")
    assert server.inbox.letters == []


async def test_a_person_who_blocked_the_bot_is_not_reached_until_they_come_back(bot, ann, server):
    ann.block()
    ann.block()
    with pytest.raises(Forbidden, match="bot was blocked by the user"):
        await bot.send_message(ANN, "hello")
    with pytest.raises(RuntimeError, match="blocked"):
        ann.write("hello")
    ann.press_start()
    await bot.send_message(ANN, "hello")
    blocked, unblocked, started = await drained(bot)
    assert blocked.my_chat_member
    assert blocked.my_chat_member.new_chat_member.status == "kicked"
    assert unblocked.my_chat_member
    assert unblocked.my_chat_member.new_chat_member.status == "member"
    assert started.message
    assert started.message.text == "/start"


async def test_what_a_person_does_becomes_updates(bot, ann, server):
    start = ann.press_start("token-1")
    ann.write("hello there")
    ann.share_contact("+4915112345678")
    ann.share_contact("4915112345678", user_id=7)
    ann.share_contact("1", user_id=0)
    first, second, own, other, nobody = await drained(bot)
    assert first.message
    assert first.message.text == "/start token-1"
    assert first.message.entities[0].length == len("/start")
    assert first.message.message_id == start
    assert first.message.chat.type == "private"
    assert first.effective_user
    assert first.effective_user.language_code == "de"
    assert second.message
    assert (second.message.text, second.message.entities) == ("hello there", ())
    contacts = [update.message.contact for update in (own, other, nobody) if update.message]
    assert [contact.user_id for contact in contacts if contact] == [ANN, 7, None]
    assert contacts[0]
    assert contacts[0].phone_number == "4915112345678"
    assert [message["message_id"] for message in server.chat(ANN)] == [1, 2, 3, 4, 5]


async def test_a_person_is_the_same_when_asked_for_again(server, ann):
    assert server.person(ANN, "Ann") is ann


async def test_a_pressed_button_is_answered_once(bot, ann, server):
    keyboard = InlineKeyboardMarkup([[InlineKeyboardButton("Not me", callback_data="no")]])
    sent = await bot.send_message(ANN, "Was it you?", reply_markup=keyboard)
    query_id = ann.press(sent.message_id, "no")
    [update] = await drained(bot)
    assert update.callback_query
    assert (update.callback_query.id, update.callback_query.data) == (query_id, "no")
    assert await bot.answer_callback_query(query_id, text="Noted")
    assert server.answers == {query_id: "Noted"}
    with pytest.raises(BadRequest, match="query id is invalid"):
        await bot.answer_callback_query(query_id)


async def test_a_person_cannot_press_what_is_not_there(ann):
    with pytest.raises(LookupError):
        ann.press(99, "x")
    with pytest.raises(ValueError, match="64 bytes"):
        ann.press(ann.write("hi"), "x" * 65)


async def test_an_edit_changes_the_text_and_takes_the_keyboard_away(bot, ann, server):
    keyboard = InlineKeyboardMarkup([[InlineKeyboardButton("Not me", callback_data="no")]])
    sent = await bot.send_message(ANN, "Code 123456", reply_markup=keyboard)
    await bot.edit_message_text("<i>Used</i>", ANN, sent.message_id, parse_mode="HTML")
    [shown] = server.chat(ANN)
    assert (shown["text"], shown["entities"][0]["type"], "reply_markup" in shown) == ("Used", "italic", False)
    assert len(server.inbox.letters) == 1
    with pytest.raises(BadRequest, match="not modified"):
        await bot.edit_message_text("<i>Used</i>", ANN, sent.message_id, parse_mode="HTML")


async def test_a_keyboard_is_edited_alone(bot, ann, server):
    sent = await bot.send_message(ANN, "Code")
    keyboard = InlineKeyboardMarkup([[InlineKeyboardButton("Not me", callback_data="no")]])
    await bot.edit_message_reply_markup(ANN, sent.message_id, reply_markup=keyboard)
    assert "reply_markup" in server.chat(ANN)[0]
    await bot.edit_message_reply_markup(ANN, sent.message_id)
    assert "reply_markup" not in server.chat(ANN)[0]
    assert server.chat(ANN)[0]["text"] == "Code"


async def test_only_the_bots_own_messages_are_edited(bot, ann):
    theirs = ann.write("hello")
    with pytest.raises(BadRequest, match="can't be edited"):
        await bot.edit_message_text("x", ANN, theirs)
    with pytest.raises(BadRequest, match="Message to edit not found"):
        await bot.edit_message_text("x", ANN, 99)


async def test_a_deleted_message_is_gone(bot, ann, server):
    sent = await bot.send_message(ANN, "Code")
    assert await bot.delete_message(ANN, sent.message_id)
    assert server.chat(ANN) == []
    with pytest.raises(BadRequest, match="Message to delete not found"):
        await bot.delete_message(ANN, sent.message_id)


async def test_a_chat_forgets_its_oldest_messages_and_queries(bot, ann, server):
    messages = [ann.write("hi") for _ in range(CHAT_CAPACITY + 2)]
    assert [message["message_id"] for message in server.chat(ANN)] == messages[2:]
    oldest, *_ = [ann.press(messages[-1], "x") for _ in range(CHAT_CAPACITY + 1)]
    with pytest.raises(BadRequest):
        await bot.answer_callback_query(oldest)


async def test_commands_are_kept_by_language(bot, server):
    await bot.set_my_commands([("start", "Begin")])
    await bot.set_my_commands([("start", "Beginnen")], language_code="de")
    assert server.commands == {
        "": [{"command": "start", "description": "Begin"}],
        "de": [{"command": "start", "description": "Beginnen"}],
    }


async def test_confirmed_updates_do_not_come_again(bot, ann):
    for text in ("1", "2", "3"):
        ann.write(text)
    updates = await drained(bot)
    assert [update.update_id for update in await drained(bot)] == [update.update_id for update in updates]
    assert [update.update_id for update in await drained(bot, updates[1].update_id)] == [2, 3]
    assert [update.update_id for update in await drained(bot, -1)] == [3]
    assert await drained(bot, 4) == []
    assert len(await bot.get_updates(limit=1, timeout=0)) == 0


async def test_a_poll_returns_when_something_happens(bot, ann, server):
    polling = asyncio.create_task(bot.get_updates(timeout=5))
    while not server.requests["getUpdates"]:  # noqa: ASYNC110 - the server has no event to wait for
        await asyncio.sleep(0)
    ann.write("hello")
    assert [update.update_id for update in await polling] == [1]


async def test_a_second_poll_ends_the_first_with_a_conflict(bot, ann, http, server):
    polling = asyncio.create_task(bot.get_updates(timeout=5))
    async with asyncio.timeout(10):
        while server._updates._poll is None:  # noqa: ASYNC110 - the server has no event to wait for
            await asyncio.sleep(0)
    second = asyncio.create_task(called(http, server, "getUpdates", timeout=5))
    with pytest.raises(Conflict, match="terminated by other getUpdates request"):
        await polling
    ann.write("hello")
    assert (await second)["result"][0]["message"]["text"] == "hello"


async def test_a_poll_that_nothing_answers_ends_by_itself(server):
    assert await server._updates.poll(offset=0, limit=1, timeout=0.01) == []


async def test_a_poll_does_not_hold_the_shutdown():
    async with aiohttp.ClientSession() as session:
        async with TelegramSandbox(Inbox()) as server:
            polling = asyncio.create_task(called(session, server, "getUpdates", timeout=50))
            while server._updates._poll is None:  # noqa: ASYNC110 - the server has no event to wait for
                await asyncio.sleep(0)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await polling


async def test_only_the_kinds_asked_for_are_queued(bot, ann):
    await bot.get_updates(timeout=0, allowed_updates=["my_chat_member"])
    ann.write("hello")
    ann.block()
    assert [update.message is None for update in await drained(bot)] == [True]
    await bot.get_updates(timeout=0, allowed_updates=[])
    ann.unblock()
    ann.write("hello")
    assert len(await drained(bot)) == 3


async def called(http: aiohttp.ClientSession, server: TelegramSandbox, method: str, /, **parameters):
    async with http.post(f"{server.base_url}/bot{server.token}/{method}", json=parameters) as answer:
        return await answer.json()


async def test_json_bodies_and_queries_do_as_well_as_forms(server, http, ann):
    assert (await called(http, server, "sendMessage", chat_id=ANN, text="json"))["ok"]
    url = f"{server.base_url}/bot{server.token}/sendMessage?chat_id={ANN}&text=query"
    async with http.get(url) as answer:
        assert (await answer.json())["ok"]
    assert [letter.text for letter in server.inbox.letters] == ["json", "query"]


async def test_an_unknown_method_is_not_found(server, http):
    assert await called(http, server, "sendCash") == {
        "ok": False,
        "error_code": 404,
        "description": "Not Found: method not found",
    }


async def test_another_token_is_unauthorized(server, http):
    async with http.get(f"{server.base_url}/bot123456:wrong/getMe") as answer:
        assert (answer.status, await answer.json()) == (
            401,
            {"ok": False, "error_code": 401, "description": "Unauthorized"},
        )


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.REFUSE, Forbidden),
        (Fault.DEFER, NetworkError),
        (Fault.LIMIT, RetryAfter),
        (Fault.RESET, NetworkError),
        (Fault.GARBLE, TelegramError),
        (Fault.UNAUTHORIZED, InvalidToken),
    ],
)
async def test_a_fault_is_told_in_telegrams_way(server, bot, ann, fault, error):
    server.faults.set(fault, times=1, retry_after=3)
    with pytest.raises(error):
        await bot.send_message(ANN, "Code")
    assert server.inbox.letters == []
    await bot.send_message(ANN, "Code")
    assert server.requests == {"sendMessage": 2}


async def test_a_limit_says_how_long(server, http, ann):
    server.faults.set(Fault.LIMIT, retry_after=3)
    assert await called(http, server, "sendMessage", chat_id=ANN, text="x") == {
        "ok": False,
        "error_code": 429,
        "description": "Too Many Requests: retry after 3",
        "parameters": {"retry_after": 3},
    }


@pytest.mark.parametrize("request_options", [{"read_timeout": 0.5}])
async def test_a_stalled_call_is_never_answered(server, bot, ann):
    server.faults.set(Fault.STALL)
    with pytest.raises(TimedOut):
        await bot.send_message(ANN, "Code")
    assert server.inbox.letters == []


async def test_a_fault_can_be_for_one_chat_or_one_method(server, bot, ann):
    server.person(7, "Bob")
    server.faults.set(Fault.DEFER, recipient="7")
    server.faults.set(Fault.UNAUTHORIZED, recipient="getUpdates")
    await bot.send_message(ANN, "Code")
    with pytest.raises(NetworkError, match="Bad Gateway"):
        await bot.send_message(7, "Code")
    with pytest.raises(InvalidToken):
        await bot.get_updates(timeout=0)


async def test_only_a_chat_refuses_a_bot(server, bot):
    server.faults.set(Fault.REFUSE)
    assert (await bot.get_me()).is_bot


class Application:
    """A server that takes pushed updates."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[str | None, str]] = asyncio.Queue()
        self.statuses = [500]
        self.url = ""

    async def hear(self, request: web.Request) -> web.Response:
        update = await request.json()
        self.heard.put_nowait((request.headers.get("X-Telegram-Bot-Api-Secret-Token"), update["message"]["text"]))
        return web.Response(status=self.statuses.pop() if self.statuses else 200)

    async def next(self) -> tuple[str | None, str]:
        async with asyncio.timeout(10):
            return await self.heard.get()


@pytest.fixture
async def application():
    heard = Application()
    app = web.Application()
    app.router.add_post("/callbacks/telegram", heard.hear)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    heard.url = f"http://127.0.0.1:{runner.addresses[0][1]}/callbacks/telegram"
    yield heard
    await runner.cleanup()


async def test_a_webhook_gets_every_update_in_order_and_again_until_it_takes_it(bot, ann, application):
    ann.write("first")
    await bot.set_webhook(application.url, secret_token="s3cret", allowed_updates=["message"])
    assert [await application.next() for _ in range(2)] == [("s3cret", "first"), ("s3cret", "first")]
    ann.write("second")
    assert await application.next() == ("s3cret", "second")
    info = await bot.get_webhook_info()
    assert (info.url, info.allowed_updates) == (application.url, ("message",))
    with pytest.raises(Conflict, match="webhook is active"):
        await bot.get_updates(timeout=0)
    await bot.delete_webhook()
    assert (await bot.get_webhook_info()).url == ""


async def test_a_webhook_nobody_hears_is_reported(bot, ann, server):
    await bot.set_webhook("http://127.0.0.1:1/callbacks/telegram")
    ann.write("lost")
    async with asyncio.timeout(10):
        while server._updates.last_error is None:  # noqa: ASYNC110 - the server has no event to wait for
            await asyncio.sleep(0)
    info = await bot.get_webhook_info()
    assert (info.last_error_message, info.pending_update_count) == ("Connection failed", 1)
    await bot.set_webhook("", drop_pending_updates=True)
    assert (await bot.get_webhook_info()).pending_update_count == 0


@pytest.mark.parametrize("url", ["https://192.0.2.1/x", "ftp://127.0.0.1/x", "http://["])
async def test_a_webhook_on_another_machine_is_refused(bot, url):
    with pytest.raises(BadRequest, match="loopback only"):
        await bot.set_webhook(url)


async def test_a_webhook_ends_the_poll_under_way(bot, http, server):
    polling = asyncio.create_task(called(http, server, "getUpdates", timeout=5))
    async with asyncio.timeout(10):
        while server._updates._poll is None:  # noqa: ASYNC110 - the server has no event to wait for
            await asyncio.sleep(0)
    await bot.set_webhook("http://127.0.0.1:1/callbacks/telegram")
    assert (await polling)["description"] == "Conflict: terminated by setWebhook request"


SHARE = ReplyKeyboardMarkup(
    [[KeyboardButton("Share my number", request_contact=True)]], one_time_keyboard=True, resize_keyboard=True
)


async def test_a_keyboard_is_shown_until_it_is_taken_away(bot, ann, server):
    sent = await bot.send_message(ANN, "Your number?", reply_markup=SHARE)
    assert ann.keyboard
    assert ann.keyboard["keyboard"] == [[{"text": "Share my number", "request_contact": True}]]
    # A keyboard belongs to the chat, not to the message.
    assert "reply_markup" not in server.chat(ANN)[0]
    await bot.send_message(ANN, "Take your time")
    assert ann.keyboard
    with pytest.raises(BadRequest, match="Inline keyboard expected"):
        await bot.edit_message_text("x", ANN, sent.message_id, reply_markup=SHARE)
    await bot.send_message(ANN, "Thank you", reply_markup=ReplyKeyboardRemove())
    assert ann.keyboard is None


async def test_a_keyboard_for_one_use_goes_when_it_is_used(bot, ann):
    await bot.send_message(ANN, "Your number?", reply_markup=SHARE)
    ann.share_contact("+4915112345678", user_id=7, forwarded=True)
    assert ann.keyboard
    ann.share_contact("+4915112345678")
    assert ann.keyboard is None


async def test_menus_are_those_of_the_private_chats(bot, server):
    heard = []
    server.on_menu = lambda: heard.append(server.commands)
    scope = BotCommandScopeAllPrivateChats()
    await bot.set_my_commands([("start", "Begin")])
    await bot.set_my_commands([("start", "Beginnen")], language_code="de")
    await bot.set_my_commands([("codes", "Codes")], scope=scope, language_code="de")
    assert {language: menu[0]["command"] for language, menu in heard[-1].items()} == {"": "start", "de": "codes"}
    await bot.set_my_commands([("help", "Help")], scope=scope)
    assert {language: menu[0]["command"] for language, menu in heard[-1].items()} == {"": "help", "de": "codes"}


async def test_a_secret_telegram_would_not_take_is_refused(bot):
    with pytest.raises(BadRequest, match="unallowed characters"):
        await bot.set_webhook("http://127.0.0.1:1/x", secret_token="not this!")


async def test_conflicts_are_counted(bot, http, server):
    polling = asyncio.create_task(called(http, server, "getUpdates", timeout=5))
    async with asyncio.timeout(10):
        while server._updates._poll is None:  # noqa: ASYNC110 - the server has no event to wait for
            await asyncio.sleep(0)
    await drained(bot)
    assert (await polling)["error_code"] == 409
    await bot.set_webhook("http://127.0.0.1:1/x")
    with pytest.raises(Conflict):
        await drained(bot)
    assert server.conflicts == 2


async def test_whoever_watches_hears_of_every_change_of_a_chat(bot, ann, server):
    changed: list[int] = []
    server.on_change(changed.append)
    sent = await bot.send_message(ANN, "Code")
    await bot.edit_message_text("Used", ANN, sent.message_id)
    await bot.delete_message(ANN, sent.message_id)
    ann.write("hello")
    ann.block()
    ann.block()
    assert changed == [ANN] * 5


async def test_a_slow_answer_comes_late(server, bot, ann):
    server.faults.set(Fault.SLOW, delay=0.05, recipient="sendMessage")
    assert (await bot.send_message(ANN, "Code")).text == "Code"
    assert len(server.inbox.letters) == 1


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-site", 403), ("none", 200), (None, 200)])
async def test_no_web_site_acts_as_the_bots_owner(server, http, site, status):
    """A browser says which site a request comes from; no provider's client is a browser."""
    headers = {} if site is None else {"Sec-Fetch-Site": site}
    async with http.get(f"{server.base_url}/bot{server.token}/getMe", headers=headers) as answer:
        assert answer.status == status
