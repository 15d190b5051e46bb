"""What Prometheus reads: counters fed by committed events, histograms by observers, gauges looked up when it asks.

Labels come from the configuration and from closed lists alone; any other value becomes ``other``. So the number of
series is bounded by the configuration, whatever events, callers or providers bring.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from channels.base import Reason
from gateway.config import LimitSettings
from gateway.delivery.lifecycle import AttemptOutcome
from gateway.events.event import Event, EventName
from gateway.events.gauges import Gauges, Watched

#: What every name of ours begins with.
NAMESPACE: Final = "otp_gateway"
#: Stands for every value that is neither configured nor in a closed list.
OTHER: Final = "other"
#: The reason of an attempt that needs none.
NONE: Final = "none"
#: Limits by their keys in the configuration, and those that are fixed: wrong codes in a row, failures at authenticators.
LIMITS: Final = frozenset({*LimitSettings.model_fields, "consecutive_wrong", "authenticator"} - {"mode"})
#: What a request can be refused with: a limit, else the problem's code.
REFUSALS: Final = frozenset(
    {
        *("already_approved", "canceled", "expired", "failed", "forbidden", "idempotency_conflict"),
        *("idempotency_mismatch", "internal_error", "invalid_request", "max_attempts_reached", "method_not_allowed"),
        *("not_found", "recipient_refused", "request_timeout", "too_large", "unauthorized", "unavailable"),
        *("unsupported_media_type", "wrong_code"),
        *LIMITS,
    }
)
#: Why an API key can be refused.
KEY_REFUSALS: Final = frozenset({"unknown", "ended", "revoked", "network", "scope"})
#: What can become of one try to tell an application.
WEBHOOK_OUTCOMES: Final = frozenset({"delivered", "retried", "failed", "disabled", "dropped"})

#: Seconds up to which accepting and sending is counted in each bucket: a code is promised within seconds, and a
#: message that waited out a lease (20 s) must be told from one that waited out a code (300 s).
SEND_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
#: The same from a send to the report of its delivery, which may come late.
DELIVERY_BUCKETS: Final = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)

#: Kinds of events whose counters are remembered; the configuration of a large gateway stays far below.
_REMEMBERED: Final = 20_000

_VERIFICATION_ENDS: Final = (
    EventName.VERIFICATION_APPROVED,
    EventName.VERIFICATION_EXPIRED,
    EventName.VERIFICATION_CANCELED,
    EventName.VERIFICATION_MAX_ATTEMPTS_REACHED,
    EventName.VERIFICATION_FAILED,
)
_MESSAGE_ENDS: Final = (
    EventName.MESSAGE_SENT,
    EventName.MESSAGE_DELIVERED,
    EventName.MESSAGE_UNDELIVERED,
    EventName.MESSAGE_FAILED,
    EventName.MESSAGE_EXPIRED,
    EventName.MESSAGE_CANCELED,
)
_CHANNEL_CHANGES: Final = (
    EventName.CHANNEL_OPENED,
    EventName.CHANNEL_CLOSED,
    EventName.CHANNEL_STOPPED,
    EventName.CHANNEL_RESUMED,
)
#: What a limit did beside refusing a request.
_LIMIT_EFFECTS: Final = {EventName.LIMIT_OBSERVED: "observed", EventName.LIMIT_REFUSED: "skipped"}
_WEBHOOK_ENDS: Final = (EventName.WEBHOOK_FAILED, EventName.WEBHOOK_DISABLED)

#: Counts one more of something.
_Step = Callable[[], None]

# The library says of neither what it takes and returns.
_as_text: Callable[[CollectorRegistry], bytes] = generate_latest
_as_openmetrics: Callable[[CollectorRegistry], bytes] = openmetrics.generate_latest


class Metrics:
    """The metrics of one process, in a registry of their own.

    ``channels`` and ``services`` are the configured names, ``version`` the program's.
    """

    def __init__(self, *, channels: Iterable[str] = (), services: Iterable[str] = (), version: str = "") -> None:
        # A second series beside every counter, of when it was made, which no rule of ours asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._channels = frozenset(channels)
        self._services = frozenset(services)
        self._registry = CollectorRegistry()
        self._make_counters()
        self._send = self._histogram("send_seconds", "From a message's making to its sending.", SEND_BUCKETS)
        self._delivery = self._histogram("delivery_seconds", "From a sending to its report.", DELIVERY_BUCKETS)
        self._gauges = Gauges(NAMESPACE, self._channels, {"version": version, "python": platform.python_version()})
        self._registry.register(self._gauges)
        ProcessCollector(registry=self._registry)
        self._steps: dict[tuple[str | None, ...], tuple[_Step, ...]] = {}
        self._begin_at_zero()

    def watch(self, watched: Watched) -> None:
        """Look at ``watched`` for the gauges from now on; before that, what only they show is absent."""
        self._gauges.watched = watched

    def on_commit(self, notes: Sequence[object]) -> None:
        """Count what was committed: a part of the database's ``on_commit``. 0.6 µs an event (measured)."""
        known = self._steps
        for note in notes:
            if isinstance(note, Event):
                kind = (note.name, note.service, note.channel, note.outcome, note.reason)
                steps = known.get(kind)
                if steps is None:
                    steps = self._learn(kind, note)
                for step in steps:
                    step()

    def sent(self, channel: str, seconds: float) -> None:
        """Note how long a message took from its making until the provider had it."""
        self._send.labels(_among(channel, self._channels)).observe(seconds)

    def delivered(self, channel: str, seconds: float) -> None:
        """Note how long a message took from its sending until the provider reported its delivery."""
        self._delivery.labels(_among(channel, self._channels)).observe(seconds)

    def refused(self, code: str) -> None:
        """Count a request that was refused: the limit's name, else the problem's code."""
        self._refusals.labels(_among(code, REFUSALS)).inc()

    def key_refused(self, reason: str) -> None:
        """Count an API key that was refused, by why (``KEY_REFUSALS``)."""
        self._keys.labels(_among(reason, KEY_REFUSALS)).inc()

    def webhook(self, service: str, outcome: str) -> None:
        """Count one try to tell an application (``WEBHOOK_OUTCOMES``); ``failed`` and ``disabled`` come as events."""
        self._webhooks.labels(_among(service, self._services), _among(outcome, WEBHOOK_OUTCOMES)).inc()

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return everything as text, and its media type: OpenMetrics where ``accept`` asks for it, else Prometheus's.

        The versions are fixed, for what a caller writes into ``accept`` is not to come back in a header.
        """
        wanted = (part.partition(";")[0].strip().lower() for part in accept.split(","))
        if "application/openmetrics-text" in wanted:
            return _as_openmetrics(self._registry), openmetrics.CONTENT_TYPE_LATEST
        return _as_text(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def _make_counters(self) -> None:
        counter = self._counter
        self._created = counter("verifications_created", "Verifications that were accepted.", "service")
        self._ended = counter("verifications_ended", "Verifications that ended, by how.", "service", "status")
        self._refusals = counter("refusals", "Requests that were refused: by which limit, else by code.", "code")
        self._keys = counter("keys_refused", "API keys that were refused, by why.", "reason")
        self._limits = counter("limits", "What limits did beside refusing requests.", "service", "limit", "effect")
        self._attempts = counter("attempts", "Calls to providers that ended.", "channel", "outcome", "reason")
        self._arrived = counter("messages_ended", "Messages that came to a status.", "channel", "status")
        self._duplicates = counter(
            "duplicate_possible", "Messages sent once more although a lost answer may have meant yes.", "channel"
        )
        self._rescued = counter("leases_rescued", "Attempts whose node died or stalled.", "channel")
        self._changes = counter("channel_changes", "Changes of a channel's state, by this node.", "channel", "change")
        self._webhooks = counter("webhooks", "Tries to tell an application.", "service", "outcome")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, namespace=NAMESPACE, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, text, ["channel"], namespace=NAMESPACE, buckets=buckets, registry=self._registry)

    def _begin_at_zero(self) -> None:
        # A series that is absent until its first event has no rate then: the first failure would raise no alert.
        for reason in KEY_REFUSALS:
            self._keys.labels(reason)
        for service in self._services:
            self._created.labels(service)
            for name in _VERIFICATION_ENDS:
                self._ended.labels(service, _last_word(name))
        for channel in self._channels:
            for metric in (self._duplicates, self._rescued, self._send, self._delivery):
                metric.labels(channel)
            for name in _MESSAGE_ENDS:
                self._arrived.labels(channel, _last_word(name))

    def _learn(self, kind: tuple[str | None, ...], event: Event) -> tuple[_Step, ...]:
        """Return what an event of this kind counts, and remember it."""
        steps = tuple(self._counted(event))
        if len(self._steps) < _REMEMBERED:
            self._steps[kind] = steps
        return steps

    def _counted(self, event: Event) -> Iterable[_Step]:
        name = event.name
        if name is EventName.VERIFICATION_CREATED:
            yield self._created.labels(_among(event.service, self._services)).inc
        elif name in _VERIFICATION_ENDS:
            yield self._ended.labels(_among(event.service, self._services), _last_word(name)).inc
        elif name in _WEBHOOK_ENDS:
            yield self._webhooks.labels(_among(event.service, self._services), _last_word(name)).inc
        elif name in _LIMIT_EFFECTS:
            limit, effect = _among(event.reason, LIMITS), _LIMIT_EFFECTS[name]
            yield self._limits.labels(_among(event.service, self._services), limit, effect).inc
        elif name in _CHANNEL_CHANGES:
            yield self._changes.labels(_among(event.channel, self._channels), _last_word(name)).inc
        elif event.channel is not None:
            yield from self._counted_of_a_message(event, _among(event.channel, self._channels))

    def _counted_of_a_message(self, event: Event, channel: str) -> Iterable[_Step]:
        name = event.name
        if name in _MESSAGE_ENDS:
            yield self._arrived.labels(channel, _last_word(name)).inc
        # An attempt's end names its outcome; a provider's later report of it does not.
        if event.outcome is not None:
            outcome = _among(event.outcome, _OUTCOMES)
            reason = NONE if event.reason is None else _among(event.reason, _REASONS)
            yield self._attempts.labels(channel, outcome, reason).inc
        if name is EventName.MESSAGE_RESCUED:
            yield self._rescued.labels(channel).inc
        if name is EventName.MESSAGE_RESCUED or (
            name is EventName.MESSAGE_RETRIED and event.outcome == AttemptOutcome.UNKNOWN
        ):
            yield self._duplicates.labels(channel).inc


_OUTCOMES: Final = frozenset(map(str, AttemptOutcome))
_REASONS: Final = frozenset(map(str, Reason))


def _among(value: str | None, known: Collection[str]) -> str:
    return value if value is not None and value in known else OTHER


def _last_word(name: EventName) -> str:
    return name.value.rpartition(".")[2]
