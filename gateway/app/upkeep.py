"""What goes on beside codes and chats: keeping house, telling applications, counting, watching the clock."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping

from gateway.api.keys import refusals
from gateway.api.keys.keys import MINUTE
from gateway.app import clocks
from gateway.app.core import Gateway
from gateway.app.store import Store, several_nodes
from gateway.clock import Steps
from gateway.config import Settings
from gateway.conversation.erasing import forget_locks
from gateway.events.census import LOOK, Census
from gateway.events.gauges import Watched
from gateway.events.metrics import Metrics
from gateway.housekeeping import Checkpoint, Duty, House, Retention, neighbours
from gateway.housekeeping.retention import HOUR
from gateway.rhythm import every
from gateway.storage.leases import Leases
from gateway.storage.rings import Rings
from gateway.verification.limits.account import LOOK as TALLY
from gateway.verification.limits.counting import Forgetting
from gateway.webhooks.connecting import Client
from gateway.webhooks.endpoints import Endpoint, Endpoints
from gateway.webhooks.rows import TOPIC, Webhooks
from gateway.webhooks.sending import WebhookLane

#: Seconds between sweeps for what is overdue.
SWEEP = 1.0
#: Seconds between sweeps for what is kept for a while only.
FORGETTING = 60.0
#: Seconds between looks at the database's clock, where nodes share one.
CLOCK_SYNC = 30.0
#: Rows in one bite of what is forgotten: more would hold up the writer.
BITE = 500
#: Seconds between looks whether the machine's clock was stepped.
STEPS = 1.0


def duties(
    settings: Settings,
    gateway: Gateway,
    metrics: Metrics,
    endpoints: Mapping[str, Endpoint],
    lines_dropped: Callable[[], int] | None,
    tell: Callable[[str], None],
) -> Iterator[Coroutine[None, None, None]]:
    """Yield what goes on for as long as the gateway runs.

    ``lines_dropped`` tells how many lines the log has lost; ``tell`` is given what the operator who started it must know.
    """
    store = gateway.store
    rows = Webhooks(store.database, store.clock, node=gateway.node, several_nodes=several_nodes(settings))
    house = _house(settings, gateway, rows)
    census = Census(store.database, store.clock, channels=settings.channels, services=settings.services)
    metrics.watch(
        Watched(
            census=census,
            states=gateway.dispatcher.states,
            backlog=lambda: store.database.waiting,
            lines_dropped=lines_dropped,
            keeps_house=lambda: house.keeps,
            housekeeping=lambda: house.rows,
            spent=gateway.allowances.spent,
        )
    )
    yield house.run()
    yield every(LOOK, census.look)
    if endpoints:
        yield _webhooks(settings, store, rows, metrics, endpoints)
    yield every(STEPS, Steps(store.clock).look)
    yield every(MINUTE, gateway.keys.note_uses)
    yield every(refusals.LOOK, gateway.keys.refusals.tell)
    yield Rings(store.database).telling(gateway.node, store.sealer.ids, store.clock)
    yield every(TALLY, gateway.allowances.tally)
    if several_nodes(settings):
        yield every(CLOCK_SYNC, lambda: clocks.follow(store.database, store.clock))
    else:
        yield every(neighbours.LOOK, neighbours.Neighbours(store.database, gateway.node, tell).look)


def _house(settings: Settings, gateway: Gateway, webhooks: Webhooks) -> House:
    store, kept = gateway.store, settings.retention
    checking, reverse, inbox = gateway.parts.checking, gateway.reverse, gateway.bots.inbox
    retention = Retention(store.database, store.clock, verifications=kept.verifications)
    found = [
        Duty("overdue", checking.expire_overdue, SWEEP, urgent=True),
        Duty("answers", gateway.parts.answers.forget, FORGETTING),
        Duty("subscribers", lambda: gateway.parts.subscribers.forget(kept.verifications), FORGETTING),
        Duty("locks", lambda: forget_locks(store.database, store.clock.now()), FORGETTING),
        Duty("cooldowns", checking.forget_cooldowns, FORGETTING),
        Duty("challenges", reverse.forget, FORGETTING),
        *_of_limits(store),
        Duty("authenticators", gateway.parts.authenticators.enrolling.forget, FORGETTING),
        Duty("throttles", gateway.parts.authenticators.checking.forget, FORGETTING),
        Duty("signing_keys", gateway.parts.signing_keys.rotate, HOUR),
        Duty("heard", lambda: inbox.forget_heard(BITE), FORGETTING),
        Duty("replies", lambda: gateway.bots.replies.forget_old(BITE), FORGETTING),
        *_of_turns(gateway),
        Duty("tallies", gateway.allowances.forget, HOUR),
        *retention.duties(),
        Duty("webhooks", lambda: webhooks.forget(store.clock.now(), kept.webhooks), HOUR),
        *_of_sqlite(settings, store),
    ]
    leases, dispatcher = Leases(store.database, gateway.node), gateway.dispatcher
    return House(leases, store.clock, found, busy=lambda: any(map(dispatcher.urgent, settings.channels)))


def _of_limits(store: Store) -> Iterator[Duty]:
    forgetting = Forgetting(store.database, store.clock)
    yield Duty("recipients", forgetting.recipients, FORGETTING)
    yield Duty("guesses", forgetting.guesses, FORGETTING)
    yield Duty("trusted", forgetting.trusted, FORGETTING)
    yield Duty("blocks", forgetting.blocks, FORGETTING)
    yield Duty("visitors", forgetting.visitors, FORGETTING)


def _of_turns(gateway: Gateway) -> Iterator[Duty]:
    turns = gateway.turns
    if turns is not None:
        yield Duty("turns", lambda: turns.forget(gateway.store.clock.now()), FORGETTING)


def _of_sqlite(settings: Settings, store: Store) -> Iterator[Duty]:
    if settings.database.path is not None:
        yield Checkpoint(settings.database.path, away=lambda: store.database.away).duty()


def _webhooks(
    settings: Settings, store: Store, rows: Webhooks, metrics: Metrics, endpoints: Mapping[str, Endpoint]
) -> Coroutine[None, None, None]:
    lane = WebhookLane(
        rows,
        Endpoints(store.database, endpoints),
        endpoints,
        Client(private=settings.webhooks.allow_private),
        store.clock,
        observe=metrics.webhook,
    )
    store.database.wakes.subscribe(TOPIC, lane.wake)
    return lane.run()
