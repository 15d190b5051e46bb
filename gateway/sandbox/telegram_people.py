"""The people of the Telegram sandbox and what they and the bot see in their chats."""

from __future__ import annotations

import copy
import itertools
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from gateway.sandbox.telegram_html import units
from gateway.sandbox.telegram_updates import Updates

Json = dict[str, Any]

#: Messages a chat keeps; the oldest go first.
CHAT_CAPACITY = 1000
#: Bytes of a button's data.
MAX_DATA = 64


class Person:
    """Someone with Telegram who has found the bot. What they do becomes an update for it."""

    def __init__(self, user_id: int, first_name: str, language_code: str, world: World) -> None:
        self.user_id = user_id
        self.first_name = first_name
        self.language_code = language_code
        #: Whether they have blocked the bot.
        self.blocked = False
        #: What the chat shows, by message id.
        self.messages: OrderedDict[int, Json] = OrderedDict()
        self._world = world

    @property
    def user(self) -> Json:
        """The User object."""
        return {
            "id": self.user_id,
            "is_bot": False,
            "first_name": self.first_name,
            "language_code": self.language_code,
        }

    @property
    def chat(self) -> Json:
        """The Chat object of their conversation with the bot."""
        return {"id": self.user_id, "first_name": self.first_name, "type": "private"}

    def press_start(self, payload: str = "") -> int:
        """Open the bot by a link with ``payload``, which ends a block; returns the message's id."""
        self.unblock()
        return self.write(f"/start {payload}".rstrip())

    def write(self, text: str) -> int:
        """Write to the bot; returns the message's id. Raises ``RuntimeError`` while the bot is blocked."""
        content: Json = {"text": text}
        if text.startswith("/"):
            content["entities"] = [{"type": "bot_command", "offset": 0, "length": units(text.split(maxsplit=1)[0])}]
        return self._send(content)

    def share_contact(self, phone: str, user_id: int | None = None) -> int:
        """Share a phone number, their own unless ``user_id`` says whose (0: of nobody on Telegram).

        As Telegram does it, the number arrives without its plus. Returns the message's id. Raises
        ``RuntimeError`` while the bot is blocked.
        """
        contact: Json = {"phone_number": phone.removeprefix("+"), "first_name": self.first_name}
        owner = self.user_id if user_id is None else user_id
        return self._send({"contact": contact | ({"user_id": owner} if owner else {})})

    def press(self, message_id: int, data: str) -> str:
        """Press a button under a message; returns the id of the callback query.

        ``data`` is not compared with the buttons, because a changed client may send anything. Raises
        ``LookupError`` for a message that is not in the chat and ``ValueError`` for over 64 bytes of data.
        """
        if message_id not in self.messages:
            raise LookupError("No such message is in this chat.")
        if not 1 <= len(data.encode()) <= MAX_DATA:
            raise ValueError(f"A button carries 1 to {MAX_DATA} bytes.")
        return self._world.query(self, self.messages[message_id], data)

    def block(self) -> None:
        """Block the bot; nothing happens where it is blocked."""
        self._set_blocked(blocked=True)

    def unblock(self) -> None:
        """Let the bot write again; nothing happens where it may."""
        self._set_blocked(blocked=False)

    def _set_blocked(self, *, blocked: bool) -> None:
        if self.blocked != blocked:
            self.blocked = blocked
            self._world.member_changed(self)

    def _send(self, content: Json) -> int:
        if self.blocked:
            raise RuntimeError("This person has blocked the bot.")
        message = self._world.post(self, self.user, content)
        self._world.updates.add("message", copy.deepcopy(message))
        return int(message["message_id"])


class World:
    """Everybody the bot can meet, and the ids that are counted over all chats."""

    def __init__(self, bot: Json, updates: Updates) -> None:
        self.bot = bot
        self.updates = updates
        #: Callback queries the bot has not answered.
        self.queries: OrderedDict[str, None] = OrderedDict()
        self._people: dict[int, Person] = {}
        self._message_ids: Iterator[int] = itertools.count(1)

    def meet(self, user_id: int, first_name: str, language_code: str) -> Person:
        """Return the person with this id, new or already known."""
        if user_id not in self._people:
            self._people[user_id] = Person(user_id, first_name, language_code, self)
        return self._people[user_id]

    def find(self, chat_id: object) -> Person | None:
        """Return whose chat ``chat_id`` (a number or its digits) is."""
        try:
            return self._people.get(int(str(chat_id)))
        except ValueError:
            return None

    def post(self, person: Person, sender: Json, content: Json) -> Json:
        """Put a message into a chat and return it."""
        message_id = next(self._message_ids)
        message = {"message_id": message_id, "from": sender, "chat": person.chat, "date": int(time.time())} | content
        person.messages[message_id] = message
        if len(person.messages) > CHAT_CAPACITY:
            person.messages.popitem(last=False)
        return message

    def query(self, person: Person, message: Json, data: str) -> str:
        """Queue the callback query of a pressed button and return its id."""
        query_id = str(secrets.randbits(63))
        self.queries[query_id] = None
        if len(self.queries) > CHAT_CAPACITY:
            self.queries.popitem(last=False)
        query = {
            "id": query_id,
            "from": person.user,
            "message": copy.deepcopy(message),
            "chat_instance": str(person.user_id),
            "data": data,
        }
        self.updates.add("callback_query", query)
        return query_id

    def member_changed(self, person: Person) -> None:
        """Queue the news that a person has blocked or unblocked the bot."""
        member: Json = {"user": self.bot, "status": "member"}
        kicked: Json = {"user": self.bot, "status": "kicked", "until_date": 0}
        change = {
            "chat": person.chat,
            "from": person.user,
            "date": int(time.time()),
            "old_chat_member": member if person.blocked else kicked,
            "new_chat_member": kicked if person.blocked else member,
        }
        self.updates.add("my_chat_member", change)
