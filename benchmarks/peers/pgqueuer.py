"""PgQueuer at rest beside ours on the same PostgreSQL server, and on SQLite: how long until work that was queued begins.

Ours is measured by ``benchmarks.idle``, over a longer way: from the HTTP request until the row says sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.children import Child
from benchmarks.figures import Target, again
from benchmarks.idle import GATEWAY as IDLE
from benchmarks.idle import Idle
from benchmarks.parts import FULL_ONLY, Arm, Part, Scale, Shown, SkippedError, Stage
from benchmarks.peers.installing import ENVIRONMENTS
from benchmarks.report import Row, Section, compared
from benchmarks.rounds import Sample, Samples
from benchmarks.scale.peers import PINS, installed
from benchmarks.scale.server import Server
from benchmarks.served import Prepared

PEER = "pgqueuer"
#: On the same server, and on a file of its own.
GATEWAY, ON_SQLITE = "otp-gateway, PostgreSQL", "otp-gateway, SQLite"
#: Our time over its time.
TARGET = Target(1 / 3, at_least=False)
#: Seconds a run may take: the slowest seen takes a tenth of a second a job.
_PATIENCE = 180.0


@dataclass(frozen=True, slots=True)
class AtRest:
    """An installed PgQueuer, and the server it is run on."""

    folder: Path
    python: Path
    server: Server
    #: Jobs of one run.
    count: int

    def measured(self) -> Sample:
        """Return the seconds from ``enqueue`` until the job runs. Raises ``ChildError``."""
        with self.server.database() as url:
            command = [str(self.python), "-m", "benchmarks.peers.run_pgqueuer", url, str(self.count)]
            # Of the modules only what stands beside this one.
            environ = {"PYTHONPATH": str(Path(__file__).parents[2])}
            with Child(PEER, command, self.folder, environ=environ) as child:
                found = json.loads(child.line(_PATIENCE))
        return {"begun": found["median"], "slowest": found["slowest"]}


def _arms(stage: Stage) -> Mapping[str, Arm]:
    if stage.postgresql is None or stage.url is None:
        raise SkippedError("no PostgreSQL could be started")
    pythons, skipped = installed(ENVIRONMENTS, {PEER: PINS[PEER]})
    if PEER in skipped:
        raise SkippedError(f"it cannot be installed: {skipped[PEER]}")
    # The server's own folder is only needed for what it spends, which nobody asks for here.
    peer = AtRest(stage.folder, pythons[PEER], Server(stage.url, stage.folder), stage.scale.requests)
    return {
        PEER: peer.measured,
        GATEWAY: partial(_sent, stage, stage.postgresql),
        ON_SQLITE: partial(_sent, stage, stage.sqlite),
        again(PEER): peer.measured,
    }


def _sent(stage: Stage, prepared: Prepared) -> Sample:
    """Return the seconds from a request until its row says sent."""
    found = Idle(stage.folder, prepared, stage.scale.requests).arms()[IDLE]()
    return {"begun": found["sent"], "slowest": found["slowest"]}


def _sections(samples: Samples, _scale: Scale) -> Sequence[Section]:
    rows = []
    for figure, name, targets in (("begun", "p50", {GATEWAY: TARGET, ON_SQLITE: TARGET}), ("slowest", "p99", {})):
        found = compared(samples, figure, PEER, targets, scale=1000.0)
        rows += [Row(f"{row.name}: {name}", row.figure, row.ratio, row.target, floor=row.floor) for row in found]
    return (Section("Work begun at rest, beside pgqueuer", _TEXT, "ms", rows),)


_TEXT = (
    "One at a time with pauses between. PgQueuer 1.6.0 with its own settings, producer and worker in one process on "
    "uvloop: from before `enqueue` is called until the job begins to run. Ours, on the same PostgreSQL server and on "
    "SQLite: from the HTTP request until the gateway logs `message.sent`, with accepting, committing, claiming, "
    "rendering, an SMTP transaction and the commits after it in it."
)
PART = Part(PEER, _arms, _sections, weight=250, shown=Shown("begun", " ms", 1000.0), rounds=7, extents=FULL_ONLY)
