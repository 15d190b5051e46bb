"""The process that writes beside a busy gateway, as this one sees it: frames go in, and each is answered in turn.

Spoken through the loop's own transport and not by asyncio's streams: of those, each answer woke three callbacks and a
timer, half of what it cost to hand a batch over.
"""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL, PIPE
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Self, cast

import msgspec

from gateway.storage.sqlite_child import HEADER, Answer

_decode = msgspec.msgpack.Decoder(Answer).decode


class Pipe(asyncio.SubprocessProtocol):
    """A process and what goes to and fro. Made by ``start``."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ended: asyncio.Future[None] = loop.create_future()
        self._asked: deque[asyncio.Future[Answer | None]] = deque()
        self._came = bytearray()
        self._open = True

    @classmethod
    async def start(cls, program: Sequence[str], environment: Mapping[str, str]) -> Self:
        """Start a program. Raises ``OSError``."""
        loop = asyncio.get_running_loop()
        _, pipe = await loop.subprocess_exec(
            lambda: cls(loop), *program, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment
        )
        return pipe

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.get_pid()

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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what it is spoken to through."""
        self._process = cast("asyncio.SubprocessTransport", transport)
        self._input = cast("asyncio.WriteTransport", self._process.get_pipe_transport(0))

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # noqa: ARG002 - there is one it may write to
        """Hand on each answer that is whole."""
        came = self._came
        came += data
        while len(came) >= HEADER and len(came) >= (end := HEADER + int.from_bytes(came[:HEADER], "big")):
            answer = _decode(bytes(came[HEADER:end]))
            del came[:end]
            self._answer(self._asked.popleft(), answer)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 - without one it is no use
        """Tell everybody who waits that there is no answer."""
        self._lost()

    def process_exited(self) -> None:
        """Tell that it is gone."""
        self._lost()
        self._process.close()
        if not self._ended.done():
            self._ended.set_result(None)

    def _lost(self) -> None:
        self._open = False
        while self._asked:
            self._answer(self._asked.popleft(), None)

    def _answer(self, asked: asyncio.Future[Answer | None], answer: Answer | None) -> None:
        if not asked.done():  # nobody waits any more
            asked.set_result(answer)
