"""Tallies: what each node counted for a service, kept so that the nodes together keep to its allowances.

A row is one node's alone, so nodes never wait for each other. What was spent counts until midnight, whoever wrote it; what
else a node says counts while it is fresh, and then the node is taken for dead.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.statement import insert_into
from gateway.storage.unit import Move, Write
from gateway.value import Value

#: What a node's accepted sends of the day cost; the window is the day.
SPEND: Final = "spend"
#: What a node is about to spend; the window ends when the last of those codes dies: they are sent though their node ends.
HELD: Final = "held"
#: What of that was made by another node and is spent by this one, less than nothing; the window ends with the first of
#: those codes: a node that has died takes nothing back that its maker no longer reckons with.
LENT: Final = "lent"
#: That requests come to a node; the window is the moment.
REQUESTS: Final = "requests"

#: Seconds after which a node that wrote nothing, or was asked nothing, has no share any more: it writes every second.
FRESH: Final = 5.0
#: Seconds that a row is kept for.
KEPT: Final = 2 * 86_400.0
#: Rows deleted at once.
_BITE: Final = 500

_WRITE: Final = insert_into(
    models.Tally,
    conflict="""ON CONFLICT (service, node, kind) DO UPDATE SET window_at = excluded.window_at,
        amount = excluded.amount""",
)

_OTHERS: Final = """SELECT service, kind, sum(amount) AS amount, count(*) AS nodes FROM tally
    WHERE node <> :node AND ((kind = 'spend' AND window_at = :day) OR (kind IN ('held', 'lent') AND window_at > :now)
        OR (kind = 'requests' AND window_at > :since))
    GROUP BY service, kind"""

#: By the index of what is queued, the rows of a service on each channel up to a bound.
_QUEUED: Final = """WITH c(channel) AS (VALUES {channels}), s(service) AS (VALUES {services})
    SELECT s.service AS service, (SELECT count(*) FROM (SELECT 1 FROM message
        WHERE message.status = 'queued' AND message.channel = c.channel AND message.service = s.service
        LIMIT CAST(:most AS bigint)) few) AS number
    FROM s CROSS JOIN c"""

_FORGET: Final = """DELETE FROM tally WHERE window_at <= :before AND (service, node, kind) IN
    (SELECT service, node, kind FROM tally WHERE window_at <= :before LIMIT CAST(:number AS bigint)) RETURNING service"""


class Own(Value, frozen=True):
    """What this node counted for a service."""

    #: What it spent today; ``None`` where nobody asks.
    spent: float | None
    #: What it is about to spend, and when the last code of it dies.
    held: float
    held_until: float
    #: What of others' was accepted here, and when the first of those codes dies.
    lent: float
    lent_until: float
    #: Whether it takes a share of the service's requests.
    shares: bool


class Others(Value, frozen=True):
    """What the other nodes counted for a service, together."""

    spent: float = 0.0
    held: float = 0.0
    #: How many take requests.
    nodes: int = 0


class Tallies:
    """One node's view of the tallies. ``alone``: no other node takes requests on the same database."""

    def __init__(self, database: Database, node: str, channels: Collection[str], *, alone: bool) -> None:
        self._database = database
        self._node = node
        self._channels = sorted(channels)
        self._alone = alone
        #: What was written last.
        self._written: dict[tuple[str, str], tuple[float, float]] = {}

    async def exchange(self, mine: Mapping[str, Own], day: float, now: float) -> dict[str, Others]:
        """Write what this node counted and return, for each of its services, what the others did.

        ``day`` is when the day began. Raises ``StorageError``.
        """
        rows = {
            (service, kind): (at, amount)
            for service, own in mine.items()
            for kind, at, amount in self._kinds(own, day, now)
        }
        # What is held no more has to be taken back: nothing else ends it before its time.
        rows |= {
            key: (now, 0.0)
            for key, (_, held) in self._written.items()
            if key[1] in {HELD, LENT} and held and key not in rows
        }
        writes: list[Write] = [
            (_WRITE, (service, self._node, kind, *rows[service, kind]))
            for service, kind in rows
            if self._written.get((service, kind)) != rows[service, kind]
        ]
        if writes:
            await self._database.write(Move(None, writes))
            self._written = rows
        return await self._others(mine, day, now)

    async def queued(self, most: Mapping[str, int]) -> dict[str, int]:
        """Return how many messages of each service are queued, those a node holds included.

        Each channel's are counted up to the largest number given. Raises ``StorageError``.
        """
        found = dict.fromkeys(most, 0)
        if not self._channels:
            return found
        channels, named = _values("channel", self._channels)
        services, meant = _values("service", most)
        sql = _QUEUED.format(channels=channels, services=services)
        for record in await self._database.fetch(sql, **named, **meant, most=max(most.values())):
            found[record["service"]] += record["number"]
        return found

    async def forget(self, now: float) -> int:
        """Delete rows that count for nothing any more, some hundreds at a time, and return how many there were.

        Raises ``StorageError``.
        """
        values = {"before": now - KEPT, "number": _BITE}
        return len(await self._database.run(lambda connection: connection.fetch(_FORGET, **values)))

    def _kinds(self, own: Own, day: float, now: float) -> list[tuple[str, float, float]]:
        """Return the rows of a service: kind, window, amount."""
        found = []
        # A row of nothing spent would only be kept for two days.
        if own.spent:
            found.append((SPEND, day, own.spent))
        if own.held:
            found.append((HELD, own.held_until, own.held))
        if own.lent:
            found.append((LENT, own.lent_until, -own.lent))
        if own.shares and not self._alone:
            found.append((REQUESTS, now, 1.0))
        return found

    async def _others(self, mine: Mapping[str, Own], day: float, now: float) -> dict[str, Others]:
        found: dict[str, dict[str, tuple[float, int]]] = {}
        for record in await self._database.fetch(_OTHERS, node=self._node, day=day, now=now, since=now - FRESH):
            found.setdefault(record["service"], {})[record["kind"]] = float(record["amount"]), int(record["nodes"])
        nothing = (0.0, 0)
        return {
            service: Others(
                spent=kinds.get(SPEND, nothing)[0],
                held=kinds.get(HELD, nothing)[0] + kinds.get(LENT, nothing)[0],
                nodes=kinds.get(REQUESTS, nothing)[1],
            )
            for service, kinds in ((name, found.get(name, {})) for name in mine)
        }


def _values(name: str, given: Collection[str]) -> tuple[str, dict[str, str]]:
    """Return rows for VALUES, each a named value (``channel``, ``channel_`` and so on), and the values."""
    named = {f"{name}{'_' * place}": value for place, value in enumerate(given)}
    return ", ".join(f"(CAST(:{key} AS text))" for key in named), named
