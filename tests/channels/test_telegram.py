"""The Telegram adapter against the Bot API sandbox, and against a server that answers what it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import ClassVar

import pytest
from aiohttp import web
from pydantic import ValidationError

from channels.base import (
    AmbiguousError,
    DeliveryError,
    Envelope,
    PermanentError,
    Reason,
    Receipt,
    TransientError,
    load,
)
from channels.callback import CallbackRequest, ForgedCallbackError
from channels.chat import Button, Contact, Conversing, HandleInbound, Inbound, Reply, Revising
from channels.polling import PAUSE_MAX, QUICK, STUCK_PAUSE_MAX
from channels.telegram import SECRET_HEADER, TelegramChannel, TelegramSettings
from gateway.sandbox.fault import Fault
from gateway.sandbox.inbox import Inbox
from gateway.sandbox.telegram import TelegramSandbox
from tests.channels.bot_server import (
    BOT,
    CHAT,
    TOKEN,
    BotApi,
    copied,
    membership,
    message,
    no,
    ok,
    page,
    pressed,
)
from tests.channels.contract import CODE, ChannelContract, an_envelope, told

PARTS = {"body.html": f"Your code is <b>{CODE}</b>.\n", "copy.txt": "Copy code\n"}


def settings(**changes: object) -> TelegramSettings:
    return TelegramSettings.model_validate({"adapter": "telegram", "token": TOKEN, "timeout": 10.0, **changes})


def a_message(address: str | None = None, **parts: str) -> Envelope:
    return an_envelope(address or str(CHAT), {**PARTS, **parts})


# --- The contract -----------------------------------------------------------------------------------------------


class TelegramProvider:
    """The Bot API sandbox as the contract wants to see it."""

    def __init__(self, server: TelegramSandbox, inbox: Inbox) -> None:
        self.server = server
        self.inbox = inbox

    async def accept(self) -> None:
        self.server.faults.clear()

    async def refuse(self) -> None:
        self.server.faults.set(Fault.REFUSE)

    async def defer(self) -> None:
        self.server.faults.set(Fault.DEFER)

    async def limit(self, retry_after: float) -> None:
        self.server.faults.set(Fault.LIMIT, retry_after=int(retry_after))

    async def stall(self) -> None:
        self.server.faults.set(Fault.STALL)

    async def reset(self) -> None:
        self.server.faults.set(Fault.RESET)

    async def garble(self) -> None:
        self.server.faults.set(Fault.GARBLE)

    async def unauthorized(self) -> None:
        self.server.faults.set(Fault.UNAUTHORIZED)

    async def drop_idle(self) -> None:
        for connection in list(self.server._server.server_state.connections):
            connection.transport.close()
        # The loop has to go round for the ends to be written here and read by the client.
        for _ in range(5):
            await asyncio.sleep(0)

    async def close(self) -> None:
        await self.server.__aexit__()

    def requests(self) -> int:
        return self.server.requests["sendMessage"]

    def received(self) -> list[str]:
        return [letter.text for letter in self.inbox.letters]


@pytest.fixture
async def provider() -> AsyncIterator[TelegramProvider]:
    inbox = Inbox()
    async with TelegramSandbox(inbox, token=TOKEN) as server:
        server.person(CHAT, "Ann").press_start("")
        yield TelegramProvider(server, inbox)


@pytest.fixture
async def channel(provider: TelegramProvider) -> AsyncIterator[TelegramChannel]:
    async with TelegramChannel("telegram", settings(base_url=provider.server.base_url)) as opened:
        yield opened


@pytest.fixture
def envelope() -> Callable[..., Envelope]:
    return lambda *, address=None: a_message(address)


class TestTelegramChannel(ChannelContract):
    adapter: ClassVar[str] = "telegram"
    credentials: ClassVar[tuple[str, ...]] = (TOKEN,)
    # A 502 comes from a proxy in front of Telegram, which may have taken the message.
    deferral: ClassVar[type[DeliveryError]] = AmbiguousError


# --- With a Bot API that answers what it is told to ----------------------------------------------------------------


class Pauses:
    """Stands in for waiting: notes how long, and lets the other tasks run."""

    def __init__(self) -> None:
        self.lengths: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.lengths.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
async def api() -> AsyncIterator[BotApi]:
    async with BotApi() as server:
        yield server


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
async def bot(api: BotApi, pauses: Pauses) -> AsyncIterator[TelegramChannel]:
    chosen = settings(base_url=api.base_url)
    async with TelegramChannel("telegram", chosen, pause=pauses, handle_seconds=0.1) as opened:
        yield opened


class Handler:
    """Notes what arrives, and raises what is queued."""

    def __init__(self, *outcomes: BaseException | None) -> None:
        self.outcomes = deque(outcomes)
        self.got: list[Inbound] = []
        self._arrived: asyncio.Queue[Inbound] = asyncio.Queue()

    async def __call__(self, inbound: Inbound) -> None:
        self.got.append(inbound)
        self._arrived.put_nowait(inbound)
        outcome = self.outcomes.popleft() if self.outcomes else None
        if outcome is not None:
            raise outcome

    async def next(self) -> Inbound:
        async with asyncio.timeout(10):
            return await self._arrived.get()

    async def until(self, text: str) -> None:
        """Return when ``text`` has arrived."""
        while (await self.next()).text != text:
            pass


@contextlib.asynccontextmanager
async def listening(channel: TelegramChannel, handle: HandleInbound) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(channel.listen(handle))
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def failure(bot: TelegramChannel, address: str | None = None) -> DeliveryError:
    return await failing(bot.deliver(a_message(address)))


async def failing(call: Awaitable[object]) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await call
    return caught.value


def summary(error: DeliveryError) -> tuple[type[DeliveryError], Reason, str | None]:
    return type(error), error.reason, error.provider_code


# --- Sending ------------------------------------------------------------------------------------------------------


def test_the_adapter_is_found_by_its_name() -> None:
    assert load("telegram") is TelegramChannel


async def test_a_code_is_a_protected_html_message_with_a_copy_button(api: BotApi, bot: TelegramChannel) -> None:
    assert await bot.deliver(a_message()) == Receipt(provider_id="77", delivered=True)
    form = await api.called("sendMessage")
    assert json.loads(form.pop("reply_markup")) == {
        "inline_keyboard": [[{"text": "Copy code", "copy_text": {"text": CODE}}]]
    }
    assert json.loads(form.pop("link_preview_options")) == {"is_disabled": True}
    assert form == {
        "chat_id": str(CHAT),
        "text": PARTS["body.html"],
        "parse_mode": "HTML",
        "protect_content": "true",
    }


async def test_who_did_not_ask_for_the_code_can_say_so_below_the_copy_button(api: BotApi, bot: TelegramChannel) -> None:
    await bot.deliver(dataclasses.replace(a_message(), report=Button("Not me", "not:ver_1")))
    form = await api.called("sendMessage")
    assert json.loads(form["reply_markup"]) == {
        "inline_keyboard": [
            [{"text": "Copy code", "copy_text": {"text": CODE}}],
            [{"text": "Not me", "callback_data": "not:ver_1"}],
        ]
    }


def test_the_channel_converses_and_revises() -> None:
    channel = TelegramChannel("telegram", settings())
    assert isinstance(channel, Conversing)
    assert isinstance(channel, Revising)


def test_people_are_reached_by_a_reference_and_by_a_number_they_proved() -> None:
    assert list(TelegramChannel.kinds) == ["telegram", "phone"]


async def test_starting_asks_telegram_nothing(api: BotApi, bot: TelegramChannel) -> None:
    assert api.seen == []


@pytest.mark.parametrize("address", ["ann", "1.5", "٣", "+7", "9" * 20])
async def test_an_address_that_is_no_chats_number_is_not_sent(api: BotApi, bot: TelegramChannel, address: str) -> None:
    assert summary(await failure(bot, address)) == (PermanentError, Reason.INVALID_RECIPIENT, None)
    assert api.seen == []


#: What Telegram, or a proxy before it, may answer, and what that means for a message that was to be sent.
ANSWERS = [
    (no(403, "Forbidden: bot was blocked by the user"), PermanentError, Reason.BLOCKED, "403"),
    (no(401, "Unauthorized"), PermanentError, Reason.MISCONFIGURED, "401"),
    (no(404, "Not Found"), PermanentError, Reason.MISCONFIGURED, "401"),
    (page(401), PermanentError, Reason.MISCONFIGURED, "401"),
    (page(403), PermanentError, Reason.MISCONFIGURED, "403"),
    (page(404), PermanentError, Reason.MISCONFIGURED, "404"),
    (page(400), PermanentError, Reason.REJECTED, "400"),
    (web.json_response({"error": "denied"}, status=403), PermanentError, Reason.MISCONFIGURED, "403"),
    (web.json_response([], status=409), PermanentError, Reason.REJECTED, "409"),
    (no(400, "Bad Request: chat not found"), PermanentError, Reason.INVALID_RECIPIENT, "400"),
    (no(400, "Bad Request: can't parse entities"), PermanentError, Reason.REJECTED, "400"),
    (no(400, "x", migrate_to_chat_id=-5), PermanentError, Reason.INVALID_RECIPIENT, "400"),
    (no(429, "Too Many Requests", retry_after=9), TransientError, Reason.RATE_LIMITED, "429"),
    (no(429, "Too Many Requests"), TransientError, Reason.RATE_LIMITED, "429"),
    (page(429), TransientError, Reason.RATE_LIMITED, "429"),
    (no(409, "Conflict"), TransientError, Reason.UNAVAILABLE, "409"),
    (page(408), TransientError, Reason.UNAVAILABLE, "408"),
    (no(413, "Too Large"), PermanentError, Reason.REJECTED, "413"),
    (page(201), AmbiguousError, Reason.UNAVAILABLE, "201"),
    (page(302), PermanentError, Reason.MISCONFIGURED, "302"),
    (no(500, "Internal"), AmbiguousError, Reason.UNAVAILABLE, "500"),
    (page(502), AmbiguousError, Reason.UNAVAILABLE, "502"),
    (page(504), AmbiguousError, Reason.UNAVAILABLE, "504"),
    (page(200), AmbiguousError, Reason.UNKNOWN, None),
    (web.json_response([]), AmbiguousError, Reason.UNKNOWN, None),
    (web.json_response({"ok": True}), AmbiguousError, Reason.UNKNOWN, None),
    (ok(True), AmbiguousError, Reason.UNKNOWN, None),
    (ok(None), AmbiguousError, Reason.UNKNOWN, None),
    (ok({}), AmbiguousError, Reason.UNKNOWN, None),
    (ok([1]), AmbiguousError, Reason.UNKNOWN, None),
]


def status_of(value: object) -> str:
    return str(getattr(value, "status", value))


@pytest.mark.parametrize(("answer", "kind", "reason", "code"), ANSWERS, ids=status_of)
async def test_answers_are_classified(
    api: BotApi,
    bot: TelegramChannel,
    answer: web.Response,
    kind: type[DeliveryError],
    reason: Reason,
    code: str | None,
) -> None:
    api.answer("sendMessage", copied(answer))
    error = await failure(bot)
    assert summary(error) == (kind, reason, code)
    assert (error.__cause__, error.__context__) == (None, None)


@pytest.mark.parametrize(
    ("asked", "wait"),
    [
        (0, 0.0),
        (9, 9.0),
        (3_600, 3_600.0),
        (2.5, 2.5),
        (10**9, 86_400.0),
        (10**400, None),
        (-5, 0.0),
        ("9", None),
        ("soon", None),
        (True, None),
        (None, None),
        ([], None),
    ],
)
async def test_a_limit_is_the_whole_bots_and_keeps_its_wait(
    api: BotApi, bot: TelegramChannel, asked: object, wait: float | None
) -> None:
    api.answer("sendMessage", no(429, "Too Many Requests: retry after 9", retry_after=asked))
    error = await failure(bot)
    assert isinstance(error, TransientError)
    assert (error.reason, error.retry_after, error.whole_channel) == (Reason.RATE_LIMITED, wait, True)


@pytest.mark.parametrize(
    "body", ["<html>proxy</html>", "{", '{"ok": false, "parameters": 7}', '{"parameters": {}}', "[" * 5_000]
)
async def test_a_limit_without_parameters_waits_as_its_header_says(
    api: BotApi, bot: TelegramChannel, body: str
) -> None:
    api.answer("sendMessage", web.Response(status=429, text=body, headers={"Retry-After": "12"}))
    error = await failure(bot)
    assert isinstance(error, TransientError)
    assert (error.reason, error.retry_after, error.whole_channel) == (Reason.RATE_LIMITED, 12.0, True)


async def test_a_message_takes_no_longer_than_its_deadline(api: BotApi, bot: TelegramChannel) -> None:
    api.stalled.add("sendMessage")
    async with asyncio.timeout(5.0):
        with pytest.raises(AmbiguousError) as caught:
            await bot.deliver(dataclasses.replace(a_message(), deadline=0.3))
    assert caught.value.reason is Reason.TIMEOUT


def test_one_bot_keeps_to_telegrams_limits() -> None:
    assert (TelegramChannel.recipient_pause, settings().rate) == (1.0, 30.0)


@pytest.mark.parametrize("answer", [no(400, "odd"), page(200), no(403, f"{CODE} {TOKEN}")])
async def test_an_error_repeats_nothing_of_the_answer(api: BotApi, bot: TelegramChannel, answer: web.Response) -> None:
    api.answer("sendMessage", copied(answer))
    shown = told(await failure(bot))
    assert [secret for secret in (CODE, TOKEN, str(CHAT), "proxy") if secret in shown] == []


async def test_a_channel_that_was_not_opened_does_not_send() -> None:
    assert summary(await failure(TelegramChannel("telegram", settings()))) == (AmbiguousError, Reason.UNKNOWN, None)


# --- Settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"updates": "often"}, "updates"),
        ({"token": ""}, "a bot's token is"),
        ({"token": "123:a/../b"}, "a bot's token is"),
        ({"token": "123:a\n"}, "a bot's token is"),
        ({"base_url": "telegram"}, "must be http"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(changes: dict[str, object], fault: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(**changes)
    assert fault in str(caught.value)


def test_a_refused_token_is_not_repeated() -> None:
    with pytest.raises(ValidationError) as caught:
        settings(token="s3cret token")
    assert "s3cret" not in str(caught.value)


def test_callbacks_are_refused() -> None:
    with pytest.raises(ForgedCallbackError):
        TelegramChannel("telegram", settings()).report(CallbackRequest("POST", "/callbacks/telegram", {}, b"{}"))


# --- Links --------------------------------------------------------------------------------------------------------


async def test_a_link_names_the_bot_which_is_asked_for_once(api: BotApi, bot: TelegramChannel) -> None:
    links = [await bot.link(token) for token in ("a-b_C9", "x" * 64)]
    assert links == ["https://t.me/codes_bot?start=a-b_C9", f"https://t.me/codes_bot?start={'x' * 64}"]
    assert api.seen == ["getMe"]


@pytest.mark.parametrize(
    "answer", [page(502), page(200), no(429, retry_after=3), ok(True), ok({**BOT, "username": None})]
)
async def test_a_link_that_fails_may_be_asked_for_again(
    api: BotApi, bot: TelegramChannel, answer: web.Response
) -> None:
    api.answer("getMe", copied(answer))
    with pytest.raises(TransientError):
        await bot.link("abc")
    assert await bot.link("abc") == "https://t.me/codes_bot?start=abc"


async def test_a_link_with_a_wrong_token_of_the_bot_is_permanent(api: BotApi, bot: TelegramChannel) -> None:
    api.answer("getMe", no(401))
    with pytest.raises(PermanentError):
        await bot.link("abc")


@pytest.mark.parametrize("token", ["", "a b", "x" * 65, "ä"])
async def test_a_link_takes_only_what_telegram_carries(bot: TelegramChannel, token: str) -> None:
    with pytest.raises(ValueError, match=r"token|payload|characters"):
        await bot.link(token)


async def test_a_bot_nobody_listens_to_has_no_link_and_returns_from_listening() -> None:
    silent = TelegramChannel("telegram", settings(updates="off"))
    assert (silent.listens, await silent.link("abc")) == (False, None)
    await silent.listen(Handler())


# --- Changing what was sent ----------------------------------------------------------------------------------------

OVER = Reply("<b>Shop</b>: the code was used.", [[Button("Not me", "not:ver_1")]])


async def test_a_message_is_edited_in_place(api: BotApi, bot: TelegramChannel) -> None:
    await bot.revise(str(CHAT), "77", OVER)
    form = await api.called("editMessageText")
    assert json.loads(form.pop("link_preview_options")) == {"is_disabled": True}
    assert json.loads(form.pop("reply_markup")) == {
        "inline_keyboard": [[{"text": "Not me", "callback_data": "not:ver_1"}]]
    }
    assert form == {"chat_id": str(CHAT), "message_id": "77", "text": OVER.text, "parse_mode": "HTML"}


async def test_an_edit_without_buttons_takes_them_away(api: BotApi, bot: TelegramChannel) -> None:
    await bot.revise(str(CHAT), "77", Reply("Over"))
    assert "reply_markup" not in await api.called("editMessageText")


async def test_a_message_is_deleted(api: BotApi, bot: TelegramChannel) -> None:
    await bot.remove(str(CHAT), "77")
    assert await api.called("deleteMessage") == {"chat_id": str(CHAT), "message_id": "77"}


async def test_what_is_so_already_is_a_success(api: BotApi, bot: TelegramChannel) -> None:
    api.answer("editMessageText", no(400, "Bad Request: message is not modified: specified new message content"))
    api.answer("deleteMessage", no(400, "Bad Request: message to delete not found"))
    await bot.revise(str(CHAT), "77", OVER)
    await bot.remove(str(CHAT), "77")
    assert api.seen == ["editMessageText", "deleteMessage"]


@pytest.mark.parametrize(
    ("method", "description"),
    [
        ("editMessageText", "Bad Request: message to edit not found"),
        ("editMessageText", "Bad Request: message can't be edited"),
        ("deleteMessage", "Bad Request: message can't be deleted for everyone"),
    ],
)
async def test_what_cannot_be_changed_is_permanent(
    api: BotApi, bot: TelegramChannel, method: str, description: str
) -> None:
    api.answer(method, no(400, description))
    change = bot.revise(str(CHAT), "77", OVER) if method == "editMessageText" else bot.remove(str(CHAT), "77")
    assert summary(await failing(change)) == (PermanentError, Reason.REJECTED, "400")


#: Answers that do not say what an edit or a deletion makes of them: Telegram answers those with true as well.
CHANGED = [answer for answer in ANSWERS if answer[0].status != 200 or answer[1] is not AmbiguousError]


@pytest.mark.parametrize("method", ["editMessageText", "deleteMessage"])
@pytest.mark.parametrize(("answer", "kind", "reason", "code"), CHANGED, ids=status_of)
async def test_a_change_may_be_made_again_whatever_became_of_the_answer(
    api: BotApi,
    bot: TelegramChannel,
    method: str,
    answer: web.Response,
    kind: type[DeliveryError],
    reason: Reason,
    code: str | None,
) -> None:
    api.answer(method, copied(answer))
    change = bot.revise(str(CHAT), "77", OVER) if method == "editMessageText" else bot.remove(str(CHAT), "77")
    expected = TransientError if kind is AmbiguousError else kind
    error = await failing(change)
    assert summary(error) == (expected, reason, code)
    assert (error.__cause__, error.__context__) == (None, None)


@pytest.mark.parametrize("message_id", ["", "x", "-1", "1.5", "٣", "9" * 20])
async def test_what_is_no_messages_number_is_not_asked_for(api: BotApi, bot: TelegramChannel, message_id: str) -> None:
    for change in (bot.revise(str(CHAT), message_id, OVER), bot.remove(str(CHAT), message_id)):
        assert summary(await failing(change)) == (PermanentError, Reason.REJECTED, None)
    assert api.seen == []


@pytest.mark.parametrize("address", ["ann", "+7"])
async def test_nothing_is_changed_or_said_in_what_is_no_chat(api: BotApi, bot: TelegramChannel, address: str) -> None:
    for call in (bot.revise(address, "77", OVER), bot.remove(address, "77"), bot.say(address, Reply("x", leaves=True))):
        assert summary(await failing(call)) == (PermanentError, Reason.INVALID_RECIPIENT, None)
    assert api.seen == []


# --- Answering ----------------------------------------------------------------------------------------------------


async def test_a_reply_is_html_with_its_buttons(api: BotApi, bot: TelegramChannel) -> None:
    await bot.say(str(CHAT), Reply("<b>Hi</b>", [[Button("Yes", "y"), Button("No", "n")]]))
    await bot.say(str(CHAT), Reply("Bye"))
    first, second = await api.called("sendMessage"), await api.called("sendMessage")
    assert (first["chat_id"], first["text"], first["parse_mode"]) == (str(CHAT), "<b>Hi</b>", "HTML")
    assert "protect_content" not in first
    assert json.loads(first["reply_markup"]) == {
        "inline_keyboard": [[{"text": "Yes", "callback_data": "y"}, {"text": "No", "callback_data": "n"}]]
    }
    assert (second["text"], "reply_markup" in second) == ("Bye", False)


async def test_a_number_is_asked_for_by_a_keyboard_that_goes_after_use(api: BotApi, bot: TelegramChannel) -> None:
    await bot.say(str(CHAT), Reply("Your number?", asks_contact="Share my number"))
    assert json.loads((await api.called("sendMessage"))["reply_markup"]) == {
        "keyboard": [[{"text": "Share my number", "request_contact": True}]],
        "resize_keyboard": True,
        "one_time_keyboard": True,
    }


async def test_a_keyboard_is_taken_away_unless_there_are_buttons(api: BotApi, bot: TelegramChannel) -> None:
    await bot.say(str(CHAT), Reply("Thanks", clears_keyboard=True))
    await bot.say(str(CHAT), Reply("Thanks", [[Button("Yes", "y")]], clears_keyboard=True))
    shown = [json.loads((await api.called("sendMessage"))["reply_markup"]) for _ in range(2)]
    assert shown == [
        {"remove_keyboard": True},
        {"inline_keyboard": [[{"text": "Yes", "callback_data": "y"}]]},
    ]


async def test_a_reply_takes_the_place_of_the_message_it_answers(api: BotApi, bot: TelegramChannel) -> None:
    await bot.say(str(CHAT), Reply("Linked", replaces="5"))
    form = await api.called("editMessageText")
    assert (form["message_id"], form["text"], "reply_markup" in form) == ("5", "Linked", False)
    assert api.seen == ["editMessageText"]


@pytest.mark.parametrize("description", ["message to edit not found", "message can't be edited", "x"])
async def test_a_reply_is_written_anew_where_it_cannot_replace(
    api: BotApi, bot: TelegramChannel, description: str
) -> None:
    api.answer("editMessageText", no(400, f"Bad Request: {description}"))
    await bot.say(str(CHAT), Reply("Linked", replaces="5"))
    assert (await api.called("sendMessage"))["text"] == "Linked"


async def test_a_reply_that_shows_a_keyboard_is_written_anew_and_the_old_buttons_go(
    api: BotApi, bot: TelegramChannel
) -> None:
    for reply in (Reply("Number?", asks_contact="Share", replaces="5"), Reply("x", clears_keyboard=True, replaces="5")):
        await bot.say(str(CHAT), reply)
        assert await api.called("editMessageReplyMarkup") == {"chat_id": str(CHAT), "message_id": "5"}
        assert "keyboard" in (await api.called("sendMessage"))["reply_markup"]
    assert api.seen == ["editMessageReplyMarkup", "sendMessage"] * 2


async def test_a_reply_whose_edit_was_not_answered_is_not_written_twice(api: BotApi, bot: TelegramChannel) -> None:
    api.answer("editMessageText", page(502))
    error = await failing(bot.say(str(CHAT), Reply("Linked", replaces="5")))
    assert summary(error) == (TransientError, Reason.UNAVAILABLE, "502")
    assert api.seen == ["editMessageText"]


async def test_a_person_who_blocked_the_bot_gets_no_second_try(api: BotApi, bot: TelegramChannel) -> None:
    api.answer("editMessageText", no(403, "Forbidden: bot was blocked by the user"))
    error = await failing(bot.say(str(CHAT), Reply("Linked", replaces="5")))
    assert summary(error) == (PermanentError, Reason.BLOCKED, "403")
    assert api.seen == ["editMessageText"]


@pytest.mark.parametrize(("answer", "kind", "reason", "code"), ANSWERS, ids=status_of)
async def test_answers_to_a_reply_are_classified(
    api: BotApi,
    bot: TelegramChannel,
    answer: web.Response,
    kind: type[DeliveryError],
    reason: Reason,
    code: str | None,
) -> None:
    api.answer("sendMessage", copied(answer))
    error = await failing(bot.say(str(CHAT), Reply("my secret answer")))
    assert summary(error) == (kind, reason, code)
    assert "secret" not in told(error)


async def test_the_bot_leaves_after_its_last_word(api: BotApi, bot: TelegramChannel) -> None:
    await bot.say("-100", Reply("In private only", leaves=True))
    assert (await api.called("leaveChat")) == {"chat_id": "-100"}
    assert api.seen == ["sendMessage", "leaveChat"]


@pytest.mark.parametrize(
    "answer", [no(400, "Bad Request: not enough rights to send text messages to the chat"), page(502)], ids=status_of
)
async def test_the_bot_leaves_where_it_may_not_write(api: BotApi, bot: TelegramChannel, answer: web.Response) -> None:
    api.answer("sendMessage", copied(answer))
    await bot.say("-100", Reply("In private only", leaves=True))
    assert api.seen == ["sendMessage", "leaveChat"]


async def test_the_bot_is_content_to_be_out_already(api: BotApi, bot: TelegramChannel) -> None:
    api.answer("sendMessage", no(403, "Forbidden: bot was kicked from the group chat"))
    api.answer("leaveChat", no(403, "Forbidden: bot is not a member of the group chat"))
    await bot.say("-100", Reply("In private only", leaves=True))
    assert api.seen == ["sendMessage", "leaveChat"]


async def test_a_bot_that_cannot_leave_says_so(api: BotApi, bot: TelegramChannel) -> None:
    leaving = Reply("In private only", leaves=True)
    api.answer("sendMessage", page(503))
    api.answer("leaveChat", no(400, "Bad Request: chat not found"))
    assert summary(await failing(bot.say("-100", leaving))) == (PermanentError, Reason.INVALID_RECIPIENT, "400")


async def test_a_group_that_takes_no_more_words_is_left_and_holds_nobody_up(api: BotApi, bot: TelegramChannel) -> None:
    """Whoever puts the bot in decides how often it would speak there."""
    leaving = Reply("In private only", leaves=True)
    api.answer("sendMessage", no(429, retry_after=3))
    await bot.say("-100", leaving)
    assert api.seen == ["sendMessage", "leaveChat"]
    api.answer("leaveChat", no(429, retry_after=35))
    error = await failing(bot.say("-100", leaving))
    assert summary(error) == (TransientError, Reason.RATE_LIMITED, "429")
    assert isinstance(error, TransientError)
    assert (error.retry_after, error.whole_channel) == (35.0, False)


async def test_a_group_may_be_left_without_a_word(api: BotApi, bot: TelegramChannel) -> None:
    await bot.say("-100", Reply("", leaves=True))
    assert api.seen == ["leaveChat"]


async def test_nothing_that_is_said_or_changed_delays_a_code(api: BotApi, bot: TelegramChannel) -> None:
    api.stalled |= {"editMessageText", "deleteMessage"}
    changes = [asyncio.create_task(bot.revise(str(CHAT), str(number), OVER)) for number in range(5)]
    await api.called("editMessageText")
    await api.called("editMessageText")
    async with asyncio.timeout(5):
        receipts = await asyncio.gather(*(bot.deliver(a_message()) for _ in range(10)))
    assert [receipt.delivered for receipt in receipts] == [True] * 10
    assert api.seen.count("editMessageText") == 2
    for change in changes:
        change.cancel()
    await asyncio.wait(changes)


# --- The menu -----------------------------------------------------------------------------------------------------


async def test_commands_are_set_by_language_for_private_chats(api: BotApi, bot: TelegramChannel) -> None:
    await bot.introduce({"": [("help", "Help"), ("stop", "Forget me")], "de": [("help", "Hilfe")]})
    first, second = await api.called("setMyCommands"), await api.called("setMyCommands")
    scope = {"type": "all_private_chats"}
    assert (json.loads(first["scope"]), "language_code" in first) == (scope, False)
    assert (json.loads(second["scope"]), second["language_code"]) == (scope, "de")
    assert json.loads(first["commands"]) == [
        {"command": "help", "description": "Help"},
        {"command": "stop", "description": "Forget me"},
    ]
    assert json.loads(second["commands"]) == [{"command": "help", "description": "Hilfe"}]


async def test_a_menu_that_cannot_be_set_may_be_set_again(api: BotApi, bot: TelegramChannel) -> None:
    api.answer("setMyCommands", page(502))
    assert type(await failing(bot.introduce({"": [("help", "Help")]}))) is TransientError


# --- Polling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("update", "text"),
    [
        ({"message": message("hello")}, "hello"),
        ({"callback_query": pressed("yes:1")}, "yes:1"),
        ({"my_chat_member": membership("kicked")}, ""),
    ],
)
async def test_updates_are_passed_on(api: BotApi, bot: TelegramChannel, update: dict[str, object], text: str) -> None:
    handle = Handler()
    api.tell(**update)
    async with listening(bot, handle):
        got = await handle.next()
    assert (got.update_id, got.chat, got.text) == (1, str(CHAT), text)


@pytest.mark.parametrize(
    "update", [{}, {"message": 7}, {"message": {"chat": "nonsense"}}, {"edited_message": message()}]
)
async def test_other_and_unreadable_updates_are_skipped_and_confirmed(
    api: BotApi, bot: TelegramChannel, update: dict[str, object]
) -> None:
    handle = Handler()
    api.tell(**update)
    api.tell(message=message("after"))
    async with listening(bot, handle):
        assert (await handle.next()).text == "after"
        await api.called("getUpdates")
        assert (await api.called("getUpdates"))["offset"] == "3"
    assert len(handle.got) == 1


async def test_a_poll_is_long_and_asks_for_what_is_handled(api: BotApi, bot: TelegramChannel) -> None:
    async with listening(bot, Handler()):
        form = await api.called("getUpdates")
    assert (form["timeout"], "offset" in form) == ("25", False)
    assert json.loads(form["allowed_updates"]) == ["message", "callback_query", "my_chat_member"]


async def test_a_poll_may_take_longer_than_a_delivery(api: BotApi) -> None:
    handle = Handler()
    chosen = settings(base_url=api.base_url, timeout=0.05)
    late = asyncio.Event()
    async with TelegramChannel("telegram", chosen) as bot, listening(bot, handle):
        await api.polled.wait()
        asyncio.get_running_loop().call_later(0.1, late.set)
        await late.wait()
        api.tell(message=message())
        await handle.next()
        assert api.calls["getUpdates"].qsize() <= 2


async def test_an_idle_poll_is_followed_by_another_from_the_same_place(api: BotApi, bot: TelegramChannel) -> None:
    api.answer("getUpdates", ok([]))
    async with listening(bot, Handler()):
        forms = [await api.called("getUpdates"), await api.called("getUpdates")]
    assert ["offset" in form for form in forms] == [False, False]


async def test_a_webhook_is_removed_before_the_first_poll_and_what_waits_is_kept(
    api: BotApi, bot: TelegramChannel, pauses: Pauses
) -> None:
    api.answer("deleteWebhook", page(502))
    async with listening(bot, Handler()):
        await api.polled.wait()
    assert api.seen == ["deleteWebhook", "deleteWebhook", "getUpdates"]
    assert [await api.called("deleteWebhook") for _ in range(2)] == [{}, {}]
    assert pauses.lengths == [1.0]


async def test_a_webhook_somebody_sets_meanwhile_is_removed_too(api: BotApi, bot: TelegramChannel) -> None:
    api.answer("getUpdates", ok([]), no(409, "Conflict: can't use getUpdates method while webhook is active"))
    async with listening(bot, Handler()):
        await api.polled.wait()
    assert api.seen == ["deleteWebhook", "getUpdates", "getUpdates", "deleteWebhook", "getUpdates"]


async def test_a_press_is_acknowledged_once_and_by_nothing_but_that(api: BotApi, bot: TelegramChannel) -> None:
    api.tell(callback_query=pressed())
    handle = Handler()
    async with listening(bot, handle):
        assert (await handle.next()).message_id == "5"
        assert (await api.called("answerCallbackQuery")) == {"callback_query_id": "q1"}
    assert {*api.seen} == {"deleteWebhook", "getUpdates", "answerCallbackQuery"}


async def test_a_press_that_cannot_be_acknowledged_is_handled_all_the_same(
    api: BotApi, bot: TelegramChannel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    api.answer("answerCallbackQuery", no(400, "Bad Request: query is too old"))
    api.tell(callback_query=pressed())
    handle = Handler()
    async with listening(bot, handle):
        assert (await handle.next()).text == "yes"
        await api.called("answerCallbackQuery")
    await bot.__aexit__()
    assert "a press was not acknowledged: rejected (400)" in caplog.text


async def test_presses_that_stay_unanswered_hold_up_neither_people_nor_the_end(api: BotApi, pauses: Pauses) -> None:
    api.stalled.add("answerCallbackQuery")
    for _ in range(5):
        api.tell(callback_query=pressed())
    api.tell(message=message("after"))
    handle = Handler()
    hurried = TelegramChannel("telegram", settings(base_url=api.base_url), pause=pauses, linger=0.05)
    async with asyncio.timeout(5), hurried as bot, listening(bot, handle):
        await handle.until("after")
    assert len(handle.got) == 6


async def test_an_update_is_confirmed_after_it_was_handled(api: BotApi, bot: TelegramChannel) -> None:
    api.tell(message=message())
    entered, leave = asyncio.Event(), asyncio.Event()

    async def handle(_: Inbound) -> None:
        entered.set()
        await leave.wait()

    async with listening(bot, handle):
        await entered.wait()
        assert "offset" not in await api.called("getUpdates")
        assert api.calls["getUpdates"].empty()
        leave.set()
        assert (await api.called("getUpdates"))["offset"] == "2"


async def test_an_update_under_way_when_canceled_comes_again(api: BotApi, bot: TelegramChannel) -> None:
    api.tell(message=message())
    entered = asyncio.Event()

    async def hang(_: Inbound) -> None:
        entered.set()
        await asyncio.Event().wait()

    async with listening(bot, hang):
        await entered.wait()
    again = Handler()
    async with listening(bot, again):
        assert (await again.next()).update_id == 1


@pytest.mark.parametrize(
    "answer",
    [
        no(401),
        no(404),
        no(409, "Conflict: terminated by other getUpdates request"),
        page(500),
        page(502),
        page(200),
        no(429),
        ok(True),
        ok([{}]),
        ok([{"update_id": "x"}]),
        ok(["x"]),
        web.json_response([]),
    ],
    ids=status_of,
)
async def test_no_failure_ends_the_listening(
    api: BotApi, bot: TelegramChannel, pauses: Pauses, answer: web.Response
) -> None:
    api.answer("getUpdates", copied(answer))
    api.tell(message=message())
    handle = Handler()
    async with listening(bot, handle):
        assert (await handle.next()).text == "hello"
    assert pauses.lengths == [1.0]


async def test_pauses_grow_to_a_bound_and_begin_anew_after_a_success(
    api: BotApi, bot: TelegramChannel, pauses: Pauses
) -> None:
    api.answer("getUpdates", *(page(502) for _ in range(8)), ok([]), page(502))
    async with listening(bot, Handler()):
        await api.polled.wait()
    # The one before the last follows the answer, which had nothing new and came at once.
    assert pauses.lengths == [1.0, 2.0, 4.0, 8.0, 16.0, PAUSE_MAX, PAUSE_MAX, PAUSE_MAX, QUICK, 1.0]


async def test_a_wait_telegram_asks_for_is_kept(api: BotApi, bot: TelegramChannel, pauses: Pauses) -> None:
    api.answer("getUpdates", no(429, retry_after=77))
    async with listening(bot, Handler()):
        await api.polled.wait()
    assert pauses.lengths == [77.0]


async def test_a_dead_server_is_waited_for(pauses: Pauses) -> None:
    async with BotApi() as gone:
        chosen = settings(base_url=gone.base_url)
    waited = asyncio.Event()

    async def pause(seconds: float) -> None:
        await pauses(seconds)
        if len(pauses.lengths) == 3:
            waited.set()
            await asyncio.Event().wait()

    async with TelegramChannel("telegram", chosen, pause=pause) as bot, listening(bot, Handler()) as task:
        async with asyncio.timeout(10):
            await waited.wait()
        assert not task.done()
    assert pauses.lengths == [1.0, 2.0, 4.0]


async def test_canceling_ends_a_poll_at_once(api: BotApi, bot: TelegramChannel) -> None:
    task = asyncio.create_task(bot.listen(Handler()))
    await api.polled.wait()
    task.cancel()
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_short_failure_to_handle_keeps_the_order(api: BotApi, bot: TelegramChannel, pauses: Pauses) -> None:
    handle = Handler(RuntimeError(), RuntimeError())
    api.tell(message=message())
    api.tell(message=message("after"))
    async with listening(bot, handle):
        await handle.until("after")
    assert [got.update_id for got in handle.got] == [1, 1, 1, 2]
    assert pauses.lengths == [1.0, 2.0]


async def test_an_update_that_fails_while_others_succeed_is_skipped(
    api: BotApi, bot: TelegramChannel, caplog: pytest.LogCaptureFixture
) -> None:
    handle = Handler(*(RuntimeError(f"{CODE} hello") for _ in range(3)), None, RuntimeError(CODE))
    api.tell(message=message())
    api.tell(message=message("after"))
    async with listening(bot, handle):
        await api.called("getUpdates")
        assert (await api.called("getUpdates"))["offset"] == "3"
    assert [got.update_id for got in handle.got] == [1, 1, 1, 2, 1]
    assert "RuntimeError in __call__:" in caplog.text
    assert "update 1 is skipped" in caplog.text
    assert CODE not in caplog.text
    assert "hello" not in caplog.text


async def test_nothing_is_lost_while_nothing_can_be_handled(
    api: BotApi, bot: TelegramChannel, pauses: Pauses, caplog: pytest.LogCaptureFixture
) -> None:
    away = 5 * (3 + 2)
    handle = Handler(*(ConnectionError() for _ in range(away)))
    for text in ("one", "two", "three"):
        api.tell(message=message(text))
    async with listening(bot, handle):
        offsets = [(await api.called("getUpdates")).get("offset") for _ in range(7)]
    assert offsets == [None, *["1"] * 5, "4"]
    assert [got.text for got in handle.got[away:]] == ["one", "two", "three"]
    assert [length for length in pauses.lengths if length > 2.0] == [4.0, STUCK_PAUSE_MAX, STUCK_PAUSE_MAX]
    assert "skipped" not in caplog.text


async def test_what_was_handled_before_the_database_went_away_is_confirmed(api: BotApi, bot: TelegramChannel) -> None:
    handle = Handler(None, *(ConnectionError() for _ in range(3)))
    api.tell(message=message("one"))
    api.tell(message=message("two"))
    async with listening(bot, handle):
        offsets = [(await api.called("getUpdates")).get("offset") for _ in range(3)]
    assert offsets == [None, "2", "3"]


async def test_an_update_that_failed_once_is_handled_after_the_one_that_succeeds(
    api: BotApi, bot: TelegramChannel, caplog: pytest.LogCaptureFixture
) -> None:
    handle = Handler(*(ConnectionError() for _ in range(4)))
    for text in ("one", "two", "three"):
        api.tell(message=message(text))
    async with listening(bot, handle):
        await api.called("getUpdates")
        assert (await api.called("getUpdates"))["offset"] == "4"
    assert [got.text for got in handle.got] == ["one", "one", "one", "two", "three", "one", "two"]
    assert "skipped" not in caplog.text


async def test_a_handling_that_hangs_is_given_up(api: BotApi, bot: TelegramChannel) -> None:
    tries: list[int] = []
    done = asyncio.Event()

    async def hang(inbound: Inbound) -> None:
        tries.append(inbound.update_id)
        if inbound.update_id == 1:
            await asyncio.Event().wait()
        done.set()

    api.tell(message=message())
    api.tell(message=message())
    async with listening(bot, hang), asyncio.timeout(10):
        await done.wait()
    assert tries[:4] == [1, 1, 1, 2]


async def test_nothing_people_write_is_logged(
    api: BotApi, bot: TelegramChannel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    api.tell(message={**message("my secret words"), "date": "odd"})
    api.tell(message=message("my secret words"))
    api.answer("sendMessage", no(400, "my secret answer"))
    api.answer("editMessageText", no(400, "my secret answer"))
    handle = Handler(RuntimeError("my secret words"))
    async with listening(bot, handle):
        await handle.next()
        await handle.next()
        await failing(bot.say(str(CHAT), Reply("my secret answer", replaces="5")))
        await bot.introduce({"": [("help", "Help")]})
        await api.called("getUpdates")
        await api.called("getUpdates")
    seen = caplog.text + "".join(repr(vars(record)) for record in caplog.records if record.name != "asyncio")
    assert [text for text in ("secret", TOKEN, "Smith", str(CHAT)) if text in seen] == []


# --- The webhook --------------------------------------------------------------------------------------------------

URL = "https://codes.example/callbacks/telegram"


@pytest.fixture
async def hooked(api: BotApi, pauses: Pauses) -> AsyncIterator[TelegramChannel]:
    chosen = settings(base_url=api.base_url, updates="webhook")
    async with TelegramChannel("telegram", chosen, callback_url=URL, pause=pauses) as opened:
        yield opened


async def secret_of(api: BotApi, hooked: TelegramChannel) -> str:
    """Return the secret that Telegram is given."""
    async with listening(hooked, Handler()):
        return (await api.called("setWebhook"))["secret_token"]


def a_callback(body: object, **headers: str) -> CallbackRequest:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return CallbackRequest("POST", "/callbacks/telegram", headers, content)


def test_who_is_heard_and_how_is_set() -> None:
    heard = {
        updates: (channel.listens, channel.hears_callbacks)
        for updates in ("polling", "webhook", "off")
        for channel in [TelegramChannel("telegram", settings(updates=updates))]
    }
    assert heard == {"polling": (True, False), "webhook": (True, True), "off": (False, False)}


async def test_telegram_is_told_where_to_send_updates_until_that_has_worked(
    api: BotApi, hooked: TelegramChannel, pauses: Pauses
) -> None:
    api.answer("setWebhook", page(502), no(400, "Bad Request: bad webhook"))
    async with listening(hooked, Handler()) as task:
        forms = [await api.called("setWebhook") for _ in range(3)]
        await hooked.deliver(a_message())
        assert not task.done()
    assert forms[0] == forms[2]
    assert (forms[2]["url"], forms[2]["max_connections"]) == (URL, "40")
    assert json.loads(forms[2]["allowed_updates"]) == ["message", "callback_query", "my_chat_member"]
    assert pauses.lengths == [1.0, 2.0]
    assert api.seen == ["setWebhook"] * 3 + ["sendMessage"]


async def test_the_secret_is_the_same_on_every_node_and_another_for_another_token(
    api: BotApi, hooked: TelegramChannel
) -> None:
    secrets = [await secret_of(api, hooked) for _ in range(2)]
    assert secrets[0] == secrets[1]
    assert re.fullmatch(r"[0-9a-f]{64}", secrets[0])
    other = TelegramChannel("telegram", settings(updates="webhook", token="123456:other"))
    with pytest.raises(ForgedCallbackError):
        other.read(a_callback({"update_id": 1, "message": message()}, **{SECRET_HEADER: secrets[0]}))


async def test_neither_token_nor_secret_is_logged(
    api: BotApi, hooked: TelegramChannel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    api.answer("setWebhook", page(502), no(401))
    async with listening(hooked, Handler()):
        secret = [await api.called("setWebhook") for _ in range(3)][-1]["secret_token"]
    hooked.read(a_callback(b"my secret words", **{SECRET_HEADER: secret}))
    seen = caplog.text + "".join(repr(vars(record)) for record in caplog.records if record.name != "asyncio")
    assert [text for text in (secret, TOKEN, "secret words") if text in seen + repr(hooked)] == []


async def test_a_bot_that_is_told_has_a_link(hooked: TelegramChannel) -> None:
    assert await hooked.link("abc") == "https://t.me/codes_bot?start=abc"


async def test_a_callback_with_the_secret_is_read(api: BotApi, hooked: TelegramChannel) -> None:
    headers = {SECRET_HEADER: await secret_of(api, hooked)}
    own = {"phone_number": "4915112345678", "first_name": "Ann", "user_id": CHAT}
    got = hooked.read(a_callback({"update_id": 9, "message": message(None, contact=own)}, **headers))
    assert got is not None
    assert (got.update_id, got.contact) == (9, Contact("4915112345678", own=True))
    assert hooked.read(a_callback({"update_id": 10, "edited_message": message()}, **headers)) is None


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b"[" * 50_000, b'{"update_id": 1, "message": 7}'])
async def test_a_callback_that_cannot_be_read_is_nothing_to_do(
    api: BotApi, hooked: TelegramChannel, body: bytes
) -> None:
    assert hooked.read(a_callback(body, **{SECRET_HEADER: await secret_of(api, hooked)})) is None


async def test_a_callback_without_the_secret_is_forged(api: BotApi, hooked: TelegramChannel) -> None:
    secret = await secret_of(api, hooked)
    wrong = ("", "wrong", secret[:-1], secret.upper(), f"{secret}, {secret}", "ü", "\ud800", TOKEN)
    update = {"update_id": 1, "message": message()}
    for headers in ({}, *({SECRET_HEADER: value} for value in wrong)):
        with pytest.raises(ForgedCallbackError):
            hooked.read(a_callback(update, **headers))


async def test_a_bot_that_polls_reads_no_callbacks(api: BotApi, bot: TelegramChannel, hooked: TelegramChannel) -> None:
    secret = await secret_of(api, hooked)
    with pytest.raises(ForgedCallbackError):
        bot.read(a_callback({"update_id": 1, "message": message()}, **{SECRET_HEADER: secret}))


async def test_a_press_that_came_as_a_callback_is_acknowledged_before_the_channel_closes(
    api: BotApi, hooked: TelegramChannel
) -> None:
    secret = await secret_of(api, hooked)
    got = hooked.read(a_callback({"update_id": 1, "callback_query": pressed()}, **{SECRET_HEADER: secret}))
    await hooked.__aexit__()
    assert got is not None
    assert (got.press, await api.called("answerCallbackQuery")) == ("q1", {"callback_query_id": "q1"})


# --- With the sandbox ---------------------------------------------------------------------------------------------


async def answered(channel: TelegramChannel, handle: Handler, reply: Reply) -> Inbound:
    """Say ``reply`` to whoever wrote next."""
    got = await handle.next()
    await channel.say(got.chat, reply)
    return got


async def test_a_person_starts_presses_and_blocks(provider: TelegramProvider, channel: TelegramChannel) -> None:
    ann = provider.server.person(CHAT, "Ann", "de")
    assert await channel.link("token-1") == f"https://t.me/{provider.server.bot_username}?start=token-1"
    handle = Handler()
    async with listening(channel, handle):
        await handle.next()
        ann.press_start("token-1")
        started = await answered(channel, handle, Reply("Link <b>Shop</b>?", [[Button("Yes", "yes")]]))
        question = provider.server.chat(CHAT)[-1]
        query = ann.press(question["message_id"], "yes")
        pressing = await handle.next()
        await channel.say(pressing.chat, Reply("Linked", replaces=pressing.message_id))
        ann.block()
        blocked = await handle.next()
    assert (started.command, started.text, started.language) == ("start", "token-1", "en")
    assert (pressing.text, pressing.press) == ("yes", query)
    assert provider.server.chat(CHAT)[-1]["text"] == "Linked"
    assert [shown for shown in provider.server.chat(CHAT) if "reply_markup" in shown] == []
    assert blocked.blocked is True
    assert (await failure(channel)).reason is Reason.BLOCKED


async def test_a_person_shares_their_number_by_the_keyboard(
    provider: TelegramProvider, channel: TelegramChannel
) -> None:
    ann = provider.server.person(CHAT, "Ann")
    handle = Handler()
    await channel.say(str(CHAT), Reply("Your number?", asks_contact="Share my number"))
    assert ann.keyboard is not None
    async with listening(channel, handle):
        await handle.next()
        ann.share_contact("+4915112345678")
        own = await handle.next()
        for sharing in ({"user_id": 1}, {"user_id": 0}, {"forwarded": True}):
            ann.share_contact("+4915112345678", **sharing)
        others = [(await handle.next()).contact for _ in range(3)]
    await channel.say(str(CHAT), Reply("Thank you", clears_keyboard=True))
    assert own.contact == Contact("4915112345678", own=True)
    assert others == [Contact("4915112345678", own=False)] * 3
    assert ann.keyboard is None


async def test_a_group_is_told_and_left(provider: TelegramProvider, channel: TelegramChannel) -> None:
    ann, group = provider.server.person(CHAT, "Ann"), provider.server.group(-100, "Us")
    handle = Handler()
    async with listening(channel, handle):
        await handle.next()
        group.add_bot(ann)
        joined = await answered(channel, handle, Reply("In private only", leaves=True))
        ann.write("and now")
        after = await handle.next()
    assert (joined.joined, joined.private, joined.blocked) == (True, False, None)
    assert provider.server.chat(-100)[-1]["text"] == "In private only"
    assert not group.joined
    assert after.text == "and now"


async def test_a_code_message_is_edited_and_then_deleted(provider: TelegramProvider, channel: TelegramChannel) -> None:
    receipt = await channel.deliver(dataclasses.replace(a_message(), report=Button("Not me", "not:ver_1")))
    assert receipt.provider_id is not None
    for _ in range(2):
        await channel.revise(str(CHAT), receipt.provider_id, Reply("<b>Over</b>"))
    shown = provider.server.chat(CHAT)[-1]
    assert (shown["text"], "reply_markup" in shown) == ("Over", False)
    for _ in range(2):
        await channel.remove(str(CHAT), receipt.provider_id)
    assert "Over" not in [shown["text"] for shown in provider.server.chat(CHAT)]
    assert summary(await failing(channel.revise(str(CHAT), receipt.provider_id, OVER))) == (
        PermanentError,
        Reason.REJECTED,
        "400",
    )


async def test_the_menu_is_what_people_see(provider: TelegramProvider, channel: TelegramChannel) -> None:
    await channel.introduce({"": [("help", "Help")], "de": [("help", "Hilfe")]})
    assert provider.server.commands == {
        "": [{"command": "help", "description": "Help"}],
        "de": [{"command": "help", "description": "Hilfe"}],
    }


@contextlib.asynccontextmanager
async def receiving(channel: TelegramChannel, handle: HandleInbound) -> AsyncIterator[str]:
    """Serve the channel's callbacks and yield their URL."""

    async def receive(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        inbound = channel.read(CallbackRequest("POST", request.path, headers, await request.read()))
        if inbound is not None:
            await handle(inbound)
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/callbacks/telegram", receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/callbacks/telegram"
    finally:
        await runner.cleanup()


async def test_updates_come_by_the_webhook_and_a_bot_that_polls_takes_them_over(provider: TelegramProvider) -> None:
    ann = provider.server.person(CHAT, "Ann")
    base_url, handle = provider.server.base_url, Handler()
    hooked = TelegramChannel("telegram", settings(base_url=base_url, updates="webhook"))
    async with receiving(hooked, handle) as url, hooked:
        hooked.callback_url = url
        async with listening(hooked, handle):
            assert (await handle.next()).command == "start"
            ann.write("by the webhook")
            assert (await handle.next()).text == "by the webhook"
    async with TelegramChannel("telegram", settings(base_url=base_url)) as polling, listening(polling, handle):
        ann.write("by a poll")
        await handle.until("by a poll")
    assert provider.server.conflicts == 0
