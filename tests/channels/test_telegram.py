"""The Telegram adapter against the Bot API sandbox, and against a server that answers what it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import logging
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, ClassVar, Self

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from channels.base import (
    AmbiguousError,
    Button,
    CallbackRequest,
    DeliveryError,
    Envelope,
    ForgedCallbackError,
    HandleInbound,
    Inbound,
    PermanentError,
    Reason,
    Receipt,
    Reply,
    TransientError,
    load,
)
from channels.telegram import PAUSE_MAX, TelegramChannel, TelegramSettings, parse_command
from gateway.sandbox.fault import Fault
from gateway.sandbox.inbox import Inbox
from gateway.sandbox.telegram import TelegramSandbox
from tests.channels.contract import CODE, ChannelContract, an_envelope, told

CHAT = 4711
TOKEN = "123456:sandbox-token_7f3a"
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


# --- A Bot API that answers what it is told to --------------------------------------------------------------------


def ok(result: object) -> web.Response:
    return web.json_response({"ok": True, "result": result})


def no(status: int, description: str = "No", **parameters: object) -> web.Response:
    body = {"ok": False, "error_code": status, "description": description}
    return web.json_response(body | ({"parameters": parameters} if parameters else {}), status=status)


def page(status: int) -> web.Response:
    return web.Response(status=status, text="<html>proxy</html>")


PERSON = {"id": CHAT, "is_bot": False, "first_name": "Ann", "last_name": "Smith", "language_code": "de"}
PRIVATE = {"id": CHAT, "type": "private", "first_name": "Ann"}
GROUP = {"id": -100, "type": "group", "title": "Us"}
BOT = {"id": 1, "is_bot": True, "first_name": "Codes", "username": "codes_bot"}
SENT = {"message_id": 77, "date": 1_700_000_000, "chat": PRIVATE}


class BotApi:
    """Answers each method with what is queued for it, then with its default; ``getUpdates`` waits for updates."""

    def __init__(self) -> None:
        self.queued: dict[str, deque[web.Response]] = defaultdict(deque)
        self.calls: dict[str, asyncio.Queue[dict[str, str]]] = defaultdict(asyncio.Queue)
        self.seen: list[str] = []
        self.updates: list[dict[str, Any]] = []
        self.polled = asyncio.Event()
        self._more = asyncio.Event()
        self._closing = False

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/bot{token}/{method}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._more.set()
        await self._runner.cleanup()

    def answer(self, method: str, *answers: web.Response) -> None:
        self.queued[method].extend(answers)

    def tell(self, **update: object) -> None:
        """Add an update, numbered in order from 1."""
        self.updates.append({"update_id": len(self.updates) + 1, **update})
        self._more.set()

    async def called(self, method: str) -> dict[str, str]:
        """Return the form of the next call of ``method``."""
        async with asyncio.timeout(10):
            return await self.calls[method].get()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        assert request.match_info["token"] == TOKEN
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.seen.append(method)
        self.calls[method].put_nowait(form)
        if self.queued[method]:
            return self.queued[method].popleft()
        if method == "getUpdates":
            return ok(await self._wait(int(form.get("offset", 0))))
        return ok({"sendMessage": SENT, "getMe": BOT}.get(method, True))

    async def _wait(self, offset: int) -> list[dict[str, Any]]:
        while (
            not (waiting := [update for update in self.updates if update["update_id"] >= offset]) and not self._closing
        ):
            self._more.clear()
            self.polled.set()
            await self._more.wait()
        return waiting


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
    """Notes what arrives, and does what is queued: returns replies or raises."""

    def __init__(self, *outcomes: Sequence[Reply] | BaseException) -> None:
        self.outcomes = deque(outcomes)
        self.got: list[Inbound] = []
        self._arrived: asyncio.Queue[Inbound] = asyncio.Queue()

    async def __call__(self, inbound: Inbound) -> Sequence[Reply]:
        self.got.append(inbound)
        self._arrived.put_nowait(inbound)
        outcome = self.outcomes.popleft() if self.outcomes else ()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def next(self) -> Inbound:
        async with asyncio.timeout(10):
            return await self._arrived.get()


@contextlib.asynccontextmanager
async def listening(channel: TelegramChannel, handle: HandleInbound) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(channel.listen(handle))
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def message(text: object = "hello", **changes: object) -> dict[str, object]:
    return {"message_id": 5, "date": 1_700_000_000, "chat": PRIVATE, "from": PERSON, "text": text, **changes}


def pressed(data: str | None = "yes", **changes: object) -> dict[str, object]:
    query = {"id": "q1", "from": PERSON, "chat_instance": "1", "message": message(), **changes}
    return query if data is None else query | {"data": data}


def membership(status: str, chat: dict[str, object] | None = None) -> dict[str, object]:
    member: dict[str, object] = {"user": BOT, "status": status}
    if status == "kicked":
        member["until_date"] = 0
    old = {"user": BOT, "status": "member"}
    return {
        "chat": chat or PRIVATE,
        "from": PERSON,
        "date": 1_700_000_000,
        "old_chat_member": old,
        "new_chat_member": member,
    }


async def failure(bot: TelegramChannel, address: str | None = None) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await bot.deliver(a_message(address))
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


async def test_starting_asks_telegram_nothing(api: BotApi, bot: TelegramChannel) -> None:
    assert api.seen == []


@pytest.mark.parametrize("address", ["ann", "1.5", "٣", "+7", "9" * 20])
async def test_an_address_that_is_no_chats_number_is_not_sent(api: BotApi, bot: TelegramChannel, address: str) -> None:
    assert summary(await failure(bot, address)) == (PermanentError, Reason.INVALID_RECIPIENT, None)
    assert api.seen == []


@pytest.mark.parametrize(
    ("answer", "kind", "reason", "code"),
    [
        (no(403, "Forbidden: bot was blocked by the user"), PermanentError, Reason.BLOCKED, "403"),
        (no(401, "Unauthorized"), PermanentError, Reason.MISCONFIGURED, "401"),
        (no(404, "Not Found"), PermanentError, Reason.MISCONFIGURED, "401"),
        (page(404), PermanentError, Reason.MISCONFIGURED, "401"),
        (no(400, "Bad Request: chat not found"), PermanentError, Reason.INVALID_RECIPIENT, "400"),
        (no(400, "Bad Request: can't parse entities"), PermanentError, Reason.REJECTED, "400"),
        (no(400, "x", migrate_to_chat_id=-5), PermanentError, Reason.INVALID_RECIPIENT, "400"),
        (no(429, "Too Many Requests", retry_after=9), TransientError, Reason.RATE_LIMITED, "429"),
        (no(429, "Too Many Requests"), TransientError, Reason.RATE_LIMITED, "429"),
        (page(429), TransientError, Reason.RATE_LIMITED, "429"),
        (no(409, "Conflict"), TransientError, Reason.UNAVAILABLE, "409"),
        (no(413, "Too Large"), PermanentError, Reason.UNAVAILABLE, "413"),
        (page(201), AmbiguousError, Reason.UNAVAILABLE, "201"),
        (page(302), PermanentError, Reason.UNAVAILABLE, "302"),
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
    ],
    ids=lambda value: str(getattr(value, "status", value)),
)
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


def copied(answer: web.Response) -> web.Response:
    """A response object can be sent once only, and parametrized ones are shared."""
    return web.Response(status=answer.status, body=answer.body, headers={"Content-Type": answer.content_type})


async def test_a_limit_is_the_chats_and_keeps_its_wait(api: BotApi, bot: TelegramChannel) -> None:
    api.answer("sendMessage", no(429, "Too Many Requests: retry after 9", retry_after=9))
    error = await failure(bot)
    assert isinstance(error, TransientError)
    assert (error.retry_after, error.whole_channel) == (9.0, False)


async def test_a_wait_may_be_a_duration(api: BotApi, bot: TelegramChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", "1")
    api.answer("sendMessage", no(429, "Too Many Requests", retry_after=9))
    error = await failure(bot)
    assert isinstance(error, TransientError)
    assert error.retry_after == dt.timedelta(seconds=9).total_seconds()


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
        ({"updates": "webhook"}, 'updates = "webhook" is not available yet: use "polling" or "off"'),
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


# --- Listening ----------------------------------------------------------------------------------------------------


def inbound(**changes: Any) -> Inbound:
    usual: dict[str, Any] = {
        "update_id": 1,
        "chat": str(CHAT),
        "command": None,
        "text": "hello",
        "display_name": "Ann Smith",
        "language": "de",
        "private": True,
    }
    return Inbound(**{**usual, **changes})


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        ({"message": message()}, inbound()),
        ({"message": message("/start abc-1")}, inbound(command="start", text="abc-1")),
        ({"message": message("/START@codes_bot  abc ")}, inbound(command="start", text="abc")),
        ({"message": message("/help")}, inbound(command="help", text="")),
        ({"message": message("", sticker=None)}, inbound(text="")),
        ({"message": message(chat=GROUP)}, inbound(chat="-100", private=False)),
        (
            {"message": {key: value for key, value in message(chat=GROUP).items() if key != "from"}},
            inbound(chat="-100", private=False, display_name="", language=None),
        ),
        ({"callback_query": pressed()}, inbound(text="yes", press="q1")),
        (
            {"callback_query": pressed(message={"chat": PRIVATE, "message_id": 5, "date": 0})},
            inbound(text="yes", press="q1"),
        ),
        ({"my_chat_member": membership("kicked")}, inbound(text="", blocked=True)),
        ({"my_chat_member": membership("member")}, inbound(text="", blocked=False)),
        ({"my_chat_member": membership("left", GROUP)}, inbound(chat="-100", private=False, text="", blocked=True)),
    ],
)
async def test_updates_become_inbounds(
    api: BotApi, bot: TelegramChannel, update: dict[str, object], expected: Inbound
) -> None:
    handle = Handler()
    api.tell(**update)
    async with listening(bot, handle):
        assert await handle.next() == expected


@pytest.mark.parametrize(
    "update",
    [
        {},
        {"edited_message": message()},
        {"brand_new_kind": {"a": 1}},
        {"message": {"chat": "nonsense"}},
        {"message": 7},
        {"message": message(7)},
        {"callback_query": pressed(None, game_short_name="chess")},
        {"callback_query": {"id": "q", "from": PERSON, "chat_instance": "1", "data": "x", "inline_message_id": "i"}},
    ],
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
        assert api.seen[0] == "getUpdates"
        assert api.calls["getUpdates"].qsize() <= 2


async def test_replies_are_html_with_their_buttons_and_in_order(api: BotApi, bot: TelegramChannel) -> None:
    handle = Handler([Reply("<b>Hi</b>", [[Button("Yes", "y"), Button("No", "n")]]), Reply("Bye")])
    api.tell(message=message())
    async with listening(bot, handle):
        first, second = await api.called("sendMessage"), await api.called("sendMessage")
    assert (first["chat_id"], first["text"], first["parse_mode"]) == (str(CHAT), "<b>Hi</b>", "HTML")
    assert json.loads(first["reply_markup"]) == {
        "inline_keyboard": [[{"text": "Yes", "callback_data": "y"}, {"text": "No", "callback_data": "n"}]]
    }
    assert (second["text"], "reply_markup" in second) == ("Bye", False)


async def test_a_press_is_answered_and_its_buttons_go(api: BotApi, bot: TelegramChannel) -> None:
    api.tell(callback_query=pressed())
    async with listening(bot, Handler([Reply("Done")])):
        await api.called("sendMessage")
    assert api.seen[1:4] == ["answerCallbackQuery", "editMessageReplyMarkup", "sendMessage"]
    assert (await api.called("answerCallbackQuery")) == {"callback_query_id": "q1"}
    assert (await api.called("editMessageReplyMarkup")) == {"chat_id": str(CHAT), "message_id": "5"}


async def test_a_press_that_cannot_be_handled_keeps_its_buttons(api: BotApi, bot: TelegramChannel) -> None:
    api.tell(callback_query=pressed())
    api.tell(message=message("after"))
    handle = Handler(RuntimeError(), RuntimeError(), RuntimeError())
    async with listening(bot, handle):
        while (await handle.next()).text != "after":
            pass
    assert "editMessageReplyMarkup" not in api.seen


async def test_an_old_press_and_a_message_that_is_gone_do_not_matter(
    api: BotApi, bot: TelegramChannel, pauses: Pauses
) -> None:
    api.answer("answerCallbackQuery", no(400, "Bad Request: query is too old"))
    api.answer("editMessageReplyMarkup", no(400, "Bad Request: message to edit not found"))
    api.tell(callback_query=pressed())
    async with listening(bot, Handler([Reply("Done")])):
        assert (await api.called("sendMessage"))["text"] == "Done"
    assert pauses.lengths == []


async def test_an_update_is_confirmed_after_it_was_handled(api: BotApi, bot: TelegramChannel) -> None:
    api.tell(message=message())
    entered, leave = asyncio.Event(), asyncio.Event()

    async def handle(_: Inbound) -> Sequence[Reply]:
        entered.set()
        await leave.wait()
        return ()

    async with listening(bot, handle):
        await entered.wait()
        assert "offset" not in await api.called("getUpdates")
        assert api.calls["getUpdates"].empty()
        leave.set()
        assert (await api.called("getUpdates"))["offset"] == "2"


async def test_an_update_under_way_when_canceled_comes_again(api: BotApi, bot: TelegramChannel) -> None:
    api.tell(message=message())
    entered = asyncio.Event()

    async def hang(_: Inbound) -> Sequence[Reply]:
        entered.set()
        await asyncio.Event().wait()
        return ()

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
    ids=lambda value: str(value.status),
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
    assert pauses.lengths == [1.0, 2.0, 4.0, 8.0, 16.0, PAUSE_MAX, PAUSE_MAX, PAUSE_MAX, 1.0]


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


async def test_a_handler_that_fails_is_tried_three_times_and_the_next_update_goes_on(
    api: BotApi, bot: TelegramChannel, pauses: Pauses, caplog: pytest.LogCaptureFixture
) -> None:
    handle = Handler(*(RuntimeError(f"{CODE} hello") for _ in range(3)))
    api.tell(message=message())
    api.tell(message=message("after"))
    async with listening(bot, handle):
        while (await handle.next()).text != "after":
            pass
    assert [got.update_id for got in handle.got] == [1, 1, 1, 2]
    assert pauses.lengths == [1.0, 2.0]
    assert "RuntimeError in __call__:" in caplog.text
    assert CODE not in caplog.text
    assert "hello" not in caplog.text


async def test_a_handler_that_hangs_is_given_up(api: BotApi, bot: TelegramChannel) -> None:
    tries: list[int] = []
    done = asyncio.Event()

    async def hang(inbound: Inbound) -> Sequence[Reply]:
        tries.append(inbound.update_id)
        if inbound.update_id == 2:
            done.set()
            return ()
        await asyncio.Event().wait()
        return ()

    api.tell(message=message())
    api.tell(message=message())
    async with listening(bot, hang), asyncio.timeout(10):
        await done.wait()
    assert tries == [1, 1, 1, 2]


async def test_a_handler_that_recovers_answers(api: BotApi, bot: TelegramChannel) -> None:
    handle = Handler(RuntimeError(), [Reply("Here")])
    api.tell(message=message())
    async with listening(bot, handle):
        assert (await api.called("sendMessage"))["text"] == "Here"


@pytest.mark.parametrize(
    ("answer", "sends"),
    [(no(403), 1), (no(400), 1), (page(502), 1), (no(429, retry_after=600), 1), (no(429), 2)],
    ids=lambda value: str(getattr(value, "status", value)),
)
async def test_a_reply_is_repeated_only_where_nothing_was_sent_and_no_wait_was_asked_for(
    api: BotApi, bot: TelegramChannel, pauses: Pauses, answer: web.Response, sends: int
) -> None:
    api.answer("sendMessage", copied(answer))
    api.tell(message=message())
    api.tell(message=message("after"))
    handle = Handler([Reply("Hi")])
    async with listening(bot, handle):
        while (await handle.next()).text != "after":
            pass
    assert api.seen.count("sendMessage") == sends
    assert pauses.lengths == [1.0] * (sends - 1)


async def test_nothing_people_write_is_logged(
    api: BotApi, bot: TelegramChannel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    api.tell(message={**message("my secret words"), "date": "odd"})
    api.tell(message=message("my secret words"))
    handle = Handler([Reply("my secret answer")])
    api.answer("sendMessage", no(400, "my secret answer"))
    async with listening(bot, handle):
        await handle.next()
        await api.called("getUpdates")
        await api.called("getUpdates")
    seen = caplog.text + "".join(repr(vars(record)) for record in caplog.records if record.name != "asyncio")
    assert [text for text in ("secret", TOKEN, "Smith", str(CHAT)) if text in seen] == []


# --- With the sandbox ---------------------------------------------------------------------------------------------


async def test_a_person_starts_presses_and_blocks(provider: TelegramProvider, channel: TelegramChannel) -> None:
    ann = provider.server.person(CHAT, "Ann", "de")
    link = await channel.link("token-1")
    assert link == f"https://t.me/{provider.server.bot_username}?start=token-1"
    handle = Handler((), [Reply("Link <b>Shop</b>?", [[Button("Yes", "yes")]])], [Reply("Linked")])
    async with listening(channel, handle):
        await handle.next()
        ann.press_start("token-1")
        started = await handle.next()
        question = await provider.inbox.wait(str(CHAT), timeout=10)
        ann.press(int(question.id), "yes")
        yes = await handle.next()
        await provider.inbox.wait(str(CHAT), timeout=10, count=2)
        chat = provider.server.chat(CHAT)
        ann.block()
        blocked = await handle.next()
    assert (started.command, started.text, started.language) == ("start", "token-1", "en")
    assert (yes.text, yes.press is None) == ("yes", False)
    assert [shown["text"] for shown in chat[-2:]] == ["Link Shop?", "Linked"]
    assert [shown for shown in chat if "reply_markup" in shown] == []
    assert blocked.blocked is True
    assert (await failure(channel)).reason is Reason.BLOCKED


# --- Commands -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "command", "rest"),
    [
        ("/start", "start", ""),
        ("/start abc", "start", "abc"),
        ("/start@codes_bot abc", "start", "abc"),
        ("/Link", "link", ""),
        ("/start\nabc\ndef", "start", "abc\ndef"),
        ("hello /start", None, "hello /start"),
        ("/", None, "/"),
        ("/ start", None, "/ start"),
        ("/start-now", None, "/start-now"),
        ("", None, ""),
    ],
)
def test_a_command_is_a_slash_and_a_word_at_the_beginning(text: str, command: str | None, rest: str) -> None:
    assert parse_command(text) == (command, rest)


@given(st.text())
def test_every_text_is_a_command_or_itself(text: str) -> None:
    command, rest = parse_command(text)
    assert (command is None and rest == text) or (command is not None and text.lower().startswith(f"/{command}"))


@given(
    st.from_regex(r"[a-z0-9_]{1,32}", fullmatch=True),
    st.sampled_from(["", "@codes_bot"]),
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
)
def test_a_command_and_its_payload_come_back(command: str, bot_name: str, payload: str) -> None:
    assert parse_command(f"/{command}{bot_name} {payload}") == (command, payload)
