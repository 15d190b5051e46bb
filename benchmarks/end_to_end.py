"""From the first request to the last mail in the sink, and CPU per mail, beside a bare SMTP loop."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.accepts import held, load, sink
from benchmarks.children import Child, program
from benchmarks.figures import Target, again
from benchmarks.mail_sinks import mail_sink
from benchmarks.parts import EVERY, Arm, Part, Scale, Stage
from benchmarks.report import Section, compared
from benchmarks.rounds import Sample, Samples
from benchmarks.served import CONCURRENCY, PATIENCE, Prepared, serving

YARDSTICK, GATEWAY = "bare aiosmtplib loop", "gateway, SQLite"
AGAIN = again(YARDSTICK)
#: Of the yardstick's rate, and of its CPU time.
RATE = Target(0.50, at_least=True, aim=0.75)
CPU = Target(2.2, at_least=False, aim=1.5)
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

    def arms(self) -> Mapping[str, Arm]:
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


def sent(samples: Samples, mails: int) -> Section:
    """Return mails per second."""
    return Section(
        "End to end",
        f"{mails:,} verifications posted with 32 connections, timed from the first request until the last mail is in the "
        "sink. The yardstick is aiosmtplib alone: `sendmail()` of the very bytes the gateway made, over 16 connections "
        "kept open, into the same sink; the gateway may use as many (and renews each after 100 mails, its default).",
        "mails/s",
        compared(samples, "rate", YARDSTICK, {GATEWAY: RATE}),
    )


def cpu(samples: Samples) -> Section:
    """Return CPU time per mail."""
    return Section(
        "CPU per mail",
        "User and system time in the end-to-end run: for the gateway all of it and of all its processes, from the request "
        "to the settled row; for the yardstick the sending alone.",
        "ms/mail",
        compared(samples, "cpu", YARDSTICK, {GATEWAY: CPU}, scale=1000.0),
    )


def _arms(stage: Stage) -> Mapping[str, Arm]:
    content = sample_mail(stage.folder, stage.sqlite)
    return EndToEnd(stage.folder, stage.sqlite, content, stage.scale.mails).arms()


def _sections(samples: Samples, scale: Scale) -> Sequence[Section]:
    return sent(samples, scale.mails), cpu(samples)


PART = Part("end to end", _arms, _sections, weight=90, extents=EVERY)
