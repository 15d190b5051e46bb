"""The part of Telegram's Bot API a bot needs to write, edit, listen and answer: https://core.telegram.org/bots/api.

A test or the demo acts as a person through ``TelegramSandbox.person`` and ``TelegramSandbox.group``.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import hmac
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.sandbox import telegram_content as content
from gateway.sandbox.fault import Fault, Planned
from gateway.sandbox.http import HttpSandbox, read_body, while_there
from gateway.sandbox.inbox import Inbox, Letter
from gateway.sandbox.loopback import is_loopback
from gateway.sandbox.telegram_content import ApiError, bad_request
from gateway.sandbox.telegram_people import Group, Person, World
from gateway.sandbox.telegram_updates import PUSH_TIMEOUT, ConflictError, Updates, Webhook

Json = dict[str, Any]

#: Updates one getUpdates returns at most, and seconds it waits at most.
MAX_UPDATES = 100
MAX_POLL = 50

#: Methods by which somebody looks at the bot: their answers tell the time.
_LOOKS = frozenset({"getMe", "getWebhookInfo"})

_NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same as a current "
    "content and reply markup of the message"
)


class TelegramSandbox(HttpSandbox):
    """The Bot API for one bot. Open it with ``async with``; ``base_url`` then replaces https://api.telegram.org.

    Raises ``ValueError`` for a host that is not loopback, unless with ``allow_remote``.
    """

    #: The bot's name in links.
    bot_username = "sandbox_bot"

    def __init__(
        self,
        inbox: Inbox,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str = "123456:sandbox",  # noqa: S107 - opens nothing but this sandbox
        allow_remote: bool = False,
    ) -> None:
        routes = [Route("/bot{token}/{method}", self._call, methods=["GET", "POST"])]
        super().__init__(routes, host=host, port=port, allow_remote=allow_remote)
        self.inbox = inbox
        self.token = token
        #: Calls received, by method.
        self.requests: Counter[str] = Counter()
        #: Polls that were refused or ended because there was another, or a webhook.
        self.conflicts = 0
        #: Called when a menu was set.
        self.on_menu: Callable[[], None] = lambda: None
        #: What the bot answered to callback queries, by the query's id.
        self.answers: dict[str, str] = {}
        bot = {
            "id": int(token.partition(":")[0]),
            "is_bot": True,
            "first_name": "Sandbox",
            "username": self.bot_username,
        }
        self._menus: dict[str, dict[str, list[Json]]] = {}
        self._updates = Updates()
        self._world = World(bot, self._updates)
        self._methods: dict[str, Callable[[Json], Any]] = {
            "answerCallbackQuery": self._answer_callback_query,
            "deleteMessage": self._delete_message,
            "deleteWebhook": self._delete_webhook,
            "editMessageReplyMarkup": self._edit_message_reply_markup,
            "editMessageText": self._edit_message_text,
            "getMe": self._get_me,
            "getWebhookInfo": self._get_webhook_info,
            "leaveChat": self._leave_chat,
            "sendMessage": self._send_message,
            "setMyCommands": self._set_my_commands,
            "setWebhook": self._set_webhook,
        }

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PUSH_TIMEOUT))
        try:
            await super().__aenter__()
        except BaseException:
            await self._client.close()
            raise
        self._pushing = asyncio.create_task(self._updates.push(self._client))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pushing.cancel()
        await asyncio.wait([self._pushing])
        await self._client.close()
        await super().__aexit__()

    # -- what a test or the demo does

    def person(self, user_id: int, first_name: str, language_code: str = "en") -> Person:
        """Return the person with this id. From now on the bot may write to them."""
        return self._world.meet(user_id, first_name, language_code)

    def group(self, chat_id: int, title: str, kind: str = "supergroup") -> Group:
        """Return the group or channel with this (negative) number; the bot is not in it before somebody adds it."""
        return self._world.gather(chat_id, title, kind)

    @property
    def people(self) -> list[Person]:
        """Everybody the bot has met."""
        return self._world.people

    def chat(self, chat_id: int) -> list[Json]:
        """Return the Message objects now visible in a chat, of both sides, oldest first; a copy."""
        chat = self._world.find(chat_id)
        return [] if chat is None else copy.deepcopy(list(chat.messages.values()))

    @property
    def commands(self) -> dict[str, list[Json]]:
        """The menus people see in their chat with the bot, by language code; ``""`` for every other language.

        https://core.telegram.org/bots/api#determining-list-of-commands
        """
        private, default = self._menus.get("all_private_chats", {}), self._menus.get("default", {})
        return copy.deepcopy(private if "" in private else {**default, **private})

    def on_change(self, changed: Callable[[int], None]) -> None:
        """Call ``changed`` with a chat's number whenever what the chat shows has changed."""
        self._world.changed = changed

    # -- the wire

    async def _call(self, request: Request) -> Response:
        method = request.path_params["method"]
        self.requests[method] += 1
        body = await read_body(request)
        try:
            parameters = content.read_parameters(request.headers.get("Content-Type", ""), request.url.query, body)
            self._authorize(request.path_params["token"])
            # Else nobody with such a number could link: the bot's question would meet that end too.
            code = "copy_text" in str(parameters.get("reply_markup", ""))
            planned = self.faults.take(str(parameters.get("chat_id", "")), method, by_address=code)
            _raise_fault(planned, in_chat="chat_id" in parameters)
            answer = await self.misbehave(request, planned) or _success(
                await self._result(request, method, parameters, body)
            )
        except ApiError as error:
            answer = _failure(error)
        return self.dated(answer) if method in _LOOKS else answer

    def _authorize(self, token: str) -> None:
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            raise ApiError(401, "Unauthorized")

    async def _result(self, request: Request, method: str, parameters: Json, body: bytes) -> Any:
        if method == "getUpdates":
            return await self._get_updates(request, parameters)
        call = self._methods.get(method)
        if call is None:
            raise ApiError(404, "Not Found: method not found")
        result = call(parameters)
        if method == "sendMessage":
            self._deliver(result, parameters, body)
        return result

    def _deliver(self, message: Json, parameters: Json, body: bytes) -> None:
        to, message_id = str(message["chat"]["id"]), str(message["message_id"])
        fields = content.flat(parameters)
        self.inbox.add(Letter("telegram", to, message["text"], body, fields, time.time(), message_id))

    # -- methods

    def _get_me(self, _: Json) -> Json:
        return self._world.bot | {
            "can_join_groups": True,
            "can_read_all_group_messages": False,
            "supports_inline_queries": False,
            "can_connect_to_business": False,
            "has_main_web_app": False,
        }

    def _send_message(self, parameters: Json) -> Json:
        chat, message = self._reachable(parameters), content.message_content(parameters)
        keyboard = content.reply_keyboard(parameters, private=isinstance(chat, Person))
        if content.truth(parameters, "protect_content"):
            message["has_protected_content"] = True
        if keyboard is not None:
            chat.keyboard = keyboard if "keyboard" in keyboard else None
        return self._world.post(chat, self._world.bot, message)

    def _edit_message_text(self, parameters: Json) -> Json:
        message, new = self._own_message(parameters), content.message_content(parameters)
        new |= content.edited_keyboard(parameters)
        return self._edit(message, new, ("text", "entities", "reply_markup"))

    def _edit_message_reply_markup(self, parameters: Json) -> Json:
        return self._edit(self._own_message(parameters), content.edited_keyboard(parameters), ("reply_markup",))

    def _edit(self, message: Json, new: Json, parts: tuple[str, ...]) -> Json:
        """Replace these parts of a message; what ``new`` does not have goes, as a keyboard does in an edit."""
        if all(message.get(part) == new.get(part) for part in parts):
            raise bad_request(_NOT_MODIFIED)
        for part in parts:
            message.pop(part, None)
        message |= new | {"edit_date": int(time.time())}
        self._world.changed(message["chat"]["id"])
        return message

    def _delete_message(self, parameters: Json) -> bool:
        chat = self._reachable(parameters)
        if chat.messages.pop(content.whole(parameters, "message_id"), None) is None:
            raise bad_request("message to delete not found")
        self._world.changed(chat.chat["id"])
        return True

    def _leave_chat(self, parameters: Json) -> bool:
        chat = self._reachable(parameters)
        if not isinstance(chat, Group):
            raise bad_request("chat member status can't be changed in private chats")
        chat.leave()
        return True

    def _reachable(self, parameters: Json) -> Person | Group:
        chat = self._world.find(parameters.get("chat_id", ""))
        if chat is None:
            raise bad_request("chat not found")
        if chat.refusal is not None:
            raise ApiError(403, f"Forbidden: {chat.refusal}")
        return chat

    def _own_message(self, parameters: Json) -> Json:
        message = self._reachable(parameters).messages.get(content.whole(parameters, "message_id"))
        if message is None:
            raise bad_request("message to edit not found")
        if message["from"] != self._world.bot:
            raise bad_request("message can't be edited")
        return message

    def _answer_callback_query(self, parameters: Json) -> bool:
        query_id = str(parameters.get("callback_query_id", ""))
        if query_id not in self._world.queries:
            raise bad_request("query is too old and response timeout expired or query ID is invalid")
        del self._world.queries[query_id]
        self.answers[query_id] = str(parameters.get("text", ""))
        return True

    def _set_my_commands(self, parameters: Json) -> bool:
        menus = self._menus.setdefault(content.scope(parameters), {})
        menus[str(parameters.get("language_code", ""))] = content.bot_commands(parameters)
        self.on_menu()
        return True

    # -- updates

    def _set_webhook(self, parameters: Json) -> bool:
        url = str(parameters.get("url", ""))
        if not url:
            return self._delete_webhook(parameters)
        if not _may_push_to(url):
            raise bad_request("bad webhook: the sandbox pushes to loopback only")
        secret = content.secret_token(parameters)
        self._prepare(parameters)
        self._updates.end_poll("setWebhook")
        self._updates.webhook = Webhook(url, secret)
        self._updates.wake()
        return True

    def _delete_webhook(self, parameters: Json) -> bool:
        self._prepare(parameters)
        self._updates.webhook = None
        return True

    def _prepare(self, parameters: Json) -> None:
        """Apply what getUpdates and setWebhook have in common."""
        kinds = content.strings(parameters, "allowed_updates")
        if kinds is not None:
            self._updates.allow(kinds)
        if content.truth(parameters, "drop_pending_updates"):
            self._updates.clear()

    def _get_webhook_info(self, _: Json) -> Json:
        webhook, error = self._updates.webhook, self._updates.last_error
        info: Json = {
            "url": webhook.url if webhook else "",
            "has_custom_certificate": False,
            "pending_update_count": len(self._updates),
        }
        if self._updates.allowed is not None:
            info["allowed_updates"] = sorted(self._updates.allowed)
        if error is not None:
            info |= {"last_error_message": error[0], "last_error_date": error[1]}
        return info

    async def _get_updates(self, request: Request, parameters: Json) -> list[Json]:
        if self._updates.webhook is not None:
            self.conflicts += 1
            raise ApiError(
                409, "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook first"
            )
        self._prepare(parameters)
        poll = self._updates.poll(
            offset=content.whole(parameters, "offset"),
            limit=min(max(content.whole(parameters, "limit", MAX_UPDATES), 1), MAX_UPDATES),
            timeout=min(content.whole(parameters, "timeout"), MAX_POLL),
        )
        try:
            return await while_there(request, poll) or []
        except ConflictError as error:
            self.conflicts += 1
            raise ApiError(409, str(error)) from None


def _raise_fault(planned: Planned, *, in_chat: bool) -> None:
    """Raise the error by which Telegram itself would tell of a fault; only a chat can refuse a bot."""
    match planned.fault:
        case Fault.REFUSE if in_chat:
            raise ApiError(403, "Forbidden: bot was blocked by the user")
        case Fault.DEFER:
            raise ApiError(502, "Bad Gateway")
        case Fault.LIMIT:
            wait = planned.retry_after
            raise ApiError(429, f"Too Many Requests: retry after {wait}", {"retry_after": wait})
        case Fault.UNAUTHORIZED:
            raise ApiError(401, "Unauthorized")
        case _:
            return


def _success(result: object) -> Response:
    return JSONResponse({"ok": True, "result": result})


def _failure(error: ApiError) -> Response:
    answer: Json = {"ok": False, "error_code": error.status, "description": error.description}
    if error.parameters is not None:
        answer["parameters"] = error.parameters
    return JSONResponse(answer, error.status)


def _may_push_to(url: str) -> bool:
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and is_loopback(parts.hostname)
    return False
