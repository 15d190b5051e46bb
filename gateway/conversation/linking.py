"""Linking: a person opens a service's link and confirms; from then on the service reaches them in this chat."""

from __future__ import annotations

from collections.abc import Mapping

from channels.chat import Button
from gateway.conversation import chats, contacts, erasing, people
from gateway.conversation import statements as sql
from gateway.conversation.people import place
from gateway.conversation.turn import Handler, Outcome, Said, Turn
from gateway.delivery.writing.legible import visible
from gateway.events.event import EventName, event, recorded
from gateway.storage.sealing import token_hash
from gateway.storage.unit import Record

_CONFIRM, _DECLINE = "yes", "no"


async def open_link(turn: Turn) -> Outcome | None:
    """Ask whoever opened a subscriber's link (``turn.argument`` is its token) to confirm; ``None`` where it is none.

    Used, expired and forged tokens look the same.
    """
    hashed = token_hash(turn.argument)
    for record in await turn.connection.fetch(sql.BY_TOKEN, token_hash=hashed):
        asked = (sql.ASK, (record["id"], hashed, turn.chat_hash, turn.now))
        if await turn.connection.apply(recorded(asked, [], [])):
            return Outcome((_question(turn, record),))
    return None


def _question(turn: Turn, record: Record) -> Said:
    service, subscriber_id = record["service"], record["id"]
    confirm = Button(turn.label("confirm", "confirm.txt", service=service), f"{_CONFIRM}:{subscriber_id}")
    decline = Button(turn.label("confirm", "decline.txt", service=service), f"{_DECLINE}:{subscriber_id}")
    account = people.told(turn.tools.sealer, record).masked
    return turn.say("confirm", service=service, buttons=((confirm, decline),), account=account)


async def _confirmed(turn: Turn) -> Outcome:
    """Link the chat that was asked, tell the one that was linked before, and send what waited."""
    for record in await turn.connection.fetch(sql.ANY_BY_ID, id=turn.argument):
        if not await _linked(turn, record):
            break
        await chats.ensure(turn)
        if record["chat_hash"] != turn.chat_hash:
            # A lock stays with the account, else to take that over would end it. It does not come along: whoever hands
            # their own link on could lock the numbers and accounts of whom they hand it to.
            await erasing.leave_locks(turn.connection, turn.tools.hasher, [record], turn.now)
        said = [*_done(turn, record), *await _farewell(turn, record)]
        wake = await turn.tools.on_link(
            turn.connection,
            record["service"],
            record["reference_hash"],
            turn.inbound.chat,
            _locale(turn),
            turn.now,
        )
        return Outcome(tuple(said), frozenset(wake))
    return await _again(turn) or Outcome((turn.say("link_invalid", replaces=True),))


async def _again(turn: Turn) -> Outcome | None:
    """Say once more that this chat is linked, where it is: a second press must not take that back; else ``None``."""
    for record in await turn.connection.fetch(sql.ANY_BY_ID, id=turn.argument):
        if record["chat_hash"] == turn.chat_hash:
            account = people.told(turn.tools.sealer, record).masked
            return Outcome((turn.say("linked", service=record["service"], replaces=True, account=account),))
    return None


async def _linked(turn: Turn, record: Record) -> bool:
    seal, subscriber_id = turn.tools.sealer.seal, record["id"]
    row = (
        subscriber_id,
        turn.chat_hash,
        seal(turn.inbound.chat.encode(), place("chat", subscriber_id)),
        # What its person chose to be called is shown by applications, beside other words.
        seal(visible(turn.inbound.display_name).encode(), place("display_name", subscriber_id)),
        turn.now,
    )
    told = event(EventName.SUBSCRIBER_LINKED, turn.now, record["service"])
    return await turn.connection.apply(recorded((sql.LINK, row), [], [told]))


def _done(turn: Turn, record: Record) -> list[Said]:
    """Say that it is linked, and ask for the number the service has where this chat has not proved it."""
    service, person = record["service"], people.told(turn.tools.sealer, record)
    said = [turn.say("linked", service=service, replaces=True, account=person.masked)]
    if person.phone is None:
        return said
    proved = turn.known["phone_hash"] if turn.known is not None else None
    if proved != turn.tools.hasher.hash(chats.PHONE, person.phone):
        said.append(contacts.ask(turn, turn.tools.brands.get(service, service), person.masked))
    return said


async def _farewell(turn: Turn, record: Record) -> list[Said]:
    """Tell the chat that was linked before, in its own language, that another has taken over."""
    before = record["chat_hash"]
    if before is None or before == turn.chat_hash:
        return []
    chat = turn.tools.sealer.open(record["chat_sealed"], place("chat", record["id"])).decode()
    there = await chats.seen_from(turn, before)
    said = there.say("moved", service=record["service"], account=people.told(turn.tools.sealer, record).masked)
    return [Said(said.reply, chat)]


def _locale(turn: Turn) -> str | None:
    """Return the language codes are to come in: what the person chose, else what their client tells."""
    chosen: str | None = turn.known["language"] if turn.known is not None else None
    return chosen or chats.told_language(turn.inbound)


async def _declined(turn: Turn) -> Outcome:
    found = await turn.connection.fetch(sql.ANY_BY_ID, id=turn.argument)
    declined = (sql.DECLINE, (turn.argument, turn.chat_hash, turn.now))
    if not await turn.connection.apply(recorded(declined, [], [])):
        # Pressed twice: what the first press said stays.
        return await _again(turn) or Outcome((turn.say("question_over"),))
    account = people.told(turn.tools.sealer, found[0]).masked
    return Outcome((turn.say("declined", service=found[0]["service"], replaces=True, account=account),))


#: What the buttons of this module do, by the verb before the colon.
PRESSES: Mapping[str, Handler] = {_CONFIRM: _confirmed, _DECLINE: _declined}
