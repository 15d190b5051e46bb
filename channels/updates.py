"""What Telegram tells the bot, in this project's words: updates become ``Inbound`` here, and nothing else leaves.

https://core.telegram.org/bots/api#update
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from typing import Any, Final

from telegram import CallbackQuery, ChatMemberUpdated, Message, Update
from telegram.constants import ChatMemberStatus, ChatType

from channels.chat import Contact, Inbound

#: What the bot is told of; blocking, unblocking and being put into a group come as ``my_chat_member``.
ALLOWED_UPDATES: Final = ("message", "callback_query", "my_chat_member")

#: The bot's part in a private chat after it was blocked, and in a group after it was put into it.
_OUTSIDE: Final = (ChatMemberStatus.BANNED, ChatMemberStatus.LEFT)
_INSIDE: Final = (ChatMemberStatus.MEMBER, ChatMemberStatus.ADMINISTRATOR)
_COMMAND: Final = re.compile(r"/(?P<name>[A-Za-z0-9_]{1,32})(?:@\w{1,64})?(?:\s+(?P<rest>.*))?", re.DOTALL)

_log = logging.getLogger(__name__)


def read(body: bytes) -> Inbound | None:
    """Read the body of a webhook's request; ``None`` where there is nothing to do, and for what cannot be read.

    Never raises: a refused update would come again, as unreadable as before.
    """
    try:
        return inbound(Update.de_json(json.loads(body)))
    except Exception as error:  # noqa: BLE001 - the library checks no types, so anything may be raised
        _say_skipped(error)
        return None


def readable(update: dict[str, Any]) -> dict[str, Any]:
    """Return ``update``, or one with nothing but its number: confirmed like any other, it does not come again.

    Raises whatever a missing number does, for such an answer is not one of updates.
    """
    numbered = {**update, "update_id": int(update["update_id"])}
    try:
        inbound(Update.de_json(numbered))
    except Exception as error:  # noqa: BLE001 - as above
        _say_skipped(error)
        return {"update_id": numbered["update_id"]}
    return numbered


def _say_skipped(error: Exception) -> None:
    # Not its text: it may quote what a person wrote.
    _log.warning("an update cannot be read and is skipped: %s", type(error).__name__)


def inbound(update: Update) -> Inbound | None:
    """Return an update in this project's words; ``None`` where nobody said anything to the bot."""
    chat, user = update.effective_chat, update.effective_user
    if chat is None:
        return None
    said = Inbound(
        update_id=update.update_id,
        chat=str(chat.id),
        command=None,
        text="",
        display_name=user.full_name if user else "",
        language=user.language_code if user else None,
        private=chat.type == ChatType.PRIVATE,
    )
    if update.callback_query is not None:
        return _pressed(said, update.callback_query)
    if update.my_chat_member is not None:
        return _changed(said, update.my_chat_member)
    return _written(said, update.message) if update.message is not None else None


def _pressed(said: Inbound, query: CallbackQuery) -> Inbound | None:
    # Without a message it is a button in somebody else's chat, without data a game's: the bot sends neither.
    if query.message is None or query.data is None:
        return None
    return replace(said, text=query.data, press=query.id, message_id=str(query.message.message_id))


def _changed(said: Inbound, change: ChatMemberUpdated) -> Inbound | None:
    status = change.new_chat_member.status
    if said.private:
        return replace(said, blocked=status in _OUTSIDE)
    # Put out of a group, by its people or by itself, the bot has nobody to talk to.
    return replace(said, joined=True) if status in _INSIDE else None


def _written(said: Inbound, message: Message) -> Inbound | None:
    if message.text is None and message.effective_attachment is None:
        # Nobody wrote it: Telegram tells of a pin, a title, somebody who joined.
        return None
    command, text = parse_command(message.text or "")
    return replace(said, command=command, text=text, contact=_contact(message))


def _contact(message: Message) -> Contact | None:
    shared, user = message.contact, message.from_user
    if shared is None:
        return None
    # A card of somebody else's number, one that somebody else wrote, or one that another bot made proves nothing.
    theirs = user is not None and shared.user_id == user.id
    first_hand = message.forward_origin is None and message.via_bot is None
    return Contact(shared.phone_number, own=theirs and first_hand and message.chat.type == ChatType.PRIVATE)


def parse_command(text: str) -> tuple[str | None, str]:
    """Split ``/start@bot payload`` into ``start`` and ``payload``; text that is no command is returned whole."""
    match = _COMMAND.fullmatch(text)
    return (match["name"].lower(), (match["rest"] or "").strip()) if match else (None, text)
