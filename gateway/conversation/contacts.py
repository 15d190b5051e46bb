"""Contacts: a person proves a phone number by sharing their own contact."""

from __future__ import annotations

from dataclasses import replace

from channels.base import Address, InvalidAddressError
from gateway.conversation import chats, people
from gateway.conversation.turn import Said, Turn

_SHARE = "share.txt"


def ask(turn: Turn, brand: str, account: str) -> Said:
    """Return the question for the person's contact. Both are empty where no service wants it."""
    return _asking(turn, turn.say("contact", brand=brand, account=account))


async def shared(turn: Turn) -> tuple[tuple[Said, ...], bool]:
    """Take in a shared contact; return the answers (another chat may be told as well) and whether a number is proved.

    ``turn.known`` stays as it was before: ask ``chats.known`` for what is proved now.
    """
    contact = turn.inbound.contact
    assert contact is not None, "only updates with a contact come here"
    if not contact.own:
        # Somebody else's number, or one that was forwarded: it proves nothing, and the person may try again.
        return (_asking(turn, turn.say("contact_foreign")),), False
    phone = _read(turn, contact.phone)
    if phone is None:
        return (_without_keyboard(turn.say("contact_invalid")),), False
    before = await chats.prove(turn, phone)
    said = [_without_keyboard(await _proved(turn, phone))]
    if before is not None:
        said.append(await _farewell(turn, phone, before))
    return tuple(said), True


def _read(turn: Turn, phone: str) -> Address | None:
    """Return the number; providers tell it with its country code and without a plus."""
    try:
        return turn.tools.phone(f"+{phone.removeprefix('+')}")
    except InvalidAddressError:
        return None


async def _proved(turn: Turn, phone: Address) -> Said:
    """Say so; and where services that wait for a number have another one, say that of the latest."""
    wanted = [(record, people.told(turn.tools.sealer, record)) for record in await chats.services(turn)]
    others = [(record, person) for record, person in wanted if person.phone is not None]
    if not others or any(person.phone == phone.value for _, person in others):
        return turn.say("contact_proved", phone=phone.masked)
    record, person = others[-1]
    return turn.say("contact_differs", service=record["service"], phone=phone.masked, account=person.masked)


async def _farewell(turn: Turn, phone: Address, chat: str) -> Said:
    """Tell the chat that had the number, in its own language, that it has it no longer."""
    there = await chats.seen_from(turn, turn.tools.hasher.hash(chats.CHAT, chat))
    return Said(there.say("phone_moved", phone=phone.masked).reply, chat)


def _asking(turn: Turn, said: Said) -> Said:
    return replace(said, reply=replace(said.reply, asks_contact=turn.label("contact", _SHARE)))


def _without_keyboard(said: Said) -> Said:
    return replace(said, reply=replace(said.reply, clears_keyboard=True))
