"""The queue of webhooks: the only module that writes a webhook's status, each write guarded by what it leaves.

::

    pending ──► delivered   a receiver answered 2xx
       ├──────► failed      it never did, or it wants no more (410)
       └──────► dropped     it had said before that it wants no more
    delivered | failed | dropped ──► pending   replayed by an operator
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from gateway.clock import Clock
from gateway.events.event import Event, recorded
from gateway.storage.database import Database
from gateway.storage.models import Webhook as WebhookRow
from gateway.storage.statement import Statement, columns_of
from gateway.storage.unit import Connection, Move, Record
from gateway.value import Value

#: Seconds a node holds a webhook; another one takes it after that. Twice what a try may take (``connecting.TOTAL``).
LEASE: Final = 30.0
#: The topic that is woken where webhooks are due.
TOPIC: Final = "webhook"
#: Rows written at once by what has time: replaying, dropping, forgetting.
BITE: Final = 500


class WebhookStatus(StrEnum):
    """Where a webhook is."""

    #: It is tried, or will be.
    PENDING = "pending"
    #: The receiver has it.
    DELIVERED = "delivered"
    #: The receiver does not have it, and it is not tried any more.
    FAILED = "failed"
    #: It was not tried any more, for the receiver wants none.
    DROPPED = "dropped"


class Webhook(Value, frozen=True):
    """A webhook. Its fields are the columns of ``models.Webhook``, which explains them."""

    hidden = frozenset({"body"})

    id: str
    service: str
    name: str
    verification_id: str | None
    body: str
    status: str
    tries: int
    due_at: float
    lease: str
    created_at: float
    finished_at: float | None
    answer: int | None
    reason: str | None


class Result(Value, frozen=True):
    """What became of a try."""

    #: The HTTP status of the answer, ``None`` where none came.
    answer: int | None = None
    #: Why it failed; ``None`` where it did not.
    reason: str | None = None


_COLUMNS: Final = tuple(columns_of(WebhookRow))
_ALL: Final = ", ".join(_COLUMNS)

# From service to service by the index, and in each to its first: as long as there are services, however many rows wait.
_WAITING = """WITH RECURSIVE waiting(service) AS (
        SELECT min(service) FROM webhook WHERE status = 'pending'
        UNION ALL
        SELECT (SELECT min(w.service) FROM webhook w WHERE w.status = 'pending' AND w.service > waiting.service)
        FROM waiting WHERE waiting.service IS NOT NULL)
    SELECT service,
        (SELECT min(w.due_at) FROM webhook w WHERE w.status = 'pending' AND w.service = waiting.service) AS due_at
    FROM waiting WHERE service IS NOT NULL"""

_CLAIM_SQLITE = f"""UPDATE webhook SET lease = :lease, due_at = :until WHERE id IN
    (SELECT id FROM webhook WHERE status = 'pending' AND service = :service AND due_at <= :now
        ORDER BY due_at, id LIMIT :room)
    RETURNING {_ALL}"""  # noqa: S608 - the table's own columns
# One statement for every service, for others wait for this connection too; what another node claims is skipped, and
# the join goes by key.
_CLAIM_POSTGRESQL = f"""WITH due AS MATERIALIZED (
        SELECT found.id FROM unnest(:services::text[], :rooms::bigint[]) AS wanted(service, room)
        CROSS JOIN LATERAL (
            SELECT id FROM webhook WHERE status = 'pending' AND service = wanted.service AND due_at <= :now
            ORDER BY due_at, id LIMIT wanted.room FOR UPDATE SKIP LOCKED) found)
    UPDATE webhook SET lease = :lease, due_at = :until WHERE id = ANY(ARRAY(SELECT id FROM due))
    RETURNING {_ALL}"""  # noqa: S608 - the same

#: A try of a webhook ends, unless another node has taken it meanwhile.
_SETTLE = Statement(
    "webhook.settle",
    {
        "id": "text",
        "held_by": "text",
        "tried": "bigint",
        "status": "text",
        "tries": "bigint",
        "due_at": "double precision",
        "finished_at": "double precision",
        "answer": "bigint",
        "reason": "text",
    },
    """UPDATE webhook SET status = r.status, tries = r.tries, due_at = r.due_at, lease = '',
        finished_at = r.finished_at, answer = r.answer, reason = r.reason
    FROM r WHERE webhook.id = r.id AND webhook.status = 'pending' AND webhook.lease = r.held_by
        AND webhook.tries = r.tried
    RETURNING webhook.id""",
    key=(0,),
)

#: What nobody holds of a service whose receiver wants no more, in small bites.
_DROP = f"""UPDATE webhook SET status = 'dropped', reason = 'disabled', finished_at = :now, lease = ''
    WHERE status = 'pending' AND (lease = '' OR due_at <= :now) AND id IN
        (SELECT id FROM webhook WHERE status = 'pending' AND service = :service AND (lease = '' OR due_at <= :now)
            LIMIT {BITE})
    RETURNING id"""  # noqa: S608 - a number of our own

#: A webhook begins anew, under the id it has: not one that is being tried at this moment.
_REPLAY = Statement(
    "webhook.replay",
    {"id": "text", "at": "double precision"},
    """UPDATE webhook SET status = 'pending', tries = 0, due_at = r.at, lease = '', finished_at = NULL, answer = NULL,
        reason = NULL
    FROM r WHERE webhook.id = r.id
        AND (webhook.status <> 'pending' OR webhook.lease = '' OR webhook.due_at <= r.at)
    RETURNING webhook.id""",
    key=(0,),
)

# By id, which begins with the time: old rows are the index's first. One that ended late is kept for as long as others.
# The time is asked again outside, for on PostgreSQL one may be replayed while this waits for its row.
_FORGET = f"""DELETE FROM webhook WHERE COALESCE(finished_at, due_at) <= :before AND id IN
    (SELECT id FROM webhook WHERE id < :floor AND COALESCE(finished_at, due_at) <= :before ORDER BY id LIMIT {BITE})
    RETURNING id"""  # noqa: S608 - a number of our own

_CLAUSES: Final = {
    "service": "AND service = :service",
    "status": "AND status = :status",
}
_ONE: Final = f"SELECT {_ALL} FROM webhook WHERE id = :id"  # noqa: S608 - the table's own columns
_IDS: Final = f"""SELECT id FROM webhook WHERE service = :service AND status = :status AND created_at >= :since
    AND id > :after ORDER BY id LIMIT {BITE}"""  # noqa: S608 - a number of our own


class Webhooks:
    """The webhooks of every node, seen from one. ``node`` is this process's unguessable name.

    ``several_nodes`` says whether others share the database. All methods raise ``StorageError``.
    """

    def __init__(self, database: Database, clock: Clock, *, node: str, several_nodes: bool = False) -> None:
        self._database = database
        self._clock = clock
        self._node = node
        self._several_nodes = several_nodes

    async def waiting(self) -> dict[str, float]:
        """Return, by service, when its first pending webhook is due (or its lease ends): seconds since the Unix epoch.

        What is due and not claimed is the lag of that service.
        """
        return {found["service"]: found["due_at"] for found in await self._database.fetch(_WAITING)}

    async def claim(self, rooms: Mapping[str, int]) -> list[Webhook]:
        """Take up to so many due webhooks of each service, the oldest first, for ``LEASE`` seconds."""
        now = self._clock.now()
        held = {"lease": self._node, "now": now, "until": now + LEASE}

        async def together(connection: Connection) -> list[Record]:
            return await connection.fetch(_CLAIM_POSTGRESQL, services=list(rooms), rooms=list(rooms.values()), **held)

        async def one_by_one(connection: Connection) -> list[Record]:
            # Within this process there is no round trip to save.
            return [
                record
                for service, room in rooms.items()
                for record in await connection.fetch(_CLAIM_SQLITE, service=service, room=room, **held)
            ]

        work = together if self._several_nodes else one_by_one
        return sorted(map(_webhook, await self._database.run(work)), key=lambda webhook: webhook.id)

    async def deliver(self, webhook: Webhook, result: Result) -> bool:
        """The receiver has it. Returns whether it was still this node's; so do the others."""
        return await self._finish(webhook, WebhookStatus.DELIVERED, result, ())

    async def fail(self, webhook: Webhook, result: Result, events: Sequence[Event]) -> bool:
        """It is not tried any more; ``events`` tell of it."""
        return await self._finish(webhook, WebhookStatus.FAILED, result, events)

    async def again(self, webhook: Webhook, due_at: float, result: Result) -> bool:
        """Let go of it after a try that failed; anybody may take it at ``due_at``, in seconds since the Unix epoch."""
        return await self._settle(webhook, WebhookStatus.PENDING, webhook.tries + 1, due_at, None, result)

    async def release(self, webhook: Webhook) -> bool:
        """Let go of it as it was before it was claimed; anybody may take it now."""
        as_before = Result(webhook.answer, webhook.reason)
        return await self._settle(webhook, WebhookStatus.PENDING, webhook.tries, self._clock.now(), None, as_before)

    async def drop(self, service: str) -> int:
        """Give up what is due of a service, ``BITE`` rows at most; return how many there were."""
        now = self._clock.now()
        return len(await self._database.run(lambda connection: connection.fetch(_DROP, service=service, now=now)))

    async def forget(self, now: float, days: float) -> int:
        """Delete what ended ``days`` days before ``now``, ``BITE`` rows at most; return how many there were.

        So goes what has been due for as long: its service has no endpoint any more.
        """
        before = now - days * 86_400.0
        values = {"floor": _lowest_id(before), "before": before}
        return len(await self._database.run(lambda connection: connection.fetch(_FORGET, **values)))

    async def replay(self, webhook_ids: Sequence[str]) -> int:
        """Begin webhooks anew, due now, under the ids they have; return how many were not being tried just then."""
        now = self._clock.now()
        moves = (Move((_REPLAY, (webhook_id, now)), wakes=(TOPIC,)) for webhook_id in webhook_ids)
        return sum(await asyncio.gather(*map(self._database.write, moves)))

    async def find(self, webhook_id: str) -> Webhook | None:
        """Return a webhook, or ``None`` where there is none of that id."""
        found = await self._database.fetch(_ONE, id=webhook_id)
        return _webhook(found[0]) if found else None

    async def latest(self, *, service: str | None = None, status: str | None = None, limit: int) -> list[Webhook]:
        """Return the newest ``limit`` webhooks, newest first."""
        wanted = {"service": service, "status": status}
        given: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
        clauses = " ".join(_CLAUSES[name] for name in given)
        sql = f"SELECT {_ALL} FROM webhook WHERE true {clauses} ORDER BY id DESC LIMIT CAST(:number AS bigint)"  # noqa: S608 - only clauses of our own are put in, values are bound
        return [_webhook(item) for item in await self._database.fetch(sql, number=limit, **given)]

    async def ids(self, service: str, status: WebhookStatus, *, since: float, after: str = "") -> list[str]:
        """Return the first ``BITE`` ids behind ``after``, in order, of a service's webhooks made from ``since`` on."""
        values = {"service": service, "status": status.value, "since": since, "after": after}
        return [found["id"] for found in await self._database.fetch(_IDS, **values)]

    async def _finish(self, webhook: Webhook, status: WebhookStatus, result: Result, events: Sequence[Event]) -> bool:
        now = self._clock.now()
        return await self._settle(webhook, status, webhook.tries + 1, now, now, result, events)

    async def _settle(
        self,
        webhook: Webhook,
        status: WebhookStatus,
        tries: int,
        due_at: float,
        finished_at: float | None,
        result: Result,
        events: Sequence[Event] = (),
    ) -> bool:
        held = (webhook.id, self._node, webhook.tries)
        row = (*held, status.value, tries, due_at, finished_at, result.answer, result.reason)
        return await self._database.write(recorded((_SETTLE, row), (), events))


def _webhook(record: Record) -> Webhook:
    return Webhook(*(record[name] for name in _COLUMNS))


def _lowest_id(at: float) -> str:
    """Return what no id of a webhook at or after a time is below; see ``gateway.storage.ids``."""
    return f"whk_{int(max(at, 0.0) * 1000):012x}"
