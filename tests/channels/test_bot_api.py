"""Calls of the Bot API by themselves: what their failures mean, and which of them may be made again."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import AsyncIterator

import pytest
import telegram
from aiohttp import web
from telegram import CopyTextButton, InlineKeyboardButton, InlineKeyboardMarkup

from channels.base import AmbiguousError, DeliveryError, PermanentError, Reason, TransientError
from channels.bot_api import (
    NO_PREVIEW,
    Fetch,
    Polls,
    Requests,
    asked,
    button,
    buttons,
    markup,
    repeatable,
    sent,
    sent_code,
    settled,
)
from channels.chat import Button, Reply
from channels.http import HttpClient
from tests.channels.bot_server import CHAT, PRIVATE, TOKEN, BotApi, copied, message, no, ok, page
from tests.channels.contract import told


@pytest.fixture
async def api() -> AsyncIterator[BotApi]:
    async with BotApi() as server:
        yield server


def a_bot(base_url: str, requests: Requests) -> telegram.Bot:
    return telegram.Bot(TOKEN, f"{base_url}/bot", request=requests, get_updates_request=requests)


@pytest.fixture
async def bot(api: BotApi) -> AsyncIterator[telegram.Bot]:
    requests = Polls(HttpClient(timeout=0.2))
    await requests.initialize()
    yield a_bot(api.base_url, requests)
    await requests.shutdown()


async def failure(call: object) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await call  # type: ignore[misc]
    return caught.value


def summary(error: DeliveryError) -> tuple[type[DeliveryError], Reason, str | None]:
    return type(error), error.reason, error.provider_code


# --- Failures -----------------------------------------------------------------------------------------------------


async def test_an_answer_is_what_the_library_makes_of_it(bot: telegram.Bot) -> None:
    assert (await asked(bot.get_me())).username == "codes_bot"


async def test_a_silent_server_is_a_timeout(api: BotApi, bot: telegram.Bot) -> None:
    api.stalled.add("getMe")
    assert summary(await failure(asked(bot.get_me()))) == (AmbiguousError, Reason.TIMEOUT, None)


async def test_a_server_that_is_away_was_sent_nothing(bot: telegram.Bot) -> None:
    async with BotApi() as gone:
        base_url = gone.base_url
    requests = Requests(HttpClient(timeout=1.0))
    await requests.initialize()
    away = a_bot(base_url, requests)
    assert summary(await failure(asked(away.get_me()))) == (TransientError, Reason.UNAVAILABLE, None)
    await requests.shutdown()


async def test_a_client_that_is_not_open_may_have_sent_anything() -> None:
    closed = a_bot("http://127.0.0.1:1", Requests(HttpClient(timeout=1.0)))
    assert summary(await failure(asked(closed.get_me()))) == (AmbiguousError, Reason.UNKNOWN, None)


@pytest.mark.parametrize("duration", ["0", "1"])
async def test_a_wait_is_kept_whichever_way_the_library_tells_it(
    api: BotApi, bot: telegram.Bot, monkeypatch: pytest.MonkeyPatch, duration: str
) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", duration)
    api.answer("getMe", no(429, "Too Many Requests", retry_after=9))
    error = await failure(asked(bot.get_me()))
    assert isinstance(error, TransientError)
    assert error.retry_after == dt.timedelta(seconds=9).total_seconds()


async def test_a_wait_is_a_day_at_most(api: BotApi, bot: telegram.Bot) -> None:
    api.answer("getMe", no(429, "Too Many Requests", retry_after=10**9))
    error = await failure(asked(bot.get_me()))
    assert isinstance(error, TransientError)
    assert error.retry_after == 86_400.0


@pytest.mark.parametrize("answer", [page(502), page(200), ok(True), ok({})], ids=["502", "html", "true", "object"])
async def test_a_lost_answer_is_ambiguous_unless_the_call_may_be_made_again(
    api: BotApi, bot: telegram.Bot, answer: web.Response
) -> None:
    api.answer("getMe", copied(answer), copied(answer))
    first, second = await failure(asked(bot.get_me())), await failure(repeatable(bot.get_me()))
    assert (type(first), type(second)) == (AmbiguousError, TransientError)
    assert (second.reason, second.provider_code) == (first.reason, first.provider_code)


@pytest.mark.parametrize("answer", [no(401), no(403), no(400), no(429, retry_after=5)], ids=lambda a: str(a.status))
async def test_a_clear_answer_stays_what_it_is_for_a_repeatable_call(
    api: BotApi, bot: telegram.Bot, answer: web.Response
) -> None:
    api.answer("getMe", copied(answer), copied(answer))
    first, second = await failure(asked(bot.get_me())), await failure(repeatable(bot.get_me()))
    assert summary(first) == summary(second)


async def test_no_failure_quotes_the_answer(api: BotApi, bot: telegram.Bot) -> None:
    api.answer("getMe", *(no(400, f"my secret {TOKEN}") for _ in range(3)))
    for call in (asked(bot.get_me()), repeatable(bot.get_me()), settled(bot.get_me(), unless="x")):
        error = await failure(call)
        assert (error.__cause__, error.__context__) == (None, None)
        assert [text for text in ("secret", TOKEN) if text in told(error)] == []


# --- What is so already -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["Bad Request: ", ""])
async def test_a_refusal_because_it_is_so_already_is_a_success(api: BotApi, bot: telegram.Bot, prefix: str) -> None:
    api.answer("deleteMessage", no(400, f"{prefix}message to delete not found"))
    await settled(bot.delete_message(CHAT, 1), unless="message to delete not found")
    assert api.seen == ["deleteMessage"]


@pytest.mark.parametrize(
    "answer",
    [
        no(400, "Bad Request: message can't be deleted"),
        no(400, "Bad Request: chat not found; message to delete not found"),
        no(403, "message to delete not found"),
    ],
    ids=["other", "later", "forbidden"],
)
async def test_every_other_refusal_is_permanent(api: BotApi, bot: telegram.Bot, answer: web.Response) -> None:
    api.answer("deleteMessage", copied(answer))
    error = await failure(settled(bot.delete_message(CHAT, 1), unless="message to delete not found"))
    assert type(error) is PermanentError


# --- Updates ------------------------------------------------------------------------------------------------------


async def test_an_unreadable_update_does_not_hold_up_the_others(api: BotApi, bot: telegram.Bot) -> None:
    api.tell(message=message("before"))
    api.tell(message={"chat": "nonsense"})
    api.tell(message=message("after"))
    found = await asked(Fetch(bot)(None))
    texts = [update.message.text if update.message else None for update in found]
    assert ([update.update_id for update in found], texts) == ([1, 2, 3], ["before", None, "after"])


async def test_a_webhook_is_removed_once_and_again_after_a_conflict(api: BotApi, bot: telegram.Bot) -> None:
    api.answer("getUpdates", ok([]), no(409, "Conflict"), no(502), ok([]))
    fetch = Fetch(bot)
    assert await asked(fetch(7)) == ()
    assert summary(await failure(asked(fetch(7)))) == (TransientError, Reason.UNAVAILABLE, "409")
    await failure(asked(fetch(7)))
    assert await asked(fetch(7)) == ()
    assert api.seen == ["deleteWebhook", "getUpdates", "getUpdates", "deleteWebhook", "getUpdates", "getUpdates"]
    assert [(await api.called("getUpdates"))["offset"] for _ in range(4)] == ["7"] * 4


# --- Messages -----------------------------------------------------------------------------------------------------


async def test_a_message_is_sent_without_a_preview_and_its_id_returned(api: BotApi, bot: telegram.Bot) -> None:
    assert await sent(bot, str(CHAT), "<b>Hi</b>", None) == "77"
    form = await api.called("sendMessage")
    assert json.loads(form.pop("link_preview_options")) == {"is_disabled": True}
    assert form == {"chat_id": str(CHAT), "text": "<b>Hi</b>", "parse_mode": "HTML"}


async def test_a_code_is_sent_as_the_library_sends_a_message(api: BotApi, bot: telegram.Bot) -> None:
    """The same fields: the library's way is the one that is known to be right."""
    rows: list[list[dict[str, object]]] = [
        [{"text": "Copy", "copy_text": {"text": "12 & 3"}}],
        [{"text": "Not me", "callback_data": "not:ver_1"}],
    ]
    keys = [
        [InlineKeyboardButton("Copy", copy_text=CopyTextButton("12 & 3"))],
        [InlineKeyboardButton("Not me", callback_data="not:ver_1")],
    ]
    requests = bot._request[1]
    assert await sent_code(requests, bot.base_url, str(CHAT), "<b>é</b>\n+", rows, 5.0) == "77"
    await bot.send_message(
        str(CHAT),
        "<b>é</b>\n+",
        "HTML",
        protect_content=True,
        link_preview_options=NO_PREVIEW,
        reply_markup=InlineKeyboardMarkup(keys),
    )
    forms = [await api.called("sendMessage") for _ in range(2)]
    for form in forms:
        for name in ("reply_markup", "link_preview_options"):
            form[name] = json.loads(form[name])
    assert forms[0] == forms[1]


@pytest.mark.parametrize("number", [True, "77", None])
async def test_an_id_that_is_no_number_leaves_it_open_whether_a_code_was_sent(
    api: BotApi, bot: telegram.Bot, number: object
) -> None:
    api.answer("sendMessage", ok({"message_id": number, "date": 0, "chat": PRIVATE}))
    sending = sent_code(bot._request[1], bot.base_url, str(CHAT), "Hi", [], 5.0)
    assert summary(await failure(asked(sending))) == (AmbiguousError, Reason.UNKNOWN, None)


async def test_an_id_is_a_short_text(api: BotApi, bot: telegram.Bot) -> None:
    api.answer("sendMessage", ok({"message_id": 10**80, "date": 0, "chat": PRIVATE}))
    assert await sent(bot, str(CHAT), "Hi", None) == "1" + "0" * 63


def test_a_button_carries_its_data() -> None:
    assert button(Button("Yes", "yes:1")).to_dict() == {"text": "Yes", "callback_data": "yes:1"}
    assert buttons([]) is None


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (Reply("x"), None),
        (Reply("x", [[Button("Yes", "y")]], clears_keyboard=True), "InlineKeyboardMarkup"),
        (Reply("x", clears_keyboard=True), "ReplyKeyboardRemove"),
        (Reply("x", [[Button("Yes", "y")]], asks_contact="Share", clears_keyboard=True), "ReplyKeyboardMarkup"),
    ],
)
def test_a_message_shows_one_thing_beside_its_text(reply: Reply, shown: str | None) -> None:
    made = markup(reply)
    assert (None if made is None else type(made).__name__) == shown
