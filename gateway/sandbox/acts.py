"""What the page, and a program that tests, may ask for: the body of each act, read strictly."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

#: Whom the page acts as where it does not say.
NAME, LANGUAGE = "Ann", "en"

#: A person's number, as Telegram counts them (below 2^52).
Number = Annotated[int, msgspec.Meta(gt=0, lt=2**52)]


class Act(msgspec.Struct, forbid_unknown_fields=True):
    """The body of one request of the page; unknown fields are refused."""


class SignIn(Act):
    """Ask for a code, as an application does. ``channels`` is the route; ``mode`` ``inbound`` lets the person write."""

    to: str | dict[str, str]
    channels: list[str] | None = None
    mode: str | None = None
    locale: str | None = None


class Check(Act):
    """Give a code back."""

    id: str
    code: str


class Resend(Act):
    """Ask for the code once more, by ``channel`` where one is named."""

    id: str
    channel: str | None = None


class OfVerification(Act):
    """Cancel a verification, or look at it."""

    id: str


class Subscribe(Act):
    """Ask for a link by which a person opens the bot."""

    reference: str
    phone: str | None = None


class Start(Act):
    """Open the bot by a whole ``link``, or by one with ``payload``. Name and language count when the bot meets the person."""

    person: Number
    link: str | None = None
    payload: str = ""
    name: str = NAME
    language: str = LANGUAGE


class Write(Act):
    """Write to the bot."""

    person: Number
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class Press(Act):
    """Press a button under a message, which is named by its number or, in digits, by its letter's id."""

    person: Number
    message: int | Annotated[str, msgspec.Meta(pattern="^[0-9]{1,15}$")]
    data: str


class ShareContact(Act):
    """Share a phone number: one's own, another's, or a message with one that somebody else wrote."""

    person: Number
    phone: Annotated[str, msgspec.Meta(pattern=r"^\+?[0-9]{3,15}$")]
    whose: Literal["own", "other", "forwarded"] = "own"


class Block(Act):
    """Block the bot or let it write again."""

    person: Number
    blocked: bool


class SetFault(Act):
    """Let a server misbehave until told otherwise."""

    server: Literal["smtp", "twilio", "telegram"]
    fault: Literal["none", "slow", "down", "limit", "blocked"]
