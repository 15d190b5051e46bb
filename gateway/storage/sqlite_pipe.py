"""The process that writes beside a busy gateway, as this one sees it: frames go in, and each is answered in turn.

Spoken through the loop's own transports and not by asyncio's streams: of those, each answer woke three callbacks and a
timer, half of what it cost to hand a batch over. Started by Python and not by the loop, which copies this process for it
(``fork`` for ``vfork``): a busy gateway stood still for 12 ms, and was slow until it had written each of its pages once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Final, Self

import msgspec

from gateway.storage.sqlite_child import HEADER, Answer

#: Seconds between two looks at a process that has not answered. One that stands still at two of them in a row is ended:
#: it answers nobody, and holds the database's lock for as long.
LOOK: Final = 1.0

#: Seconds between two looks at a process that has closed its output.
REAP: Final = 0.005

_decode = msgspec.msgpack.Decoder(Answer).decode


def stands_still(process: int) -> bool:
    """Whether a process was stopped, by a signal or a debugger (proc(5)). Where the system does not tell, it was not."""
    try:
        # The name, in brackets, may hold anything; behind it comes the state.
        return Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0] in {b"T", b"t"}
    except OSError:
        return False


class Pipe(asyncio.Protocol):
    """A process and what goes to and fro. Made by ``start``."""

    def __init__(self, process: Popen[bytes], given: asyncio.WriteTransport) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = process
        self._input = given
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._asked: deque[asyncio.Future[Answer | None]] = deque()
        self._came = bytearray()
        self._watch: asyncio.TimerHandle | None = None
        self._open = True

    @classmethod
    async def start(cls, program: Sequence[str], environment: Mapping[str, str]) -> Self:
        """Start a program. Raises ``OSError``."""
        loop = asyncio.get_running_loop()
        process = _begun(program, environment)
        try:
            given, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, process.stdin)
            _, pipe = await loop.connect_read_pipe(lambda: cls(process, given), process.stdout)
        except BaseException:
            # Nobody would end it: it waits for its input.
            process.kill()
            raise
        return pipe

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def ended_with(self) -> int | None:
        """What it ended with, once it is gone; below 0 the signal that killed it."""
        return self._process.returncode

    @property
    def alive(self) -> bool:
        """Whether it may answer still."""
        return self._open

    @property
    def asked(self) -> int:
        """How many frames it has not answered."""
        return len(self._asked)

    def send(self, frame: bytes) -> asyncio.Future[Answer | None]:
        """Send a frame; what is returned is its answer, or ``None`` where the process ended before."""
        answer: asyncio.Future[Answer | None] = self._loop.create_future()
        if self._open:
            self._asked.append(answer)
            self._input.write(len(frame).to_bytes(HEADER, "big") + frame)
            if self._watch is None:
                # One for all that is under way, and none for each: it costs a busy gateway nothing.
                self.look_again(LOOK, stood=False)
        else:
            answer.set_result(None)
        return answer

    def finish(self) -> None:
        """End its input: it ends by itself when it has written what it was sent."""
        self._input.close()

    async def ended(self) -> None:
        """Wait until it is gone."""
        await asyncio.shield(self._ended)

    async def kill(self) -> None:
        """End it at once, and wait until it is gone: it holds the database's lock until then."""
        if not self._ended.done():
            self._process.kill()
        await self.ended()

    def data_received(self, data: bytes) -> None:
        """Hand on each answer that is whole."""
        came = self._came
        came += data
        while len(came) >= HEADER and len(came) >= (end := HEADER + int.from_bytes(came[:HEADER], "big")):
            answer = _decode(bytes(came[HEADER:end]))
            del came[:end]
            self._answer(self._asked.popleft(), answer)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - however it ended, there is no answer
        """Tell everybody who waits so: it closes its output by ending."""
        self._open = False
        if self._watch is not None:
            self._watch.cancel()
        while self._asked:
            self._answer(self._asked.popleft(), None)
        self._reap()

    def look_again(self, seconds: float, *, stood: bool) -> None:
        """Look after so many seconds whether the process stands still; ``stood``: it did when it was looked at last."""
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self._loop.call_later(seconds, self._look, seconds, stood)

    def _look(self, seconds: float, stood: bool) -> None:
        self._watch = None
        if self._asked and self._open:
            stands = stands_still(self.pid)
            if stood and stands:
                self._process.kill()
            else:
                self.look_again(seconds, stood=stands)

    def _reap(self) -> None:
        """Look until it is gone, which it is in a moment: its output is closed. A thread to wait in may not be to be had."""
        if self._process.poll() is None:
            self._loop.call_later(REAP, self._reap)
            return
        self._input.close()
        self._ended.set_result(None)

    def _answer(self, asked: asyncio.Future[Answer | None], answer: Answer | None) -> None:
        if not asked.done():  # nobody waits any more
            asked.set_result(answer)


def _begun(program: Sequence[str], environment: Mapping[str, str]) -> Popen[bytes]:
    return Popen(program, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment, bufsize=0)
