"""Chats: what the bot knows of one, whoever of the services it is linked to, and the only writer of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from channels.base import Address
from channels.chat import Inbound
from gateway.conversation import erasing
from gateway.conversation import statements as sql
from gateway.conversation.turn import Turn
from gateway.events.event import EventName, event, recorded
from gateway.storage import models
from gateway.storage.sealing import Hasher
from gateway.storage.statement import Statement, insert_into
from gateway.storage.unit import Connection, Fetch, Record

#: The kind under which chats are hashed, and that of the numbers their people prove.
CHAT: Final = "chat"
PHONE: Final = "phone"
#: A language tag as clients tell it (RFC 5646: ASCII letters, digits and hyphens, 35 characters are ample).
_TAG: Final = re.compile(r"[A-Za-z0-9-]{1,35}")

_KNOWN = "SELECT * FROM chat WHERE hash = :hash"
#: The same, its row held until what follows is written.
_HOLD = "UPDATE chat SET created_at = created_at WHERE hash = :hash RETURNING *"
_TOLD = "UPDATE chat SET told_language = :language WHERE hash = :hash RETURNING hash"
_LANGUAGE = "UPDATE chat SET language = :language WHERE hash = :hash RETURNING hash"
_LOCK = """UPDATE chat SET locked_until = :until
    WHERE hash = :hash AND (locked_until IS NULL OR locked_until < :until) RETURNING hash"""
_BLOCK = "UPDATE chat SET blocked_at = :now WHERE hash = :hash AND blocked_at IS NULL RETURNING hash"
_UNBLOCK = "UPDATE chat SET blocked_at = NULL WHERE hash = :hash AND blocked_at IS NOT NULL RETURNING hash"
_FORGET = "DELETE FROM chat WHERE hash = :hash RETURNING phone_masked, phone_hash, language, locked_until"

#: A number has one chat: whoever proved it before has it no longer.
_TAKE_PHONE = """UPDATE chat SET phone_hash = NULL, phone_sealed = NULL, phone_masked = NULL, proved_at = NULL
    WHERE phone_hash = :phone_hash AND hash <> :hash RETURNING hash, chat_sealed, locked_until"""
_PROVE = """UPDATE chat SET phone_hash = :phone_hash, phone_sealed = :sealed, phone_masked = :masked, proved_at = :now
    WHERE hash = :hash AND (phone_hash IS NULL OR phone_hash <> :phone_hash) RETURNING hash"""
_FORGET_PHONE = """UPDATE chat SET phone_hash = NULL, phone_sealed = NULL, phone_masked = NULL, proved_at = NULL
    WHERE hash = :hash AND phone_hash IS NOT NULL RETURNING hash"""

_UNMUTE = "DELETE FROM mute WHERE chat_hash = :hash AND service = :service RETURNING service"
_UNMUTE_ALL = "DELETE FROM mute WHERE chat_hash = :hash RETURNING service"
_MUTED = "SELECT service FROM mute WHERE chat_hash = :hash ORDER BY service"

_INSERT = insert_into(models.Chat, conflict="ON CONFLICT (hash) DO NOTHING", key=("hash",))
_MUTE = insert_into(models.Mute, conflict="ON CONFLICT (chat_hash, service) DO NOTHING", key=("chat_hash", "service"))

#: A chat that was linked before chats had rows; strangers who only said something get none.
_INSERT_LINKED = Statement(
    "chat.insert_linked",
    {
        "hash": "bytea",
        "chat_sealed": "bytea",
        "told_language": "text",
        "created_at": "double precision",
    },
    """INSERT INTO chat (hash, chat_sealed, told_language, created_at)
    SELECT hash, chat_sealed, told_language, created_at FROM r
    WHERE EXISTS (SELECT 1 FROM subscriber WHERE subscriber.chat_hash = r.hash)
    ON CONFLICT (hash) DO NOTHING RETURNING hash""",
    key=(0,),
)

# A reference is a service's own: the same one names other people elsewhere. A lock may have outlived its chat. One SELECT
# for each kind, for with OR PostgreSQL reads the whole table.
_LOCKED = """SELECT chat.hash FROM chat WHERE chat.phone_hash IN ({hashes}) AND chat.locked_until > :now
    UNION ALL SELECT chat.hash FROM subscriber JOIN chat ON chat.hash = subscriber.chat_hash
        WHERE subscriber.service = :service AND subscriber.reference_hash IN ({hashes}) AND chat.locked_until > :now
    UNION ALL SELECT chat.hash FROM chat WHERE chat.hash IN ({left}) AND chat.locked_until > :now
    LIMIT 1"""
_THEIRS = """SELECT chat_hash FROM subscriber
        WHERE service = :service AND reference_hash = :address_hash AND chat_hash = :chat_hash
    UNION ALL SELECT hash FROM chat WHERE hash = :chat_hash AND phone_hash = :address_hash"""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was erased of a chat."""

    #: The services it was linked to, sorted.
    services: Sequence[str]
    #: The number it had proved, masked.
    phone_masked: str | None
    #: The services it had muted, sorted.
    muted: Sequence[str]
    #: The language its person had chosen.
    language: str | None

    @property
    def anything(self) -> bool:
        """Whether there was something to erase that the person had done here."""
        return bool(self.services or self.phone_masked or self.muted or self.language)


async def known(connection: Connection, chat_hash: bytes) -> Record | None:
    """Return the row of a chat; ``None`` where it is not known."""
    found = await connection.fetch(_KNOWN, hash=chat_hash)
    return found[0] if found else None


def told_language(inbound: Inbound) -> str | None:
    """Return the language a person's client tells, if that is one."""
    tag = inbound.language
    return tag if tag is not None and _TAG.fullmatch(tag) else None


async def seen_from(turn: Turn, chat_hash: bytes) -> Turn:
    """Return the turn as another chat is to be told of it: in that chat's language."""
    there = replace(turn.inbound, language=None, message_id=None)
    return replace(turn, inbound=there, chat_hash=chat_hash, known=await known(turn.connection, chat_hash))


async def ensure(turn: Turn) -> None:
    """Make the chat's row, or note in it the language its person's client tells now."""
    if not await turn.connection.apply(recorded((_INSERT, _new(turn)), [], [])):
        await _note_language(turn)


async def refresh(turn: Turn) -> None:
    """Note the language its person's client tells now, and make the row of a chat that was linked without one."""
    if turn.known is not None:
        await _note_language(turn)
        return
    row = (turn.chat_hash, _sealed_chat(turn), told_language(turn.inbound), turn.now)
    await turn.connection.apply(recorded((_INSERT_LINKED, row), [], []))


async def choose_language(turn: Turn, language: str | None) -> None:
    """Set the language of the chat; ``None`` follows the person's client."""
    await ensure(turn)
    await turn.connection.fetch(_LANGUAGE, hash=turn.chat_hash, language=language)


async def lock(turn: Turn, until: float) -> None:
    """Refuse every code until then, and tell of it (``subscriber.locked``). A longer lock stays."""
    await ensure(turn)
    if await turn.connection.fetch(_LOCK, hash=turn.chat_hash, until=until):
        await _tell(turn, EventName.SUBSCRIBER_LOCKED)


async def _keep_lock(turn: Turn, before: Sequence[Record]) -> None:
    """Have a lock that still runs come along from who had the number before: else taking it would end it."""
    until = max((record["locked_until"] or 0.0 for record in before), default=0.0)
    if until > turn.now:
        await lock(turn, until)


async def prove(turn: Turn, phone: Address) -> str | None:
    """Make the number this chat's; return the address of the chat that had it before, if another had.

    A lock that runs stays with the number this chat proved before.
    """
    await ensure(turn)
    phone_hash = turn.tools.hasher.hash(phone.kind, phone.canonical)
    held = await turn.connection.fetch(_HOLD, hash=turn.chat_hash)
    taken = await turn.connection.fetch(_TAKE_PHONE, hash=turn.chat_hash, phone_hash=phone_hash)
    await _keep_lock(turn, taken)
    moved = await turn.connection.fetch(
        _PROVE,
        hash=turn.chat_hash,
        phone_hash=phone_hash,
        sealed=turn.tools.sealer.seal(phone.value.encode(), place("phone", turn.chat_hash)),
        masked=phone.masked,
        now=turn.now,
    )
    if moved:
        for record in held:
            await _leave_lock(turn, record)
        await _tell(turn, EventName.SUBSCRIBER_PROVED, recipient=phone.masked)
    if not taken or not taken[0]["chat_sealed"]:
        # Nobody had it, or somebody who was erased: there is no chat to tell.
        return None
    return turn.tools.sealer.open(taken[0]["chat_sealed"], place("chat", taken[0]["hash"])).decode()


async def mute(turn: Turn, service: str) -> bool:
    """Want a service's codes elsewhere; return whether that is new. Of a service that is not configured it never is."""
    if service not in turn.tools.brands:
        # A button's data can be forged: without this, anybody could fill the table with names.
        return False
    told = event(EventName.SUBSCRIBER_MUTED, turn.now, service)
    return await turn.connection.apply(recorded((_MUTE, (turn.chat_hash, service, turn.now)), [], [told]))


async def unmute(turn: Turn, service: str) -> bool:
    """Want a service's codes here again; return whether that is new."""
    moved = await turn.connection.fetch(_UNMUTE, hash=turn.chat_hash, service=service)
    if moved:
        await _tell(turn, EventName.SUBSCRIBER_UNMUTED, service)
    return bool(moved)


async def muted(turn: Turn) -> list[str]:
    """Return the services this chat has muted, sorted."""
    return [record["service"] for record in await turn.connection.fetch(_MUTED, hash=turn.chat_hash)]


async def services(turn: Turn) -> list[Record]:
    """Return the linked subscribers of this chat, the oldest link first."""
    return await turn.connection.fetch(sql.OF_CHAT, chat_hash=turn.chat_hash)


async def forget(turn: Turn) -> Forgotten:
    """Erase everything about this chat; return what there was."""
    unlinked = await turn.connection.fetch(sql.UNLINK_CHAT, chat_hash=turn.chat_hash, at=turn.now)
    await turn.connection.fetch(sql.FORGET_ASKED, chat_hash=turn.chat_hash, at=turn.now)
    unmuted = await turn.connection.fetch(_UNMUTE_ALL, hash=turn.chat_hash)
    gone = await turn.connection.fetch(_FORGET, hash=turn.chat_hash)
    for record in gone:
        await _leave_lock(turn, record, unlinked)
    told = [event(EventName.SUBSCRIBER_UNLINKED, turn.now, record["service"]) for record in unlinked]
    await turn.connection.apply(recorded(None, [], told))
    return Forgotten(
        services=sorted({record["service"] for record in unlinked}),
        phone_masked=gone[0]["phone_masked"] if gone else None,
        muted=sorted(record["service"] for record in unmuted),
        language=gone[0]["language"] if gone else None,
    )


async def forget_phone(turn: Turn) -> bool:
    """Erase the number this chat has proved; return whether there was one."""
    held = await turn.connection.fetch(_HOLD, hash=turn.chat_hash)
    if not await turn.connection.fetch(_FORGET_PHONE, hash=turn.chat_hash):
        return False
    for record in held:
        await _leave_lock(turn, record)
    return True


async def unlink(turn: Turn, subscriber_id: str) -> Record | None:
    """End one link of this chat; return the subscriber as it was, ``None`` where it is not this chat's."""
    found = await turn.connection.fetch(sql.ANY_BY_ID, id=subscriber_id)
    if not await turn.connection.fetch(sql.UNLINK_ONE, id=subscriber_id, chat_hash=turn.chat_hash, at=turn.now):
        return None
    await erasing.leave_locks(turn.connection, turn.tools.hasher, found, turn.now)
    await _tell(turn, EventName.SUBSCRIBER_UNLINKED, found[0]["service"])
    return found[0]


async def block(connection: Connection, chat_hash: bytes, now: float) -> bool:
    """Remember that the chat cannot be written to; return whether that is new."""
    return bool(await connection.fetch(_BLOCK, hash=chat_hash, now=now))


async def unblock(connection: Connection, chat_hash: bytes) -> bool:
    """Remember that the chat can be written to again; return whether that is new."""
    return bool(await connection.fetch(_UNBLOCK, hash=chat_hash))


async def any_locked(hasher: Hasher, fetch: Fetch, hashes: Sequence[bytes], now: float, service: str) -> bool:
    """Whether the person of any of these address hashes refuses every code at ``now``.

    ``service`` is whose references they are.
    """
    if not hashes:
        return False
    named = {f"hash{'_' * place}": value for place, value in enumerate(hashes)}
    left = {f"left{'_' * place}": erasing.lock_hash(hasher, service, value) for place, value in enumerate(hashes)}
    text = _LOCKED.format(
        hashes=", ".join(f":{name}" for name in named),
        left=", ".join(f":{name}" for name in left),
    )
    return bool(await fetch(text, now=now, service=service, **named, **left))


async def is_theirs(fetch: Fetch, chat_hash: bytes, address_hash: bytes, service: str) -> bool:
    """Whether a chat is that of the person of an address: linked by the service's reference, or by a proved phone."""
    return bool(await fetch(_THEIRS, chat_hash=chat_hash, address_hash=address_hash, service=service))


def place(column: str, chat_hash: bytes) -> str:
    """Name the place in the database that a chat's sealed blob belongs to."""
    return f"chat.{column}/{chat_hash.hex()}"


async def _leave_lock(turn: Turn, chat: Record, links: Sequence[Record] = ()) -> None:
    """Have a chat's lock outlive what it had proved or was linked to: else whoever takes a number over could end it so."""
    hasher, until, now = turn.tools.hasher, chat["locked_until"], turn.now
    await erasing.keep(
        turn.connection,
        [
            *erasing.lock_of_phone(hasher, chat["phone_hash"], until, now),
            *erasing.locks_of_links(hasher, links, until, now),
        ],
    )


def _new(turn: Turn) -> tuple[object, ...]:
    nothing = (None,) * 6
    return (turn.chat_hash, _sealed_chat(turn), None, told_language(turn.inbound), *nothing, turn.now)


def _sealed_chat(turn: Turn) -> bytes:
    return turn.tools.sealer.seal(turn.inbound.chat.encode(), place("chat", turn.chat_hash))


async def _note_language(turn: Turn) -> None:
    told = told_language(turn.inbound)
    if told is not None and (turn.known is None or turn.known["told_language"] != told):
        await turn.connection.fetch(_TOLD, hash=turn.chat_hash, language=told)


async def _tell(turn: Turn, name: EventName, service: str = "", *, recipient: str | None = None) -> None:
    """Write an event; without a service it is of the chat itself."""
    await turn.connection.apply(recorded(None, [], [event(name, turn.now, service, recipient=recipient)]))
