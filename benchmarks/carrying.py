"""From the first request to the last message at its provider, by the gateway and by a bare loop that does nothing else.

Mails and what goes to an HTTP provider are measured alike; what differs is the end they are sent to, the program that is
the bare loop, and the gateway's settings.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.accepts import held, load
from benchmarks.children import Child, program
from benchmarks.mail_sinks import MailSink
from benchmarks.rounds import Sample
from benchmarks.served import CONCURRENCY, PATIENCE, Prepared, serving

#: Seconds all messages may take to arrive.
LIMIT: Final = 90.0
#: Seconds without CPU time after which the gateway is taken to have settled everything.
_QUIET: Final = 0.3
#: CPU seconds an idle gateway uses in that time.
_IDLE: Final = 0.03


@dataclass(frozen=True, slots=True)
class Carrying:
    """How many messages are sent, what by and where to."""

    folder: Path
    prepared: Prepared
    #: A file with the bytes of one message, as the gateway made them.
    content: Path
    count: int
    #: Opens the end, which counts what comes.
    end: Callable[[Path], AbstractContextManager[MailSink]]
    #: The module of the bare loop.
    loop: str
    #: What a load is to be sent ``--to``.
    to: str = "email"
    #: The gateway's settings, by their path, given the end's port; secrets may be among them.
    settings: Callable[[int], Mapping[tuple[str, ...], str]] = field(default=lambda _: {}, repr=False)

    def bare(self) -> Sample:
        """Send by the bare loop: messages a second, CPU seconds a message. Raises ``ChildError``."""
        with self.end(self.folder) as end:
            arguments = (end.port, self.content, "--count", self.count, "--connections", CONCURRENCY)
            with Child(self.loop, program(self.loop, *arguments), self.folder) as child:
                done = json.loads(child.line(LIMIT))
                child.wait(PATIENCE)
            return self._sample(done["began_at"], end.wait(self.count, PATIENCE), done["cpu"])

    def gateway(self) -> Sample:
        """Send by the gateway: the same, and what it holds in memory. Raises ``ChildError``."""
        with (
            self.end(self.folder) as end,
            serving(self.prepared, sink=end.port, settings=self.settings(end.port)) as served,
        ):
            used = served.child.cpu
            asked = ("--to", self.to, "--key", served.key, "--count", self.count)
            done = load(self.folder, served.port, *asked, within=LIMIT)
            arrived_at = end.wait(self.count, LIMIT)
            settle(served.child)
            sample = self._sample(done["began_at"], arrived_at, served.child.cpu - used)
            return {**sample, **held(served)}

    def _sample(self, began_at: float, arrived_at: float, cpu: float) -> Sample:
        return {"rate": self.count / (arrived_at - began_at), "cpu": cpu / self.count}


def settle(child: Child) -> None:
    """Wait until a process has next to nothing to do any more, ten seconds at most."""
    for _ in range(int(10 / _QUIET)):
        before = child.cpu
        time.sleep(_QUIET)
        if child.cpu - before <= _IDLE:
            return
