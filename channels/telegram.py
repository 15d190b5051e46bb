"""The Telegram channel: a bot that sends codes to chats people opened with it, and listens to what they write.

python-telegram-bot speaks the Bot API, over this project's HTTP client. Its ``Updater`` is not used: a single
401 or 404 ends its polling for good, while ``listen`` here goes on until it is canceled.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import re
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, Literal, Self, TypeVar

import telegram
from pydantic import SecretStr, field_validator
from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram import error as errors
from telegram.constants import ChatMemberStatus, ChatType, ParseMode
from telegram.helpers import create_deep_linked_url
from telegram.request import BaseRequest, RequestData

from channels.base import (
    AmbiguousError,
    Channel,
    ChannelSettings,
    DeliveryError,
    Envelope,
    HandleInbound,
    Inbound,
    Normalize,
    PermanentError,
    Reason,
    Receipt,
    Reply,
    TransientError,
)
from channels.http import MAX_RETRY_AFTER, AnswerLostError, BaseUrl, ConnectError, HttpClient, StatusError, silence
from channels.kinds import reference

#: Loggers of the library: they print the token at DEBUG and INFO, and what people wrote in their errors.
QUIET_LOGGERS: Final = ("telegram", "httpx", "httpcore")
#: What the bot is told of; blocking and unblocking comes as ``my_chat_member``.
ALLOWED_UPDATES: Final = ("message", "callback_query", "my_chat_member")
#: Seconds Telegram holds a poll open while nothing happens.
POLL_SECONDS: Final = 25
#: Updates per poll, and the longest answer in bytes: twenty of the longest messages with what they reply to
#: stay far below it. An answer over it could not be read and would be fetched again for ever.
POLL_LIMIT: Final = 20
POLL_MAX_BODY: Final = 8 * 1024 * 1024
#: The longest pause between polls that fail, in seconds; the first is one second, each next one twice as long.
PAUSE_MAX: Final = 30.0
#: How often one update is handled before it is skipped.
TRIES: Final = 3
#: Seconds one handling may take: what everybody else writes waits behind it.
HANDLE_SECONDS: Final = 30.0

#: Success, and the failures python-telegram-bot has a class for or tells apart by the answer's body.
_NAMED: Final = frozenset({200, 400, 401, 403, 404, 409, 429})
#: Descriptions of a 400 that are about the chat; any other is about the request.
_NO_CHAT: Final = ("chat not found", "user not found", "peer_id_invalid")
#: Exceptions that mean one thing, whatever their text.
_CLEAR: Final = (
    (errors.Forbidden, PermanentError, Reason.BLOCKED, "403"),
    (errors.InvalidToken, PermanentError, Reason.MISCONFIGURED, "401"),
    (errors.ChatMigrated, PermanentError, Reason.INVALID_RECIPIENT, "400"),
    (errors.Conflict, TransientError, Reason.UNAVAILABLE, "409"),
)
_COMMAND: Final = re.compile(r"/(?P<name>[A-Za-z0-9_]{1,32})(?:@\w{1,64})?(?:\s+(?P<rest>.*))?", re.DOTALL)
#: Telegram would fetch a link's page to show it.
_NO_PREVIEW: Final = telegram.LinkPreviewOptions(is_disabled=True)

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_Rows = Sequence[Sequence[InlineKeyboardButton]]


class TelegramSettings(ChannelSettings):
    """``[channels.telegram]``: the bot's token and whether this gateway listens to it."""

    #: As BotFather gave it: ``123456:AA…``.
    token: SecretStr
    base_url: BaseUrl = "https://api.telegram.org"
    #: How updates arrive: asked for, or not at all. Only with them can people link their chats.
    updates: Literal["polling", "webhook", "off"] = "polling"

    @field_validator("token")
    @classmethod
    def _shaped(cls, token: SecretStr) -> SecretStr:
        # The token is part of the URL's path: anything else in it would ask for another path.
        if not re.fullmatch(r"[0-9]+:[A-Za-z0-9_-]+", token.get_secret_value()):
            raise ValueError("a bot's token is a number, a colon and letters, digits, _ or -")
        return token

    @field_validator("updates")
    @classmethod
    def _available(cls, updates: str) -> str:
        if updates == "webhook":
            raise ValueError('updates = "webhook" is not available yet: use "polling" or "off"')
        return updates


class _Requests(BaseRequest):
    """python-telegram-bot's requests over our client, whose errors it keeps as ``__cause__``."""

    __slots__ = ("_http",)

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    @property
    def read_timeout(self) -> float:
        return self._http.timeout

    async def initialize(self) -> None:
        await self._http.__aenter__()

    async def shutdown(self) -> None:
        await self._http.__aexit__(None, None, None)

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: object = BaseRequest.DEFAULT_NONE,
        *_: object,
        **__: object,
    ) -> tuple[int, bytes]:
        answer = await self._http.request(
            method,
            url,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            data=request_data.url_encoded_parameters().encode() if request_data else None,
            timeout=float(read_timeout) if isinstance(read_timeout, int | float) else None,
        )
        if answer.status not in _NAMED:
            raise StatusError(answer.status)
        return answer.status, answer.body

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        """Read an answer; a list in it is one of updates, of which an unreadable one must not hold up the others."""
        answer = BaseRequest.parse_json_payload(payload)
        if isinstance(answer.get("result"), list):
            answer["result"] = [_readable(update) for update in answer["result"]]
        return answer


def _readable(update: dict[str, Any]) -> dict[str, Any]:
    """Return ``update``, or one with nothing but its number: confirmed like any other, it does not come again."""
    numbered = {**update, "update_id": int(update["update_id"])}
    try:
        _inbound(Update.de_json(numbered))
    except Exception as error:  # noqa: BLE001 - the library checks no types, so anything may be raised
        _log.warning("an update cannot be read and is skipped: %s", type(error).__name__)
        return {"update_id": numbered["update_id"]}
    return numbered


class TelegramChannel(Channel):
    """Sends codes to people's chats with the bot and passes on what they write there."""

    Settings: ClassVar[type[ChannelSettings]] = TelegramSettings
    kinds: ClassVar[Mapping[str, Normalize]] = {"telegram": reference}
    parts: ClassVar[tuple[str, ...]] = ("body.html", "copy.txt")
    needs_subscriber: ClassVar[bool] = True

    settings: TelegramSettings

    def __init__(
        self,
        name: str,
        settings: ChannelSettings,
        *,
        callback_url: str | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        handle_seconds: float = HANDLE_SECONDS,
    ) -> None:
        """``pause`` waits so many seconds between tries; one update may be handled for ``handle_seconds``."""
        assert isinstance(settings, TelegramSettings)
        super().__init__(name, settings, callback_url=callback_url)
        # Before the bot is made: its constructor logs the URL with the token.
        silence(QUIET_LOGGERS)
        self._requests = _Requests(HttpClient(timeout=settings.timeout, connections=settings.concurrency))
        # Polls have a client of their own: one of them takes a connection for as long as nobody writes.
        self._polls = _Requests(HttpClient(timeout=settings.timeout, connections=1, max_body=POLL_MAX_BODY))
        token, base_url = settings.token.get_secret_value(), f"{settings.base_url}/bot"
        self._bot = telegram.Bot(token, base_url, request=self._requests, get_updates_request=self._polls)
        self._pause = pause
        self._handle_seconds = handle_seconds
        self._username: str | None = None

    async def __aenter__(self) -> Self:
        # Not Bot.initialize, which asks Telegram who the bot is: a gateway must start while Telegram is down.
        await self._requests.initialize()
        await self._polls.initialize()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._requests.shutdown()
        await self._polls.shutdown()

    async def deliver(self, envelope: Envelope) -> Receipt:
        """Send one message with a button that copies the code. Raises ``DeliveryError``.

        A message with an id is in the person's chat, which is all Telegram ever tells: it counts as delivered.
        """
        if not re.fullmatch(r"-?[0-9]{1,19}", envelope.address):
            raise PermanentError(Reason.INVALID_RECIPIENT)
        copy_text = telegram.CopyTextButton(envelope.code)
        button = InlineKeyboardButton(envelope.parts["copy.txt"].strip(), copy_text=copy_text)
        sending = self._send(envelope.address, envelope.parts["body.html"], [[button]], protect=True)
        return Receipt(provider_id=await _asked(sending), delivered=True)

    async def _send(self, chat: str, text: str, rows: _Rows, *, protect: bool | None = None) -> str:
        """Send HTML and return the message's id; a protected message cannot be forwarded."""
        message = await self._bot.send_message(
            chat,
            text,
            ParseMode.HTML,
            protect_content=protect,
            link_preview_options=_NO_PREVIEW,
            reply_markup=InlineKeyboardMarkup(rows) if rows else None,
        )
        return str(message.message_id)[:64]

    async def link(self, token: str) -> str | None:
        """Return ``https://t.me/<bot>?start=<token>``, or ``None`` where the bot is not listened to.

        ``token`` is 1 to 64 characters of ``A-Z a-z 0-9 _ -``, else ``ValueError``. Telegram is asked for the
        bot's name once: ``TransientError`` where it does not answer, ``PermanentError`` where it refuses.
        """
        if not self.listens:
            return None
        if not token:
            raise ValueError("a link needs a token")
        try:
            self._username = self._username or (await _asked(self._bot.get_me())).username
        except AmbiguousError as error:
            # Asking changed nothing, so a lost answer is no more than a reason to ask again.
            raise TransientError(error.reason, provider_code=error.provider_code) from None
        if not self._username:
            raise TransientError(Reason.UNKNOWN)
        return create_deep_linked_url(self._username, token)

    @property
    def listens(self) -> bool:
        """Whether updates are polled for."""
        return self.settings.updates == "polling"

    async def listen(self, handle: HandleInbound) -> None:
        """Pass every update to ``handle`` and send its replies, until canceled.

        An update is confirmed to Telegram after it was handled, so a crash repeats it: ``handle`` must know an
        ``update_id`` again. One whose handling fails three times is skipped. No failure of Telegram ends the loop.
        """
        offset: int | None = None
        failures = 0
        while self.listens:
            try:
                poll = self._bot.get_updates(offset, POLL_LIMIT, POLL_SECONDS, allowed_updates=ALLOWED_UPDATES)
                updates = await _asked(poll)
            except DeliveryError as error:
                failures += 1
                await self._set_back(error, failures)
                continue
            failures = 0
            for update in updates:
                await self._take(update, handle)
                offset = update.update_id + 1

    async def _set_back(self, error: DeliveryError, failures: int) -> None:
        wait = min(2.0 ** min(failures - 1, 10), PAUSE_MAX)
        if isinstance(error, TransientError) and error.retry_after is not None:
            wait = max(wait, error.retry_after)
        _log.warning("channel %s: no updates: %s; next try in %.0f s", self.name, error, wait)
        await self._pause(wait)

    async def _take(self, update: Update, handle: HandleInbound) -> None:
        inbound = _inbound(update)
        if inbound is None:
            return
        query = update.callback_query
        if query is not None:
            # The button shows a clock until it is answered, whatever becomes of the press.
            await self._tried("answer a press", update, lambda: _asked(self._bot.answer_callback_query(query.id)))
        replies = await self._tried("handle", update, lambda: self._handled(handle, inbound))
        if replies is not None and query is not None and query.message is not None:
            # Without its buttons a message cannot be pressed twice.
            unbutton = partial(self._bot.edit_message_reply_markup, inbound.chat, query.message.message_id)
            await self._tried("remove buttons", update, lambda: _asked(unbutton()))
        for reply in replies or ():
            await self._tried("reply", update, partial(self._reply, inbound.chat, reply))

    async def _handled(self, handle: HandleInbound, inbound: Inbound) -> tuple[Reply, ...]:
        async with asyncio.timeout(self._handle_seconds):
            return tuple(await handle(inbound))

    async def _reply(self, chat: str, reply: Reply) -> None:
        rows = [[InlineKeyboardButton(b.label, callback_data=b.data) for b in row] for row in reply.buttons]
        await _asked(self._send(chat, reply.text, rows))

    async def _tried(self, what: str, update: Update, action: Callable[[], Awaitable[_T]]) -> _T | None:
        """Return what ``action`` returns within three tries, ``None`` where none succeeds."""
        for number in range(1, TRIES + 1):
            try:
                return await action()
            except Exception as error:  # noqa: BLE001 - one person's update must not end everybody's
                _log.warning("channel %s: cannot %s, update %d: %s", self.name, what, update.update_id, _where(error))
                if not _worth_repeating(error):
                    break
            if number < TRIES:
                await self._pause(2.0 ** (number - 1))
        return None


async def _asked(call: Awaitable[_T]) -> _T:
    """Await one call of the Bot API. Raises ``DeliveryError`` whatever goes wrong."""
    try:
        return await call
    except Exception as error:  # noqa: BLE001 - an odd answer raises anything, and the message may be out
        failure = _classified(error)
    # Raised outside the handler: the library's exceptions may quote the answer, and a traceback prints them.
    raise failure


def _classified(error: Exception) -> DeliveryError:
    """Say what a failure means. The order matters: ``BadRequest`` is a ``NetworkError`` too."""
    if isinstance(error, errors.RetryAfter):
        wait = error.retry_after
        seconds = wait.total_seconds() if isinstance(wait, dt.timedelta) else float(wait)
        # Telegram's limit is usually one chat's (about one message a second), so the others go on.
        return TransientError(Reason.RATE_LIMITED, retry_after=min(seconds, MAX_RETRY_AFTER), provider_code="429")
    for kind, failure, reason, code in _CLEAR:
        if isinstance(error, kind):
            return failure(reason, provider_code=code)
    if isinstance(error, errors.BadRequest):
        gone = any(text in error.message.lower() for text in _NO_CHAT)
        return PermanentError(Reason.INVALID_RECIPIENT if gone else Reason.REJECTED, provider_code="400")
    return _by_cause(error.__cause__) if isinstance(error, errors.NetworkError) else AmbiguousError(Reason.UNKNOWN)


def _by_cause(cause: BaseException | None) -> DeliveryError:
    if isinstance(cause, StatusError):
        failure = PermanentError if 300 <= cause.status < 500 else AmbiguousError
        return failure(Reason.UNAVAILABLE, provider_code=str(cause.status))
    if isinstance(cause, ConnectError):
        return TransientError(Reason.UNAVAILABLE)
    if isinstance(cause, AnswerLostError):
        return AmbiguousError(Reason.TIMEOUT if cause.timed_out else Reason.UNAVAILABLE)
    if cause is None or isinstance(cause, errors.TelegramError):
        # Of the statuses let through to the library, only a 429 without parameters ends as a plain NetworkError.
        return TransientError(Reason.RATE_LIMITED, provider_code="429")
    return AmbiguousError(Reason.UNKNOWN)


def _worth_repeating(error: Exception) -> bool:
    """Telegram's refusals stand, lost answers may have arrived, and a chat it slows down is not waited for."""
    return not isinstance(error, DeliveryError) or (isinstance(error, TransientError) and error.retry_after is None)


def _where(error: Exception) -> str:
    """Say what failed and where, without the text of an exception that may quote what a person wrote."""
    if isinstance(error, DeliveryError):
        return str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {frame.name}:{frame.lineno}"


def _inbound(update: Update) -> Inbound | None:
    """Return an update in this project's words; ``None`` for the kinds that are not asked for."""
    query, change = update.callback_query, update.my_chat_member
    chat, user = update.effective_chat, update.effective_user
    if chat is None or not (query or change or update.message) or (query and query.data is None):
        return None
    command, text = parse_command(update.message.text or "" if update.message else "")
    return Inbound(
        update_id=update.update_id,
        chat=str(chat.id),
        command=command,
        text=query.data or "" if query else text,
        display_name=user.full_name if user else "",
        language=user.language_code if user else None,
        private=chat.type == ChatType.PRIVATE,
        press=query.id if query else None,
        blocked=change.new_chat_member.status in (ChatMemberStatus.BANNED, ChatMemberStatus.LEFT) if change else None,
    )


def parse_command(text: str) -> tuple[str | None, str]:
    """Split ``/start@bot payload`` into ``start`` and ``payload``; text that is no command is returned whole."""
    match = _COMMAND.fullmatch(text)
    return (match["name"].lower(), (match["rest"] or "").strip()) if match else (None, text)
