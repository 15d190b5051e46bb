"""SMS and chat messages from the first request to the last one at the provider, beside a bare aiohttp loop.

The provider is ``benchmarks.provider``, a stub on this machine that answers at once; how many requests a second it takes
is measured too, so that it can be seen not to be what is measured.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.accepts import load
from benchmarks.carrying import LIMIT, Carrying
from benchmarks.children import Child, program
from benchmarks.figures import Target, again, spread
from benchmarks.parts import Arm, Part, Scale, Stage
from benchmarks.people import with_people
from benchmarks.report import Row, Section, compared
from benchmarks.rounds import Sample, Samples, column
from benchmarks.served import CONCURRENCY, PATIENCE, Prepared, serving

#: The gateway's channels, by what a load is to be sent ``--to``.
CHANNELS: Final = {"phone": "SMS", "telegram": "Telegram"}
STUB = "the stub alone"
#: Of the yardstick's rate.
TARGET = Target(0.40, at_least=True, aim=0.60)
#: Of the mails of an end-to-end run, how many messages one of these is: two channels share the time of one.
_PART: Final = 0.5


def yardstick(channel: str) -> str:
    """Return the name of a channel's yardstick."""
    return f"bare aiohttp loop, {channel}"


def gateway(channel: str) -> str:
    """Return the name of the gateway's arm of a channel."""
    return f"gateway, SQLite, {channel}"


class Provider:
    """The stub as its parent sees it."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self.port = int(child.line(PATIENCE))

    def wait(self, count: int, within: float) -> float:
        """Wait for ``count`` requests; return the monotonic time the latest came. Raises ``ChildError``."""
        self._child.tell(f"wait {count}")
        return float(json.loads(self._child.line(within)))

    def latest(self) -> bytes:
        """Return the latest request as it came. Raises ``ChildError``."""
        self._child.tell("sample")
        return base64.b64decode(json.loads(self._child.line(PATIENCE)))


@contextmanager
def provider(folder: Path) -> Iterator[Provider]:
    """Run the stub."""
    with Child("provider", program("provider"), folder) as child:
        yield Provider(child)


#: Settings that make the bot the only channel and let it send as fast as it can; the token is nobody's.
TELEGRAM: Final[Mapping[tuple[str, ...], str]] = {
    ("channels", "telegram", "adapter"): "telegram",
    ("channels", "telegram", "token"): "1:AA",
    ("channels", "telegram", "updates"): "off",
    ("channels", "telegram", "rate"): "0",
    ("channels", "telegram", "concurrency"): str(CONCURRENCY),
    ("services", "default", "channels"): '["telegram"]',
}


def at(port: int, settings: Mapping[tuple[str, ...], str]) -> Mapping[tuple[str, ...], str]:
    """Return the settings with the bot's provider at ``port``, where there is a bot; the SMS go there anyway."""
    url = f"http://127.0.0.1:{port}"
    return {**settings, ("channels", "telegram", "base_url"): url} if settings else settings


def sample_request(folder: Path, prepared: Prepared, kind: str, settings: Mapping[tuple[str, ...], str]) -> Path:
    """Have the gateway send one message and return the file its request is in."""
    path = folder / f"request-{kind}"
    with provider(folder) as end, serving(prepared, sink=end.port, settings=at(end.port, settings)) as served:
        load(folder, served.port, "--to", kind, "--key", served.key, "--count", 1, within=PATIENCE)
        end.wait(1, PATIENCE)
        path.write_bytes(end.latest())
    return path


def stub(folder: Path, count: int) -> Sample:
    """Measure how many requests a second the stub takes from the raw client of ``benchmarks.load``."""
    with provider(folder) as end:
        done = load(folder, end.port, "--count", count, within=LIMIT)
        return {"rate": count / (end.wait(count, PATIENCE) - done["began_at"])}


def _arms(stage: Stage) -> Mapping[str, Arm]:
    count = int(stage.scale.mails * _PART)
    linked = with_people(stage.sqlite, stage.folder / "sqlite-people", count)
    arms: dict[str, Arm] = {}
    for kind, prepared, settings in (("phone", stage.sqlite, {}), ("telegram", linked, TELEGRAM)):
        name = CHANNELS[kind]
        content = sample_request(stage.folder, prepared, kind, settings)
        asked = partial(at, settings=settings)
        sent = Carrying(stage.folder, prepared, content, count, provider, "bare_http", kind, asked)
        arms |= {yardstick(name): sent.bare, gateway(name): sent.gateway, again(yardstick(name)): sent.bare}
    return {**arms, STUB: partial(stub, stage.folder, count * 4)}


def sections(samples: Samples, scale: Scale) -> Sequence[Section]:
    """Return messages per second and CPU time per message, channel by channel."""
    rows, cpu = [], []
    for name in CHANNELS.values():
        own = {arm: taken for arm, taken in samples.items() if name in arm}
        rows += compared(own, "rate", yardstick(name), {gateway(name): TARGET})
        cpu += compared(own, "cpu", yardstick(name), {}, scale=1000.0)
    rows.append(Row(STUB, spread(column(samples[STUB], "rate"))))
    text = (
        f"{int(scale.mails * _PART):,} verifications posted with 32 connections, timed from the first request until the "
        "last message is at the provider, a stub on this machine that answers at once as Twilio's API and the Bot API "
        "do. The yardstick is aiohttp alone: the very request the gateway made, posted over 16 connections kept open, the "
        "answer's JSON read; the gateway may use as many. Every person of the bot has linked a chat of their own. What "
        "the stub takes from a raw client is shown, for it must not be what is measured."
    )
    return [
        Section("SMS and Telegram end to end", text, "messages/s", rows),
        Section("CPU per SMS and chat message", "Of the process, as above for mails.", "ms/message", cpu),
    ]


PART = Part("SMS and Telegram", _arms, sections, weight=110)
