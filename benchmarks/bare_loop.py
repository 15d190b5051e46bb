"""What every bare loop is as a program: its arguments, its processor time, the line it prints."""

from __future__ import annotations

import argparse
import json
import resource
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

#: Sends to a port what a file holds, so often, over so many connections; returns when it began, in monotonic seconds, and
#: the processor seconds it used.
Run = Callable[[int, bytes, int, int], Awaitable[tuple[float, float]]]


def cpu() -> float:
    """Return the processor seconds this process has used, the system's for it included."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(run: Run) -> None:
    """Be the program: ``port file --count N [--connections N]``; print ``began_at`` and ``cpu`` as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--connections", type=int, default=16)
    asked = parser.parse_args()

    async def ran() -> tuple[float, float]:
        return await run(asked.port, asked.file.read_bytes(), asked.count, asked.connections)

    began_at, used = uvloop.run(ran())
    print(json.dumps({"began_at": began_at, "cpu": used}), flush=True)
