"""``python -m benchmarks``: measure everything and write docs/benchmarks.md; ``scale`` is a run of its own."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from benchmarks import (
    accepts,
    chat_and_sms,
    checks,
    claims,
    end_to_end,
    growth,
    idle,
    nodes_and_queues,
    offered,
    overload,
    slow_disk,
    starting_up,
)
from benchmarks.children import ChildError
from benchmarks.kept import Kept
from benchmarks.machine import described, postgresql
from benchmarks.memory import memory
from benchmarks.parts import Extent, Outcome, Part, Scale, Stage, chosen, measure_all
from benchmarks.peers import parts as peers
from benchmarks.report import Report
from benchmarks.rounds import Budget, tell
from benchmarks.scale import command as scaling
from benchmarks.served import prepare

_DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"

#: Everything there is to measure, in the order of the report. A part says itself which runs it belongs to.
PARTS: Sequence[Part] = (
    accepts.PART,
    offered.PART,
    slow_disk.PART,
    checks.PART,
    end_to_end.PART,
    chat_and_sms.PART,
    idle.PART,
    claims.PART,
    overload.PART,
    starting_up.PART,
    growth.PART,
    *nodes_and_queues.PARTS,
    *peers.PARTS,
)

NORMAL = Scale(
    Extent.BENCH,
    rounds=7,
    budget=840,
    seconds=2.0,
    warm_up=0.4,
    mails=3000,
    requests=50,
    repeats=2,
    sizes=claims.SIZES,
)
FULL = Scale(
    Extent.FULL,
    rounds=7,
    budget=5400,
    seconds=3.0,
    warm_up=0.5,
    mails=6000,
    requests=100,
    repeats=3,
    sizes=claims.FULL_SIZES,
)
QUICK = Scale(
    Extent.QUICK,
    rounds=2,
    budget=110,
    seconds=1.5,
    warm_up=0.3,
    mails=1000,
    requests=20,
    repeats=1,
    sizes=claims.SIZES,
)


def main() -> int:
    """Run the benchmarks; return the exit code."""
    if sys.argv[1:2] == ["scale"]:
        return scaling.main(sys.argv[2:])
    asked = _asked()
    scale = FULL if asked.full else QUICK if asked.quick else NORMAL
    try:
        parts = chosen(PARTS, scale.extent, asked.only)
    except KeyError as unknown:
        print(f"no part is named {unknown}: {', '.join(part.title for part in PARTS)}", file=sys.stderr)
        return 2
    # A plain "stop" unwinds everything that is open, as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.folder) as folder:
            kept = None if asked.resume is None else Kept(asked.resume, repr(scale))
            machine, outcome = _run(Path(folder), scale, parts, kept)
    except (ChildError, OSError) as error:
        print(f"the benchmarks failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; everything that was started has ended", file=sys.stderr)
        return 130
    sections = [*outcome.sections, *memory(outcome.samples)]
    report = Report(machine, outcome.rounds, sections, outcome.skipped)
    # A part of a run would take the place of the whole.
    if asked.write or not (asked.quick or asked.only):
        report.write(_DOCUMENT)
        tell(f"written: {_DOCUMENT.parent.name}/{_DOCUMENT.name}")
        if kept is not None:
            kept.clear()
    print(report.text)
    return 1 if outcome.failed else 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--quick", action="store_true", help="at most 2 minutes; fewer rounds, nothing written")
    extent.add_argument("--full", action="store_true", help="with other programs and a million messages; over an hour")
    parser.add_argument("--only", nargs="+", metavar="PART", default=(), help="these parts alone; nothing written")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md after --quick or --only too")
    parser.add_argument(
        "--resume", type=Path, metavar="FOLDER", help="keep each part's figures there until all are written"
    )
    parser.add_argument("--folder", type=Path, help="where the databases are made: the disk that is measured")
    return parser.parse_args()


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(folder: Path, scale: Scale, parts: Sequence[Part], kept: Kept | None) -> tuple[dict[str, str], Outcome]:
    budget = Budget(scale.budget)
    with postgresql(folder / "pg") as url:
        machine = described(folder, url)
        sqlite = prepare(folder / "sqlite")
        prepared = prepare(folder / "postgresql", url) if url else None
        tell(f"prepared, {budget.spent:.0f} s gone")
        outcome = measure_all(parts, Stage(folder, scale, sqlite, prepared, url), budget, kept)
    # Who else used the cores meanwhile: our own processes are about two.
    machine["Load average at the end"] = f"{os.getloadavg()[0]:.1f}"
    return machine, outcome


if __name__ == "__main__":
    sys.exit(main())
