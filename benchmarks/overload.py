"""An overload that lasts longer than two lives of a code: of what was accepted, how much was sent in time.

The mail server is slow, so that the channel sends far fewer than are asked for, and the load asks again at once whatever
it is answered. What a gateway accepts then it has promised: a code that dies waiting was accepted in vain.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.accepts import held, load
from benchmarks.figures import Target, spread
from benchmarks.load import CONNECTIONS, PAUSE
from benchmarks.parts import Arm, Part, Scale, Shown, Stage
from benchmarks.report import Row, Section
from benchmarks.rounds import Sample, Samples, column
from benchmarks.served import CONCURRENCY, PATIENCE, Prepared, serving
from benchmarks.slow_sink import slow_sink

GATEWAY = "gateway, SQLite"
#: Seconds a code lives (the least a policy allows), the overload lasts, and one mail takes.
TTL: Final = 5
LASTS: Final = 2.5 * TTL
TAKES: Final = 0.08
#: Of what is accepted, the part that is sent before it expires.
TARGET = Target(0.9, at_least=True, aim=1.0)
#: Seconds for what was under way at the end of the last code's life.
_AFTER = 1.0


@dataclass(frozen=True, slots=True)
class Overload:
    """What the overload is put on."""

    folder: Path
    prepared: Prepared

    def arms(self) -> Mapping[str, Arm]:
        """Return what is measured, by name."""
        return {GATEWAY: self.gateway}

    def gateway(self) -> Sample:
        """Put the overload on, wait until every code is dead, and count. Raises ``ChildError``."""
        settings: Mapping[tuple[str, ...], str] = {("services", "default", "code", "ttl"): str(TTL)}
        path = self.folder / "asked.json"
        with slow_sink(self.folder, TAKES) as end, serving(self.prepared, sink=end.port, settings=settings) as served:
            given = ("--key", served.key, "--seconds", LASTS, "--asked", path)
            done = load(self.folder, served.port, *given, within=LASTS + PATIENCE)
            time.sleep(TTL + _AFTER)
            asked = json.loads(path.read_text("utf-8"))
            return {**counted(asked, end.told(), TTL), **_rates(done, len(asked)), **held(served)}


def counted(asked: Mapping[str, float], came: Mapping[str, float], ttl: float) -> Sample:
    """Return of what was accepted the parts sent before expiry, sent later, and never.

    ``asked`` and ``came`` are monotonic seconds by address: when an accepted request began, and when its mail was
    taken. A code's life is counted from the request on, which is a little less than it has. Raises ``ValueError``
    where nothing was accepted.
    """
    if not asked:
        raise ValueError("nothing was accepted")
    waits = [came[address] - began_at for address, began_at in asked.items() if address in came]
    in_time = sum(wait <= ttl for wait in waits)
    return {
        "in time": in_time / len(asked),
        "late": (len(waits) - in_time) / len(asked),
        "never": 1 - len(waits) / len(asked),
        "longest": max(waits, default=0.0),
    }


def _rates(done: Mapping[str, Any], accepted: int) -> Sample:
    return {"accepted": accepted / LASTS, "refused": sum(done["refused"].values()) / LASTS}


def _arms(stage: Stage) -> Mapping[str, Arm]:
    return Overload(stage.folder, stage.sqlite).arms()


def sections(samples: Samples, _scale: Scale) -> Sequence[Section]:
    """Return what became of what was accepted."""
    taken = samples[GATEWAY]
    text = (
        f"{CONNECTIONS} connections ask for {LASTS:g} s for codes that live {TTL} s, each again {PAUSE * 1000:g} ms after "
        f"a refusal and whatever `Retry-After` said, by a mail server that takes {TAKES * 1000:g} ms a mail on each of "
        f"{CONCURRENCY} connections. An answer 201 counts as accepted; its mail is in time where the server took it "
        f"within {TTL} s of the request's beginning. The others were refused with 503."
    )
    rates = [Row(f"requests {name}", spread(column(taken, name))) for name in ("accepted", "refused")]
    parts = [
        Row("sent before they expired", spread(column(taken, "in time")), None, TARGET, on_ratio=False),
        Row("sent later", spread(column(taken, "late"))),
        Row("never sent", spread(column(taken, "never"))),
    ]
    waits = [Row("from the request to the mail server, longest", spread(column(taken, "longest")))]
    return [
        Section("Overload, of what was accepted", text, "of 1", parts),
        Section("Overload, how much was asked", "In the same runs.", "requests/s", rates),
        Section("Overload, how long it took", "In the same runs.", "s", waits),
    ]


PART = Part("overload", _arms, sections, weight=60, shown=Shown("in time", ""), rounds=3)
