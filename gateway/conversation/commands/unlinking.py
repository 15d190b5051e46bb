"""``/link`` and ``/unlink``: the person's phone number, and the end of one connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from channels.chat import Button
from gateway.conversation import chats, people
from gateway.conversation.commands.choosing import brand, named, rows
from gateway.conversation.turn import Handler, Outcome, Said, Turn
from gateway.storage.unit import Record

#: Chosen for the phone number, among subscribers' ids.
PHONE: Final = "phone"


async def link(turn: Turn) -> Outcome:
    """Ask for the person's own contact."""
    said = turn.say("link")
    return Outcome((Said(replace(said.reply, asks_contact=turn.label("link", "share.txt"))),))


async def unlink(turn: Turn) -> Outcome:
    """End the connections of the service that is named, else ask which."""
    records = await chats.services(turn)
    service = named(turn, sorted({record["service"] for record in records}), turn.argument)
    if service is not None:
        for record in records:
            if record["service"] == service:
                await chats.unlink(turn, record["id"])
        return Outcome((turn.say("unlinked", service=service),))
    buttons = [Button(label, f"unlink:{record['id']}") for label, record in _labeled(turn, records)]
    if _phone(turn) is not None:
        buttons.append(Button(turn.label("unlink", "phone.txt"), f"unlink:{PHONE}"))
    if not buttons:
        return Outcome((turn.say("nothing_linked"),))
    return Outcome((turn.say("unlink", buttons=rows(buttons)),))


async def choose(turn: Turn) -> Outcome:
    """End the connection whose button was pressed."""
    phone = _phone(turn)
    if turn.argument == PHONE and phone is not None and await chats.forget_phone(turn):
        return Outcome((turn.say("unlinked", brand=phone, replaces=True),))
    record = await chats.unlink(turn, turn.argument)
    if record is None:
        # Pressed twice: what the first press said stays.
        return Outcome((turn.say("question_over"),))
    return Outcome((turn.say("unlinked", service=record["service"], replaces=True),))


def _phone(turn: Turn) -> str | None:
    """Return the number this chat has proved, masked."""
    return None if turn.known is None else turn.known["phone_masked"]


def _labeled(turn: Turn, records: Sequence[Record]) -> list[tuple[str, Record]]:
    """Return the connections with their names; where one service has several, with the account too."""
    names = [brand(turn, record["service"]) for record in records]
    return [
        (name if names.count(name) == 1 else f"{name} · {people.told(turn.tools.sealer, record).masked}", record)
        for name, record in zip(names, records, strict=True)
    ]


COMMANDS: Mapping[str, Handler] = {"link": link, "unlink": unlink}
PRESSES: Mapping[str, Handler] = {"unlink": choose}
