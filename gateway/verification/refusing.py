"""Refusing: what a person has said in the chat goes before what a service asks for."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.clock import rfc3339
from gateway.delivery.person import Reach, Unwanted
from gateway.errors import RecipientRefused


def refuse_locked(reaches: Iterable[Reach], now: float) -> None:
    """Refuse where the person of one of the addresses wants no codes now, whatever the channel.

    A lock that lets other channels through protects nobody. Raises ``RecipientRefused``.
    """
    until = max((reach.locked_until or 0.0 for reach in reaches), default=0.0)
    if until > now:
        raise locked(until)


def locked(until: float | None = None) -> RecipientRefused:
    """Return the refusal for a person who wants no codes, ``until`` then if that is known."""
    return RecipientRefused("the person has locked codes" + (f" until {rfc3339(until)}" if until else ""))


def unwanted(why: Unwanted) -> RecipientRefused:
    """Return the refusal of a further send, where the person has locked or muted, or is not in that chat any more."""
    if why is Unwanted.LOCKED:
        return locked()
    if why is Unwanted.MUTED:
        return muted()
    return RecipientRefused("the person has left that chat; start a new verification")


def blocked() -> RecipientRefused:
    """Return the refusal for a person who blocks the bot, where the chat is all there is.

    They are not invited anew: whoever opened that link would take the person's place.
    """
    return RecipientRefused("the person has blocked the bot")


def muted() -> RecipientRefused:
    """Return the refusal for a person who wants a service's messages elsewhere, where the chat is all there is."""
    return RecipientRefused("the person has muted this service")
