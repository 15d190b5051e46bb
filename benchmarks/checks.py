"""Checks per second at concurrency 32, each with the right code of another verification, beside the bare app.

The program ``python -m benchmarks.checks PORT --key KEY --count N`` starts N verifications with a code of the service's
own, prints a line, and once it is told a line on its standard input, checks each with its code; then it prints one line
of JSON, a ``benchmarks.load.Load`` of the checks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import uvloop

from benchmarks import latencies
from benchmarks.accepts import bare_app, held, load, sink
from benchmarks.carrying import settle
from benchmarks.children import Child, program
from benchmarks.figures import again
from benchmarks.latencies import sampled
from benchmarks.load import PATH, Asking, Load, Window, put_on, recipients
from benchmarks.parts import Arm, Part, Scale, Stage
from benchmarks.report import Section, compared
from benchmarks.rounds import Sample, Samples
from benchmarks.served import PATIENCE, Prepared, serving

YARDSTICK, GATEWAY = "bare uvicorn JSON app", "check, SQLite"
AGAIN = again(YARDSTICK)
#: Of the mails of an end-to-end run, how many verifications are checked.
_PART: Final = 1.0
_CODE: Final = "271828"
#: Lets a service's requests bring their codes: the benchmark knows them without reading a mail.
_SETTINGS: Final[Mapping[tuple[str, ...], str]] = {("services", "default", "code", "custom"): "true"}
#: Seconds all verifications may take to start, or to be sent.
_LIMIT = 90.0


@dataclass(frozen=True, slots=True)
class Checks:
    """How many verifications are checked, and how long the yardstick is loaded, in seconds."""

    folder: Path
    prepared: Prepared
    count: int
    seconds: float
    warm_up: float

    def arms(self) -> Mapping[str, Arm]:
        """Return what is measured, by name, the yardstick first."""
        return {YARDSTICK: self._bare, GATEWAY: self._gateway, AGAIN: self._bare}

    def _bare(self) -> Sample:
        times = ("--seconds", self.seconds, "--warm-up", self.warm_up)
        with bare_app(self.folder) as port:
            return sampled(load(self.folder, port, *times, within=self.seconds + self.warm_up + PATIENCE))

    def _gateway(self) -> Sample:
        with (
            sink(self.folder) as (end, port),
            serving(self.prepared, sink=port, settings=_SETTINGS) as served,
            Child(
                "checks", program("checks", served.port, "--key", served.key, "--count", self.count), self.folder
            ) as child,
        ):
            child.line(_LIMIT)
            end.tell(f"wait {self.count}")
            end.line(_LIMIT)
            settle(served.child)
            child.tell("check")
            return {**sampled(json.loads(child.line(_LIMIT))), **held(served)}


def starting() -> Iterator[Asking]:
    """Yield the requests that start verifications with the one code, each for another person."""
    path = PATH.encode()
    for address in recipients("email"):
        yield path, json.dumps({"to": address, "code": {"value": _CODE}}).encode()


def checking(ids: Sequence[str]) -> Iterator[Asking]:
    """Yield the requests that check each verification with its code."""
    body = json.dumps({"code": _CODE}).encode()
    for verification in ids:
        yield f"{PATH}/{verification}/check".encode(), body


def id_of(answer: bytes) -> str:
    """Return the id of the verification that an answer, with its head, tells of."""
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["id"])


async def start(port: int, key: str, count: int) -> list[str]:
    """Start the verifications; return their ids. Raises what ``benchmarks.load.put_on`` does."""
    ids: list[str] = []

    def keep(_body: bytes, answer: bytes, _began_at: float) -> None:
        ids.append(id_of(answer))

    await put_on(port, _window(count, b"201"), starting(), key=key, keep=keep)
    return ids


async def check(port: int, key: str, ids: Sequence[str]) -> Load:
    """Check them all. Raises what ``benchmarks.load.put_on`` does."""
    return await put_on(port, _window(len(ids), b"200"), checking(ids), key=key)


def _window(count: int, expected: bytes) -> Window:
    now = time.monotonic()
    return Window(opens_at=now, closes_at=now + _LIMIT, count=count, expected=expected)


def _arms(stage: Stage) -> Mapping[str, Arm]:
    count = int(stage.scale.mails * _PART)
    return Checks(stage.folder, stage.sqlite, count, stage.scale.seconds, stage.scale.warm_up).arms()


def sections(samples: Samples, scale: Scale) -> Sequence[Section]:
    """Return checks per second with their latencies."""
    rates = compared(samples, "rate", YARDSTICK, {})
    text = (
        f"`POST /v1/verifications/{{id}}/check` by 32 connections for {int(scale.mails * _PART):,} verifications whose "
        "mails have been sent, each once and with the right code: an answer means that the approval and its proof are "
        "on the disk, and that the code is wiped. The verifications were started with codes of the service's own, so "
        "that the benchmark knows them. The yardstick is the bare app of *Durable accepts* under its load."
    )
    return [
        Section("Checks", text, "checks/s", rates),
        Section("Latency of checks", "Of the same requests.", "ms", latencies.rows(samples, YARDSTICK)),
    ]


PART = Part("checks", _arms, sections, weight=70)


async def _run(port: int, key: str, count: int) -> Load:
    ids = await start(port, key, count)
    print("started", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    return await check(port, key, ids)


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--key", required=True)
    parser.add_argument("--count", type=int, required=True)
    asked = parser.parse_args()
    print(json.dumps(asdict(uvloop.run(_run(asked.port, asked.key, asked.count)))), flush=True)


if __name__ == "__main__":
    _main()
