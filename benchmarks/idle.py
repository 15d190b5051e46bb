"""How long one code takes while nothing else happens: from the request to ``sent``, written durably.

The end is the gateway's own log line ``message.sent``, which it writes once the row is committed; the line's way
through the log's thread and the pipe is counted too.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.accepts import bare_app, held, sink
from benchmarks.children import Child
from benchmarks.figures import Target, again, quantile, ratios, spread
from benchmarks.load import HOST, PATH, answer_status
from benchmarks.parts import EVERY, Arm, Part, Scale, Shown, Stage
from benchmarks.report import Row, Section, compared, floor_of
from benchmarks.rounds import Sample, Samples, column
from benchmarks.served import PATIENCE, Prepared, serving

YARDSTICK, GATEWAY = "bare uvicorn JSON app", "gateway, SQLite"
AGAIN = again(YARDSTICK)
#: Milliseconds from the request to the row that says sent.
SENT = Target(3.0, at_least=False, aim=2.0)
#: Seconds between two requests: everything has come to rest.
_PAUSE = 0.03
#: Requests before the first that counts: connections are made, code is warm.
_WARM_UP = 5


@dataclass(frozen=True, slots=True)
class Idle:
    """How many requests are measured."""

    folder: Path
    prepared: Prepared
    count: int

    def arms(self) -> Mapping[str, Arm]:
        """Return what is measured, by name, the yardstick first."""
        return {YARDSTICK: self._bare, GATEWAY: self._gateway, AGAIN: self._bare}

    def _bare(self) -> Sample:
        with bare_app(self.folder) as port, Line(port, "") as line:
            answers = [line.ask()[1] for _ in self._paced()]
        return {"answered": quantile(answers[_WARM_UP:], 0.5)}

    def _gateway(self) -> Sample:
        answered, sent = [], []
        with sink(self.folder) as (_, to), serving(self.prepared, sink=to, logged=False) as served:
            with Line(served.port, served.key) as line:
                for _ in self._paced():
                    began_at = time.monotonic()
                    verification, seconds = line.ask()
                    answered.append(seconds)
                    until_sent(served.child, verification["id"])
                    sent.append(time.monotonic() - began_at)
            memory = held(served)
        return {
            "answered": quantile(answered[_WARM_UP:], 0.5),
            "sent": quantile(sent[_WARM_UP:], 0.5),
            "slowest": quantile(sent[_WARM_UP:], 0.99),
            **memory,
        }

    def _paced(self) -> Iterator[int]:
        for number in range(_WARM_UP + self.count):
            yield number
            time.sleep(_PAUSE)


def until_sent(child: Child, verification: str) -> None:
    """Read the gateway's log up to the line that says this verification's message is sent. Raises ``ChildError``."""
    while True:
        told = json.loads(child.line(PATIENCE))
        if told["event"] == "message.sent" and told["verification"] == verification:
            return


class Line:
    """One keep-alive connection, asked one thing at a time."""

    def __init__(self, port: int, key: str) -> None:
        self._socket = socket.create_connection((HOST, port), PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._key = key
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self) -> tuple[dict[str, Any], float]:
        """Start a verification; return the answer and the seconds it took. Raises ``ConnectionError``."""
        self._number += 1
        body = json.dumps({"to": f"person-{self._number}@example.org"})
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        began_at = time.monotonic()
        self._socket.sendall((head + body).encode())
        answer = b""
        while (status := answer_status(answer)) is None:
            chunk = self._socket.recv(65_536)
            if not chunk:
                raise ConnectionError("the server closed the connection")
            answer += chunk
        seconds = time.monotonic() - began_at
        if status != b"201":
            raise ConnectionError(f"the server answered {status.decode('latin-1')}")
        return json.loads(answer.partition(b"\r\n\r\n")[2]), seconds


def rows(samples: Samples) -> list[Row]:
    """Return the lines of the table."""
    found = compared(samples, "answered", YARDSTICK, {}, scale=1000.0)
    found = [Row(f"{row.name}: answered", row.figure, row.ratio) for row in found]
    beside, floor = column(samples[YARDSTICK], "answered"), floor_of(samples, "answered", YARDSTICK)
    for figure, name, target in (("sent", "p50", SENT), ("slowest", "p99", None)):
        taken = column(samples[GATEWAY], figure)
        milliseconds, ratio = spread([value * 1000 for value in taken]), spread(ratios(taken, beside))
        title = f"{GATEWAY}: durably sent, {name}"
        found.append(Row(title, milliseconds, ratio, target, on_ratio=False, floor=floor))
    return found


def section(samples: Samples) -> Section:
    """Return one code while nothing else happens."""
    return Section(
        "One code on an idle gateway",
        "One request at a time with pauses between. *Answered* is the median time of the HTTP request. *Durably sent* is "
        "the time from the same request until the gateway logs `message.sent`, which it does once the row is committed: "
        "accepting, committing, rendering, an SMTP transaction and one more commit.",
        "ms",
        rows(samples),
    )


def _arms(stage: Stage) -> Mapping[str, Arm]:
    return Idle(stage.folder, stage.sqlite, stage.scale.requests).arms()


def _sections(samples: Samples, _scale: Scale) -> Sequence[Section]:
    return (section(samples),)


PART = Part("idle", _arms, _sections, weight=75, shown=Shown("answered", " ms", 1000.0), extents=EVERY)
