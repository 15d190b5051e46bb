"""What sends and checks codes, put together: the queue, the dispatcher, verifications, and what the API calls."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from channels.base import Channel, Normalize
from gateway.api import Parts
from gateway.api.keys.keys import Keys
from gateway.api.keys.refusals import Refusals
from gateway.app.allowances import built_allowances
from gateway.app.bots import Bots, Spine, built_bots
from gateway.app.channels import kinds_of, linking, load_replies, revising
from gateway.app.erasing import built_erasing
from gateway.app.health import Readiness
from gateway.app.store import Store, several_nodes
from gateway.config import Settings
from gateway.conversation.blocking import Blocking
from gateway.conversation.chats import any_locked, is_theirs
from gateway.conversation.subscribers import Subscribers
from gateway.delivery import message
from gateway.delivery.dispatching.backlog import Counted
from gateway.delivery.dispatching.dispatcher import Dispatcher
from gateway.delivery.dispatching.pacing import Pacer, pacers
from gateway.delivery.queue import Queue
from gateway.delivery.writing.rendering import Render, code_renderer
from gateway.delivery.writing.templating import Templates
from gateway.events.metrics import Metrics
from gateway.storage import pauses
from gateway.storage.answers import Answers
from gateway.storage.pauses import Pauses
from gateway.storage.shares import Shares
from gateway.storage.turns import Turns
from gateway.storage.unit import Connection
from gateway.verification.admission import Admission
from gateway.verification.authenticators.parts import Authenticators
from gateway.verification.authenticators.parts import built as built_authenticators
from gateway.verification.checking import Checking
from gateway.verification.limits.allowances import Allowances
from gateway.verification.limits.counting import LimitedSends
from gateway.verification.proof import Proofs
from gateway.verification.reading import Reading
from gateway.verification.reverse import Reverse
from gateway.verification.sessions import Sessions
from gateway.verification.signing_keys import SigningKeys
from gateway.verification.verifications import Verifications
from gateway.verification.wishes import Wishes


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway."""

    store: Store
    parts: Parts
    dispatcher: Dispatcher
    keys: Keys
    reverse: Reverse
    bots: Bots
    #: Who of a channel's recipients may be written to again, where nodes share that.
    turns: Turns | None
    #: What each service may use, and has used.
    allowances: Allowances
    #: This process's unguessable name among the nodes.
    node: str
    #: Set once the gateway is stopping: it is not ready for new work.
    draining: asyncio.Event


def built(
    settings: Settings,
    store: Store,
    channels: Mapping[str, Channel],
    templates: Mapping[str, Templates],
    metrics: Metrics,
    *,
    sandbox: bool,
) -> Gateway:
    """Put a gateway together. ``sandbox`` allows providers' test numbers. Raises ``TemplateError``."""
    node, kinds, texts = secrets.token_hex(8), kinds_of(channels), load_replies(templates.values())
    bot = linking(channels)
    blocking = Blocking(store.database, store.hasher, store.clock, None if bot is None else bot.name)
    signing_keys = SigningKeys(store.database, store.sealer, store.clock)
    proofs = Proofs(signing_keys, store.hasher, settings.server.issuer)
    allowances = built_allowances(settings, store, channels, node)
    queue, checking = _queue(settings, store, node, channels, blocking, metrics, proofs, allowances)
    turns = Turns(store.database) if several_nodes(settings) else None
    paces = _paces(settings, store, channels, node, turns)
    dispatcher = _dispatcher(
        settings, store, channels, queue, code_renderer(settings.services, templates, texts), paces
    )
    subscribers = _subscribers(store, bot, kinds["phone"])
    reverse = _reverse(settings, store, channels, queue)
    verifications = _verifications(
        settings, store, channels, queue, dispatcher, subscribers, reverse, allowances, sandbox=sandbox
    )
    spine = Spine(queue, dispatcher, paces, verifications, reverse, blocking, kinds, texts, node)
    bots = built_bots(settings, store, channels, spine)
    keys, draining = Keys(store.database, store.clock, Refusals(store.clock, metrics.key_refused)), asyncio.Event()
    answers = Answers(store.database, store.sealer, store.clock)
    parts = Parts(
        verifications=verifications,
        checking=checking,
        reading=Reading(store.database, store.clock, settings.services),
        sessions=Sessions(store.database, queue, store.hasher, store.clock),
        signing_keys=signing_keys,
        subscribers=subscribers,
        authenticators=_authenticators(settings, store),
        keys=keys,
        answers=answers,
        erasing=built_erasing(settings, store, channels, answers=answers, checking=checking, node=node),
        queue=queue,
        channels=channels,
        kinds=kinds,
        hasher=store.hasher,
        services=settings.services,
        ready=Readiness(store.database, dispatcher.states, draining, store.clock).health,
        public_url=settings.server.public_url,
        hear=bots.inbox.handle,
        metrics=metrics,
        metrics_token=settings.metrics.token,
    )
    return Gateway(store, parts, dispatcher, keys, reverse, bots, turns, allowances, node, draining)


def _queue(
    settings: Settings,
    store: Store,
    node: str,
    channels: Mapping[str, Channel],
    blocking: Blocking,
    metrics: Metrics,
    proofs: Proofs,
    allowances: Allowances,
) -> tuple[Queue, Checking]:
    # The queue tells verification when a route has ended, and verification tells the queue what to send: one of the
    # two must come first, so the queue is given a function that finds the other when it is called.
    async def on_route_end(connection: Connection, verification_id: str, now: float, /) -> None:
        await checking.on_route_end(connection, verification_id, now)

    chats = frozenset(name for name, channel in channels.items() if channel.needs_subscriber)
    queue = Queue(
        store.database,
        store.sealer,
        store.clock,
        node=node,
        on_route_end=on_route_end,
        several_nodes=several_nodes(settings),
        revising=revising(channels).keys(),
        chats=chats,
        on_blocked=blocking.mark,
        confirm_within=partial(_confirm_within, settings),
        on_sent=metrics.sent,
        on_delivered=metrics.delivered,
        on_accepted=allowances.sent,
        sends=LimitedSends(settings.services, allowances),
        against=Wishes(store.hasher, chats, partial(any_locked, store.hasher), is_theirs).against,
    )
    checking = Checking(store.database, queue, store.sealer, store.clock, store.hasher, proofs, settings.services)
    return queue, checking


def _confirm_within(settings: Settings, service: str, purpose: str, channel: str) -> float | None:
    # What was queued for a service may outlive it in the configuration.
    found = settings.services.get(service)
    return None if found is None else found.for_purpose(purpose).confirm_within.get(channel)


def _paces(
    settings: Settings, store: Store, channels: Mapping[str, Channel], node: str, turns: Turns | None
) -> dict[str, Pacer]:
    return pacers(
        channels,
        store.clock,
        shares=Shares(store.database, node) if several_nodes(settings) else None,
        turns=turns,
        pauses=Pauses(store.database),
        hashed=partial(store.hasher.hash, "turn"),
    )


def _dispatcher(
    settings: Settings,
    store: Store,
    channels: Mapping[str, Channel],
    queue: Queue,
    render: Render,
    paces: Mapping[str, Pacer],
) -> Dispatcher:
    dispatcher = Dispatcher(
        queue,
        channels,
        render,
        store.clock,
        settings.services,
        paces=paces,
        write=store.database.write,
        backlog=Counted(store.database.fetch),
    )
    for name in channels:
        store.database.wakes.subscribe(message.topic(name), partial(dispatcher.announce, name))
        store.database.wakes.subscribe(pauses.topic(name), partial(dispatcher.pause_told, name))
    return dispatcher


def _verifications(
    settings: Settings,
    store: Store,
    channels: Mapping[str, Channel],
    queue: Queue,
    dispatcher: Dispatcher,
    subscribers: Subscribers,
    reverse: Reverse,
    allowances: Allowances,
    *,
    sandbox: bool,
) -> Verifications:
    outlook = dispatcher.outlook
    return Verifications(
        database=store.database,
        queue=queue,
        sealer=store.sealer,
        hasher=store.hasher,
        clock=store.clock,
        services=settings.services,
        channels=channels,
        kinds=kinds_of(channels),
        hand_over=dispatcher.hand_over,
        has_room=dispatcher.has_room,
        workers=dispatcher,
        resolve=subscribers.resolve,
        locked=partial(any_locked, store.hasher),
        is_theirs=is_theirs,
        invite=subscribers.invite,
        reverse=reverse,
        admission=Admission(outlook.wait, outlook.usable, store.clock, rest=outlook.rest),
        allowances=allowances,
        sandbox=sandbox,
    )


def _subscribers(store: Store, bot: Channel | None, phone: Normalize) -> Subscribers:
    return Subscribers(
        database=store.database,
        sealer=store.sealer,
        hasher=store.hasher,
        clock=store.clock,
        bot=bot,
        phone=phone,
    )


def _authenticators(settings: Settings, store: Store) -> Authenticators:
    brands = {name: service.name for name, service in settings.services.items()}
    return built_authenticators(store.database, store.sealer, store.hasher, store.clock, brands)


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
