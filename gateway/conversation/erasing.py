"""Erasing a recipient from what the bots know: subscribers, chats, proved numbers, answers on their way.

What the person forbade outlives them, by keyed hashes alone. A mute stays as it is. A lock that still runs is moved to
a row of ``chat`` that is no chat: it has no address, is found by the number's hash or by ``lock_hash``, and goes when
its time is over. So is one whose person stops the bot or unlinks: whoever took their place could end it otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from gateway.conversation import people
from gateway.conversation.replies import Replies
from gateway.delivery.person import Leaving, Whom
from gateway.events.event import EventName, event, recorded
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.sealing import Hasher, Sealer, UnsealError
from gateway.storage.statement import Row, Statement, columns_of, insert_into
from gateway.storage.unit import Connection, Fetch, Move, Record

#: Subscribers looked through at once: whom a service told a phone of is known by opening what is sealed.
PAGE: Final = 200
#: Rows of a bite of locks that are over.
BITE: Final = 500

_PEOPLE = f"""SELECT id, service, reference_hash, person_sealed, chat_hash FROM subscriber WHERE id > :after
    ORDER BY id LIMIT {PAGE}"""  # noqa: S608 - a number of our own
_BY_REFERENCE = """SELECT id, service, reference_hash, person_sealed, chat_hash FROM subscriber
    WHERE reference_hash = :hash AND (CAST(:service AS text) = '' OR service = :service)"""
_BY_PHONE = "SELECT hash, locked_until FROM chat WHERE phone_hash = :hash AND length(chat_sealed) > 0"
_LOCK_OF = "SELECT locked_until FROM chat WHERE hash = :hash AND locked_until > :now"

_DELETE = Statement("subscriber.erase", {"id": "text"}, "DELETE FROM subscriber WHERE id IN (SELECT id FROM r)")
_FORGET_PHONE = Statement(
    "chat.erase_phone",
    {"hash": "bytea"},
    """UPDATE chat SET phone_hash = NULL, phone_sealed = NULL, phone_masked = NULL, proved_at = NULL
    FROM r WHERE chat.hash = r.hash""",
)
#: A chat that nobody is known by any more.
_FORGET_CHAT = Statement(
    "chat.erase",
    {"hash": "bytea"},
    """DELETE FROM chat WHERE hash IN (SELECT hash FROM r) AND phone_hash IS NULL
        AND NOT EXISTS (SELECT 1 FROM subscriber WHERE subscriber.chat_hash = chat.hash)""",
)
#: Whether a row of an erased person is a lock that holds no more.
_IS_OVER = "length(chat_sealed) = 0 AND (locked_until IS NULL OR locked_until <= :now)"
#: The row of one before it may still be there, its number proved anew since, or with less time.
_KEEP_LOCK = insert_into(
    models.Chat,
    conflict="""ON CONFLICT (hash) DO UPDATE SET phone_hash = excluded.phone_hash, locked_until
        = CASE WHEN chat.locked_until > excluded.locked_until THEN chat.locked_until ELSE excluded.locked_until END""",
)
#: Outside, the same is asked of what another node wrote while this waited for the row.
_LOCKS_OVER = f"""DELETE FROM chat WHERE {_IS_OVER} AND hash IN
    (SELECT hash FROM chat WHERE {_IS_OVER} LIMIT {BITE}) RETURNING hash"""  # noqa: S608 - the same


class Forgetting:
    """Forgets recipients."""

    def __init__(self, *, database: Database, sealer: Sealer, hasher: Hasher, replies: Replies) -> None:
        self._database = database
        self._sealer = sealer
        self._hasher = hasher
        self._replies = replies

    async def known(self, whom: Whom) -> Leaving:
        """Return what the bots know of a recipient, which is left as it is. Raises ``StorageError``."""
        fetch = self._database.fetch
        found = [*await self._told_the_phone_of(whom), *await self._subscribers(fetch, whom)]
        proved = [record["hash"] for hashed in whom.everywhere for record in await fetch(_BY_PHONE, hash=hashed)]
        return Leaving(
            frozenset(record["id"] for record in found),
            _chats(found, proved),
            frozenset(record["service"] for record in found),
        )

    async def forget(self, whom: Whom, now: float) -> Leaving:
        """Erase what the bots know of a recipient, and return what that was. Raises ``StorageError``."""
        told = await self._told_the_phone_of(whom)

        async def work(connection: Connection) -> Leaving:
            found = {record["id"]: record for record in await self._subscribers(connection.fetch, whom)}
            found |= {record["id"]: record for record in told}
            return await self._erase(connection, whom, list(found.values()), now)

        leaving = await self._database.run(work, weight=1 + len(told))
        if leaving.chats:
            await self._replies.forget(lambda chat: self._hasher.hash("chat", chat) in leaving.chats)
        return leaving

    async def _told_the_phone_of(self, whom: Whom) -> list[Record]:
        """Return the subscribers whose service told this number as theirs: only opened they are known."""
        found: list[Record] = []
        after = ""
        while whom.everywhere and (page := await self._database.fetch(_PEOPLE, after=after)):
            found += [record for record in page if self._is_theirs(record, whom.values)]
            after = page[-1]["id"]
        return found

    def _is_theirs(self, record: Record, addresses: Collection[str]) -> bool:
        try:
            return people.told(self._sealer, record).phone in addresses
        except UnsealError:
            # Nobody can tell whose it is any more, the gateway included.
            return False

    async def _subscribers(self, fetch: Fetch, whom: Whom) -> list[Record]:
        found: list[Record] = []
        for hashed in whom.references:
            found += await fetch(_BY_REFERENCE, hash=hashed, service=whom.service or "")
        return found

    async def _erase(self, connection: Connection, whom: Whom, subscribers: Collection[Record], now: float) -> Leaving:
        proved = [
            (record, hashed) for hashed in whom.everywhere for record in await connection.fetch(_BY_PHONE, hash=hashed)
        ]
        locks = [
            *await locks_of(connection, self._hasher, subscribers, now),
            *(
                row
                for record, hashed in proved
                for row in lock_of_phone(self._hasher, hashed, record["locked_until"], now)
            ),
        ]
        chats = _chats(subscribers, (record["hash"] for record, _ in proved))
        # In this order: a number has one row, and a chat goes once nobody is known by it.
        await connection.apply(
            Move(
                None,
                [
                    *((_DELETE, (record["id"],)) for record in subscribers),
                    *((_FORGET_PHONE, (record["hash"],)) for record, _ in proved),
                ],
            )
        )
        gone = [(_FORGET_CHAT, (chat,)) for chat in sorted(chats)]
        told = [event(EventName.SUBSCRIBER_UNLINKED, now, record["service"]) for record in subscribers]
        await connection.apply(recorded(None, [*gone, *((_KEEP_LOCK, row) for row in locks)], told))
        return Leaving(frozenset(record["id"] for record in subscribers), chats)


def _chats(subscribers: Iterable[Record], proved: Iterable[bytes]) -> frozenset[bytes]:
    """Return the hashes of chats: those of subscribers, and those that proved a number."""
    linked = (record["chat_hash"] for record in subscribers if record["chat_hash"] is not None)
    return frozenset(bytes(chat) for chat in (*linked, *proved))


def lock_of_phone(hasher: Hasher, phone_hash: bytes | None, until: float | None, now: float) -> list[Row]:
    """Return the row by which a chat's lock until then outlives its proved number; none where there is none to keep."""
    if phone_hash is None or until is None or until <= now:
        return []
    return [_lock(hasher.hash("lock", bytes(phone_hash).hex()), phone_hash, until, now)]


def locks_of_links(hasher: Hasher, links: Iterable[Record], until: float | None, now: float) -> list[Row]:
    """Return the rows by which a chat's lock until then outlives its links, which are those subscribers."""
    if until is None or until <= now:
        return []
    hashes = (lock_hash(hasher, record["service"], bytes(record["reference_hash"])) for record in links)
    return [_lock(hashed, None, until, now) for hashed in hashes]


async def locks_of(connection: Connection, hasher: Hasher, subscribers: Iterable[Record], now: float) -> list[Row]:
    """Return the same for subscribers of whatever chats, which are there still."""
    rows: list[Row] = []
    for record in subscribers:
        if record["chat_hash"] is not None:
            for lock in await connection.fetch(_LOCK_OF, hash=record["chat_hash"], now=now):
                rows += locks_of_links(hasher, [record], lock["locked_until"], now)
    return rows


async def keep(connection: Connection, locks: Iterable[Row]) -> None:
    """Write locks that outlive their chats. Raises ``StorageError``."""
    await connection.apply(Move(None, [(_KEEP_LOCK, row) for row in locks]))


async def leave_locks(connection: Connection, hasher: Hasher, subscribers: Iterable[Record], now: float) -> None:
    """Have the locks of subscribers outlive their links, which have just ended or are another chat's. Raises ``StorageError``."""
    await keep(connection, await locks_of(connection, hasher, subscribers, now))


async def forget_locks(database: Database, now: float) -> int:
    """Delete locks of people who are erased, once they are over; return how many there were, ``BITE`` at most.

    Raises ``StorageError``.
    """
    return len(await database.run(lambda connection: connection.fetch(_LOCKS_OVER, now=now)))


def lock_hash(hasher: Hasher, service: str, reference_hash: bytes) -> bytes:
    """Return what a lock that outlives its person's chat is found by, from a service's reference for them."""
    return hasher.hash("lock", f"{service}\0{reference_hash.hex()}")


async def lock_of(database: Database, left: bytes, now: float) -> float | None:
    """Return until when whoever left a lock by that hash refuses every code, in seconds since the Unix epoch."""
    found = await database.fetch(_LOCK_OF, hash=left, now=now)
    return found[0]["locked_until"] if found else None


def _lock(hashed: bytes, phone_hash: bytes | None, until: float, now: float) -> Row:
    """Return a row of ``chat`` that is a lock and nothing else."""
    known = {
        "hash": hashed,
        "chat_sealed": b"",
        "phone_hash": phone_hash,
        "locked_until": until,
        "created_at": now,
    }
    return tuple(known.get(name) for name in columns_of(models.Chat))
