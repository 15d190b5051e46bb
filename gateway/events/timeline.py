"""The timeline, read back for people: the latest events, those after a place, or all that come from now on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from gateway.events.event import Event, EventName
from gateway.storage.database import Database
from gateway.storage.models import Event as EventRow
from gateway.storage.statement import columns_of
from gateway.storage.unit import Record, StorageDamagedError, StorageError, StorageUnavailableError

#: Seconds between two looks while following.
POLL: Final = 0.5
#: Seconds by which each look reaches back: nodes commit out of order, and an event's time is older than its commit.
OVERLAP: Final = 2.0
#: Events read at once while following.
PAGE: Final = 1000

_COLUMNS: Final = tuple(columns_of(EventRow))
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM event WHERE id >= :floor"  # noqa: S608 - the table's own columns
_NAMES: Final = {str(name): name for name in EventName}
_NEWEST: Final = "SELECT id, at FROM event ORDER BY id DESC LIMIT 1"
_CLAUSES: Final = {
    "verification": "AND verification_id = :verification",
    "service": "AND service = :service",
    # Not LIKE, to which the underscore of ``check_failed`` is any character.
    "prefix": "AND substr(name, 1, length(CAST(:prefix AS text))) = CAST(:prefix AS text)",
}
_WENT_TO: Final = "AND verification_id IN (SELECT verification_id FROM address WHERE hash IN ({}))"


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the timeline, which is ordered by time and then by id."""

    #: Seconds since the Unix epoch.
    at: float = 0.0
    id: str = ""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which events are wanted; what is not set lets every event through."""

    #: The id of one verification.
    verification: str | None = None
    #: Keyed hashes of an address: the events of every verification that went there. Empty is nowhere.
    addresses: Sequence[bytes] | None = None
    #: The name of one service.
    service: str | None = None
    #: What an event's name begins with: ``message.``.
    prefix: str | None = None
    #: The earliest time, in seconds since the Unix epoch.
    since: float = 0.0


#: Every event there is.
EVERYTHING: Final = Filters()


class Timeline:
    """Reads events. All methods raise ``StorageError``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, *, after: Cursor = Cursor(), filters: Filters = EVERYTHING, limit: int = PAGE) -> list[Event]:
        """Return the first ``limit`` events behind a place, oldest first."""
        return await self._events(
            filters,
            "AND (at > :after OR (at = :after AND id > :id)) ORDER BY at, id",
            limit,
            floor=_lowest_id(max(after.at, filters.since)),
            after=after.at,
            id=after.id,
        )

    async def latest(self, *, filters: Filters = EVERYTHING, limit: int = PAGE) -> list[Event]:
        """Return the last ``limit`` events, oldest first."""
        # By id, not by time: ids begin with the time in milliseconds, and theirs is the index.
        found = await self._events(filters, "ORDER BY id DESC", limit, floor=_lowest_id(filters.since))
        return sorted(found, key=attrgetter("at", "id"))

    async def follow(
        self,
        *,
        filters: Filters = EVERYTHING,
        limit: int = PAGE,
        pause: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(POLL),
        away: Callable[[StorageError | None], None] = lambda _: None,
    ) -> AsyncGenerator[list[Event], None]:
        """Yield the last ``limit`` events and then, without end, those that are committed from now on, each once.

        Batches are in order; an event that another node committed late, by up to ``OVERLAP`` seconds, comes in a
        later batch. Once it follows, it outlives a database that is away, and misses nothing: ``away`` is given the error
        when that begins, and ``None`` when it is over.
        """
        start = await self._newest()
        # In this order: what is committed in between then counts as new, instead of being taken for known unseen.
        near = await self._all_after(start.at - OVERLAP, filters)
        batch = await self.latest(filters=filters, limit=limit)
        seen = {item.id for item in [*near, *batch]}
        while True:
            if batch:
                yield batch
            newest, near = await self._looked(start, filters, pause, away)
            batch = [item for item in near if item.id not in seen]
            # The next look begins no later than this one saw to the end: ``newest`` was read before ``near``.
            start = max(start, newest, key=attrgetter("at", "id"))
            seen = {item.id for item in near if item.at >= start.at - OVERLAP}

    async def _looked(
        self,
        start: Cursor,
        filters: Filters,
        pause: Callable[[], Awaitable[None]],
        away: Callable[[StorageError | None], None],
    ) -> tuple[Cursor, list[Event]]:
        """Return, after a pause, the newest event's place and what is near it, as soon as the database can be read."""
        told = False
        while True:
            await pause()
            try:
                newest = await self._newest()
                found = newest, await self._all_after(start.at - OVERLAP, filters)
            except StorageUnavailableError as error:
                if isinstance(error, StorageDamagedError):
                    raise
                if not told:
                    away(error)
                told = True
                continue
            if told:
                away(None)
            return found

    async def _newest(self) -> Cursor:
        found = await self._database.fetch(_NEWEST)
        return Cursor(found[0]["at"], found[0]["id"]) if found else Cursor()

    async def _all_after(self, at: float, filters: Filters) -> list[Event]:
        found: list[Event] = []
        place = Cursor(at)
        while True:
            page = await self.read(after=place, filters=filters)
            found += page
            if len(page) < PAGE:
                return found
            place = Cursor(page[-1].at, page[-1].id)

    async def _events(self, filters: Filters, rest: str, limit: int, **values: Any) -> list[Event]:
        clauses, wanted = _where(filters)
        sql = f"{_SELECT} {clauses} {rest} LIMIT CAST(:number AS bigint)"
        return [_event(item) for item in await self._database.fetch(sql, **values, **wanted, number=limit)]


def _where(filters: Filters) -> tuple[str, dict[str, Any]]:
    """Return what stands behind WHERE, and its values."""
    clauses: list[str] = ["AND at >= :since"]
    values: dict[str, Any] = {"since": filters.since}
    for name, clause in _CLAUSES.items():
        if (wanted := getattr(filters, name)) is not None:
            clauses.append(clause)
            values[name] = wanted
    if filters.addresses is not None:
        hashes = {f"hash{'_' * place}": value for place, value in enumerate(filters.addresses)}
        clauses.append(_WENT_TO.format(", ".join(f":{name}" for name in hashes) or "NULL"))
        values |= hashes
    return " ".join(clauses), values


def _lowest_id(at: float) -> str:
    """Return what no id of an event at or after a time is below; see ``gateway.storage.ids``."""
    return f"evt_{int(max(at, 0.0) * 1000):012x}"


def _event(record: Record) -> Event:
    fields = {name: record[name] for name in _COLUMNS}
    # A newer node may have written a name that this one does not know; it is shown as it is.
    fields["name"] = _NAMES.get(fields["name"], fields["name"])
    return Event(**fields)
