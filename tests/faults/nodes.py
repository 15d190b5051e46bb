"""Gateways to be maltreated: ``serve`` processes that are traced, limited, paused, and started again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.journeys import node

#: Seconds a process may take to start under a tracer.
PATIENCE = 40.0


def free_port() -> int:
    """Return a TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


_SERVES = re.compile(rb"serves on (http://\S+)")
#: What a line about a fault of the database names.
_OF_STORAGE = re.compile("Storage|SQLite|PostgreSQL|database")


class Node(node.Node):
    """One ``serve`` process.

    ``before`` is what starts it (``prlimit``, ``strace -D``: they must leave it this process's child), ``more`` are
    variables without our prefix, ``host`` is where it listens, and ``deaf`` gives it a standard output nobody reads.
    """

    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str],
        *,
        before: Sequence[str] = (),
        more: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        deaf: bool = False,
    ) -> None:
        super().__init__(folder, environ)
        self._environ |= dict(more or {})
        self.before = tuple(before)
        self._host = host
        self._port = port
        self._deaf = deaf
        self._reading: asyncio.Task[bytes] | None = None
        #: Why it did not start.
        self.refusal = ""
        #: How often it was started.
        self.starts = 0

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the process and wait until it serves. Raises ``AssertionError`` with what it said instead."""
        assert not self.runs, "it runs already"
        refusal = await self.try_start()
        assert refusal is None, f"the gateway did not start: {refusal}"

    async def try_start(self) -> str | None:
        """Start the process; return ``None`` once it serves, or what it said on standard error before it ended."""
        self.starts += 1
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.before,
                *(sys.executable, "-m", "gateway", "serve", "--host", self._host, "--port", str(self._port)),
                env=self._environ,
                cwd=self._folder,
                stdout=asyncio.subprocess.PIPE if self._deaf else log,
                stderr=asyncio.subprocess.PIPE,
                # A pipe that nobody reads: the kernel's 64 KiB and one buffer of ours fill soon.
                limit=4096,
            )
        assert self._process.stderr is not None
        said = b""
        async with asyncio.timeout(PATIENCE):
            while line := await self._process.stderr.readline():
                said += line
                if found := _SERVES.search(line):
                    self.url = found[1].decode()
                    self._drain = asyncio.create_task(self._process.stderr.read())
                    return None
            await self._process.wait()
        self.refusal = said.decode("utf-8", "replace").strip()
        return self.refusal

    def pause(self) -> None:
        """Stop the process where it is, as a suspended machine or a long collection would."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    async def kill(self) -> None:
        """End the process without a word, and wait until it is gone."""
        if self.runs:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        assert self._process is not None
        await self._process.wait()

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return how the process ended; 0 if it never began."""
        if self.runs and number != signal.SIGKILL:
            # Whoever is stopped hears nothing but SIGKILL. It may have ended by itself, and the loop not know of it yet.
            with contextlib.suppress(ProcessLookupError):
                self.resume()
        if self._process is not None and self._process.stdout is not None and self._reading is None:
            # The loop tells of a process's end once its pipes have ended, too.
            self._reading = asyncio.create_task(self._process.stdout.read())
        code = await super().end(number)
        if self._reading is not None:
            # Left unread, the pipe would outlive the loop.
            await self._reading
        return code

    def memory(self) -> tuple[float, int, int]:
        """Return what it holds: MiB resident, open files, threads (proc(5))."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        values = dict(line.split(":", 1) for line in status.splitlines())
        files = len(list(Path(f"/proc/{self.pid}/fd").iterdir()))
        return int(values["VmRSS"].split()[0]) / 1024, files, int(values["Threads"])

    def said_in_log(self) -> str:
        """Return its standard output so far."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def told_once(self) -> bool:
        """Whether its log has one error for a database that was away, and nothing else above ``info`` of what followed."""
        lines = [json.loads(line) for line in self.said_in_log().splitlines()]
        loud = [line for line in lines if line["level"] in {"warning", "error"}]
        found = [
            (line["level"], line["event"])
            for line in loud
            if _OF_STORAGE.search(f"{line['event']} {line.get('error')}")
        ]
        return len(found) == 1 and found[0][0] == "error" and found[0][1].startswith("the database is away: ")
