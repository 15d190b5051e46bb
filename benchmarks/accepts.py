"""Durable accepts per second at concurrency 32, beside the bare app: the load is the same to the byte."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.children import Child, ChildError, program
from benchmarks.figures import Target, again
from benchmarks.parts import EVERY, Arm, Part, Scale, Stage
from benchmarks.report import Row, Section, compared
from benchmarks.rounds import Sample, Samples, column
from benchmarks.served import PATIENCE, Prepared, Served, serving

YARDSTICK = "bare uvicorn JSON app"
AGAIN = again(YARDSTICK)
EMAIL, SMS, ANSWERING = "e-mail, SQLite", "SMS, SQLite", "e-mail, SQLite, while sending"
EMAIL_POSTGRESQL, SMS_POSTGRESQL = "e-mail, PostgreSQL", "SMS, PostgreSQL"
#: Of the yardstick's rate.
TARGETS = {
    EMAIL: Target(0.33, at_least=True, aim=0.40),
    SMS: Target(0.25, at_least=True, aim=0.30),
    EMAIL_POSTGRESQL: Target(0.22, at_least=True, aim=0.30),
    SMS_POSTGRESQL: Target(0.22, at_least=True, aim=0.30),
}
#: Milliseconds of the slowest hundredth, the gateway's core saturated by 32 connections.
SLOWEST = Target(20.0, at_least=False, aim=12.0)
#: Refused requests that are tolerated, of all.
_TOLERATED = 0.01


@dataclass(frozen=True, slots=True)
class Accepts:
    """How long each arm is loaded, in seconds, and what it is run on."""

    folder: Path
    sqlite: Prepared
    #: ``None`` where no PostgreSQL could be started.
    postgresql: Prepared | None
    seconds: float
    warm_up: float

    def arms(self) -> Mapping[str, Arm]:
        """Return what is measured, by name, the yardstick first."""
        arms: dict[str, Arm] = {
            YARDSTICK: self._bare,
            EMAIL: lambda: self._gateway(self.sqlite, "email", paused=True),
            SMS: lambda: self._gateway(self.sqlite, "phone", paused=True),
            ANSWERING: lambda: self._gateway(self.sqlite, "email"),
            AGAIN: self._bare,
        }
        if (prepared := self.postgresql) is not None:
            arms[EMAIL_POSTGRESQL] = lambda: self._gateway(prepared, "email", paused=True)
            arms[SMS_POSTGRESQL] = lambda: self._gateway(prepared, "phone", paused=True)
        return arms

    def _bare(self) -> Sample:
        with bare_app(self.folder) as port:
            return self._load(port)

    def _gateway(self, prepared: Prepared, kind: str, *, paused: bool = False) -> Sample:
        with sink(self.folder) as (_, port), serving(prepared, sink=port, paused=paused) as served:
            sample = self._load(served.port, "--to", kind, "--key", served.key)
            return {**sample, **held(served)}

    def _load(self, port: int, *arguments: str) -> Sample:
        times = ("--seconds", self.seconds, "--warm-up", self.warm_up)
        done = load(self.folder, port, *arguments, *times, within=self.seconds + self.warm_up + PATIENCE)
        refused = sum(done["refused"].values())
        if refused > _TOLERATED * (done["created"] + refused):
            raise ChildError(f"requests were refused: {done['refused']}")
        return {
            "rate": done["created"] / done["seconds"],
            "median": done["median"],
            "slowest": done["slowest"],
            "busy": done["busy"],
        }


@contextmanager
def bare_app(folder: Path) -> Iterator[int]:
    """Run the bare app; yield its port."""
    with Child("bare-app", program("bare_app"), folder) as child:
        yield int(child.line(PATIENCE))


@contextmanager
def sink(folder: Path) -> Iterator[tuple[Child, int]]:
    """Run a sink of ours; yield it and its port."""
    with Child("sink", program("sink"), folder) as child:
        yield child, int(child.line(PATIENCE))


def load(folder: Path, port: int, *arguments: object, within: float) -> dict[str, Any]:
    """Put a load on and return what came of it, a ``benchmarks.load.Load``. Raises ``ChildError``."""
    with Child("load", program("load", port, *arguments), folder) as child:
        done: dict[str, Any] = json.loads(child.line(within))
        child.wait(PATIENCE)
    return done


def held(served: Served) -> Sample:
    """Return what the gateway holds in memory, in MiB."""
    memory = served.child.memory
    return {"resident": memory.resident, "peak": memory.peak}


def accepted(samples: Samples, seconds: float) -> Section:
    """Return accepts per second."""
    busy = max(value for taken in samples.values() for value in column(taken, "busy"))
    return Section(
        "Durable accepts",
        f"`POST /v1/verifications` with 32 connections for {seconds:g} s: an answer means that the verification is on the "
        "disk. The yardstick is a raw ASGI app on uvicorn (uvloop, httptools, the gateway's server settings) that parses "
        "the JSON body and answers JSON of the same size, and keeps nothing. So that accepting alone is measured, mails "
        "and SMS are paused, as after a provider has asked to wait; *while sending* has a mail server that answers. "
        f"The load generator was never busier than {busy:.0%} of a core.",
        "accepts/s",
        compared(samples, "rate", YARDSTICK, TARGETS),
    )


def latencies(samples: Samples) -> Section:
    """Return the latencies of the same requests."""
    rows = [Row(f"{row.name}, p50", row.figure, row.ratio) for row in _milliseconds(samples, "median")]
    for row in _milliseconds(samples, "slowest"):
        target = SLOWEST if row.name in TARGETS else None
        rows.append(Row(f"{row.name}, p99", row.figure, row.ratio, target, on_ratio=False, floor=row.floor))
    return Section(
        "Latency of these requests",
        "From writing a request until its answer has arrived whole, the gateway's core saturated by 32 connections.",
        "ms",
        rows,
    )


def _milliseconds(samples: Samples, figure: str) -> list[Row]:
    return compared(samples, figure, YARDSTICK, {}, scale=1000.0)


def _arms(stage: Stage) -> Mapping[str, Arm]:
    return Accepts(stage.folder, stage.sqlite, stage.postgresql, stage.scale.seconds, stage.scale.warm_up).arms()


def _sections(samples: Samples, scale: Scale) -> Sequence[Section]:
    return accepted(samples, scale.seconds), latencies(samples)


PART = Part("accepts", _arms, _sections, weight=200, extents=EVERY)
