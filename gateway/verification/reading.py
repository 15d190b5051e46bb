"""Reading verifications back: one with its whole timeline, or a page of a service's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from gateway.clock import Clock
from gateway.config import ServiceSettings
from gateway.errors import NotFound
from gateway.storage.database import Database
from gateway.storage.unit import Record
from gateway.verification import statements as sql
from gateway.verification.limits.claims import sends_left
from gateway.verification.limits.windows import running
from gateway.verification.view import AttemptView, EventView, MessageView, VerificationView, view_of

#: Each with what its recipient's windows count now; a recipient that nothing is counted for has none.
_MESSAGES = f"""SELECT m.id, m.channel, m.status, {running("w.ten_minutes", ":now")} AS ten_minutes,
        {running("w.hour", ":now")} AS hour, {running("w.day", ":now")} AS day
    FROM message m LEFT JOIN recipient w ON w.hash = m.recipient_hash WHERE m.verification_id = :id ORDER BY m.id"""  # noqa: S608 - only names of our own are put in, values are bound
_NOBODY: Mapping[str, ServiceSettings] = {}

_ATTEMPTS = """SELECT * FROM attempt WHERE verification_id = :id ORDER BY message_id, number"""
_EVENTS = """SELECT * FROM event WHERE verification_id = :id ORDER BY at, id"""

_DETAILS = ("message_id", "channel", "attempt", "outcome", "reason", "provider_code", "recipient", "milliseconds")

#: Rows that one statement walks through for those of one status, which no index has, and rows for a page at most: who asks
#: for what a service hardly has would otherwise keep a reader, of which there are few, for all of its history.
STRIDE: Final = 1_000
WALK: Final = 10_000

_STATUS = """(CAST(:status AS text) = '' OR (CASE WHEN status = 'pending' AND expires_at <= :now THEN 'expired'
        ELSE status END) = :status)"""

_PAGE = f"""SELECT * FROM verification WHERE service = :service AND id < :cursor AND id >= :last AND {_STATUS}
    ORDER BY id DESC LIMIT CAST(:number AS bigint)"""  # noqa: S608 - only texts of our own are put in, values are bound

_STRIDE = f"""SELECT count(*) AS rows, min(id) AS last FROM
    (SELECT id FROM verification WHERE service = :service AND id < :cursor ORDER BY id DESC LIMIT {STRIDE}) s"""  # noqa: S608 - a number of our own

#: In this order, which SQLite keeps to: an address has few verifications, a service all of them.
_PAGE_TO = f"""SELECT v.* FROM (SELECT DISTINCT verification_id FROM address WHERE hash IN ({{}})) a
    CROSS JOIN verification v
    WHERE v.id = a.verification_id AND v.service = :service AND v.id < :cursor AND {_STATUS}
    ORDER BY v.id DESC LIMIT CAST(:number AS bigint)"""  # noqa: S608 - only texts of our own are put in, values are bound

#: Sorts after every id, in any collation: hexadecimal digits end at f.
_END = "ver_g"


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a list, newest first."""

    items: Sequence[VerificationView]
    #: What to ask for next; ``None`` at the end.
    next_cursor: str | None


class Reading:
    """Looks verifications up for their service; another service's looks as if it were not there.

    ``services`` say how many sends are left; of one that is not there, nothing is said.
    """

    def __init__(self, database: Database, clock: Clock, services: Mapping[str, ServiceSettings] = _NOBODY) -> None:
        self._database = database
        self._clock = clock
        self._services = services

    async def one(self, service: str, verification_id: str, link: str | None = None) -> VerificationView:
        """Return a verification with attempts and events. Raises ``NotFound``."""
        found = await self._database.fetch(sql.ONE, id=verification_id, service=service)
        if not found:
            raise NotFound("no such verification")
        attempts = await self._database.fetch(_ATTEMPTS, id=verification_id)
        by_message = {
            key: [_attempt(item) for item in group] for key, group in groupby(attempts, lambda item: item["message_id"])
        }
        now = self._clock.now()
        rows = await self._database.fetch(_MESSAGES, id=verification_id, now=now)
        messages = [
            MessageView(item["id"], item["channel"], item["status"], by_message.get(item["id"], ())) for item in rows
        ]
        events = [_event(item) for item in await self._database.fetch(_EVENTS, id=verification_id)]
        return view_of(found[0], messages, now, events, link, self._sends_left(found[0], rows))

    async def page(
        self, service: str, *, status: str = "", to: Sequence[bytes] | None = None, cursor: str = "", limit: int = 20
    ) -> Page:
        """Return up to ``limit`` of a service's verifications before ``cursor``, newest first.

        ``to`` are hashes of addresses: verifications of any of them are wanted. Empty is nobody's. Of one status there
        may be fewer in a page than there are: its ``next_cursor`` leads on.
        """
        now = self._clock.now()
        values = {"service": service, "status": status, "cursor": cursor or _END, "number": limit + 1, "now": now}
        if to is not None:
            hashes = {f"hash{'_' * place}": value for place, value in enumerate(to)}
            wanted = ", ".join(f":{name}" for name in hashes) or "NULL"
            return await self._paged(await self._database.fetch(_PAGE_TO.format(wanted), **values, **hashes), limit)
        if not status:
            return await self._paged(await self._database.fetch(_PAGE, last="", **values), limit)
        return await self._walked(values, limit)

    async def _walked(self, values: dict[str, Any], limit: int) -> Page:
        """Look for one status through so many rows as a page may take."""
        found: list[Record] = []
        for _ in range(WALK // STRIDE):
            [stride] = await self._database.fetch(_STRIDE, service=values["service"], cursor=values["cursor"])
            if stride["rows"]:
                values["number"] = limit + 1 - len(found)
                found += await self._database.fetch(_PAGE, last=stride["last"], **values)
            if len(found) > limit or stride["rows"] < STRIDE:
                return await self._paged(found, limit)
            values["cursor"] = stride["last"]
        page = await self._paged(found, limit)
        return Page(page.items, values["cursor"])

    async def _paged(self, found: Sequence[Record], limit: int) -> Page:
        now = self._clock.now()
        items = [await self._item(record, now) for record in found[:limit]]
        return Page(items, items[-1].id if len(found) > limit else None)

    async def _item(self, record: Record, now: float) -> VerificationView:
        rows = await self._database.fetch(_MESSAGES, id=record["id"], now=now)
        messages = [MessageView(item["id"], item["channel"], item["status"]) for item in rows]
        return view_of(record, messages, now, sends_left=self._sends_left(record, rows))

    def _sends_left(self, record: Record, messages: Sequence[Record]) -> int | None:
        """Return how many sends are left to whom the latest message went; ``None`` where nobody says or limits it."""
        service = self._services.get(record["service"])
        if service is None or not messages:
            return None
        return sends_left(service.for_purpose(record["purpose"]).limits, messages[-1])


def _attempt(record: Record) -> AttemptView:
    return AttemptView(
        number=record["number"],
        started_at=record["started_at"],
        finished_at=record["finished_at"],
        outcome=record["outcome"],
        reason=record["reason"],
        provider_id=record["provider_id"],
        provider_code=record["provider_code"],
    )


def _event(record: Record) -> EventView:
    details = {name: record[name] for name in _DETAILS if record[name] is not None}
    if "milliseconds" in details:
        # Kept as it was measured and told to a tenth, as in the log: what is below is noise of the clock and the loop.
        details["milliseconds"] = round(details["milliseconds"], 1)
    return EventView(record["id"], record["at"], record["name"], details)
