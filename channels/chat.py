"""A conversation's vocabulary: what people write to a bot, what it answers, and what a channel with a bot can do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from channels.callback import CallbackRequest


@dataclass(frozen=True, slots=True)
class Contact:
    """A phone number a person shared."""

    #: As the provider gave it, with or without a plus.
    phone: str = field(repr=False)
    #: Whether it is provably the sender's own: theirs by id, not forwarded, in a private chat.
    own: bool


@dataclass(frozen=True, slots=True)
class Inbound:
    """What a person wrote to, or pressed in, the bot. No provider's type leaves its adapter."""

    #: The provider's number of this update: handled once.
    update_id: int
    #: The chat's address, the one ``Envelope.address`` would carry.
    chat: str = field(repr=False)
    #: The command without its slash and bot name (``start``), or ``None`` for other text.
    command: str | None
    #: The command's argument, the text, or the pressed button's data.
    text: str = field(repr=False)
    #: The name the person shows.
    display_name: str = field(repr=False)
    #: IETF language tag of the person's client, if told.
    language: str | None
    #: Whether the chat is between the bot and one person.
    private: bool
    #: Whether a button was pressed; ``text`` is then its data and ``press`` the provider's id of it.
    press: str | None = None
    #: ``True`` when the person blocked the bot, ``False`` when it was unblocked, else ``None``.
    blocked: bool | None = None
    #: The phone number the person shared with this message.
    contact: Contact | None = None
    #: The provider's id of the message whose button was pressed: what an answer may replace.
    message_id: str | None = None
    #: Whether the bot was just put into a group or channel.
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Button:
    """A button under a reply; pressing it sends ``data`` (at most 64 bytes) back as an ``Inbound``."""

    label: str
    data: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What the bot answers. It has buttons, or it asks for a contact: no message holds both."""

    #: Rendered ``templates/conversation/<template>/reply.html``: text with a few HTML tags, already escaped.
    #: Empty where the bot only ``leaves``.
    text: str = field(repr=False)
    #: Rows of buttons.
    buttons: Sequence[Sequence[Button]] = ()
    #: Edit this message instead of writing a new one; written anew where that fails.
    replaces: str | None = None
    #: Label of a keyboard button by which the person shares their number.
    asks_contact: str | None = None
    #: Take such a keyboard away.
    clears_keyboard: bool = False
    #: Leave the group or channel afterwards.
    leaves: bool = False


#: Takes in one update; returns when its effect and its answers are durable. Raises ``StorageError``: try again.
HandleInbound = Callable[[Inbound], Awaitable[None]]
#: Commands with their descriptions by language; ``""`` for every other language.
Menu = Mapping[str, Sequence[tuple[str, str]]]


@runtime_checkable
class Conversing(Protocol):
    """A channel with a bot that people write to."""

    async def say(self, chat: str, reply: Reply) -> None:
        """Write one reply into a chat. Raises ``DeliveryError``."""
        ...

    async def introduce(self, menu: Menu) -> None:
        """Tell the provider which commands people are offered. Raises ``DeliveryError``."""
        ...

    def read(self, request: CallbackRequest) -> Inbound | None:
        """Read one update that came as a callback; ``None`` where there is nothing to do.

        Raises ``ForgedCallbackError``.
        """
        ...


@runtime_checkable
class Revising(Protocol):
    """A channel that can change what it sent. ``provider_id`` is the one its ``Receipt`` gave."""

    async def revise(self, address: str, provider_id: str, reply: Reply) -> None:
        """Put ``reply`` in the place of a message. Raises ``DeliveryError``."""
        ...

    async def remove(self, address: str, provider_id: str) -> None:
        """Take a message away. Raises ``DeliveryError``."""
        ...
