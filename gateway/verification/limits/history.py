"""The log, read in order for a policy to be tried on it: verifications with their messages, attempts and wrong codes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from channels.base import InvalidAddressError, Normalize
from gateway.delivery.lifecycle import MessageStatus, VerificationStatus
from gateway.delivery.payload import Owner, Stop, open_route
from gateway.events.event import EventName
from gateway.storage.ids import least_id
from gateway.storage.sealing import Hasher, Sealer, UnsealError
from gateway.storage.unit import Fetch, Record
from gateway.value import Value
from gateway.verification.limits.claims import visitor_of
from gateway.verification.limits.counting import brought_by_service
from gateway.verification.limits.past import Cause, Past, Place, Send
from gateway.verification.limits.trust import contexts_of

#: Verifications read at once.
PAGE: Final = 500
#: Addresses that are remembered: to read a phone number takes 0.2 ms, and people come again.
REMEMBERED: Final = 50_000

_PAGE: Final = """SELECT id, service, purpose, status, route_sealed, created_at, expires_at, ended_at, client_ip,
        client_reference, generation, own_code
    FROM verification WHERE id > :after ORDER BY id LIMIT CAST(:number AS bigint)"""
_COUNT: Final = "SELECT count(*) AS number FROM verification WHERE id > :after"
_MESSAGES: Final = """SELECT id, verification_id, channel, step, status, created_at, finished_at FROM message
    WHERE verification_id >= :first AND verification_id <= :last ORDER BY id"""
_ATTEMPTS: Final = """SELECT message_id, sum(CASE WHEN outcome = 'sent' THEN 1 ELSE 0 END) AS accepted,
        sum(CASE WHEN outcome IS NULL OR outcome = 'unknown' THEN 1 ELSE 0 END) AS unknown
    FROM attempt WHERE verification_id >= :first AND verification_id <= :last GROUP BY message_id"""
_EVENTS: Final = f"""SELECT at, name, verification_id FROM event
    WHERE verification_id >= :first AND verification_id <= :last
        AND name IN ('{EventName.VERIFICATION_RESENT}', '{EventName.VERIFICATION_CHECK_FAILED}') ORDER BY at, id"""  # noqa: S608 - names of our own

#: How a message ends that nothing was sent of, if no attempt says otherwise.
_UNSENT: Final = frozenset({MessageStatus.FAILED, MessageStatus.EXPIRED, MessageStatus.CANCELED})


class Page(Value, frozen=True):
    """A part of the log."""

    #: Verifications that were read, those included that cannot be.
    read: int
    pasts: Sequence[Past]


class History:
    """Reads the log. ``fetch`` is the database's, ``kinds`` how addresses are read, ``page`` verifications at once.

    Methods raise ``StorageError``.
    """

    def __init__(
        self, fetch: Fetch, sealer: Sealer, hasher: Hasher, kinds: Mapping[str, Normalize], *, page: int = PAGE
    ) -> None:
        self._fetch = fetch
        self._size = page
        self._sealer = sealer
        self._hasher = hasher
        self._kinds = kinds
        self._places: dict[tuple[bytes, str | None], Place] = {}
        #: Verifications whose addresses nobody can open: they were erased, or their key has left the ring.
        self.unreadable = 0

    async def count(self, since: float) -> int:
        """Return how many verifications were made since then."""
        found = await self._fetch(_COUNT, after=least_id("ver", since))
        return int(found[0]["number"])

    async def read(self, since: float) -> AsyncIterator[Page]:
        """Yield the verifications made since then, some hundreds at a time, in the order in which they were made."""
        after = least_id("ver", since)
        while records := await self._fetch(_PAGE, after=after, number=self._size):
            after = records[-1]["id"]
            yield Page(len(records), await self._page(records))

    async def _page(self, records: Sequence[Record]) -> list[Past]:
        edges = {"first": records[0]["id"], "last": records[-1]["id"]}
        messages = _by_verification(await self._fetch(_MESSAGES, **edges))
        events = _by_verification(await self._fetch(_EVENTS, **edges))
        attempts = {
            record["message_id"]: (int(record["accepted"]), int(record["unknown"]))
            for record in await self._fetch(_ATTEMPTS, **edges)
        }
        found = []
        for record in records:
            places = self._route(record)
            if places is not None:
                told = events.get(record["id"], ())
                sends = _sends(messages.get(record["id"], ()), attempts, told, places)
                found.append(_past(record, places, sends, told))
        return found

    def _route(self, record: Record) -> list[Place] | None:
        """Return where each step of a verification's route leads; ``None`` where nobody can tell."""
        owner = Owner(record["id"], record["service"], record["purpose"])
        try:
            stops = [] if record["route_sealed"] is None else open_route(self._sealer, owner, record["route_sealed"])
        except UnsealError:
            stops = []
        if not stops:
            self.unreadable += 1
            return None
        return [self._place(stop) for stop in stops]

    def _place(self, stop: Stop) -> Place:
        # Whoever is known by their number may be sent to in a chat, which is in no block of numbers.
        key = stop.counted_by, stop.address
        known = self._places.get(key)
        if known is None:
            if len(self._places) >= REMEMBERED:
                self._places.clear()
            known = self._places[key] = self._read(stop)
        return known

    def _read(self, stop: Stop) -> Place:
        address_hash = bytes.fromhex(stop.hash)
        for kind, normalize in self._kinds.items() if stop.address is not None else ():
            try:
                address = normalize(stop.address or "")
            except InvalidAddressError:
                continue
            # The hash tells which kind it was: a chat's number is no phone number.
            if self._hasher.hash(kind, address.canonical) == address_hash:
                counted = stop.counted_by
                return Place(counted, address.masked, address.block, address.country, address.number_type)
        return Place(stop.counted_by, stop.recipient)


def _by_verification(records: Sequence[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record["verification_id"], []).append(record)
    return found


def _sends(
    messages: Sequence[Record],
    attempts: Mapping[str, tuple[int, int]],
    events: Sequence[Record],
    places: Sequence[Place],
) -> list[Send]:
    resent = {record["at"] for record in events if record["name"] == EventName.VERIFICATION_RESENT}
    found = []
    for number, record in enumerate(messages):
        accepted, unknown = attempts.get(record["id"], (0, 0))
        unsent = record["status"] in _UNSENT and not accepted and not unknown
        again = Cause.RESEND if record["created_at"] in resent else Cause.FALLBACK
        found.append(
            Send(
                record["created_at"],
                again if number else Cause.CREATE,
                record["channel"],
                places[min(record["step"], len(places) - 1)],
                accepted,
                record["finished_at"] if unsent else None,
            )
        )
    return found


def _past(record: Record, places: Sequence[Place], sends: Sequence[Send], events: Sequence[Record]) -> Past:
    failed = record["status"] == VerificationStatus.FAILED
    # One that is overdue has ended, though nobody has written it down yet.
    ended_at = record["ended_at"] if record["ended_at"] is not None else record["expires_at"]
    return Past(
        id=record["id"],
        service=record["service"],
        purpose=record["purpose"],
        created_at=record["created_at"],
        expires_at=record["expires_at"],
        places=places,
        sends=sends,
        wrong=[item["at"] for item in events if item["name"] == EventName.VERIFICATION_CHECK_FAILED],
        ended_at=ended_at,
        approved=record["status"] == VerificationStatus.APPROVED,
        own_code=brought_by_service(record),
        undelivered=failed and not any(send.accepted for send in sends),
        contexts=contexts_of(record["client_reference"], record["client_ip"]),
        visitor=None if record["client_ip"] is None else visitor_of(record["client_ip"]),
    )
