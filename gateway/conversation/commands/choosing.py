"""Choosing: which service a person means, by a button or by its name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from channels.chat import Button
from gateway.conversation import chats
from gateway.conversation.turn import Turn

#: Bytes of data a button may send back (core.telegram.org/bots/api#inlinekeyboardbutton).
DATA_BYTES = 64
#: Buttons under one message; providers refuse messages with more than about a hundred. The rest go by name.
MAX_BUTTONS = 50
#: Seconds before a link or a proof from which on verifications belong to the chat: one of them was its cause.
BEFORE = 600.0

_BY_PHONE = """SELECT DISTINCT verification.service FROM address
    JOIN verification ON verification.id = address.verification_id
    WHERE address.hash = :phone_hash AND verification.created_at >= :since"""


async def reached(turn: Turn) -> list[str]:
    """Return the services whose codes can come to this chat: linked ones, and those that asked for its number."""
    found = {record["service"] for record in await chats.services(turn)}
    if turn.known is not None and turn.known["phone_hash"] is not None:
        since = turn.known["proved_at"] - BEFORE
        asked = await turn.connection.fetch(_BY_PHONE, phone_hash=turn.known["phone_hash"], since=since)
        found |= {record["service"] for record in asked}
    return sorted(found)


def brand(turn: Turn, service: str) -> str:
    """Return the name a service signs with; its key where it is not configured any more."""
    return turn.tools.brands.get(service, service)


def named(turn: Turn, services: Sequence[str], given: str) -> str | None:
    """Return the service with this key or name; ``None`` where there is none, or more than one."""
    wanted = given.strip().casefold()
    if wanted in services:
        return wanted
    matches = [service for service in services if brand(turn, service).casefold() == wanted]
    return matches[0] if len(matches) == 1 else None


def choices(turn: Turn, verb: str, services: Sequence[str]) -> Sequence[Sequence[Button]]:
    """Return a button for each service; two that sign with one name show their keys too."""
    names = [brand(turn, service) for service in services]
    return rows(
        Button(name if names.count(name) == 1 else f"{name} ({service})", f"{verb}:{service}")
        for name, service in zip(names, services, strict=True)
    )


def rows(buttons: Iterable[Button]) -> Sequence[Sequence[Button]]:
    """Return the buttons one below the other, without those whose data no provider would take."""
    fitting = (button for button in buttons if len(button.data.encode()) <= DATA_BYTES)
    return tuple((button,) for button in islice(fitting, MAX_BUTTONS))
