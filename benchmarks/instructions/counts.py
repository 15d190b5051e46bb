"""Counted instructions: how they are kept, and what a new count is held against."""

from __future__ import annotations

import json
import platform
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

#: How much dearer something may become before the check fails: 5 %.
TOLERATED = 0.05


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted, and by what."""

    #: Instructions each, by what is done.
    instructions: Mapping[str, int]
    #: By what part a second count of the same differed: 0.002 is 0.2 %.
    differed: Mapping[str, float]
    #: What counted, the interpreter, its SQLite and the processor's kind: counts of others cannot be compared.
    tool: str
    python: str
    sqlite: str
    machine: str

    def unlike(self, other: Counts) -> str | None:
        """Return why another's counts cannot be held against these; ``None`` where they can."""
        for name in ("tool", "python", "sqlite", "machine"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                return f"the kept counts are of {name} {theirs}, here it is {mine}"
        return None


def made(counted: Mapping[str, float], again: Mapping[str, float], tool: str) -> Counts:
    """Return counts as they are kept, of this interpreter, with what a second count differed by."""
    differed = {name: round(abs(again[name] / value - 1), 5) for name, value in counted.items() if name in again}
    whole = {name: round(value) for name, value in counted.items()}
    return Counts(whole, differed, tool, python_version(), sqlite3.sqlite_version, platform.machine())


def python_version() -> str:
    """Return the interpreter's name and version: ``CPython 3.11.7``."""
    return f"{platform.python_implementation()} {platform.python_version()}"


def with_parts(counted: Mapping[str, float]) -> dict[str, float]:
    """Return the counts with what is made of two: a send is what sending costs on top of accepting."""
    found = dict(counted)
    if {"accept-email", "send-email"} <= found.keys():
        found["send-email"] -= found["accept-email"]
    return found


def read(file: Path) -> Counts | None:
    """Return what is kept, ``None`` where nothing is. Raises ``ValueError`` or ``TypeError`` for a file of another shape."""
    return Counts(**json.loads(file.read_text("utf-8"))) if file.exists() else None


def write(file: Path, counts: Counts) -> None:
    """Keep counts. Raises ``OSError``."""
    file.write_text(json.dumps(asdict(counts), indent=2) + "\n", "utf-8")


def dearer(now: Counts, kept: Counts) -> list[str]:
    """Return what costs over ``TOLERATED`` more than is kept."""
    return [
        name
        for name, count in now.instructions.items()
        if name in kept.instructions and count > kept.instructions[name] * (1 + TOLERATED)
    ]


def table(now: Counts, kept: Counts | None) -> str:
    """Return the counts beside those that are kept, as lines of text."""
    lines = [f"{'instructions each':<18}{'now':>12}{'kept':>12}{'change':>9}"]
    for name, count in now.instructions.items():
        before = None if kept is None else kept.instructions.get(name)
        held = "" if before is None else f"{before:>12,}{count / before - 1:>+9.1%}"
        lines.append(f"{name:<16}{count:>14,}{held}".rstrip())
    return "\n".join(lines)
