"""Revisions: messages whose code is over, so that what their people see of them is to be put right.

When that is due stands in the message's own row (``revise_at``); this is the only writer of it beside the statements
that settle a send or end a verification. A row that a node holds is simply due later, and a dead node's rows become
due by themselves. Whatever makes a held row due again takes it from its holder, who is fenced by the time he held it
till.
"""

from __future__ import annotations

import logging
from enum import Enum, auto
from typing import ClassVar, Final

from channels.base import Reason
from gateway.clock import Clock
from gateway.delivery.lifecycle import VerificationStatus
from gateway.delivery.payload import Owner
from gateway.delivery.rows import route
from gateway.events.event import EventName, event, recorded
from gateway.storage.database import Database
from gateway.storage.sealing import Sealer, UnsealError
from gateway.storage.statement import Statement
from gateway.storage.unit import Connection, Move, Record
from gateway.value import Value

_log = logging.getLogger(__name__)

#: Seconds a node holds a message to put it right before anybody may take it.
HOLD: Final = 20.0


class Step(Enum):
    """What is to be done with a message."""

    #: Say in it that its code is over.
    EDIT = auto()
    #: Take it out of the chat.
    REMOVE = auto()
    #: Nothing before its code dies.
    WAIT = auto()


class Revision(Value, frozen=True):
    """A sent message, held by this node to be put right."""

    hidden: ClassVar[frozenset[str]] = frozenset({"address", "provider_id"})

    message_id: str
    verification_id: str
    service: str
    channel: str
    #: Masked address.
    recipient: str
    #: Its ``revise_at`` while this node holds it, in seconds since the Unix epoch: what a settlement is guarded by.
    held: float
    #: Tries begun, this one counted.
    revisions: int
    #: Seconds since the Unix epoch.
    sent_at: float
    expires_at: float
    #: The verification's.
    status: str
    #: Whether a newer message of the same verification is in the same chat, or a newer code has taken its code's place.
    newer: bool
    locale: str
    address: str
    provider_id: str


def decide(revision: Revision, now: float) -> Step:
    """Return what is to be done with a message at ``now``."""
    if revision.newer:
        return Step.REMOVE
    if revision.status == VerificationStatus.PENDING and now < revision.expires_at:
        return Step.WAIT
    return Step.EDIT


def outcome(revision: Revision) -> str:
    """Return how the verification of a message that is to be edited ended, whether or not that is written yet."""
    pending = revision.status == VerificationStatus.PENDING
    return VerificationStatus.EXPIRED.value if pending else revision.status


_DUE = """SELECT id FROM message WHERE channel = :channel AND revise_at <= :now
    ORDER BY revise_at LIMIT CAST(:number AS bigint)"""
_TAKE = "UPDATE message SET revise_at = :until, revisions = COALESCE(revisions, 0) + 1 WHERE id"

#: Take what is due of one channel, in one statement.
_CLAIM_SQLITE = f"{_TAKE} IN ({_DUE}) RETURNING id"
#: The same where others claim at the same time: what they hold is skipped, and the join goes by key.
_CLAIM_POSTGRESQL = f"""WITH due AS MATERIALIZED ({_DUE} FOR UPDATE SKIP LOCKED)
    {_TAKE} = ANY(ARRAY(SELECT id FROM due)) RETURNING id"""  # noqa: S608 - only names of our own are put in, values are bound

#: What must be known of what was taken. Read after the claim is committed: an end that the claim could not see yet has
#: been committed by then, or will find the row held and make it due.
_TAKEN = """SELECT m.id, m.verification_id, m.service, m.channel, m.step, m.recipient, m.revise_at, m.revisions,
        m.finished_at, m.expires_at, m.provider_id, v.status, v.purpose, v.locale, v.route_sealed,
        CASE WHEN v.generation > m.generation OR EXISTS (
            SELECT 1 FROM message n WHERE n.verification_id = m.verification_id AND n.channel = m.channel
            AND n.id > m.id AND n.status IN ('sent', 'delivered', 'undelivered')) THEN 1 ELSE 0 END AS newer
    FROM message m JOIN verification v ON v.id = m.verification_id
    WHERE m.channel = :channel AND m.revise_at = :until ORDER BY m.id"""

#: It was put right, or nothing can be done about it.
_SETTLE = Statement(
    "message.revised",
    {"id": "text", "held": "double precision", "revisions": "bigint"},
    """UPDATE message SET revise_at = NULL
    FROM r WHERE message.id = r.id AND message.revise_at = r.held AND message.revisions = r.revisions
    RETURNING message.id""",
    key=(0,),
)

#: It is due later. What was not tried (``spared`` = 1) does not count as a try.
_WAIT = Statement(
    "message.revise_later",
    {
        "id": "text",
        "held": "double precision",
        "revisions": "bigint",
        "until": "double precision",
        "spared": "bigint",
    },
    """UPDATE message SET revise_at = r.until, revisions = message.revisions - r.spared
    FROM r WHERE message.id = r.id AND message.revise_at = r.held AND message.revisions = r.revisions
    RETURNING message.id""",
    key=(0,),
)


class Revisions:
    """The due revisions of every node, seen from one of them."""

    def __init__(self, database: Database, sealer: Sealer, clock: Clock, *, several_nodes: bool) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._claim = _CLAIM_POSTGRESQL if several_nodes else _CLAIM_SQLITE

    async def claim(self, channel: str, number: int) -> list[Revision]:
        """Take up to ``number`` messages of a channel that are due to be put right; they come back if not settled.

        One whose address cannot be opened (it was erased, its key has left the ring) is left as it is. Raises
        ``StorageError``.
        """
        now = self._clock.now()
        until = now + HOLD

        async def work(connection: Connection) -> list[Record]:
            return await connection.fetch(self._claim, channel=channel, now=now, until=until, number=number)

        taken = {record["id"] for record in await self._database.run(work)}
        if not taken:
            return []
        # Another node may have claimed up to the same millisecond: its rows are told apart by their ids.
        found = await self._database.fetch(_TAKEN, channel=channel, until=until)
        opened = [await self._opened(record) for record in found if record["id"] in taken]
        return [revision for revision in opened if revision is not None]

    async def settle(self, revision: Revision, name: EventName, reason: Reason | None = None) -> bool:
        """Write down how it ended; return whether this node still held it. Raises ``StorageError``.

        ``reason`` tells why nothing could be done.
        """
        told = event(
            name,
            self._clock.now(),
            revision.service,
            verification_id=revision.verification_id,
            message_id=revision.message_id,
            channel=revision.channel,
            recipient=revision.recipient,
            reason=reason,
        )
        row = (revision.message_id, revision.held, revision.revisions)
        return await self._database.write(recorded((_SETTLE, row), [], [told]))

    async def wait(self, revision: Revision, until: float, *, tried: bool = True) -> bool:
        """Have it due again at ``until``; return whether this node still held it. Raises ``StorageError``.

        What was not ``tried`` does not count as a try.
        """
        row = (revision.message_id, revision.held, revision.revisions, until, int(not tried))
        return await self._database.write(Move((_WAIT, row)))

    async def _opened(self, record: Record) -> Revision | None:
        owner = Owner(record["verification_id"], record["service"], record["purpose"])
        try:
            stop = route(self._sealer, owner, record)[record["step"]]
        except UnsealError as error:
            _log.warning("a message cannot be put right: %s", error, extra={"message_id": record["id"]})
            await self.settle(_revision(record, "", record["locale"]), EventName.MESSAGE_LEFT, Reason.MISCONFIGURED)
            return None
        return _revision(record, stop.address or "", stop.locale or record["locale"])


def _revision(record: Record, address: str, locale: str) -> Revision:
    return Revision(
        message_id=record["id"],
        verification_id=record["verification_id"],
        service=record["service"],
        channel=record["channel"],
        recipient=record["recipient"],
        held=record["revise_at"],
        revisions=record["revisions"],
        sent_at=record["finished_at"],
        expires_at=record["expires_at"],
        status=record["status"],
        newer=bool(record["newer"]),
        locale=locale,
        address=address,
        provider_id=record["provider_id"],
    )
