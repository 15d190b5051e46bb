"""``python -m tests.breaking_in``: four people try to break into a running gateway, over its wire alone.

A stranger without a key, a caller with one service's key, a person with a chat or a number, and whoever reads what the
gateway writes. SQLite with one node, PostgreSQL with two. Exit code 1 where one of them got anything that the documents do
not grant, 130 where it was stopped, else 0.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType

from tests.breaking_in.parts import PARTS
from tests.breaking_in.verdicts import Verdicts
from tests.breaking_in.world import Stage, stage
from tests.faults.trial import BOTH


def main(words: Sequence[str] | None = None) -> int:
    """Play what was asked for; return the exit code."""
    asked = arguments(words)
    # A plain "stop" unwinds everything that is open, as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        return asyncio.run(attack([asked.database] if asked.database else BOTH, asked.only or list(PARTS)))
    except KeyboardInterrupt:
        print("stopped; everything that was started has ended", file=sys.stderr)
        return 130


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. Raises ``SystemExit`` for what is unknown."""
    parser = argparse.ArgumentParser(prog="python -m tests.breaking_in", description=__doc__)
    parser.add_argument("--database", choices=BOTH, help="one database only")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), metavar="PART", help=f"of {', '.join(PARTS)}")
    return parser.parse_args(words)


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


async def attack(databases: Sequence[str], parts: Sequence[str]) -> int:
    """Play parts on databases, one after the other; return the exit code."""
    verdicts = Verdicts()
    for database in databases:
        began = time.monotonic()
        async with stage(database, verdicts) as opened:
            for name in parts:
                await play(name, opened)
        told = f"{database}, {opened.number} node(s): {time.monotonic() - began:.0f} s"
        print(f"{told}; {verdicts.judged} attempts so far, {len(verdicts.fallen)} fell", file=sys.stderr, flush=True)
    return verdicts.exit_code


async def play(name: str, opened: Stage) -> None:
    """Play one part; one that breaks off has fallen, and the others are to be played."""
    began = time.monotonic()
    try:
        await PARTS[name](opened)
    except Exception as error:  # noqa: BLE001 - whatever it was, what follows was not tried
        opened.verdicts.broke(name, error)
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
