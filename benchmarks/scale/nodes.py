"""Nodes on one database: from the request to the mail, and a backlog shared by workers. What comes twice is counted."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.children import Child, ChildError, program
from benchmarks.rounds import Sample
from benchmarks.scale.filling import fill, sealer_of
from benchmarks.scale.server import Server, Spent, database_of, until_settled
from benchmarks.scale.sink import Seen, Sink, sink
from benchmarks.served import PATIENCE, Prepared
from gateway.config import variable_name

#: Arms of the first measurement, by how many ``serve`` and ``dispatch`` nodes they are.
POSTED: Mapping[str, tuple[int, int]] = {
    "1 serve": (1, 0),
    "1 serve, 1 dispatch": (1, 1),
    "2 serve": (2, 0),
    "2 serve, 2 dispatch": (2, 2),
    "1 serve, again": (1, 0),
}
#: Arms of the second one, by the number of ``dispatch`` nodes.
DRAINED: Mapping[str, int] = {"1 dispatch": 1, "2 dispatch": 2, "4 dispatch": 4, "1 dispatch, again": 1}
#: What a node says on standard error once it works, by its verb.
READY = {"serve": "otp-gateway serves on http://", "dispatch": "otp-gateway dispatches"}
#: Seconds all mails may take to arrive, and what was sent to be settled.
_LIMIT, _SETTLING = 120.0, 20.0
#: Seconds a node has to end by itself.
_STOP = 16.0
_CHANNEL = "email"


@dataclass(frozen=True, slots=True)
class Nodes:
    """How many messages are sent, and on what."""

    folder: Path
    server: Server
    prepared: Prepared
    #: Messages of one run.
    count: int

    def posted(self) -> Mapping[str, Callable[[], Sample]]:
        """Return the arms from request to mail, by name, the yardstick first."""
        return {name: partial(self._posted, *of) for name, of in POSTED.items()}

    def drained(self) -> Mapping[str, Callable[[], Sample]]:
        """Return the arms of a backlog, by name, the yardstick first."""
        return {name: partial(self._drained, of) for name, of in DRAINED.items()}

    def _drained(self, dispatches: int) -> Sample:
        return self.drain(dispatches, self.count, _LIMIT)[0]

    def _posted(self, serves: int, dispatches: int) -> Sample:
        verbs = ["serve"] * serves + ["dispatch"] * dispatches
        with self._running(verbs) as run:
            loads = [
                (int(child.error_line(READY["serve"], PATIENCE).rpartition(":")[2]), self.count // serves)
                for child in run.nodes[:serves]
            ]
            began_at = _load(self.folder, loads, self.prepared.key)
            seen = run.sink.wait(self.count // serves * serves, _LIMIT)
            return run.ended(seen.latest_at - began_at, self.count // serves * serves)

    def drain(self, dispatches: int, count: int, within: float) -> tuple[Sample, Seen]:
        """Have workers send a backlog; return what it cost and what came when. Raises ``ChildError``."""
        with self._running(["dispatch"] * dispatches) as run:
            asyncio.run(fill(run.url, sealer_of(self.prepared.environ), _CHANNEL, count))
            run.filled()
            seen = run.sink.wait(count, within)
            return run.ended(seen.latest_at - seen.first_at, count), seen

    @contextmanager
    def _running(self, verbs: Sequence[str]) -> Iterator[_Run]:
        with (
            sink(self.folder) as end,
            self.server.database(database_of(self.prepared.url or "")) as url,
            ExitStack() as stack,
        ):
            environ = {
                **self.prepared.environ,
                variable_name(("channels", _CHANNEL, "port")): str(end.port),
                variable_name(("database", "url")): url,
            }
            nodes = [
                stack.enter_context(node(self.folder, self.prepared.folder / "config.toml", verb, environ))
                for verb in verbs
            ]
            for verb, child in zip(verbs, nodes, strict=True):
                child.error_line(READY[verb], PATIENCE)
            run = _Run(self.server, url, end, nodes)
            run.filled()
            yield run


class _Run:
    """Nodes at work, and what everybody had spent when they began."""

    def __init__(self, server: Server, url: str, end: Sink, nodes: Sequence[Child]) -> None:
        self.url = url
        self.sink = end
        self.nodes = nodes
        self._server = server
        self._spent: Spent
        self._cpu = 0.0

    def filled(self) -> None:
        """Count what is spent from here on."""
        self._spent = self._server.spent(self.url)
        self._cpu = self._used()

    def ended(self, seconds: float, count: int) -> Sample:
        """Settle, stop the nodes, and return the run's figures."""
        left = until_settled(self.url, _SETTLING)
        connections = self._server.connections(self.url)
        cpu = self._used() - self._cpu
        for child in self.nodes:
            child.stop(_STOP)
        # What a node counted reaches the statistics with the end of its connections.
        spent = self._server.spent(self.url) - self._spent
        came = self.sink.told()
        if left:
            raise ChildError(f"{left} messages were not settled {_SETTLING:g} s after the last mail")
        return {
            "rate": count / seconds,
            "lost": float(count - came.distinct),
            "doubled": float(came.doubled),
            "node cpu": cpu / count,
            "server cpu": spent.cpu / count,
            "wal": spent.wal / count,
            "commits": spent.commits / count,
            "syncs": spent.syncs / count,
            "kept": spent.size / count,
            "connections": connections / len(self.nodes),
        }

    def _used(self) -> float:
        return sum(child.cpu for child in self.nodes)


def node(folder: Path, config: Path, verb: str, environ: Mapping[str, str]) -> Child:
    """Start a node, its log going to a file."""
    name = f"{verb}-{secrets.token_hex(4)}"
    command = [sys.executable, "-m", "gateway", verb, "--config", str(config)]
    return Child(name, command, folder, environ=environ, logged=True)


def _load(folder: Path, loads: Sequence[tuple[int, int]], key: str) -> float:
    """Put the loads on, one a port; return the monotonic time of the first request. Raises ``ChildError``."""
    with ExitStack() as stack:
        children = [
            stack.enter_context(Child(f"load-{port}", program("load", port, "--key", key, "--count", count), folder))
            for port, count in loads
        ]
        deadline = time.monotonic() + _LIMIT
        done = [json.loads(child.line(deadline - time.monotonic())) for child in children]
        for child in children:
            child.wait(PATIENCE)
    return float(min(found["began_at"] for found in done))
