"""``python -m benchmarks.instructions``: count, and fail where something has become over 5 % dearer than is kept."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.children import ChildError
from benchmarks.instructions import counts
from benchmarks.instructions.path import ARMS
from benchmarks.instructions.tools import NoToolError, Tool, found
from benchmarks.served import Prepared, prepare

_FILE = Path(__file__).with_name("counts.json")
#: Arms counted at a time: the machine's other work changes no count.
_TOGETHER = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Count; return the exit code: 1 where something has become dearer or could not be counted."""
    asked = _asked(arguments)
    try:
        tool = found()
    except NoToolError as reason:
        print(f"bench-check is skipped: {reason}")
        return 0
    kept = counts.read(_FILE)
    here = counts.made({}, {}, tool.name)
    if kept is not None and not (asked.write or asked.arm) and (why := here.unlike(kept)):
        print(f"bench-check is skipped: {why}. To keep counts of this one: python -m benchmarks.instructions --write")
        return 0
    try:
        now = _counted(tool, asked.arm or list(ARMS), twice=asked.write)
    except (ChildError, OSError) as error:
        print(f"bench-check failed: {error}", file=sys.stderr)
        return 1
    comparable = kept if kept is not None and here.unlike(kept) is None else None
    print(counts.table(now, comparable))
    return _kept(now) if asked.write else _judged(now, comparable)


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--arm", action="append", choices=sorted(ARMS), help="count this alone; may be given again")
    what.add_argument("--write", action="store_true", help="keep the counts in counts.json, each counted twice")
    return parser.parse_args(arguments)


def _counted(tool: Tool, arms: Sequence[str], *, twice: bool) -> counts.Counts:
    """Count arms, ``twice`` each for how far two counts of the same differ. Raises ``ChildError`` or ``OSError``."""
    # A send is what it costs beyond accepting, which has to be counted for it.
    wanted = list(dict.fromkeys([*arms, *(["accept-email"] if "send-email" in arms else [])]))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ThreadPoolExecutor(_TOGETHER) as pool:
        prepared = prepare(Path(folder) / "sqlite")
        found = list(pool.map(partial(_one, tool, prepared), wanted * (2 if twice else 1)))
    first = counts.with_parts(dict(zip(wanted, found, strict=False)))
    second = counts.with_parts(dict(zip(wanted, found[len(wanted) :], strict=False)))
    return counts.made(first, second, tool.name)


def _one(tool: Tool, prepared: Prepared, arm: str) -> float:
    return tool.count(arm, prepared)


def _kept(now: counts.Counts) -> int:
    counts.write(_FILE, now)
    for name, differed in now.differed.items():
        print(f"{name}: counted twice, the second differs by {differed:.2%}")
    print(f"written: benchmarks/instructions/{_FILE.name}")
    return 0


def _judged(now: counts.Counts, kept: counts.Counts | None) -> int:
    if kept is None:
        print("nothing is kept to hold it against: python -m benchmarks.instructions --write")
        return 0
    if not (dearer := counts.dearer(now, kept)):
        return 0
    print(
        f"over {counts.TOLERATED:.0%} dearer: {', '.join(dearer)}. Where the price is right, keep it: "
        "python -m benchmarks.instructions --write",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
