"""Taking codes on in a command's own process: they are written into the database, and a running node sends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib.metadata import version
from typing import ClassVar, Final

import msgspec

from channels.base import DeliveryError, InvalidAddressError
from gateway.api.problems import as_problem
from gateway.app.allowances import last_tally
from gateway.app.core import Gateway, built
from gateway.app.foreseeing import Foresight
from gateway.app.loaded import load
from gateway.app.store import Store, opened_store
from gateway.config import Settings
from gateway.errors import Problem
from gateway.events.census import Census, Standing
from gateway.events.metrics import Metrics
from gateway.housekeeping.house import NAME
from gateway.storage.answers import Source
from gateway.storage.rings import SEND, Rings
from gateway.storage.unit import Connection
from gateway.value import Value
from gateway.verification.limits.account import LOOK
from gateway.verification.request import Asked
from gateway.verification.verifications import Prepared
from gateway.verification.view import VerificationView
from gateway.webhooks.outbox import Outbox

#: Every node keeps house or waits to; the one that does holds this lease for as long as it runs.
_RUNS: Final = "SELECT 1 FROM lease WHERE name = :name AND until > :now"
_WHERE: Final = "otp-gateway send"


class Accepted(Value, frozen=True):
    """A code that was taken on."""

    hidden: ClassVar[frozenset[str]] = frozenset({"link"})

    id: str
    #: ``queued``, or ``waiting`` until the person has opened ``link``.
    status: str
    channel: str
    #: Address kind → masked address. With the id beside it, it is erased with its recipient.
    to: Mapping[str, str]
    link: str | None = None


class Taking:
    """Takes codes on. Nothing is sent by this process."""

    def __init__(self, settings: Settings, gateway: Gateway, foresight: Foresight) -> None:
        self._store = gateway.store
        self._parts = gateway.parts
        self._allowances = gateway.allowances
        #: When to tally again, in monotonic seconds.
        self._tally_at = 0.0
        self._census = Census(
            self._store.database, self._store.clock, channels=settings.channels, services=settings.services
        )
        #: Looks at requests without taking them on.
        self.foresight = foresight
        #: The kinds of addresses there are.
        self.kinds = tuple(gateway.parts.kinds)

    async def one(self, service: str, asked: Asked) -> VerificationView:
        """Take one code on. Raises a ``Problem`` where it is refused, ``StorageError``."""
        await self._tally()
        prepared = await self._prepared(service, asked)
        if isinstance(prepared, Problem):
            raise prepared
        return await self._parts.verifications.start(prepared)

    async def all_of(self, service: str, rows: Sequence[tuple[Source, Asked]]) -> list[Accepted | Problem]:
        """Take many codes on, each once for its source, and return what became of each, in order.

        They are written in one transaction, with the answers by which a source is known again for a day: of a process
        that is killed, whatever the moment, none is taken on twice. No two of ``rows`` name the same person. Raises
        ``StorageError``, after which some may be taken on; asking again tells.
        """
        await self._tally()
        found = [await self._begun(service, source, asked) for source, asked in rows]
        sources = [source for source, _ in rows]
        return list(await asyncio.gather(*map(lambda *item: self._ended(service, *item), sources, found)))

    def masked(self, asked: Asked) -> str:
        """Return the addresses of a request as people and logs may see them; what is no address is left out."""
        found = []
        for kind, value in asked.to.items():
            with suppress(InvalidAddressError, KeyError):
                found.append(self._parts.kinds[kind](value).masked)
        return " ".join(found)

    async def look(self, service: str, verification_id: str) -> VerificationView:
        """Return a verification as it is now. Raises ``StorageError``."""
        return await self._parts.reading.one(service, verification_id)

    async def node_runs(self) -> bool:
        """Whether a node works on this database; of one that was killed, for 20 s more. Raises ``StorageError``."""
        return bool(await self._store.database.fetch(_RUNS, name=NAME, now=self._store.clock.now()))

    async def standing(self) -> list[Standing]:
        """Return how the channels' queues stand. Raises ``StorageError``."""
        return list((await self._census.count()).channels.values())

    async def _tally(self) -> None:
        """Share what the service used with the nodes, and learn what they did, about once a second as they do."""
        now = self._store.clock.monotonic()
        if now >= self._tally_at:
            self._tally_at = now + LOOK
            await self._allowances.tally()

    async def _begun(self, service: str, source: Source, asked: Asked) -> Accepted | Prepared | Problem:
        # Before anything is prepared: that may renew the link a person was sent the first time.
        kept = await self._parts.answers.kept(service, source, _fingerprint(source))
        if kept is not None:
            return msgspec.json.decode(kept, type=Accepted)
        return await self._prepared(service, asked)

    async def _ended(self, service: str, source: Source, begun: Accepted | Prepared | Problem) -> Accepted | Problem:
        if not isinstance(begun, Prepared):
            return begun

        written = begun

        async def create(connection: Connection) -> bytes:
            nonlocal written
            written = await self._parts.verifications.start_within(connection, begun)
            return msgspec.json.encode(_accepted(written.view))

        try:
            told, replayed = await self._parts.answers.once(service, source, _fingerprint(source), create)
        except Exception as error:
            self._parts.verifications.dropped(begun)
            if isinstance(error, Problem):
                return error
            raise
        if replayed:
            self._parts.verifications.dropped(begun)
        else:
            self._parts.verifications.started(written)
        return msgspec.json.decode(told, type=Accepted)

    async def _prepared(self, service: str, asked: Asked) -> Prepared | Problem:
        try:
            return await self._parts.verifications.prepare(service, asked)
        except Problem as problem:
            return problem
        except DeliveryError as error:
            # A person is to be invited to the bot, and its provider cannot be asked for the bot's name.
            return as_problem(error, _WHERE)


@asynccontextmanager
async def taking(settings: Settings, *, trial: bool = False) -> AsyncIterator[Taking]:
    """Open the database for taking codes on, or for a ``trial``, for which none is made. Raises ``ConfigError`` or ``StorageError``."""
    loaded = load(settings)
    channels, endpoints, templates = loaded.channels, loaded.endpoints, loaded.templates
    metrics = Metrics(channels=channels, services=settings.services, version=version("otp-gateway"))
    outbox = Outbox(endpoints).alongside if endpoints else None
    sandbox = settings.sandbox.enabled
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(opened_store(settings, alongside=outbox, existing=trial))
        for channel in channels.values():
            await stack.enter_async_context(channel)
        gateway = built(settings, store, channels, templates, metrics, sandbox=sandbox)
        # Stopped before it began: what is taken on stays in the database, due at once, for a node that sends.
        await gateway.dispatcher.stop()
        parts = gateway.parts
        foresight = Foresight(
            settings.services, channels, parts.kinds, templates, parts.subscribers.resolve, sandbox=sandbox
        )
        async with _told_of(store, f"{SEND}{gateway.node}"):
            try:
                yield Taking(settings, gateway, foresight)
            finally:
                await last_tally(gateway.allowances)


@asynccontextmanager
async def _told_of(store: Store, node: str) -> AsyncIterator[None]:
    """Tell which keys seal here, as a node does: who exchanges them must not drop one under what is taken on."""
    rings, ids = Rings(store.database), store.sealer.ids
    await rings.tell(node, ids, store.clock.now())
    telling = asyncio.create_task(rings.telling(node, ids, store.clock))
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.wait([telling])


def _accepted(view: VerificationView) -> Accepted:
    message = view.messages[-1]
    return Accepted(view.id, message.status, message.channel, view.to, view.link)


def _fingerprint(source: Source) -> bytes:
    # A source says all there is to know of its row.
    return source.key.encode()
