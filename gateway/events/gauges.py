"""What is looked up when Prometheus asks: states, backlogs, ages. Nothing here waits: it is memory alone.

What only the database knows was counted by a ``Census`` a few seconds before, so that an answer comes when the
database is away too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.events.census import Census

#: How a channel can be, for this node: the words of ``/readyz``.
STATES: Final = ("ok", "open", "probing", "ramping", "stopped", "paused")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Where the gauges look; what is ``None`` has no series."""

    #: What the database held when it was looked at last.
    census: Census | None = None
    #: The state of each channel, one of ``STATES``.
    states: Callable[[], Mapping[str, str]] | None = None
    #: Units of work that wait for the storage writer.
    backlog: Callable[[], int] | None = None
    #: Lines of the log that were dropped since the start.
    lines_dropped: Callable[[], int] | None = None
    #: Whether this node keeps house.
    keeps_house: Callable[[], bool] | None = None
    #: Rows this node's house-keeping has ended or deleted since the start, by duty.
    housekeeping: Callable[[], Mapping[str, int]] | None = None
    #: What services with an allowance spent today, on all nodes.
    spent: Callable[[], Mapping[str, float]] | None = None


class Gauges(Collector):
    """Collects them. ``prefix`` stands before every name, ``build`` is what the program tells of itself."""

    def __init__(self, prefix: str, channels: Collection[str], build: Mapping[str, str]) -> None:
        self._prefix = prefix
        self._channels = sorted(channels)
        self._build = dict(build)
        self.watched = Watched()

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the names are our own and known not to collide, and asking for them would look."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Look, and yield what was found."""
        yield InfoMetricFamily(f"{self._prefix}_build", "What runs here.", value=self._build)
        yield from self._of_this_node(self.watched)
        if self.watched.census is not None:
            yield from self._of_the_database(self.watched.census)

    def _of_this_node(self, watched: Watched) -> Iterator[Metric]:
        if watched.states is not None:
            yield self._states(watched.states())
        if watched.backlog is not None:
            yield self._gauge("storage_waiting", "Units of work that wait for the writer.", watched.backlog())
        if watched.keeps_house is not None:
            yield self._gauge("housekeeper", "1 on the node that keeps house.", float(watched.keeps_house()))
        if watched.lines_dropped is not None:
            name, text = f"{self._prefix}_log_lines_dropped", "Lines of the log nobody read in time."
            yield CounterMetricFamily(name, text, value=watched.lines_dropped())
        if watched.housekeeping is not None:
            name, text = f"{self._prefix}_housekeeping_rows", "Rows that house-keeping ended or deleted."
            rows = CounterMetricFamily(name, text, labels=["duty"])
            for duty, number in sorted(watched.housekeeping().items()):
                rows.add_metric([duty], number)
            yield rows
        if watched.spent is not None:
            spent = self._family(
                "spent_today", "What a service's sends cost since midnight UTC, all nodes'.", "service"
            )
            for service, amount in sorted(watched.spent().items()):
                spent.add_metric([service], amount)
            yield spent

    def _of_the_database(self, census: Census) -> Iterator[Metric]:
        latest = census.latest
        depth = self._family("queue_depth", "Messages in the queue, counted up to 10,000.", "channel", "status")
        oldest = self._family("queue_oldest_seconds", "How long the oldest due message waits.", "channel")
        for channel, standing in sorted(latest.channels.items()):
            depth.add_metric([channel, "queued"], standing.queued)
            depth.add_metric([channel, "sending"], standing.sending)
            oldest.add_metric([channel], standing.oldest)
        yield depth
        yield oldest
        yield self._gauge("webhook_depth", "Webhooks to be delivered, counted up to 10,000.", latest.webhooks)
        yield self._gauge("webhook_lag_seconds", "How long the oldest due webhook waits.", latest.webhook_lag)
        yield self._gauge("sampled_timestamp_seconds", "When the database was last looked at.", latest.at)
        yield self._gauge("database_up", "Whether the database answered the last look.", float(census.answered))

    def _states(self, states: Mapping[str, str]) -> Metric:
        family = self._family("channel_state", "1 at the state a channel is in, for this node.", "channel", "state")
        for channel in self._channels:
            found = states.get(channel)
            for state in STATES:
                family.add_metric([channel, state], float(state == found))
        return family

    def _family(self, name: str, text: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"{self._prefix}_{name}", text, labels=labels)

    def _gauge(self, name: str, text: str, value: float) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"{self._prefix}_{name}", text, value=value)
