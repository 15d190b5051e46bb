"""Several nodes on one PostgreSQL, and other queues on the same server: ``benchmarks.scale`` as parts of a long run.

What a node costs, long backlogs and long queues are measured by ``python -m benchmarks scale`` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.figures import Spread, Target, ratios, spread
from benchmarks.parts import FULL_ONLY, Arm, Part, Scale, Shown, SkippedError, Stage
from benchmarks.report import Row, Section, compared, floor_of
from benchmarks.rounds import Samples, column
from benchmarks.scale import peers
from benchmarks.scale.command import cache
from benchmarks.scale.nodes import Nodes
from benchmarks.scale.server import Server
from benchmarks.served import Prepared

#: Messages of one run of the race.
_RACE = 2_000
_ONE = "1 dispatch"
#: The gateway's rate over another queue's.
TARGETS = {"procrastinate": Target(10.0, at_least=True), "pgqueuer": Target(1.0, at_least=True)}
#: Messages that came twice, over all runs.
_NONE = Target(0.0, at_least=False)


def several(samples: Samples, mails: int) -> Section:
    """Return messages a second by nodes."""
    return Section(
        "Several nodes on PostgreSQL",
        f"{mails:,} messages that appear in the database at once, sent by so many `dispatch` nodes that were idle; timed "
        "from the first mail to the last, which are told apart by their Message-ID. The yardstick is one node; all share "
        "the cores of the machine with the server.",
        "messages/s",
        compared(samples, "rate", _ONE, {}),
    )


def doubled(samples: Samples) -> Section:
    """Return how many messages came twice."""
    found = [sample["doubled"] for taken in samples.values() for sample in taken]
    # The sum says more than a median: one is too many.
    total = Spread(sum(found), min(found), max(found))
    return Section(
        "Several nodes, doubled",
        "In the same runs: the sum of all, with the least and the most of one.",
        "messages",
        [Row("came twice", total, None, _NONE, on_ratio=False)],
    )


def raced(samples: Samples) -> Section:
    """Return the gateway's queue beside others on the same server."""
    rows = compared(samples, "through", peers.GATEWAY, {})
    ours = column(samples[peers.GATEWAY], "through")
    floor = floor_of(samples, "through", peers.GATEWAY)
    for name, target in TARGETS.items():
        if name in samples:
            ratio = spread(ratios(ours, column(samples[name], "through")))
            rows.append(Row(f"{peers.GATEWAY} over {name}", spread(ours), ratio, target, floor=floor))
    return Section(
        "Other queues on the same PostgreSQL",
        f"{_RACE:,} messages that nobody has to carry anywhere, enqueued by 32 at a time, each in a transaction of its "
        "own, while a worker of the same process takes them; until the last is settled. The others do less: no attempt is "
        "written down before it is made, no event kept, nothing sealed or rendered ([scaling](scaling.md)).",
        "messages/s",
        rows,
    )


def _server(stage: Stage) -> tuple[Server, Prepared]:
    if stage.url is None or stage.postgresql is None:
        raise SkippedError("no PostgreSQL could be started")
    return Server(stage.url, stage.folder / "pg"), stage.postgresql


def _nodes(stage: Stage) -> Mapping[str, Arm]:
    server, prepared = _server(stage)
    return Nodes(stage.folder, server, prepared, stage.scale.mails).drained()


def _race(stage: Stage) -> Mapping[str, Arm]:
    server, prepared = _server(stage)
    pythons, skipped = peers.installed(cache())
    if not pythons:
        raise SkippedError(f"no other queue could be installed ({', '.join(skipped.values())})")
    ours = peers.alone(stage.folder, prepared)
    return peers.Peers(stage.folder, server, prepared, ours, pythons, _RACE).arms()


def _several_sections(samples: Samples, scale: Scale) -> Sequence[Section]:
    return several(samples, scale.mails), doubled(samples)


def _race_sections(samples: Samples, _scale: Scale) -> Sequence[Section]:
    return (raced(samples),)


PARTS = (
    Part("several nodes", _nodes, _several_sections, weight=420, extents=FULL_ONLY),
    Part("other queues", _race, _race_sections, weight=420, shown=Shown("through"), extents=FULL_ONLY),
)
