"""From the first request to the last mail in the sink, and CPU per mail, beside a bare SMTP loop."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.accepts import held, load, sink
from benchmarks.children import Child, program
from benchmarks.mail_sinks import mail_sink
from benchmarks.rounds import Sample
from benchmarks.served import CONCURRENCY, PATIENCE, Prepared, serving

YARDSTICK, AGAIN, GATEWAY = "bare aiosmtplib loop", "bare aiosmtplib loop, again", "gateway, SQLite"
#: Seconds all mails may take to arrive.
_LIMIT = 90.0
#: Seconds without CPU time after which the gateway is taken to have settled everything.
_QUIET = 0.3
#: CPU seconds an idle gateway uses in that time.
_IDLE = 0.03


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """How many mails are sent, and what by."""

    folder: Path
    prepared: Prepared
    #: A file with the bytes of one mail, as the gateway made it.
    content: Path
    count: int

    def arms(self) -> Mapping[str, Callable[[], Sample]]:
        """Return what is measured, by name, the yardstick first."""
        return {YARDSTICK: self._bare, GATEWAY: self._gateway, AGAIN: self._bare}

    def _bare(self) -> Sample:
        with mail_sink(self.folder) as end:
            arguments = (end.port, self.content, "--count", self.count, "--connections", CONCURRENCY)
            with Child("bare-mail", program("bare_mail", *arguments), self.folder) as child:
                done = json.loads(child.line(_LIMIT))
                child.wait(PATIENCE)
            return self._sample(done["began_at"], end.wait(self.count, PATIENCE), done["cpu"])

    def _gateway(self) -> Sample:
        with mail_sink(self.folder) as end, serving(self.prepared, sink=end.port) as served:
            used = served.child.cpu
            done = load(self.folder, served.port, "--key", served.key, "--count", self.count, within=_LIMIT)
            arrived_at = end.wait(self.count, _LIMIT)
            settle(served.child)
            sample = self._sample(done["began_at"], arrived_at, served.child.cpu - used)
            return {**sample, **held(served)}

    def _sample(self, began_at: float, arrived_at: float, cpu: float) -> Sample:
        return {"rate": self.count / (arrived_at - began_at), "cpu": cpu / self.count}


def sample_mail(folder: Path, prepared: Prepared) -> Path:
    """Have the gateway send one mail and return the file its bytes are in."""
    path = folder / "mail"
    with sink(folder) as (child, port), serving(prepared, sink=port) as served:
        load(folder, served.port, "--key", served.key, "--count", 1, within=PATIENCE)
        child.tell("wait 1")
        child.line(PATIENCE)
        child.tell("sample")
        path.write_bytes(base64.b64decode(json.loads(child.line(PATIENCE))))
    return path


def settle(child: Child) -> None:
    """Wait until a process has next to nothing to do any more, ten seconds at most."""
    for _ in range(int(10 / _QUIET)):
        before = child.cpu
        time.sleep(_QUIET)
        if child.cpu - before <= _IDLE:
            return
