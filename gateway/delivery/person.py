"""The person behind an address: what verification and conversation, which do not know each other, tell each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from channels.base import Address
from gateway.storage.unit import Connection, Fetch


@dataclass(frozen=True, slots=True)
class Reach:
    """How a bot reaches the person of one address now."""

    #: The chat's address; ``None`` where the person has not linked or proved theirs.
    chat: str | None = field(default=None, repr=False)
    #: The language the person chose, else the one their client tells.
    locale: str | None = None
    #: Whether the person wants no messages of this service in the chat.
    muted: bool = False
    #: The channel whose bot may not write there, for the person blocked it. Any other bot may, for all that is known.
    blocked: str | None = None
    #: Until when the person refuses every code, in seconds since the Unix epoch; ``None`` where that is not so now.
    locked_until: float | None = None


class Unwanted(StrEnum):
    """Why a code is not to go to a step of its route, by what its person has said in the chat."""

    #: They refuse every code now, whatever the channel.
    LOCKED = "locked"
    #: They are no longer in the chat it would go to.
    MOVED = "moved"
    #: They want none of this service's there.
    MUTED = "muted"


@dataclass(frozen=True, slots=True)
class Question:
    """A reverse verification a chat has opened."""

    verification_id: str
    service: str
    #: Masked.
    account: str
    #: Whether a phone is asked for and this chat has not proved one.
    needs_phone: bool
    #: What the person's yes is bound to and they are shown: names and values.
    details: tuple[tuple[str, str], ...] = field(default=(), repr=False)


class Unheard(StrEnum):
    """Why what a chat typed is not looked at."""

    #: It typed too many challenges of late that open nothing.
    TOO_OFTEN = "too_often"


class Verdict(StrEnum):
    """What became of a reverse verification that a person confirmed."""

    #: It is approved.
    APPROVED = "approved"
    #: The chat must prove a phone first.
    NEEDS_PHONE = "needs_phone"
    #: The address asked for is somebody else's.
    WRONG_PERSON = "wrong_person"
    #: It had ended, or it is not this chat's to answer.
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Reported:
    """A verification that a person says they did not ask for."""

    service: str
    #: Whether it is canceled, now or before; ``False``: it had ended otherwise.
    canceled: bool


@dataclass(frozen=True, slots=True)
class Whom:
    """A recipient who is to be erased, by everything one address is known by."""

    #: Keyed hashes of addresses that are the same person's for every service: a number, a mailbox.
    everywhere: tuple[bytes, ...] = field(repr=False)
    #: Keyed hashes of what is a service's own reference: another service may call somebody else so.
    references: tuple[bytes, ...] = field(repr=False)
    #: Whose references they are; ``None`` is every service's.
    service: str | None
    #: The address as providers are given it, as every kind reads it.
    values: frozenset[str] = field(repr=False)
    #: The same masked.
    masks: frozenset[str] = field(repr=False)

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """All keyed hashes."""
        return (*self.everywhere, *self.references)


@dataclass(frozen=True, slots=True)
class Leaving:
    """What is known of a recipient to the bots, and leaves with them."""

    #: Ids of subscribers.
    subscribers: frozenset[str] = frozenset()
    #: Keyed hashes of chats.
    chats: frozenset[bytes] = field(default=frozenset(), repr=False)
    #: The services of those subscribers.
    services: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Invitation:
    """A link that asks a person to open the bot: made, and written only with what waits for them to."""

    link: str = field(repr=False)
    #: Finds out, in the transaction that is to write it, that the person has not linked, and keeps it so until its end.
    #: Raises ``Unavailable`` where they have.
    hold: Callable[[Connection], Awaitable[None]] = field(repr=False)
    #: Writes it, and so ends the link before it.
    write: Callable[[Connection], Awaitable[None]] = field(repr=False)


#: Tells what the bots know of a recipient, and changes nothing.
Known = Callable[[Whom], Awaitable[Leaving]]
#: Erases what the bots know of a recipient at a time, but for what the person forbade, which is kept by keyed hashes.
Forget = Callable[[Whom, float], Awaitable[Leaving]]
#: Makes the link that asks the person of an address of a service to open the bot; nothing is written.
Invite = Callable[[str, Address], Awaitable[Invitation]]
#: Tells how a bot reaches the person of an address of a service.
Resolve = Callable[[str, Address], Awaitable[Reach]]
#: Tells whether the person of any of these address hashes refuses every code at a time; a reference among them is the
#: service's, which comes last.
Locked = Callable[[Fetch, Sequence[bytes], float, str], Awaitable[bool]]
#: Tells whether a chat (by its hash) is still that of the person of an address (by its hash) of a service.
IsTheirs = Callable[[Fetch, bytes, bytes, str], Awaitable[bool]]
