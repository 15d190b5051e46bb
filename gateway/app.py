"""The composition root: settings in, a running gateway out. The only place that builds things and loads channels."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from channels.base import Channel, Normalize
from channels.kinds import KINDS
from gateway.api import Health, Parts
from gateway.api.keys import Keys
from gateway.clock import SystemClock
from gateway.config import DatabaseSettings, Settings, check_channels, ensure_secrets, shipped
from gateway.conversation.inbox import Inbox
from gateway.conversation.listening import listen
from gateway.conversation.subscribers import Subscribers
from gateway.delivery.dispatcher import Dispatcher
from gateway.delivery.message import Message
from gateway.delivery.queue import Queue
from gateway.delivery.templating import CONVERSATION, FALLBACK, Templates, code_values, one_line
from gateway.errors import ConfigError, TemplateError
from gateway.rhythm import every
from gateway.storage import migrations
from gateway.storage.answers import Answers
from gateway.storage.database import Database, Engine
from gateway.storage.leases import Leases
from gateway.storage.postgresql import PostgresqlEngine
from gateway.storage.sealing import Hasher, Sealer
from gateway.storage.secret import index_key
from gateway.storage.sqlite import SqliteEngine
from gateway.storage.unit import Connection, StorageError
from gateway.verification.checking import Checking
from gateway.verification.reading import Reading, address_hashes
from gateway.verification.verifications import Verifications

_log = logging.getLogger(__name__)

#: Seconds between sweeps for what is overdue.
SWEEP = 1.0
#: Seconds between sweeps for what is kept for a while only.
FORGETTING = 60.0
#: Seconds between looks at the database's clock, where nodes share one.
CLOCK_SYNC = 30.0


@dataclass(frozen=True, slots=True)
class Store:
    """The database and what opens what is sealed in it."""

    database: Database
    sealer: Sealer
    hasher: Hasher
    clock: SystemClock


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway."""

    store: Store
    parts: Parts
    dispatcher: Dispatcher
    keys: Keys
    #: Set once the gateway is stopping: it is not ready for new work.
    draining: asyncio.Event


def schema(settings: DatabaseSettings) -> migrations.Store:
    """Return where the tables are, for migrations."""
    return migrations.Store(path=settings.path) if settings.path else migrations.Store(url=settings.url)


@asynccontextmanager
async def opened_store(
    settings: Settings, *, on_commit: Callable[[Sequence[object]], None] = lambda _: None
) -> AsyncIterator[Store]:
    """Open the database, its schema brought up to date. Raises ``ConfigError`` or ``StorageError``."""
    ring = ensure_secrets(settings)
    sealer = Sealer(ring)
    await schema(settings.database).upgrade()
    async with Database(_engine(settings.database), on_commit=on_commit) as database:
        clock = SystemClock()
        if settings.database.engine == "postgresql":
            await sync_clock(database, clock)
        hasher = Hasher(await index_key(database, sealer, clock.now()))
        yield Store(database, sealer, hasher, clock)


@asynccontextmanager
async def running(
    settings: Settings, *, on_commit: Callable[[Sequence[object]], None] = lambda _: None, sandbox: bool = False
) -> AsyncIterator[Gateway]:
    """Run a gateway: its channels open, its dispatcher at work, its bot listening.

    ``sandbox`` allows providers' test numbers. Raises ``ConfigError``, ``TemplateError`` or ``StorageError``.
    """
    channels = open_channels(settings)
    templates = load_templates(settings, channels)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(opened_store(settings, on_commit=on_commit))
        for channel in channels.values():
            await stack.enter_async_context(channel)
        gateway, inbox, leases = _built(settings, store, channels, templates, sandbox=sandbox)
        gateway.dispatcher.start()
        duties = [asyncio.create_task(duty) for duty in _duties(settings, gateway)]
        duties += [
            asyncio.create_task(listen(channel, inbox, leases, store.clock))
            for channel in channels.values()
            if channel.listens
        ]
        try:
            yield gateway
        finally:
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
            await gateway.dispatcher.stop()


def open_channels(settings: Settings) -> dict[str, Channel]:
    """Build every configured channel, not yet opened. Raises ``ConfigError``."""
    base = settings.server.public_url
    return {
        name: adapter(name, options, callback_url=f"{base}/callbacks/{name}")
        for name, (adapter, options) in check_channels(settings).items()
    }


def load_templates(settings: Settings, channels: Mapping[str, Channel]) -> dict[str, Templates]:
    """Compile the templates of every service. Raises ``TemplateError`` or ``ConfigError``."""
    loaded = {}
    for name, service in settings.services.items():
        own = [service.templates] if service.templates else []
        if service.templates and not service.templates.is_dir():
            raise ConfigError([f"services.{name}.templates: there is no folder {service.templates}"])
        loaded[name] = Templates([*own, shipped("templates")])
        for route in service.channels:
            channel = channels[route]
            loaded[name].require(route, channel.settings.adapter, FALLBACK, channel.parts)
    return loaded


async def sync_clock(database: Database, clock: SystemClock) -> None:
    """Take over the database's clock, which every node that shares it follows. Raises ``StorageError``."""
    before = clock.monotonic()
    found = await database.fetch("SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision) AS now")
    clock.set(found[0]["now"] + (clock.monotonic() - before) / 2)


def look_up(settings: Settings, hasher: Hasher, text: str) -> list[bytes]:
    """Return the look-up hashes of what a person typed as an address, as every kind that takes it.

    Raises ``ConfigError``: the channels are loaded, for they may have kinds of their own.
    """
    return address_hashes(hasher, _kinds(open_channels(settings)), text)


def _engine(settings: DatabaseSettings) -> Engine:
    return SqliteEngine(settings.path) if settings.path else PostgresqlEngine(settings.url)


def _built(
    settings: Settings,
    store: Store,
    channels: Mapping[str, Channel],
    templates: Mapping[str, Templates],
    *,
    sandbox: bool,
) -> tuple[Gateway, Inbox, Leases]:
    node, kinds = secrets.token_hex(8), _kinds(channels)
    queue, checking = _queue(settings, store, node)
    dispatcher = Dispatcher(queue, channels, _renderer(settings, templates), store.clock)
    subscribers = _subscribers(store, channels, kinds)
    verifications = _verifications(settings, store, channels, queue, dispatcher, subscribers, sandbox=sandbox)
    inbox = _inbox(settings, store, verifications, dispatcher)
    keys, draining = Keys(store.database, store.clock), asyncio.Event()
    parts = Parts(
        verifications=verifications,
        checking=checking,
        reading=Reading(store.database, store.clock),
        subscribers=subscribers,
        keys=keys,
        answers=Answers(store.database, store.sealer, store.clock),
        queue=queue,
        channels=channels,
        kinds=kinds,
        hasher=store.hasher,
        services=settings.services,
        ready=lambda: _health(store.database, channels, draining),
        public_url=settings.server.public_url,
    )
    return Gateway(store, parts, dispatcher, keys, draining), inbox, Leases(store.database, node)


def _queue(settings: Settings, store: Store, node: str) -> tuple[Queue, Checking]:
    # The queue tells verification when a route has ended, and verification tells the queue what to send: one of the
    # two must come first, so the queue is given a function that finds the other when it is called.
    async def on_route_end(connection: Connection, verification_id: str, now: float, /) -> None:
        await checking.on_route_end(connection, verification_id, now)

    queue = Queue(
        store.database,
        store.sealer,
        store.clock,
        node=node,
        on_route_end=on_route_end,
        several_nodes=settings.database.engine == "postgresql",
    )
    checking = Checking(store.database, queue, store.sealer, store.clock)
    return queue, checking


def _verifications(
    settings: Settings,
    store: Store,
    channels: Mapping[str, Channel],
    queue: Queue,
    dispatcher: Dispatcher,
    subscribers: Subscribers,
    *,
    sandbox: bool,
) -> Verifications:
    return Verifications(
        database=store.database,
        queue=queue,
        sealer=store.sealer,
        hasher=store.hasher,
        clock=store.clock,
        services=settings.services,
        channels=channels,
        kinds=_kinds(channels),
        hand_over=dispatcher.hand_over,
        has_room=dispatcher.has_room,
        resolve=subscribers.resolve,
        invite=subscribers.invite,
        sandbox=sandbox,
    )


def _subscribers(store: Store, channels: Mapping[str, Channel], kinds: Mapping[str, Normalize]) -> Subscribers:
    return Subscribers(
        database=store.database,
        sealer=store.sealer,
        hasher=store.hasher,
        clock=store.clock,
        bot=next((channel for channel in channels.values() if channel.needs_subscriber), None),
        phone=kinds["phone"],
    )


def _inbox(settings: Settings, store: Store, verifications: Verifications, dispatcher: Dispatcher) -> Inbox:
    return Inbox(
        database=store.database,
        sealer=store.sealer,
        hasher=store.hasher,
        clock=store.clock,
        brands={name: service.name for name, service in settings.services.items()},
        render=_reply_renderer(),
        on_link=verifications.on_link,
        announce=dispatcher.announce,
    )


def _kinds(channels: Mapping[str, Channel]) -> dict[str, Normalize]:
    # An adapter's own reading of a kind goes before the shared one: its settings may take more addresses.
    own = ((kind, check) for channel in channels.values() for kind, check in channel.kinds.items())
    return {**KINDS, **{kind: check for kind, check in own if check is not KINDS.get(kind)}}


def _renderer(
    settings: Settings, templates: Mapping[str, Templates]
) -> Callable[[Message, Channel, float], tuple[str, Mapping[str, str]]]:
    def render(message: Message, channel: Channel, lifetime: float) -> tuple[str, Mapping[str, str]]:
        service = settings.services.get(message.service)
        if service is None:
            raise TemplateError(f"the service {message.service} is not configured any more")
        values = code_values(
            code=message.code,
            brand=service.name,
            remaining=lifetime,
            purpose=message.purpose,
            locale=message.locale,
            params=message.params,
        )
        parts = templates[message.service].render(
            channel=channel.name,
            adapter=channel.settings.adapter,
            purpose=message.purpose,
            locale=message.locale,
            parts=channel.parts,
            values=values,
        )
        return service.name, parts

    return render


def _reply_renderer() -> Callable[[str, str | None, Sequence[str], Mapping[str, str]], Mapping[str, str]]:
    templates = Templates([shipped("templates")])

    def render(template: str, locale: str | None, parts: Sequence[str], values: Mapping[str, str]) -> Mapping[str, str]:
        return templates.render(
            channel=CONVERSATION,
            adapter=CONVERSATION,
            purpose=template,
            locale=locale or "en",
            parts=parts,
            values={name: one_line(value) for name, value in values.items()},
        )

    return render


async def _health(database: Database, channels: Mapping[str, Channel], draining: asyncio.Event) -> Health:
    reachable = migrated = False
    try:
        await database.run(lambda connection: connection.fetch("SELECT 1"))
        reachable = True
        found = await database.fetch("SELECT version_num FROM alembic_version")
        migrated = bool(found) and found[0]["version_num"] == migrations.head()
    except StorageError as error:
        _log.warning("not ready: %s", error)
    words = dict.fromkeys(sorted(channels), "configured")
    return Health(database=reachable, migrations=migrated, draining=draining.is_set(), channels=words)


def _duties(settings: Settings, gateway: Gateway) -> Iterator[Coroutine[None, None, None]]:
    yield every(SWEEP, gateway.parts.checking.expire_overdue)
    yield every(FORGETTING, gateway.parts.answers.forget)
    yield every(FORGETTING, gateway.parts.checking.forget_cooldowns)
    if settings.database.engine == "postgresql":
        yield every(CLOCK_SYNC, lambda: sync_clock(gateway.store.database, gateway.store.clock))
