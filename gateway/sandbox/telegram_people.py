"""The people and groups of the Telegram sandbox, and what they and the bot see in their chats."""

from __future__ import annotations

import copy
import itertools
import secrets
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from gateway.sandbox.telegram_html import units
from gateway.sandbox.telegram_updates import Updates

Json = dict[str, Any]

#: Messages a chat keeps; the oldest go first.
CHAT_CAPACITY = 1000
#: Bytes of a button's data.
MAX_DATA = 64

#: What a ChatMemberAdministrator object must say; the bot is allowed none of it.
_RIGHTS = (
    "can_be_edited",
    "is_anonymous",
    "can_manage_chat",
    "can_delete_messages",
    "can_manage_video_chats",
    "can_restrict_members",
    "can_promote_members",
    "can_change_info",
    "can_invite_users",
    "can_post_stories",
    "can_edit_stories",
    "can_delete_stories",
)


class Chat(ABC):
    """A conversation the bot is in, or was."""

    def __init__(self, world: World) -> None:
        #: What the chat shows, by message id.
        self.messages: OrderedDict[int, Json] = OrderedDict()
        #: The keyboard the bot shows instead of letters (ReplyKeyboardMarkup), if it does.
        self.keyboard: Json | None = None
        self._world = world

    @property
    @abstractmethod
    def chat(self) -> Json:
        """The Chat object."""

    @property
    @abstractmethod
    def refusal(self) -> str | None:
        """Why the bot may not write here, in Telegram's words; ``None`` while it may."""


class Person(Chat):
    """Someone with Telegram who has found the bot. What they do becomes an update for it."""

    def __init__(self, user_id: int, first_name: str, language_code: str, world: World) -> None:
        super().__init__(world)
        self.user_id = user_id
        self.first_name = first_name
        self.language_code = language_code
        #: Whether they have blocked the bot.
        self.blocked = False

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

    @property
    def refusal(self) -> str | None:
        """Why the bot may not write to them."""
        return "bot was blocked by the user" if self.blocked else None

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

    def share_contact(self, phone: str, user_id: int | None = None, *, forwarded: bool = False) -> int:
        """Share a phone number, their own unless ``user_id`` says whose (0: of nobody on Telegram).

        As Telegram does it, the number arrives without its plus. ``forwarded``: as a message somebody else wrote
        first. A keyboard that was to be used once is gone afterwards. Returns the message's id. Raises
        ``RuntimeError`` while the bot is blocked.
        """
        contact: Json = {"phone_number": phone.removeprefix("+"), "first_name": self.first_name}
        owner = self.user_id if user_id is None else user_id
        content: Json = {"contact": contact | ({"user_id": owner} if owner else {})}
        if forwarded:
            content["forward_origin"] = {
                "type": "hidden_user",
                "date": int(time.time()),
                "sender_user_name": "Somebody else",
            }
        elif self.keyboard is not None and self.keyboard.get("one_time_keyboard"):
            self.keyboard = None
        return self._send(content)

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
            self._world.member_changed(
                self, self.user, "member" if blocked else "kicked", "kicked" if blocked else "member"
            )
            self._world.changed(self.user_id)

    def _send(self, content: Json) -> int:
        if self.blocked:
            raise RuntimeError("This person has blocked the bot.")
        message = self._world.post(self, self.user, content)
        self._world.updates.add("message", copy.deepcopy(message))
        return int(message["message_id"])


class Group(Chat):
    """A group or a channel the bot can be put into. ``chat_id`` is negative, as Telegram's are."""

    def __init__(self, chat_id: int, title: str, kind: str, world: World) -> None:
        super().__init__(world)
        self.chat_id = chat_id
        self.title = title
        #: ``group``, ``supergroup`` or ``channel``.
        self.kind = kind
        #: Whether the bot is in it.
        self.joined = False

    @property
    def chat(self) -> Json:
        """The Chat object."""
        return {"id": self.chat_id, "title": self.title, "type": self.kind}

    @property
    def refusal(self) -> str | None:
        """Why the bot may not write here."""
        return None if self.joined else f"bot is not a member of the {self.kind} chat"

    def add_bot(self, person: Person) -> None:
        """Have ``person`` put the bot into it; into a channel a bot can only come as an administrator."""
        self._set_joined(person.user, joined=True)

    def remove_bot(self, person: Person) -> None:
        """Have ``person`` put the bot out of it."""
        self._set_joined(person.user, joined=False)

    def leave(self) -> None:
        """Let the bot go, as ``leaveChat`` does; it is told of that too."""
        self._set_joined(self._world.bot, joined=False)

    def write(self, person: Person, text: str) -> int:
        """Have ``person`` write; returns the message's id. The bot hears it while it is in the group."""
        message = self._world.post(self, person.user, {"text": text})
        if self.joined:
            self._world.updates.add("message", copy.deepcopy(message))
        return int(message["message_id"])

    def _set_joined(self, by: Json, *, joined: bool) -> None:
        if self.joined != joined:
            self.joined = joined
            inside = "administrator" if self.kind == "channel" else "member"
            self._world.member_changed(self, by, *(("left", inside) if joined else (inside, "left")))
            self._world.changed(self.chat_id)


class World:
    """Everybody the bot can meet, and the ids that are counted over all chats."""

    def __init__(self, bot: Json, updates: Updates) -> None:
        self.bot = bot
        self.updates = updates
        #: Callback queries the bot has not answered.
        self.queries: OrderedDict[str, None] = OrderedDict()
        #: Called with a chat's number when what it shows has changed.
        self.changed: Callable[[int], None] = lambda _: None
        self._people: dict[int, Person] = {}
        self._groups: dict[int, Group] = {}
        self._message_ids: Iterator[int] = itertools.count(1)

    def meet(self, user_id: int, first_name: str, language_code: str) -> Person:
        """Return the person with this id, new or already known."""
        if user_id not in self._people:
            self._people[user_id] = Person(user_id, first_name, language_code, self)
        return self._people[user_id]

    def gather(self, chat_id: int, title: str, kind: str) -> Group:
        """Return the group with this id, new or already known. Raises ``ValueError`` for an id that is not negative."""
        if chat_id >= 0:
            raise ValueError("The numbers of groups are negative.")
        if chat_id not in self._groups:
            self._groups[chat_id] = Group(chat_id, title, kind, self)
        return self._groups[chat_id]

    def find(self, chat_id: object) -> Person | Group | None:
        """Return the chat with the number ``chat_id`` (or its digits)."""
        try:
            number = int(str(chat_id))
        except ValueError:
            return None
        return self._people.get(number) or self._groups.get(number)

    @property
    def people(self) -> list[Person]:
        """Everybody the bot has met, in the order it did."""
        return list(self._people.values())

    def post(self, chat: Person | Group, sender: Json, content: Json) -> Json:
        """Put a message into a chat and return it."""
        message_id = next(self._message_ids)
        message: Json = {
            "message_id": message_id,
            "from": sender,
            "chat": chat.chat,
            "date": int(time.time()),
        } | content
        chat.messages[message_id] = message
        if len(chat.messages) > CHAT_CAPACITY:
            chat.messages.popitem(last=False)
        self.changed(message["chat"]["id"])
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

    def member_changed(self, chat: Person | Group, by: Json, before: str, after: str) -> None:
        """Queue the news that the bot's part in a chat has changed: it was blocked, put into a group, put out."""
        change = {
            "chat": chat.chat,
            "from": by,
            "date": int(time.time()),
            "old_chat_member": self._bot_as(before),
            "new_chat_member": self._bot_as(after),
        }
        self.updates.add("my_chat_member", change)

    def _bot_as(self, status: str) -> Json:
        """Return the ChatMember object of the bot."""
        rights = dict.fromkeys(_RIGHTS, False) if status == "administrator" else {}
        return {"user": self.bot, "status": status} | ({"until_date": 0} if status == "kicked" else {}) | rights
