"""Erasing one recipient, everywhere: what stays of their verifications names nobody.

A verification keeps its row: when it was, of which service, how it ended. What is pending ends first. An attempt that
is under way still writes its end, with the masked address it was made for, so it is waited for and looked for once
more. Everything goes before that by which it is found: whatever cuts an erasure off, the same again ends it. What the bots know is erased by ``Forget``, which keeps what the person forbade.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import ClassVar, Final

import orjson

from channels.base import Normalize
from gateway.clock import Clock
from gateway.delivery.lifecycle import VerificationStatus
from gateway.delivery.person import Forget, Known, Whom
from gateway.errors import Problem
from gateway.events.event import EventName, event, recorded
from gateway.storage.answers import Answers
from gateway.storage.database import Database
from gateway.storage.ids import least_id
from gateway.storage.sealing import Hasher, Sealer
from gateway.storage.statement import Statement
from gateway.storage.unit import Connection, Move, Write
from gateway.value import Value
from gateway.verification import erasing_statements as sql
from gateway.verification.addressee import read
from gateway.verification.authenticators.accounts import Accounts
from gateway.verification.erasing_answers import Kept
from gateway.verification.references import counted_hashes
from gateway.verification.reporting import opened_route

#: Verifications in one transaction: with some twenty rows each it holds up a code for a few milliseconds.
BITE: Final = 25
#: Seconds an attempt under way is waited for at most: longer than one may take (10 s).
PATIENCE: Final = 12.0
#: Seconds between two looks.
LOOK: Final = 0.25
#: Seconds after which nothing of a verification can be under way any more: a code lives for ten minutes at most.
OVER: Final = 900.0

#: Sorts after every id of a verification: hexadecimal digits end at f.
_PAST_ALL: Final = "ver_g"
#: Ids that an answer may tell of.

Sleep = Callable[[float], Awaitable[object]]
#: Ends a service's pending verification. Raises ``Problem`` where it has ended meanwhile.
Cancel = Callable[[str, str], Awaitable[None]]


class Erased(Value, frozen=True):
    """What was erased: rows by sort, and whether all of it has gone."""

    #: Verifications that name nobody any more.
    verifications: int
    #: Of those, the ones that were pending and were ended.
    canceled: int
    subscribers: int
    chats: int
    authenticators: int
    #: Authenticators of others' references that stay without this address as their account.
    accounts: int
    #: Webhooks and idempotent answers that are kept without what they told of the person.
    webhooks: int
    answers: int
    #: Verifications with an attempt that had not ended in time: erase again.
    under_way: int
    #: Whether the database's own files still hold what was erased, because something reads them at an older state. It
    #: leaves them by itself once that ends.
    still_readable: bool = False


class Held(Value, frozen=True):
    """What is known of a recipient before anything of it is erased: rows by sort."""

    verifications: int
    subscribers: int
    chats: int
    authenticators: int
    #: Authenticators of others' references with this address as their account.
    accounts: int
    #: Of which services the verifications, subscribers and authenticators are, sorted.
    services: Sequence[str]


class _Found(Value, frozen=True):
    hidden: ClassVar[frozenset[str]] = frozenset({"addresses", "hashes"})

    id: str
    service: str
    pending: bool
    #: Whether something of it may be under way.
    young: bool
    #: What providers were given, chats too: their turns are kept by hashes of it.
    addresses: frozenset[str]
    #: Keyed hashes of its addresses, by which it is found.
    hashes: frozenset[bytes]


class Erasing:
    """Erases recipients.

    ``empty_log`` makes what was erased leave the database's own files, and returns whether that came about.
    """

    def __init__(
        self,
        *,
        database: Database,
        sealer: Sealer,
        hasher: Hasher,
        clock: Clock,
        answers: Answers,
        kinds: Mapping[str, Normalize],
        own_kinds: Collection[str],
        services: Collection[str],
        cancel: Cancel,
        expire_overdue: Callable[[], Awaitable[int]],
        known: Known,
        forget: Forget,
        empty_log: Callable[[], Awaitable[bool]],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._hasher = hasher
        self._clock = clock
        self._answers = answers
        self._kinds = kinds
        self._accounts = Accounts(database, sealer, hasher, kinds)
        self._own = frozenset(own_kinds)
        self._services = frozenset(services)
        self._cancel = cancel
        self._expire_overdue = expire_overdue
        self._known = known
        self._forget = forget
        self._empty_log = empty_log
        self._sleep = sleep

    def whom(self, to: str | Mapping[str, str], service: str | None) -> Whom:
        """Return who is meant by an address. Raises ``NobodyError``."""
        return read(self._kinds, to, self._own).whom(self._hasher, service)

    async def held(self, person: Whom) -> Held:
        """Return what is known of them, which an erasure takes away. Raises ``StorageError``."""
        found, leaving = await self._verifications(person), await self._known(person)
        devices = await self._devices(person)
        accounts = await self._accounts.known(person.everywhere)
        services = {*(item.service for item in found), *leaving.services, *devices.values()}
        return Held(
            len(found),
            len(leaving.subscribers),
            len(leaving.chats),
            len(devices),
            len(accounts - devices.keys()),
            tuple(sorted(services)),
        )

    async def erase(self, person: Whom, *, by: str = "") -> Erased:
        """Erase a recipient and return what there was; ``by`` is the service that asked, empty for an operator.

        Doing it again is safe, and finds what came in between. Raises ``StorageError``; then do it again.
        """
        found = await self._verifications(person)
        canceled = 0
        for item in found:
            canceled += item.pending and await self._ended(item)
        accounts = await self._accounts.known(person.everywhere)
        subscribers = (await self._known(person)).subscribers
        known = {*subscribers, *await self._devices(person), *accounts, *(item.id for item in found)}
        answers = await self._forget_answers(person, known)
        await self._forget_counts(person, found)
        leaving = await self._forget(person, self._clock.now())
        devices = await self._forget_devices(person)
        await self._accounts.empty(accounts - devices)
        # What was kept in between is looked for now: who is deleted is told of by nothing new, and found no more.
        known |= {*leaving.subscribers, *devices}
        answers += await self._forget_answers(person, known) if known else 0
        webhooks = await self._wipe(person, found) + await self._wipe_orphans(person)
        young = [item for item in found if item.young]
        under_way = await self._wait(young)
        # What the ends of those attempts told of.
        webhooks += await self._wipe(person, young)
        await self._lose(person, [item for item in found if item.id not in under_way])
        await self._tell(person, by)
        left_the_files = await self._empty_log()
        return Erased(
            verifications=len(found),
            canceled=canceled,
            subscribers=len(leaving.subscribers),
            chats=len(leaving.chats),
            authenticators=len(devices),
            accounts=len(accounts - devices),
            webhooks=webhooks,
            answers=answers,
            under_way=len(under_way),
            still_readable=not left_the_files,
        )

    async def _verifications(self, person: Whom) -> list[_Found]:
        """Return every verification that went to one of the addresses."""
        found: dict[str, _Found] = {}
        oldest = self._clock.now() - OVER
        questions = [(hashed, "") for hashed in person.everywhere]
        questions += [(hashed, person.service or "") for hashed in person.references]
        for hashed, service in questions:
            for record in await self._database.fetch(sql.VERIFICATIONS, hash=hashed, service=service):
                stops = opened_route(self._sealer, record)
                counted = counted_hashes(self._hasher, [record["service"]], {hashed} & {*person.references})
                found[record["id"]] = _Found(
                    record["id"],
                    record["service"],
                    record["status"] == VerificationStatus.PENDING,
                    record["created_at"] > oldest,
                    frozenset(stop.address for stop in stops if stop.address),
                    frozenset(
                        {
                            hashed,
                            *counted,
                            *(bytes.fromhex(each) for stop in stops for each in (stop.hash, *stop.also)),
                            *(stop.counted_by for stop in stops),
                        }
                    ),
                )
        return list(found.values())

    async def _ended(self, item: _Found) -> bool:
        try:
            await self._cancel(item.service, item.id)
        except Problem:
            # It has ended by itself, or its time is over and nobody has written that yet.
            while await self._expire_overdue():
                pass
            return False
        return True

    async def _wipe(self, person: Whom, found: Sequence[_Found]) -> int:
        """Take every address out of verifications and what belongs to them; return how many webhooks had one.

        They are found still by the address that is erased, and no more by any other.
        """
        webhooks = 0
        for start in range(0, len(found), BITE):
            bite = found[start : start + BITE]
            bodies = [write for item in bite for write in await self._webhooks(item.id)]
            writes: list[Write] = [(statement, (item.id,)) for statement in sql.WIPE for item in bite]
            # Along with the route, which alone tells of them.
            writes += _addresses(bite, lambda hashed: hashed not in person.hashes)
            await self._database.write(Move(None, [*writes, *bodies]), weight=len(bite))
            webhooks += len(bodies)
        return webhooks

    async def _wipe_orphans(self, person: Whom) -> int:
        """Take the masked address out of webhooks whose verification has gone; return how many had it.

        A few others' may look the same.
        """
        webhooks, of, after = 0, "", ""
        before = await self._before_all()
        while page := await self._database.fetch(sql.ORPHANS, of=of, after=after, before=before):
            theirs = [record for record in page if _recipient(record["body"]) in person.masks]
            writes = [(sql.REWRITE_WEBHOOK, (record["id"], _without_recipient(record["body"]))) for record in theirs]
            await self._database.write(Move(None, writes), weight=len(theirs))
            webhooks += len(theirs)
            of, after = page[-1]["verification_id"], page[-1]["id"]
        return webhooks

    async def _before_all(self) -> str:
        """Return what the id of every verification that has gone is below: the oldest go first, as far as they are over."""
        oldest = await self._database.fetch(sql.OLDEST)
        return least_id("ver", oldest[0]["created_at"] + OVER) if oldest else _PAST_ALL

    async def _lose(self, person: Whom, found: Sequence[_Found]) -> None:
        """Delete that by which verifications are found: nothing is left in them to look for."""
        for start in range(0, len(found), BITE):
            bite = found[start : start + BITE]
            await self._database.write(
                Move(None, _addresses(bite, lambda hashed: hashed in person.hashes)), weight=len(bite)
            )
        gone = sorted({*person.hashes, *self._counted(person, found)})
        await self._database.write(Move(None, [(sql.FORGET_REST, (hashed,)) for hashed in gone]), weight=len(found))

    async def _webhooks(self, verification_id: str) -> list[Write]:
        found = await self._database.fetch(sql.WEBHOOKS, id=verification_id)
        bodies = ((record["id"], record["body"], _without_recipient(record["body"])) for record in found)
        return [(sql.REWRITE_WEBHOOK, (each, body)) for each, before, body in bodies if body != before]

    async def _forget_counts(self, person: Whom, found: Sequence[_Found]) -> None:
        """Delete what was counted by the address, and events of no verification that name it."""
        addresses = {*person.values, *(address for item in found for address in item.addresses)}
        turns = [self._hasher.hash("turn", address) for address in sorted(addresses)]
        counted = self._counted(person, found)
        writes: list[Write] = [(sql.FORGET_RECIPIENT, (hashed,)) for hashed in (*person.hashes, *counted)]
        writes += [(sql.FORGET_NAME, (mask,)) for mask in sorted(person.masks)]
        for hashed in person.hashes:
            service = (person.service or "") if hashed in person.references else ""
            writes += await self._keyed(sql.COUNTED, hashed, service)
        for hashed in counted:
            writes += await self._keyed(sql.COUNTED, hashed, "")
        for hashed in turns:
            writes += await self._keyed(sql.TURNS, hashed, "")
        await self._database.write(Move(None, writes), weight=len(found))

    def _counted(self, person: Whom, found: Sequence[_Found]) -> list[bytes]:
        """Return what every service that may have counts the person's references by: a hash of both."""
        services = self._services | {item.service for item in found} if person.service is None else {person.service}
        return counted_hashes(self._hasher, services, person.references)

    async def _keyed(
        self, tables: Mapping[Statement, tuple[str, Sequence[str]]], hashed: bytes, service: str
    ) -> list[Write]:
        """Return what deletes the rows of a hash. They are found beside the writer: it may have to look at all."""
        writes: list[Write] = []
        for statement, (question, key) in tables.items():
            values = {"hash": hashed, "service": service} if ":service" in question else {"hash": hashed}
            writes += [
                (statement, tuple(record[name] for name in key))
                for record in await self._database.fetch(question, **values)
            ]
        return writes

    async def _devices(self, person: Whom) -> dict[str, str]:
        """Return the ids of the person's authenticators, each with its service."""
        found: dict[str, str] = {}
        for hashed in person.references:
            values = {"hash": hashed, "service": person.service or ""}
            found |= {each["id"]: each["service"] for each in await self._database.fetch(sql.DEVICES, **values)}
        return found

    async def _forget_devices(self, person: Whom) -> frozenset[str]:
        """Delete the person's authenticators, recovery codes and failures; return the authenticators' ids."""
        found: set[str] = set()

        async def work(connection: Connection) -> None:
            for hashed in person.references:
                values = {"hash": hashed, "service": person.service or ""}
                gone = {record["id"] for record in await connection.fetch(sql.FORGET_DEVICES, **values)}
                for device in sorted(gone):
                    await connection.fetch(sql.FORGET_CODES, id=device)
                await connection.fetch(sql.FORGET_FAILURES, **values)
                found.update(gone)

        await self._database.run(work)
        return frozenset(found)

    async def _wait(self, found: Sequence[_Found]) -> set[str]:
        """Wait until no attempt is under way any more; return the verifications of which one still is."""
        until = self._clock.monotonic() + PATIENCE
        while True:
            left = {item.id for item in found if await self._database.fetch(sql.UNDER_WAY, id=item.id)}
            if not left or self._clock.monotonic() >= until:
                return left
            await self._sleep(LOOK)

    async def _forget_answers(self, person: Whom, ids: set[str]) -> int:
        """Blank what kept answers tell of them; ``ids`` become more by those that answers alone still tell."""
        # The answers stay: without them the same request, sent again, would send again.
        return await self._answers.rewrite(Kept(person, self._accounts.hashes, ids).without)

    async def _tell(self, person: Whom, by: str) -> None:
        told = event(EventName.RECIPIENT_ERASED, self._clock.now(), by or person.service or "")
        await self._database.write(recorded(None, [], [told]))


def _addresses(found: Iterable[_Found], goes: Callable[[bytes], bool]) -> list[Write]:
    return [(sql.FORGET_ADDRESS, (hashed, item.id)) for item in found for hashed in sorted(filter(goes, item.hashes))]


def _recipient(body: str) -> str | None:
    """Return the masked address that a webhook's body tells, if it does."""
    told: str | None = orjson.loads(body).get("data", {}).get("recipient")
    return told


def _without_recipient(body: str) -> str:
    """Return a webhook's body without the masked address; the same text where it has none."""
    told = orjson.loads(body)
    if told.get("data", {}).pop("recipient", None) is None:
        return body
    return orjson.dumps(told).decode()
