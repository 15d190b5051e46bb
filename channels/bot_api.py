"""python-telegram-bot over this project's HTTP client: calls, what a message holds, and what a failure means for it.

The library's own classes tell too little (a refused connection and a lost answer are both a ``NetworkError``), so
what our client raised is kept as their ``__cause__`` and asked here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

import orjson
from telegram import (
    Bot,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    KeyboardButton,
    LinkPreviewOptions,
    ReplyKeyboardMarkup,
    ReplyKeyboardRemove,
    Update,
)
from telegram import error as errors
from telegram.constants import ParseMode
from telegram.request import BaseRequest, RequestData

from channels.base import AmbiguousError, DeliveryError, PermanentError, Reason, TransientError
from channels.chat import Button, Reply
from channels.http import MAX_RETRY_AFTER, HttpClient, HttpError, StatusError, failure_of, form, retry_after
from channels.updates import ALLOWED_UPDATES, readable

#: Loggers of the library: they print the token at DEBUG and INFO, and what people wrote in their errors.
QUIET_LOGGERS: Final = ("telegram", "httpx", "httpcore")
#: Seconds Telegram holds a poll open while nothing happens.
POLL_SECONDS: Final = 25
#: Updates per poll.
POLL_LIMIT: Final = 20
#: Telegram would fetch a link's page to show it.
NO_PREVIEW: Final = LinkPreviewOptions(is_disabled=True)
_NO_PREVIEW: Final = NO_PREVIEW.to_json()

#: The refusals python-telegram-bot has a class for. Every other status is classified here.
_NAMED: Final = frozenset({400, 401, 403, 404, 409})
#: Statuses that every call would meet: a redirect is followed nowhere, so ``base_url`` is wrong; 401, 403 and 404 that
#: are not the Bot API's come from a proxy that lets nothing through, or from another server.
_ELSEWHERE: Final = frozenset({*range(300, 400), 401, 403, 404})
#: Descriptions of a 400 that are about the chat; any other is about the request.
_NO_CHAT: Final = ("chat not found", "user not found", "peer_id_invalid")
#: Exceptions that mean one thing, whatever their text.
_CLEAR: Final = (
    (errors.Forbidden, PermanentError, Reason.BLOCKED, "403"),
    (errors.InvalidToken, PermanentError, Reason.MISCONFIGURED, "401"),
    (errors.ChatMigrated, PermanentError, Reason.INVALID_RECIPIENT, "400"),
    (errors.Conflict, TransientError, Reason.UNAVAILABLE, "409"),
)

#: What a message shows beside its text.
Markup = InlineKeyboardMarkup | ReplyKeyboardMarkup | ReplyKeyboardRemove | None

_T = TypeVar("_T")


class Requests(BaseRequest):
    """The library's requests over our client, whose errors it keeps as ``__cause__``."""

    __slots__ = ("_http",)

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    @property
    def read_timeout(self) -> float:
        """Seconds a call may take."""
        return self._http.timeout

    async def initialize(self) -> None:
        """Open the client."""
        await self._http.__aenter__()

    async def shutdown(self) -> None:
        """Close the client's connections."""
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
        """Make one request, once. Raises ``HttpError``, for a status the library has no class for as well."""
        answer = await self._http.request(
            method,
            url,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            data=form(request_data.json_parameters) if request_data else None,
            timeout=float(read_timeout) if isinstance(read_timeout, int | float) else None,
        )
        if answer.status == 200:
            return answer.status, answer.body
        refusal = _refusal(answer.body)
        if answer.status not in _NAMED or refusal is None:
            wait = _wait(refusal, answer.headers) if answer.status == 429 else None
            raise StatusError(answer.status, retry_after=wait)
        return answer.status, answer.body


class _Fields:
    """A form's fields in the place of the library's parameters: it only hands them to ``Requests.do_request``."""

    __slots__ = ("json_parameters",)

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.json_parameters = fields


def _refusal(body: bytes) -> dict[str, Any] | None:
    """Return a refusal as the Bot API writes one, ``None`` for what it did not write."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) and found.get("ok") is False else None


def _wait(refusal: dict[str, Any] | None, headers: Mapping[str, str]) -> float | None:
    """Return the seconds a 429 asks to wait: by its ``parameters``, else by its header; ``None`` for no such number."""
    parameters = (refusal or {}).get("parameters")
    asked_for = parameters.get("retry_after") if isinstance(parameters, dict) else None
    if isinstance(asked_for, int | float) and not isinstance(asked_for, bool):
        return min(max(float(min(asked_for, MAX_RETRY_AFTER)), 0.0), MAX_RETRY_AFTER)
    return retry_after(headers.get("retry-after"))


class Polls(Requests):
    """Requests whose answers are lists of updates, an unreadable one of which must not hold up the others."""

    __slots__ = ()

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        """Read an answer. An update that cannot be read keeps its number alone."""
        answer = BaseRequest.parse_json_payload(payload)
        if isinstance(answer.get("result"), list):
            answer["result"] = [readable(update) for update in answer["result"]]
        return answer


class Fetch:
    """Asks for updates, which Telegram refuses while a webhook is set: that is removed first, and again after a 409."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._unhooked = False

    async def __call__(self, offset: int | None) -> Sequence[Update]:
        """Return the next updates, after a while without any; ``offset`` confirms those before it."""
        if not self._unhooked:
            await self._bot.delete_webhook()
            self._unhooked = True
        try:
            return await self._bot.get_updates(offset, POLL_LIMIT, POLL_SECONDS, allowed_updates=ALLOWED_UPDATES)
        except errors.Conflict:
            self._unhooked = False
            raise


async def sent(bot: Bot, chat: str, text: str, shown: Markup) -> str:
    """Send HTML and return the message's id."""
    message = await bot.send_message(
        chat,
        text,
        ParseMode.HTML,
        link_preview_options=NO_PREVIEW,
        reply_markup=shown,
    )
    return str(message.message_id)[:64]


async def sent_code(
    requests: BaseRequest,
    base_url: str,
    chat: str,
    text: str,
    shown: Sequence[Sequence[Mapping[str, Any]]],
    seconds: float,
) -> str:
    """Send HTML that cannot be forwarded and return the message's id.

    ``base_url`` is the bot's, ``shown`` are rows of buttons as the Bot API has them. Of the library only its requests and
    errors are used, through ``requests``: its ``send_message`` makes objects of all that is sent and answered, and takes
    350 µs with the request, this 130 (measured).
    """
    fields = {
        "chat_id": chat,
        "text": text,
        "parse_mode": "HTML",
        "protect_content": "true",
        "link_preview_options": _NO_PREVIEW,
        "reply_markup": orjson.dumps({"inline_keyboard": shown}).decode(),
    }
    data = cast("RequestData", _Fields(fields))
    answer: Any = await requests.post(f"{base_url}/sendMessage", data, read_timeout=seconds)
    number = answer["message_id"]
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError("a message's id is a number")
    return str(number)[:64]


def button(of: Button) -> InlineKeyboardButton:
    """Return a button under a message whose data comes back when it is pressed."""
    return InlineKeyboardButton(of.label, callback_data=of.data)


def buttons(rows: Sequence[Sequence[Button]]) -> InlineKeyboardMarkup | None:
    """Return rows of such buttons; ``None`` for no rows, which takes an edited message's buttons away."""
    return InlineKeyboardMarkup([[button(of) for of in row] for row in rows]) if rows else None


def markup(reply: Reply) -> Markup:
    """Return what a reply shows beside its text. A message holds one such thing: the first of these it asks for."""
    if reply.asks_contact is not None:
        key = KeyboardButton(reply.asks_contact, request_contact=True)
        return ReplyKeyboardMarkup([[key]], resize_keyboard=True, one_time_keyboard=True)
    if reply.buttons:
        return buttons(reply.buttons)
    return ReplyKeyboardRemove() if reply.clears_keyboard else None


async def asked(call: Awaitable[_T]) -> _T:
    """Await one call of the Bot API. Raises ``DeliveryError`` whatever goes wrong."""
    try:
        return await call
    except Exception as error:  # noqa: BLE001 - an odd answer raises anything, and the message may be out
        failure = _classified(error)
    # Raised outside the handler: the library's exceptions may quote the answer, and a traceback prints them.
    raise failure


async def repeatable(call: Awaitable[_T]) -> _T:
    """Await a call that may be made twice. Raises ``TransientError`` or ``PermanentError``.

    A lost answer to such a call is no more than a reason to make it again.
    """
    try:
        return await asked(call)
    except AmbiguousError as error:
        failure = TransientError(error.reason, provider_code=error.provider_code)
    raise failure


async def settled(call: Awaitable[object], *, unless: str) -> None:
    """Await a repeatable call that puts something right; a refusal that begins with ``unless`` says that it is.

    ``unless`` is in lower case, without Telegram's "Bad Request: ".
    """
    await repeatable(_without(call, unless))


async def _without(call: Awaitable[object], refusal: str) -> None:
    try:
        await call
    except errors.BadRequest as error:
        if not error.message.lower().startswith(refusal):
            raise


def _classified(error: Exception) -> DeliveryError:
    """Say what a failure means. The order matters: ``BadRequest`` is a ``NetworkError`` too."""
    for kind, failure, reason, code in _CLEAR:
        if isinstance(error, kind):
            return failure(reason, provider_code=code)
    if isinstance(error, errors.BadRequest):
        gone = any(text in error.message.lower() for text in _NO_CHAT)
        return PermanentError(Reason.INVALID_RECIPIENT if gone else Reason.REJECTED, provider_code="400")
    return _by_cause(error.__cause__) if isinstance(error, errors.NetworkError) else AmbiguousError(Reason.UNKNOWN)


def _by_cause(cause: BaseException | None) -> DeliveryError:
    if isinstance(cause, StatusError):
        return _by_status(cause)
    return failure_of(cause) if isinstance(cause, HttpError) else AmbiguousError(Reason.UNKNOWN)


def _by_status(answer: StatusError) -> DeliveryError:
    status, code = answer.status, str(answer.status)
    if status == 429:
        # Telegram does not say whether one chat's limit was met or the bot's. A wait is one message's, but "usually
        # other messages will also fail to send with the same retry_after" (tdlib's maintainer, github.com/tdlib/td,
        # issue 1062); and no chat is written to faster than one takes, so one person cannot cause it. Of a group, which takes
        # less, that does not hold: there the bot only leaves (``TelegramChannel.say``).
        wait = answer.retry_after
        return TransientError(Reason.RATE_LIMITED, retry_after=wait, whole_channel=True, provider_code=code)
    if status in _ELSEWHERE:
        return PermanentError(Reason.MISCONFIGURED, provider_code=code)
    if status == 408:
        # The server did not get the whole request (RFC 9110 15.5.9).
        return TransientError(Reason.UNAVAILABLE, provider_code=code)
    if 400 <= status < 500:
        return PermanentError(Reason.REJECTED, provider_code=code)
    return AmbiguousError(Reason.UNAVAILABLE, provider_code=code)
