"""Child processes that are always ended, and what Linux tells of them: CPU time and memory."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

#: Seconds a child has to end by itself before it is killed.
GRACE = 1.0
_TICKS = os.sysconf("SC_CLK_TCK")
#: Bytes of a failed child's standard error that are shown.
_TAIL = 2000


class ChildError(RuntimeError):
    """A child said nothing in time, ended early, or reported a failure."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process holds, in MiB."""

    #: VmRSS: now.
    resident: float
    #: VmHWM: at its highest.
    peak: float


class Child:
    """A program in a process of its own. Use it with ``with``: it ends with the block, whatever happens.

    ``standard_output`` is read by ``line``, or written to a file of that name in ``folder`` where ``logged``.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        *,
        environ: Mapping[str, str] | None = None,
        logged: bool = False,
    ) -> None:
        self.name = name
        self._errors = folder / f"{name}.err"
        self._rest = b""
        with self._errors.open("wb") as errors, (folder / f"{name}.out").open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output if logged else subprocess.PIPE,
                stderr=errors,
                env=dict(environ) if environ is not None else None,
                # Ctrl-C at the terminal reaches us alone, and we end the children in order.
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def line(self, within: float) -> str:
        """Return the next line of its standard output. Raises ``ChildError`` where none comes within the seconds."""
        assert self._process.stdout is not None, "its output goes to a file"
        descriptor, deadline = self._process.stdout.fileno(), time.monotonic() + within
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise self._failed(f"said nothing for {within:g} s")
            chunk = os.read(descriptor, 65_536)
            if not chunk:
                raise self._failed("ended")
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def error_line(self, start: str, within: float) -> str:
        """Return the first line of its standard error that begins with ``start``. Raises ``ChildError``."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            for line in self._errors.read_text("utf-8", "replace").splitlines(keepends=True):
                if line.startswith(start) and line.endswith("\n"):
                    return line.strip()
            if self._process.poll() is not None:
                raise self._failed("ended")
            time.sleep(0.01)
        raise self._failed(f"did not say {start!r} within {within:g} s")

    def tell(self, line: str) -> None:
        """Write one line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def wait(self, within: float) -> None:
        """Wait for its end. Raises ``ChildError`` where it does not come within the seconds, or was a failure."""
        try:
            code = self._process.wait(within)
        except subprocess.TimeoutExpired:
            raise self._failed(f"did not end within {within:g} s") from None
        if code:
            raise self._failed(f"ended with {code}")

    @property
    def cpu(self) -> float:
        """CPU seconds used so far, user and system, all threads, by it and the processes it started that still run."""
        return sum(cpu_seconds(text) for text in texts(self.pid, "stat"))

    @property
    def memory(self) -> Memory:
        """What it and the processes it started hold together; what they share is counted for each."""
        held = [memory(text) for text in texts(self.pid, "status")]
        return Memory(sum(one.resident for one in held), sum(one.peak for one in held))

    def stop(self, grace: float = GRACE) -> None:
        """End it: asked first, killed after ``grace`` seconds."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    def _failed(self, what: str) -> ChildError:
        told = self._errors.read_text("utf-8", "replace")[-_TAIL:].strip()
        return ChildError(f"{self.name} {what}" + (f":\n{told}" if told else ""))


def program(module: str, *arguments: object) -> list[str]:
    """Return the command that runs one of our programs by this interpreter."""
    return [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]


def texts(pid: int, name: str) -> Iterator[str]:
    """Yield ``/proc/<pid>/<name>`` of a process and of all that come from it, without those that end meanwhile."""
    home = Path("/proc", str(pid))
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        yield (home / name).read_text()
        # By thread, as proc(5) has it: whichever of them started a process.
        started = [child for path in home.glob("task/*/children") for child in path.read_text().split()]
        for child in started:
            yield from texts(int(child), name)


def cpu_seconds(stat: str) -> float:
    """Read user and system time from the text of ``/proc/<pid>/stat`` (proc(5), fields 14 and 15)."""
    # The second field is the program's name in parentheses and may hold anything.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(status: str) -> Memory:
    """Read VmRSS and VmHWM from the text of ``/proc/<pid>/status`` (proc(5), in KiB)."""
    values = {line.partition(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith("Vm")}
    return Memory(int(values["VmRSS"]) / 1024, int(values["VmHWM"]) / 1024)
