"""From what one message costs to what many need: the arithmetic of docs/scaling.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.figures import spread
from benchmarks.rounds import Sample, column

#: The share of a core that is planned with: what comes in is never even.
BUSY = 0.6
#: Messages a second that needs are told for.
RATES = (10, 100, 1_000, 10_000)
#: Cores of PostgreSQL's machine that ceilings are told for.
CORES = (2, 8, 32)
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Cost:
    """What one message costs from the request to the settled row."""

    #: CPU seconds of the nodes.
    node: float
    #: CPU seconds of PostgreSQL.
    server: float
    #: Bytes of write-ahead log.
    wal: float
    #: fsyncs of the log; several messages share one.
    syncs: float
    #: Transactions, those that only read too.
    commits: float
    #: Bytes it is kept in.
    kept: float
    #: Connections of one node.
    connections: float


@dataclass(frozen=True, slots=True)
class Need:
    """What so many messages a second need, at ``BUSY`` of a core."""

    #: Messages a second.
    rate: int
    #: Cores of PostgreSQL's machine.
    server: float
    #: Nodes: each is one process and uses one core at most.
    nodes: int
    #: Bytes of log a second.
    wal: float
    #: Bytes kept a day, at this rate all day long.
    kept: float
    #: Connections of all nodes.
    connections: int


def cost(samples: Sequence[Sample]) -> Cost:
    """Return the medians of one arm. Raises ``ValueError`` where it has no sample."""
    node, server, wal, syncs, commits, kept, connections = (
        spread(column(samples, figure)).median
        for figure in ("node cpu", "server cpu", "wal", "syncs", "commits", "kept", "connections")
    )
    return Cost(node, server, wal, syncs, commits, kept, connections)


def need(each: Cost, rate: int) -> Need:
    """Return what ``rate`` messages a second need, in cost as they were measured."""
    nodes = max(1, math.ceil(rate * each.node / BUSY))
    return Need(
        rate=rate,
        server=rate * each.server / BUSY,
        nodes=nodes,
        wal=rate * each.wal,
        kept=rate * each.kept * _DAY,
        connections=math.ceil(nodes * each.connections),
    )


def ceiling(each: Cost, cores: int) -> float:
    """Return the messages a second that so many cores carry for PostgreSQL, were the cores all there is to it."""
    return cores * BUSY / each.server if each.server > 0 else math.inf


def deployments(each: Cost, rate: int, cores: int) -> int:
    """Return how many databases with so many cores share ``rate`` messages a second."""
    return max(1, math.ceil(rate / ceiling(each, cores)))
