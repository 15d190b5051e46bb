"""The composition root: settings in, a running gateway out. The only place that builds things and loads channels."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from channels.base import Channel, Normalize
from channels.chat import Conversing, Menu, Revising
from channels.kinds import KINDS
from gateway.api import Health, Parts
from gateway.api.keys import Keys
from gateway.clock import SystemClock
from gateway.config import DatabaseSettings, Settings, check_channels, ensure_secrets, shipped
from gateway.conversation import commands
from gateway.conversation.blocking import Blocking
from gateway.conversation.chats import any_locked, is_theirs
from gateway.conversation.inbox import Inbox
from gateway.conversation.listening import listen
from gateway.conversation.replies import Replies
from gateway.conversation.replying import Replying
from gateway.conversation.subscribers import Subscribers
from gateway.conversation.turn import Tools
from gateway.delivery.dispatcher import Dispatcher
from gateway.delivery.queue import Queue
from gateway.delivery.rendering import ReplyTexts, code_renderer, ended_renderer
from gateway.delivery.revising import Reviser
from gateway.delivery.revisions import Revisions
from gateway.delivery.templating import FALLBACK, Templates
from gateway.errors import ConfigError
from gateway.rhythm import every, until_none
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
from gateway.verification.reporting import Reporting
from gateway.verification.reverse import Reverse
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
class _Bots:
    """What goes on in the chats with the bots, beside the sending of codes."""

    inbox: Inbox
    leases: Leases
    menu: Menu
    replying: Replying
    reviser: Reviser
    reverse: Reverse


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
        if _several_nodes(settings):
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
        gateway, bots = _built(settings, store, channels, templates, sandbox=sandbox)
        gateway.dispatcher.start()
        duties = [asyncio.create_task(duty) for duty in (*_duties(settings, gateway), *_bot_duties(gateway, bots))]
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


def load_replies() -> ReplyTexts:
    """Compile what the bot answers. Raises ``TemplateError``."""
    return ReplyTexts(Templates([shipped("templates")]))


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
) -> tuple[Gateway, _Bots]:
    node, kinds, texts = secrets.token_hex(8), _kinds(channels), load_replies()
    blocking = Blocking(store.database, store.hasher, store.clock)
    queue, checking = _queue(settings, store, node, channels, blocking)
    dispatcher = Dispatcher(queue, channels, code_renderer(settings.services, templates, texts), store.clock)
    subscribers = _subscribers(store, channels, kinds)
    reverse = _reverse(settings, store, channels, queue)
    verifications = _verifications(settings, store, channels, queue, dispatcher, subscribers, reverse, sandbox=sandbox)
    replies = Replies(store.database, store.sealer, store.clock, node)
    replying = Replying(replies, _conversing(channels), store.clock, blocking.blocked)
    inbox = Inbox(
        database=store.database,
        clock=store.clock,
        hasher=store.hasher,
        tools=_tools(settings, store, kinds, texts, verifications, reverse, Reporting(store.sealer, queue)),
        replies=replies,
        replying=replying,
        announce=dispatcher.announce,
    )
    reviser = _reviser(settings, store, channels, texts, dispatcher)
    bots = _Bots(inbox, Leases(store.database, node), commands.menu(texts), replying, reviser, reverse)
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
        hear=inbox.handle,
    )
    return Gateway(store, parts, dispatcher, keys, draining), bots


def _queue(
    settings: Settings, store: Store, node: str, channels: Mapping[str, Channel], blocking: Blocking
) -> tuple[Queue, Checking]:
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
        several_nodes=_several_nodes(settings),
        revising=_revising(channels).keys(),
        chats=frozenset(name for name, channel in channels.items() if channel.needs_subscriber),
        on_blocked=blocking.mark,
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
    reverse: Reverse,
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
        locked=any_locked,
        is_theirs=is_theirs,
        invite=subscribers.invite,
        reverse=reverse,
        sandbox=sandbox,
    )


def _reverse(settings: Settings, store: Store, channels: Mapping[str, Channel], queue: Queue) -> Reverse:
    return Reverse(
        database=store.database,
        sealer=store.sealer,
        hasher=store.hasher,
        queue=queue,
        clock=store.clock,
        channels=channels,
        services=settings.services,
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


def _tools(
    settings: Settings,
    store: Store,
    kinds: Mapping[str, Normalize],
    texts: ReplyTexts,
    verifications: Verifications,
    reverse: Reverse,
    reporting: Reporting,
) -> Tools:
    return Tools(
        sealer=store.sealer,
        hasher=store.hasher,
        brands={name: service.name for name, service in settings.services.items()},
        locales={name: service.locale for name, service in settings.services.items()},
        texts=texts,
        phone=kinds["phone"],
        on_link=verifications.on_link,
        open_question=reverse.open,
        opened_questions=reverse.opened,
        answer_question=reverse.answer,
        decline_question=reverse.decline,
        report=reporting.report,
    )


def _reviser(
    settings: Settings, store: Store, channels: Mapping[str, Channel], texts: ReplyTexts, dispatcher: Dispatcher
) -> Reviser:
    revisions = Revisions(store.database, store.sealer, store.clock, several_nodes=_several_nodes(settings))
    ended = ended_renderer(settings.services, texts)
    return Reviser(revisions, _revising(channels), ended, dispatcher.busy, store.clock)


def _conversing(channels: Mapping[str, Channel]) -> dict[str, Conversing]:
    return {name: channel for name, channel in channels.items() if isinstance(channel, Conversing)}


def _revising(channels: Mapping[str, Channel]) -> dict[str, Revising]:
    return {name: channel for name, channel in channels.items() if isinstance(channel, Revising)}


def _several_nodes(settings: Settings) -> bool:
    return settings.database.engine == "postgresql"


def _kinds(channels: Mapping[str, Channel]) -> dict[str, Normalize]:
    # An adapter's own reading of a kind goes before the shared one: its settings may take more addresses.
    own = ((kind, check) for channel in channels.values() for kind, check in channel.kinds.items())
    return {**KINDS, **{kind: check for kind, check in own if check is not KINDS.get(kind)}}


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
    yield every(FORGETTING, until_none(gateway.parts.answers.forget))
    yield every(FORGETTING, until_none(gateway.parts.checking.forget_cooldowns))
    if _several_nodes(settings):
        yield every(CLOCK_SYNC, lambda: sync_clock(gateway.store.database, gateway.store.clock))


def _bot_duties(gateway: Gateway, bots: _Bots) -> Iterator[Coroutine[None, None, None]]:
    channels, clock = gateway.parts.channels, gateway.store.clock
    yield every(FORGETTING, until_none(bots.reverse.forget))
    yield every(FORGETTING, until_none(bots.inbox.forget_heard))
    for name in _revising(channels):
        yield bots.reviser.run(name)
    for name in _conversing(channels):
        yield bots.replying.run(name)
    for name, channel in channels.items():
        if channel.listens or channel.hears_callbacks:
            yield listen(channel, partial(bots.inbox.handle, name), bots.leases, clock, menu=bots.menu)
