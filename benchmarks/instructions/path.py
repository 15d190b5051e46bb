"""The program whose instructions are counted: the gateway and its clients on one loop, as alike each time as can be.

``python -m benchmarks.instructions.path ARM KEY_FILE FOLDER COUNT…`` starts the gateway of FOLDER/config.toml in this
process, behind uvicorn on a socket of 127.0.0.1, and warms it up. It says ``ready`` on standard error, waits for a line
on standard input, and does the arm's work COUNT times for each COUNT; before and after each of these it calls
``getppid``, which nothing else does, so that a tool can tell them apart.

So that a count comes out the same again:

- It keeps to one core, so that the gateway hands nothing to a process of its own.
- Requests come in waves of 16, the next one when the last is answered: batches are as large each time.
- The garbage collector is off once everything stands; what it costs is not counted.
- The gateway's clock is moved by 10 ms a wave, however long the wave took; and what goes by seconds is left out:
  keeping house is not begun, the dispatcher's looks into the database are an hour apart (messages are handed to it
  when they are accepted, as always), and uvicorn ticks once.
- The mail server is on the same loop, the one of ``benchmarks.sink``; its instructions and the client's are counted
  too, some hundredths of all, the same each time.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import uvicorn
import uvloop

from benchmarks.instructions.clients import Mailbox, Settled
from benchmarks.lines import Line, Request
from benchmarks.load import HOST, PATH, recipients
from benchmarks.sink import SmtpSession, lines_of
from gateway.app import Gateway, load_templates, open_channels, opened_store
from gateway.app.core import built
from gateway.app.store import OnCommit
from gateway.config import Settings, load_settings, variable_name
from gateway.delivery.dispatching import dispatcher
from gateway.events.log import configure
from gateway.events.metrics import Metrics
from gateway.serving import bind, serving
from gateway.storage.pauses import Pauses

#: Requests under way at once.
WAVE = 16
#: Requests before the first that counts: code is warm, connections are made, caches filled.
WARM_UP = 4 * WAVE
#: Seconds the gateway's clock is moved on by each wave.
_TICK = 0.01
#: Seconds a paused channel waits: below the 30 s after which codes are refused instead.
_PAUSE = 28.0
#: Seconds between the dispatcher's own looks into the database, instead of one.
_HOUR = 3600.0
#: Seconds between two steps of a loop that waits, for a tool that is heard only by who is awake.
_AWAKE = 0.001


@dataclass(frozen=True, slots=True)
class Arm:
    """What is counted."""

    #: What is asked for: a kind of ``benchmarks.load.recipients``.
    kind: str
    #: Whether messages are sent; else the channels are paused.
    sends: bool = False
    #: Whether right codes are given, instead of verifications started.
    checks: bool = False


#: By name. What a send costs is ``send-email`` less ``accept-email``.
ARMS = {
    "accept-email": Arm("email"),
    "accept-sms": Arm("phone"),
    "send-email": Arm("email", sends=True),
    "check": Arm("email", sends=True, checks=True),
}


class Course:
    """An arm's work on a gateway, wave by wave."""

    def __init__(self, gateway: Gateway, lines: Sequence[Line], mailbox: Mailbox, settled: Settled, arm: Arm) -> None:
        self._clock = gateway.store.clock
        self._lines = lines
        self._mailbox = mailbox
        self._settled = settled
        self._arm = arm
        self._people = recipients(arm.kind)
        self._now = self._clock.now()
        self._accepted = 0
        #: Verifications that can be checked, with whom they are for.
        self._open: list[tuple[str, str]] = []

    async def prepare(self, total: int) -> None:
        """Warm up, and make ready for ``total`` times. Raises ``RuntimeError`` where an answer is unexpected."""
        if self._arm.checks:
            for size in waves(WARM_UP + total):
                self._open += await self._accept(size)
        await self.do(WARM_UP)

    async def do(self, count: int) -> None:
        """Do the work that many times. Raises ``RuntimeError`` where an answer is unexpected."""
        for size in waves(count):
            await (self._check(size) if self._arm.checks else self._accept(size))

    async def _accept(self, size: int) -> list[tuple[str, str]]:
        people = [next(self._people) for _ in range(size)]
        answers = await self._ask([(PATH, b'{"to":"%b"}' % to.encode()) for to in people], 201)
        self._accepted += size
        if self._arm.sends:
            await self._settled.wait(self._accepted)
        return [(json.loads(answer)["id"], to) for answer, to in zip(answers, people, strict=True)]

    async def _check(self, size: int) -> None:
        taken, self._open = self._open[:size], self._open[size:]
        codes = self._mailbox.codes
        await self._ask([(f"{PATH}/{one}/check", b'{"code":"%b"}' % codes[to].encode()) for one, to in taken], 200)

    async def _ask(self, requests: Sequence[Request], expected: int) -> list[bytes]:
        self._now += _TICK
        self._clock.set(self._now)
        # The loop comes to read when all are written: they arrive together.
        answers = [line.ask(request) for line, request in zip(self._lines, requests, strict=False)]
        found = [await answer for answer in answers]
        if unexpected := {status for status, _ in found} - {expected}:
            raise RuntimeError(f"answered {unexpected}, not {expected}")
        return [body for _, body in found]


def waves(count: int) -> Iterator[int]:
    """Yield how many each wave has."""
    whole, rest = divmod(count, WAVE)
    yield from [WAVE] * whole
    if rest:
        yield rest


@asynccontextmanager
async def opened(folder: Path, key: str, arm: Arm) -> AsyncIterator[Course]:
    """Start the gateway of ``folder``/config.toml and its clients. Raises ``ConfigError`` or ``StorageError``."""
    loop, mailbox, settled = asyncio.get_running_loop(), Mailbox(codes_wanted=arm.checks), Settled()
    mail = await loop.create_server(lambda: SmtpSession(mailbox), HOST, 0)
    environ = {**os.environ, variable_name(("channels", "email", "port")): str(mail.sockets[0].getsockname()[1])}
    settings = load_settings(folder / "config.toml", environ)
    log = configure(settings.log.format, settings.log.level)

    def committed(notes: Sequence[object]) -> None:
        log(notes)
        settled.on_commit(notes)

    async with AsyncExitStack() as stack:
        stack.push_async_callback(log.aclose)
        stack.enter_context(patch.object(dispatcher, "POLL", _HOUR))
        await stack.enter_async_context(mail)
        gateway = await stack.enter_async_context(_gateway(settings, committed))
        listener = stack.enter_context(bind(settings.server))
        stopped = asyncio.Event()
        stack.enter_context(patch.object(uvicorn.Server, "main_loop", lambda server: _ticked(server, stopped)))
        await stack.enter_async_context(serving(gateway, settings.server, listener))
        stack.callback(stopped.set)
        if not arm.sends:
            now, pauses = gateway.store.clock.now(), Pauses(gateway.store.database)
            for channel in settings.channels:
                await pauses.put(channel, now + _PAUSE, now)
        gateway.dispatcher.start()
        made = [await loop.create_connection(lambda: Line(key), *listener.getsockname()[:2]) for _ in range(WAVE)]
        yield Course(gateway, [line for _, line in made], mailbox, settled, arm)


async def _ticked(server: uvicorn.Server, stopped: asyncio.Event) -> None:
    """Do what uvicorn does ten times a second once, for the date in the answers' headers, and wait for the end."""
    await server.on_tick(0)
    await stopped.wait()


@asynccontextmanager
async def _gateway(settings: Settings, on_commit: OnCommit) -> AsyncIterator[Gateway]:
    """Open a gateway as ``gateway.app.running`` does, without what goes on beside."""
    channels = open_channels(settings)
    templates, metrics = load_templates(settings, channels), Metrics(channels=channels, services=settings.services)

    def committed(notes: Sequence[object]) -> None:
        metrics.on_commit(notes)
        on_commit(notes)

    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(opened_store(settings, on_commit=committed))
        for channel in channels.values():
            await stack.enter_async_context(channel)
        gateway = built(settings, store, channels, templates, metrics, sandbox=False)
        yield gateway
        await gateway.dispatcher.stop()


async def run(arm: Arm, key: str, folder: Path, counts: Sequence[int]) -> None:
    """Do an arm's work. Raises ``RuntimeError``."""
    # With one core the gateway writes in this process alone: what another one did would not be counted.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})
    async with opened(folder, key, arm) as course:
        await course.prepare(sum(counts))
        gc.freeze()
        gc.disable()
        await _until_told()
        for count in counts:
            os.getppid()
            await course.do(count)
        os.getppid()
        # A stop takes its time under a tool, and what the gateway holds is thrown away.
        os._exit(0)


async def _until_told() -> None:
    awake = asyncio.create_task(_stay_awake())
    print("ready", file=sys.stderr, flush=True)
    async for _ in lines_of(sys.stdin):
        break
    awake.cancel()


async def _stay_awake() -> None:
    # Nothing is waited for: it is there to be awake.
    while True:  # noqa: ASYNC110
        await asyncio.sleep(_AWAKE)


if __name__ == "__main__":
    name, key_file, where, *numbers = sys.argv[1:]
    uvloop.run(run(ARMS[name], Path(key_file).read_text("ascii"), Path(where), [int(number) for number in numbers]))
