"""Who counts instructions: valgrind's callgrind, else ``perf`` where the processor's counters can be read."""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.children import Child, ChildError
from benchmarks.served import Prepared

#: Times an arm's work is done; where a tool counts the start as well, what differs between the two is the work alone.
FEW, MANY = 160, 480
#: Seconds the program may take until it is ready, and for its work: a tool makes it fifty times slower.
_STARTING, _WORKING = 240.0, 600.0
#: Seconds vgdb may take.
_TELLING = 60.0
#: Which of callgrind's files is the work's: the first is what came before, the third and last what came after.
_PART = 2
_TOTAL = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


class NoToolError(Exception):
    """Nothing counts instructions here; the text says what to install."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A way of counting."""

    name: str
    #: Returns the instructions of an arm's work, each time it is done, of a prepared gateway. Raises ``ChildError``.
    count: Callable[[str, Prepared], float]


def found() -> Tool:
    """Return the tool there is. Raises ``NoToolError``."""
    if shutil.which("valgrind") and shutil.which("vgdb"):
        return Tool("callgrind", by_callgrind)
    if shutil.which("perf") and _counts():
        return Tool("perf", by_perf)
    raise NoToolError(
        "neither valgrind nor a perf that may count is here: install valgrind (on Debian: apt-get install valgrind)"
    )


def by_callgrind(arm: str, prepared: Prepared) -> float:
    """Count by callgrind: one run, in which each call of ``getppid`` ends a part that is written to a file of its own.

    The start is not counted, for callgrind begins when the program is ready.
    """
    with _copied(prepared) as folder:
        output = folder / "callgrind.out"
        # Without counting a start takes seconds, with it a minute.
        options = ("--tool=callgrind", "--instr-atstart=no", "--dump-before=getppid", f"--callgrind-out-file={output}")
        with _started(["valgrind", *options], arm, prepared, folder, (MANY,)) as child:
            child.error_line("ready", _STARTING)
            _switch_on(child)
            child.tell("go")
            child.wait(_WORKING)
        if output.with_name(f"{output.name}.{_PART + 2}").exists():
            raise ChildError("something else calls getppid, so that the work is in several parts")
        return total(output.with_name(f"{output.name}.{_PART}").read_text()) / MANY


def _switch_on(child: Child) -> None:
    command = ["vgdb", f"--pid={child.pid}", "instrumentation", "on"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_TELLING)
    except subprocess.SubprocessError as error:
        raise ChildError(f"vgdb could not tell callgrind to count: {type(error).__name__}") from None


def by_perf(arm: str, prepared: Prepared) -> float:
    """Count by the processor's own counter: two runs, whose difference is the work alone."""
    few, many = (_counted_by_perf(arm, prepared, count) for count in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def total(text: str) -> int:
    """Return the instructions in a file of callgrind's. Raises ``ChildError`` where there are none."""
    told = _TOTAL.search(text)
    if told is None:
        raise ChildError("callgrind wrote a file without a total")
    return int(told[1])


def event_count(text: str) -> int:
    """Return the instructions ``perf stat -x,`` wrote. Raises ``ChildError`` where it counted none."""
    for line in text.splitlines():
        count, _, rest = line.partition(",")
        if "instructions" in rest and count.isdecimal():
            return int(count)
    raise ChildError("perf counted no instructions")


def _counted_by_perf(arm: str, prepared: Prepared, count: int) -> int:
    with _copied(prepared) as folder:
        output = folder / "perf.txt"
        command = ["perf", "stat", "-x,", "-e", "instructions:u", "-o", str(output), "--"]
        with _started(command, arm, prepared, folder, (count,)) as child:
            child.tell("go")
            child.wait(_WORKING)
        return event_count(output.read_text())


def _counts() -> bool:
    """Whether ``perf`` can read the counter here: virtual machines often have none."""
    command = ["perf", "stat", "-x,", "-e", "instructions:u", "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TELLING, check=False)
    try:
        return done.returncode == 0 and event_count(done.stderr) > 0
    except ChildError:
        return False


@contextmanager
def _copied(prepared: Prepared) -> Iterator[Path]:
    folder = prepared.folder.with_name(f"counted-{secrets.token_hex(4)}")
    shutil.copytree(prepared.folder, folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _started(tool: Sequence[str], arm: str, prepared: Prepared, folder: Path, counts: Sequence[int]) -> Child:
    key = folder / "key"
    # In a file, for everybody sees a process's arguments.
    key.write_text(prepared.key, "ascii")
    # Sets of strings are walked through in the same order each time.
    environ = {**prepared.environ, "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", "benchmarks.instructions.path", arm, str(key), str(folder), *map(str, counts)]
    return Child(f"counted-{arm}", [*tool, *command], folder, environ=environ, logged=True)
