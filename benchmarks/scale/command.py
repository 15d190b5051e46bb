"""``python -m benchmarks scale``: measure several nodes on one PostgreSQL and write docs/scaling.md."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from benchmarks.children import ChildError
from benchmarks.machine import described, postgresql
from benchmarks.report import number
from benchmarks.rounds import Budget, Sample, Samples, measure, tell
from benchmarks.scale import depth
from benchmarks.scale.document import document
from benchmarks.scale.nodes import Nodes
from benchmarks.scale.peers import Alone, Peers, alone, installed
from benchmarks.scale.results import Backlog, Results
from benchmarks.scale.server import Server
from benchmarks.served import Prepared, prepare

_DOCUMENT = Path(__file__).parents[2] / "docs" / "scaling.md"
#: Of the budget, what may be gone when a measurement begins its last round.
_POSTED_UNTIL, _DRAINED_UNTIL, _BACKLOG_UNTIL, _DEEP_UNTIL, _RACED_UNTIL = 0.26, 0.42, 0.68, 0.83, 0.97
#: Workers of the long backlog.
_WORKERS = 2
#: Seconds a backlog may take at most, and those it must be given to be tried.
_LONG, _SHORT = 240.0, 20.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    #: In words, for whoever reads the figures.
    extent: str
    rounds: int
    #: Seconds of everything; rounds that do not fit are left out.
    budget: float
    #: Seconds after which everything is ended, whatever has been measured.
    deadline: int
    #: Messages of one run with several nodes: more than a node holds in memory.
    count: int
    #: Messages of the long backlog, of one run of the race.
    backlog: int
    race: int
    #: Messages that wait, when a message's cost is measured.
    sizes: Sequence[int] = depth.SIZES


NORMAL = Scale(extent="all of it", rounds=3, budget=800, deadline=900, count=4_000, backlog=100_000, race=2_000)
QUICK = Scale(
    extent="`--quick`: small numbers, for a look",
    rounds=1,
    budget=150,
    deadline=300,
    count=1_000,
    backlog=5_000,
    race=500,
    sizes=(1_000, 20_000),
)


class OverdueError(Exception):
    """The run took longer than it may."""


def main(arguments: Sequence[str]) -> int:
    """Run the measurements; return the exit code."""
    asked = _asked(arguments)
    scale = QUICK if asked.quick else NORMAL
    signal.signal(signal.SIGTERM, _interrupted)
    signal.signal(signal.SIGALRM, _overdue)
    signal.alarm(scale.deadline)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.folder) as folder:
            text = _run(Path(folder), asked.cache, scale)
    except (ChildError, OSError, OverdueError) as error:
        print(f"the benchmarks failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; everything that was started has ended", file=sys.stderr)
        return 130
    finally:
        signal.alarm(0)
    if asked.write or not asked.quick:
        _DOCUMENT.write_text(text, "utf-8")
        tell(f"written: {_DOCUMENT.parent.name}/{_DOCUMENT.name}")
    print(text)
    return 0


def _asked(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks scale", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, one round, nothing written")
    parser.add_argument("--write", action="store_true", help="write docs/scaling.md after --quick too")
    parser.add_argument("--folder", type=Path, help="where the databases are made: the disk that is measured")
    parser.add_argument("--cache", type=Path, default=cache(), help="where other queues are installed")
    return parser.parse_args(arguments)


def cache() -> Path:
    """Return where other queues are installed unless another place is named."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "otp-gateway-benchmarks"


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _overdue(_number: int, _frame: FrameType | None) -> None:
    raise OverdueError("the time is used up; everything that was started has ended")


def _run(folder: Path, cache: Path, scale: Scale) -> str:
    pythons, skipped = installed(cache)
    # Installing is not measuring: the budget begins here, the deadline began before.
    budget = Budget(scale.budget)
    with postgresql(folder / "pg") as url:
        if url is None:
            raise ChildError("these measurements are about PostgreSQL, and none could be started here")
        server = Server(url, folder / "pg")
        machine = {**_machine(folder, url), "Extent": scale.extent}
        prepared = prepare(folder / "prepared", url)
        ours = alone(folder, prepared)
        nodes = Nodes(folder, server, prepared, scale.count)
        posted = _measured("request to mail", nodes.posted(), scale, budget, _POSTED_UNTIL, "rate")
        drained = _measured("backlog", nodes.drained(), scale, budget, _DRAINED_UNTIL, "rate")
        backlog = _backlog(nodes, scale, budget)
        with depth.queues(folder, server, prepared, ours, scale.sizes) as queues:
            deep = _measured("length", queues.arms(), scale, budget, _DEEP_UNTIL, "seconds")
        raced = _raced(folder, server, prepared, ours, pythons, scale, budget)
    machine["Load average at the end"] = f"{os.getloadavg()[0]:.1f}"
    made = [len(next(iter(samples.values()))) for samples in (posted, drained, deep, raced)]
    rounds = f"{min(made)} to {max(made)}" if min(made) < max(made) else str(made[0])
    results = Results(posted, drained, deep, raced, backlog, skipped, scale.count, scale.race, scale.sizes)
    return document(machine, rounds, results)


def _machine(folder: Path, url: str) -> dict[str, str]:
    found = described(folder, url)
    # Neither has a part in these measurements.
    del found["SQLite"]
    found["SMTP sink"] = "benchmarks/scale/sink.py"
    return found


def _backlog(nodes: Nodes, scale: Scale, budget: Budget) -> Backlog | None:
    left = scale.budget * _BACKLOG_UNTIL - budget.spent
    if left < _SHORT:
        tell(f"the backlog of {scale.backlog:,} is left out, the time is used up")
        return None
    try:
        sample, seen = nodes.drain(_WORKERS, scale.backlog, min(_LONG, left))
    except ChildError as error:
        tell(f"the backlog of {scale.backlog:,} was not sent within {min(_LONG, left):.0f} s: {error}")
        return None
    tell(f"backlog of {scale.backlog:,}: {number(sample['rate'])}/s, {budget.spent:.0f} s gone")
    return Backlog(scale.backlog, _WORKERS, sample, seen)


def _raced(
    folder: Path,
    server: Server,
    prepared: Prepared,
    ours: Alone,
    pythons: Mapping[str, Path],
    scale: Scale,
    budget: Budget,
) -> Samples:
    arms = Peers(folder, server, prepared, ours, pythons, scale.race).arms()
    return _measured("race", arms, scale, budget, _RACED_UNTIL, "through")


def _measured(
    title: str, arms: Mapping[str, Callable[[], Sample]], scale: Scale, budget: Budget, until: float, figure: str
) -> Samples:
    def summary(latest: Mapping[str, Sample]) -> str:
        return "; ".join(f"{name} {number(sample[figure])}" for name, sample in latest.items())

    return measure(title, arms, rounds=scale.rounds, budget=budget, share=until, summary=summary)
