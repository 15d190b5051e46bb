"""Durable accepts per second at concurrency 32, beside the bare app: the load is the same to the byte."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.children import Child, ChildError, program
from benchmarks.rounds import Sample
from benchmarks.served import PATIENCE, Prepared, Served, serving

YARDSTICK, AGAIN = "bare uvicorn JSON app", "bare uvicorn JSON app, again"
EMAIL, SMS, ANSWERING = "e-mail, SQLite", "SMS, SQLite", "e-mail, SQLite, while sending"
POSTGRESQL = "e-mail, PostgreSQL"
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

    def arms(self) -> Mapping[str, Callable[[], Sample]]:
        """Return what is measured, by name, the yardstick first."""
        arms: dict[str, Callable[[], Sample]] = {
            YARDSTICK: self._bare,
            EMAIL: lambda: self._gateway(self.sqlite, "email", paused=True),
            SMS: lambda: self._gateway(self.sqlite, "phone", paused=True),
            ANSWERING: lambda: self._gateway(self.sqlite, "email"),
            AGAIN: self._bare,
        }
        if (prepared := self.postgresql) is not None:
            arms[POSTGRESQL] = lambda: self._gateway(prepared, "email", paused=True)
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
