"""The parameters of Bot API methods: read, checked, and refused in Telegram's words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from gateway.sandbox.telegram_html import ParseError, parse, units

Json = dict[str, Any]

#: UTF-16 units of a message's text.
MAX_TEXT = 4096
#: Characters of a text with its tags; what is longer cannot be a message and would be long to read.
MAX_MARKUP = 16 * MAX_TEXT
#: Bytes of a button's data, and characters of the text a copy button copies.
MAX_DATA = 64
MAX_COPY = 256
#: Commands of one menu.
MAX_COMMANDS = 100

_ACTIONS = frozenset({"url", "callback_data", "copy_text", "web_app", "login_url", "switch_inline_query"})
_SCOPES = frozenset(
    {
        "default",
        "all_private_chats",
        "all_group_chats",
        "all_chat_administrators",
        "chat",
        "chat_administrators",
        "chat_member",
    }
)
_COMMAND = re.compile(r"[a-z0-9_]{1,32}")
_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")


class ApiError(Exception):
    """A refusal: the HTTP status, Telegram's description and its parameters."""

    def __init__(self, status: int, description: str, parameters: Json | None = None) -> None:
        self.status = status
        self.description = description
        self.parameters = parameters
        super().__init__(str(status))


def bad_request(description: str) -> ApiError:
    """Return a 400 in Telegram's form."""
    return ApiError(400, f"Bad Request: {description}")


def read_parameters(content_type: str, query: str, body: bytes) -> Json:
    """Return the parameters of a call, from the query and a form or JSON body. Raises ``ApiError``."""
    parameters: Json = dict(parse_qsl(query, keep_blank_values=True))
    kind = content_type.partition(";")[0].strip().lower()
    if not body:
        return parameters
    if kind == "application/x-www-form-urlencoded":
        # Bytes that are not UTF-8 become replacement characters here; escapes in JSON are refused below.
        return parameters | dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    if kind == "application/json":
        return parameters | _object(body)
    raise bad_request("unsupported content type; only files need multipart, and the sandbox takes none")


def _object(body: bytes) -> Json:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise bad_request("can't parse JSON object")
    parameters: Json = _encodable(value)
    return parameters


def _encodable(value: Any) -> Any:
    """Return ``value``. Raises ``ApiError`` for half a surrogate pair, which JSON can write and UTF-8 cannot."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise bad_request("strings must be encoded in UTF-8") from None
    return value


def flat(parameters: Json) -> dict[str, str]:
    """Return the parameters as a form would carry them: nested ones as JSON."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()}


def nested(parameters: Mapping[str, Any], name: str) -> Any:
    """Return a parameter that is an object or a list, ``None`` if absent; forms carry it as JSON. Raises ``ApiError``."""
    value = parameters.get(name)
    if not isinstance(value, str):
        return value
    try:
        return _encodable(json.loads(value)) if value else None
    except (ValueError, RecursionError):
        raise bad_request(f"can't parse {name.replace('_', ' ')} JSON object") from None


def whole(parameters: Json, name: str, default: int = 0) -> int:
    """Return a parameter that is a whole number, ``default`` where it is absent or none."""
    try:
        return int(str(parameters.get(name, default)))
    except ValueError:
        return default


def truth(parameters: Json, name: str) -> bool:
    """Return a parameter that is a yes or no."""
    return str(parameters.get(name, "")).lower() in {"true", "1", "yes"}


def strings(parameters: Json, name: str) -> list[str] | None:
    """Return a parameter that is a list of strings, ``None`` if absent. Raises ``ApiError``."""
    value = nested(parameters, name)
    if value is None or (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        return value
    raise bad_request(f"can't parse {name.replace('_', ' ')}: expected an Array of String")


def message_content(parameters: Json) -> Json:
    """Return text, entities and inline keyboard of a message to send. Raises ``ApiError``."""
    text, entities = _text(parameters)
    if not text:
        raise bad_request("message text is empty")
    if units(text) > MAX_TEXT:
        raise bad_request("message is too long")
    content: Json = {"text": text}
    if entities:
        content["entities"] = entities
    return content | keyboard(parameters)


def _text(parameters: Json) -> tuple[str, list[Json]]:
    text, mode = str(parameters.get("text", "")), str(parameters.get("parse_mode", "")).lower()
    if len(text) > MAX_MARKUP:
        raise bad_request("message is too long")
    if mode not in {"", "html"}:
        raise bad_request("unsupported parse_mode; the sandbox reads HTML")
    try:
        plain, entities = parse(text) if mode else (text, _entities(parameters))
    except ParseError as error:
        raise bad_request(f"can't parse entities: {error}") from None
    return _trimmed(plain, entities)


def _entities(parameters: Json) -> list[Json]:
    entities = nested(parameters, "entities") or []
    if not isinstance(entities, list) or not all(map(_is_entity, entities)):
        raise bad_request("can't parse entities: expected an Array of MessageEntity")
    return entities


def _is_entity(value: object) -> bool:
    return isinstance(value, dict) and all(type(value.get(name)) is int for name in ("offset", "length"))


def _trimmed(text: str, entities: list[Json]) -> tuple[str, list[Json]]:
    """Drop the white space around a text, as Telegram does, and move the entities along."""
    lead, trimmed = units(text) - units(text.lstrip()), text.strip()
    end, moved = units(trimmed), []
    for entity in entities:
        start = max(entity["offset"] - lead, 0)
        length = min(entity["offset"] + entity["length"] - lead, end) - start
        if length > 0:
            moved.append(entity | {"offset": start, "length": length})
    return trimmed, moved


def keyboard(parameters: Mapping[str, Any]) -> Json:
    """Return ``{"reply_markup": …}`` with the inline keyboard, ``{}`` without one. Raises ``ApiError``."""
    markup = nested(parameters, "reply_markup")
    if markup is None or (isinstance(markup, dict) and "inline_keyboard" not in markup):
        return {}
    rows = markup.get("inline_keyboard") if isinstance(markup, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise bad_request("can't parse reply keyboard markup JSON object")
    for button in (button for row in rows for button in row):
        _check_button(button)
    return {"reply_markup": {"inline_keyboard": rows}} if any(rows) else {}


def reply_keyboard(parameters: Mapping[str, Any], *, private: bool) -> Json | None:
    """Return the ReplyKeyboardMarkup or ReplyKeyboardRemove of a message, ``None`` without one. Raises ``ApiError``."""
    markup = nested(parameters, "reply_markup")
    if not isinstance(markup, dict):
        return None
    if markup.get("remove_keyboard") is True:
        return {"remove_keyboard": True}
    if "keyboard" not in markup:
        return None
    rows = markup["keyboard"]
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows) or not any(rows):
        raise bad_request("can't parse reply keyboard markup JSON object")
    buttons = [[{"text": key} if isinstance(key, str) else key for key in row] for row in rows]
    for key in (key for row in buttons for key in row):
        _check_key(key, private=private)
    return markup | {"keyboard": buttons}


def _check_key(key: object, *, private: bool) -> None:
    if not isinstance(key, dict) or not isinstance(key.get("text"), str):
        raise bad_request('can\'t parse keyboard button: Field "text" must be of type String')
    if key.get("request_contact") and not private:
        raise bad_request("phone number can be requested in private chats only")


def edited_keyboard(parameters: Json) -> Json:
    """Return what ``keyboard`` does, for an edit: a message is edited with an inline keyboard or without any."""
    markup = nested(parameters, "reply_markup")
    if isinstance(markup, dict) and markup and "inline_keyboard" not in markup:
        raise bad_request("inline keyboard expected")
    return keyboard(parameters)


def secret_token(parameters: Json) -> str:
    """Return the secret of ``setWebhook``, ``""`` without one. Raises ``ApiError``."""
    secret = str(parameters.get("secret_token", ""))
    if secret and not _SECRET.fullmatch(secret):
        raise bad_request("secret token contains unallowed characters")
    return secret


def scope(parameters: Json) -> str:
    """Return the type of the scope of commands. Raises ``ApiError``."""
    value = nested(parameters, "scope")
    kind = value.get("type") if isinstance(value, dict) else "default" if value is None else None
    if kind not in _SCOPES:
        raise bad_request("can't parse BotCommandScope: unsupported type")
    return str(kind)


def _check_button(button: object) -> None:
    if not isinstance(button, Mapping) or not isinstance(button.get("text"), str):
        raise bad_request('can\'t parse inline keyboard button: Field "text" must be of type String')
    if not _ACTIONS & button.keys():
        raise bad_request("can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard")
    if "callback_data" in button and not 1 <= len(str(button["callback_data"]).encode()) <= MAX_DATA:
        raise bad_request("BUTTON_DATA_INVALID")
    if "copy_text" in button and not _copies(button["copy_text"]):
        raise bad_request("BUTTON_COPY_TEXT_INVALID")


def _copies(copied: object) -> bool:
    return isinstance(copied, Mapping) and 1 <= len(str(copied.get("text", ""))) <= MAX_COPY


def bot_commands(parameters: Json) -> list[Json]:
    """Return the commands of ``setMyCommands``. Raises ``ApiError``."""
    commands = nested(parameters, "commands")
    if not isinstance(commands, list) or not all(isinstance(command, dict) for command in commands):
        raise bad_request("can't parse BotCommand: expected an Array of BotCommand")
    if len(commands) > MAX_COMMANDS:
        raise bad_request("BOT_COMMANDS_TOO_MUCH")
    for command in commands:
        if not _COMMAND.fullmatch(str(command.get("command", ""))):
            raise bad_request("BOT_COMMAND_INVALID")
        if not 1 <= len(str(command.get("description", ""))) <= MAX_COPY:
            raise bad_request("BOT_COMMAND_DESCRIPTION_INVALID")
    return commands
