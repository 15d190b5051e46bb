"""The Telegram channel: a bot that sends codes to chats people opened with it, and hears what they write.

python-telegram-bot speaks the Bot API, over this project's HTTP client. Its ``Updater`` is not used: a single
401 or 404 ends its polling for good, while ``listen`` here goes on until it is canceled.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import time
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal, Self

import telegram
from pydantic import Field, SecretStr, field_validator
from telegram import BotCommandScopeAllPrivateChats, InlineKeyboardMarkup
from telegram.constants import ParseMode
from telegram.helpers import create_deep_linked_url

from channels import updates
from channels.base import (
    AmbiguousError,
    Channel,
    ChannelSettings,
    DeliveryError,
    Envelope,
    Normalize,
    PermanentError,
    Reason,
    Receipt,
    TransientError,
)
from channels.bot_api import (
    NO_PREVIEW,
    QUIET_LOGGERS,
    Fetch,
    Markup,
    Polls,
    Requests,
    asked,
    buttons,
    markup,
    repeatable,
    sent,
    sent_code,
    settled,
)
from channels.bot_asking import Expected, examine
from channels.callback import CallbackRequest, ForgedCallbackError
from channels.chat import HandleInbound, Inbound, Menu, Reply
from channels.findings import Finding
from channels.http import BaseUrl, HttpClient, silence
from channels.kinds import phone, reference
from channels.polling import HANDLE_SECONDS, Pause, Polling, until_done

#: Connections for everything but codes and polls. Answers and edits share them, so that none holds up a code.
TALK_CONNECTIONS: Final = 2
#: The longest answer to a poll, in bytes: as many of the longest messages as one asks for, with what they reply to,
#: stay far below it. An answer over it could not be read and would be fetched again for ever.
POLL_MAX_BODY: Final = 8 * 1024 * 1024
#: Seconds that answers to presses get at the end. All they do is take the clock off a button.
LINGER: Final = 1.0
#: The header by which Telegram proves itself (https://core.telegram.org/bots/api#setwebhook), in lower case.
SECRET_HEADER: Final = "x-telegram-bot-api-secret-token"  # noqa: S105 - a header's name
#: Requests Telegram makes to the webhook at once, which is its default.
WEBHOOK_CONNECTIONS: Final = 40

_log = logging.getLogger(__name__)


class TelegramSettings(ChannelSettings):
    """``[channels.telegram]``: the bot's token and how this gateway hears what people write to it."""

    #: As BotFather gave it: ``123456:AA…``.
    token: SecretStr
    base_url: BaseUrl = "https://api.telegram.org"
    #: How updates arrive: asked for, sent to ``/callbacks/<name>``, or not at all. Only with them can people link
    #: their chats.
    updates: Literal["polling", "webhook", "off"] = "polling"
    #: Messages per second: about what Telegram lets one bot send (https://core.telegram.org/bots/faq, on limits).
    rate: float = Field(default=30.0, ge=0)

    @field_validator("token")
    @classmethod
    def _shaped(cls, token: SecretStr) -> SecretStr:
        # The token is part of the URL's path: anything else in it would ask for another path.
        if not re.fullmatch(r"[0-9]+:[A-Za-z0-9_-]+", token.get_secret_value()):
            raise ValueError("a bot's token is a number, a colon and letters, digits, _ or -")
        return token


class TelegramChannel(Channel):
    """Sends codes to people's chats with the bot, changes them afterwards, and passes on what people write there."""

    Settings: ClassVar[type[ChannelSettings]] = TelegramSettings
    kinds: ClassVar[Mapping[str, Normalize]] = {"telegram": reference, "phone": phone}
    parts: ClassVar[tuple[str, ...]] = ("body.html", "copy.txt")
    needs_subscriber: ClassVar[bool] = True
    #: Telegram takes about one message a second into one chat (the same page).
    recipient_pause: ClassVar[float] = 1.0

    settings: TelegramSettings

    def __init__(
        self,
        name: str,
        settings: ChannelSettings,
        *,
        callback_url: str | None = None,
        pause: Pause = asyncio.sleep,
        handle_seconds: float = HANDLE_SECONDS,
        linger: float = LINGER,
    ) -> None:
        """``pause`` waits so many seconds between tries.

        One update may be handled for ``handle_seconds``; at the end, answers to presses get ``linger`` seconds.
        """
        assert isinstance(settings, TelegramSettings)
        super().__init__(name, settings, callback_url=callback_url)
        # Before the bots are made: their constructor logs the URL with the token.
        silence(QUIET_LOGGERS)
        timeout = settings.timeout
        codes = Requests(HttpClient(timeout=timeout, connections=settings.concurrency))
        talk = Requests(HttpClient(timeout=timeout, connections=TALK_CONNECTIONS))
        # A poll takes a connection for as long as nobody writes.
        polls = Polls(HttpClient(timeout=timeout, connections=1, max_body=POLL_MAX_BODY))
        self._requests = (codes, talk, polls)
        token, base_url = settings.token.get_secret_value(), f"{settings.base_url}/bot"
        self._codes = telegram.Bot(token, base_url, request=codes, get_updates_request=codes)
        self._talk = telegram.Bot(token, base_url, request=talk, get_updates_request=polls)
        # From the token, so that every node has the same and nobody has another one to keep.
        self._secret = hmac.new(token.encode(), b"otp-gateway webhook", hashlib.sha256).hexdigest()
        self._pause = pause
        self._handle_seconds = handle_seconds
        self._linger = linger
        self._username: str | None = None
        self._presses: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        # Not Bot.initialize, which asks Telegram who the bot is: a gateway must start while Telegram is down.
        for requests in self._requests:
            await requests.initialize()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._presses:
            await asyncio.wait(self._presses, timeout=self._linger)
        late = list(self._presses)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        for requests in self._requests:
            await requests.shutdown()

    # -- codes

    async def deliver(self, envelope: Envelope) -> Receipt:
        """Send one message with a button that copies the code. Raises ``DeliveryError``.

        A message with an id is in the person's chat, which is all Telegram ever tells: it counts as delivered.
        """
        chat = _chat(envelope.address)
        rows: list[list[dict[str, object]]] = [
            [{"text": envelope.parts["copy.txt"].strip(), "copy_text": {"text": envelope.code}}]
        ]
        if (report := envelope.report) is not None:
            rows.append([{"text": report.label, "callback_data": report.data}])
        seconds = self.time_for(envelope)
        sending = sent_code(self._requests[0], self._codes.base_url, chat, envelope.parts["body.html"], rows, seconds)
        return Receipt(provider_id=await asked(sending), delivered=True)

    async def revise(self, address: str, provider_id: str, reply: Reply) -> None:
        """Put a reply's text and buttons in the place of a message. Raises ``TransientError`` or ``PermanentError``.

        Success where the chat shows it already, so a lost answer is a reason to try again.
        """
        edit = self._talk.edit_message_text(
            reply.text,
            _chat(address),
            _message(provider_id),
            parse_mode=ParseMode.HTML,
            link_preview_options=NO_PREVIEW,
            reply_markup=buttons(reply.buttons),
        )
        await settled(edit, unless="message is not modified")

    async def remove(self, address: str, provider_id: str) -> None:
        """Delete a message; success where it is gone already. Raises ``TransientError`` or ``PermanentError``."""
        deletion = self._talk.delete_message(_chat(address), _message(provider_id))
        await settled(deletion, unless="message to delete not found")

    # -- conversation

    async def say(self, chat: str, reply: Reply) -> None:
        """Write one reply into a chat, or put it in the place of a message. Raises ``DeliveryError``.

        What shows or removes a keyboard cannot be in an edited message: it is written anew, and the message it
        ``replaces`` loses its buttons.
        """
        number = _chat(chat)
        if not reply.leaves:
            await self._write(number, reply)
            return
        try:
            if reply.text:
                await self._write(number, reply)
        except (PermanentError, AmbiguousError):
            # Where the bot may not write it can still go, and what it may have said it need not say again.
            pass
        except TransientError as error:
            # A group takes 20 messages a minute (core.telegram.org/bots/faq), and how many there are is up to whoever puts
            # the bot in: it goes without a word, and nobody else's codes wait.
            if error.reason is not Reason.RATE_LIMITED:
                raise
        await self._leave(number)

    async def _write(self, chat: str, reply: Reply) -> None:
        shown = markup(reply)
        if reply.replaces is None or not await self._replaced(chat, reply.replaces, reply, shown):
            await asked(sent(self._talk, chat, reply.text, shown))

    async def _replaced(self, chat: str, message: str, reply: Reply, shown: Markup) -> bool:
        """Tell whether a message could take the reply; it must be written anew otherwise."""
        try:
            if shown is None or isinstance(shown, InlineKeyboardMarkup):
                await self.revise(chat, message, reply)
                return True
            unbutton = self._talk.edit_message_reply_markup(chat, _message(message))
            await settled(unbutton, unless="message is not modified")
        except PermanentError as error:
            # Gone, or too old to be changed.
            if error.reason is not Reason.REJECTED:
                raise
        return False

    async def _leave(self, chat: str) -> None:
        try:
            await repeatable(self._talk.leave_chat(chat))
        except PermanentError as error:
            # Forbidden: it is out already.
            if error.reason is not Reason.BLOCKED:
                raise
        except TransientError as error:
            raise TransientError(
                error.reason, retry_after=error.retry_after, provider_code=error.provider_code
            ) from None

    async def introduce(self, menu: Menu) -> None:
        """Set the commands that people see in their chats, by language. Raises ``DeliveryError``."""
        for language, commands in menu.items():
            scope = BotCommandScopeAllPrivateChats()
            await repeatable(self._talk.set_my_commands(commands, scope=scope, language_code=language or None))

    async def link(self, token: str) -> str | None:
        """Return ``https://t.me/<bot>?start=<token>``, or ``None`` where the bot is not listened to.

        ``token`` is 1 to 64 characters of ``A-Z a-z 0-9 _ -``, else ``ValueError``. Telegram is asked for the
        bot's name once: ``TransientError`` where it does not answer, ``PermanentError`` where it refuses.
        """
        if not self.listens:
            return None
        if not token:
            raise ValueError("a link needs a token")
        self._username = self._username or (await repeatable(self._codes.get_me())).username
        if not self._username:
            raise TransientError(Reason.UNKNOWN)
        return create_deep_linked_url(self._username, token)

    async def examine(self) -> Sequence[Finding]:
        """Ask Telegram whose the token is and how updates arrive."""
        chosen = self.settings
        token, callback_url = chosen.token.get_secret_value(), self.callback_url or ""
        async with HttpClient(timeout=chosen.timeout) as http:
            return await examine(http, Expected(chosen.base_url, token, chosen.updates, callback_url), time.time)

    # -- updates

    @property
    def listens(self) -> bool:
        """Whether people are heard at all."""
        return self.settings.updates != "off"

    @property
    def hears_callbacks(self) -> bool:
        """Whether Telegram sends updates to ``/callbacks/<name>``."""
        return self.settings.updates == "webhook"

    def read(self, request: CallbackRequest) -> Inbound | None:
        """Read one update that Telegram sent. Raises ``ForgedCallbackError`` for every other sender.

        What cannot be read is logged and ``None``. A press is acknowledged meanwhile, so a loop must be running.
        """
        given = request.headers.get(SECRET_HEADER, "").encode(errors="replace")
        if not self.hears_callbacks or not hmac.compare_digest(given, self._secret.encode()):
            raise ForgedCallbackError
        inbound = updates.read(request.body)
        if inbound is not None:
            self._acknowledge(inbound)
        return inbound

    async def listen(self, handle: HandleInbound) -> None:
        """Hear what people write until canceled; return at once where nobody listens.

        By polls: an update is confirmed to Telegram after it was handled, so a crash repeats it and ``handle`` must
        know an ``update_id`` again. By a webhook: Telegram is told where to send updates, and ``read`` reads them;
        that lasts, for other nodes live on it. No failure of Telegram ends it.
        """
        if self.settings.updates == "polling":
            fetch = Fetch(self._talk)
            await Polling(self.name, fetch, self._acknowledge, self._pause, self._handle_seconds).run(handle)
        elif self.settings.updates == "webhook":
            await until_done(self._hook, self.name, self._pause)
            await asyncio.Event().wait()

    async def _hook(self) -> None:
        await self._talk.set_webhook(
            self.callback_url or "",
            secret_token=self._secret,
            allowed_updates=updates.ALLOWED_UPDATES,
            max_connections=WEBHOOK_CONNECTIONS,
        )

    def _acknowledge(self, inbound: Inbound) -> None:
        """Take the clock off a pressed button, whatever becomes of the press; nothing waits for that."""
        if inbound.press is not None:
            task = asyncio.create_task(self._acknowledged(inbound.press))
            self._presses.add(task)
            task.add_done_callback(self._presses.discard)

    async def _acknowledged(self, press: str) -> None:
        try:
            await asked(self._talk.answer_callback_query(press))
        except DeliveryError as error:
            _log.info("channel %s: a press was not acknowledged: %s", self.name, error)


def _chat(address: str) -> str:
    if not re.fullmatch(r"-?[0-9]{1,19}", address):
        raise PermanentError(Reason.INVALID_RECIPIENT)
    return address


def _message(provider_id: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", provider_id):
        raise PermanentError(Reason.REJECTED)
    return int(provider_id)
