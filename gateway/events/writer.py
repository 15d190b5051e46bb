"""Lines on their way out: a bounded buffer and a thread, so that a reader who stalls never stalls the gateway.

A pipe nobody drains blocks who writes to it for ever. Here that is a thread of its own; when its buffer is full,
further lines are dropped and counted, and once writing works again a line says how many are missing. A few lines that a
pipe has room for are written without the thread, whole or not at all (a pipe takes up to ``PIPE_BUF`` bytes so, pipe(7)).
"""

from __future__ import annotations

import asyncio
import atexit
import io
import os
import select
import stat
import threading
from collections.abc import Callable
from typing import Final, TextIO

#: Bytes kept while the reader stalls: some 10,000 lines.
CAPACITY: Final = 4 * 1024 * 1024
#: Seconds ``close`` waits for what is still to be written.
FLUSH_TIMEOUT: Final = 2.0


#: Seconds between two writes at least while there is much to write; a few lines are written at once.
GATHERING: Final = 0.01
#: Lines in one write that are much.
MANY: Final = 8


class LineWriter:
    """Writes chunks of whole lines to a stream, in order, from a daemon thread.

    ``notice`` makes the line that says how many were dropped. Close it when done; the interpreter's exit does
    otherwise.
    """

    def __init__(
        self,
        stream: TextIO,
        notice: Callable[[int], bytes],
        *,
        capacity: int = CAPACITY,
        gathering: float = GATHERING,
    ) -> None:
        self._descriptor = _own_descriptor(stream)
        self._stream = stream
        #: The same where it is a pipe: what it takes without waiting is written by whoever brings it. To wake the thread for
        #: it takes an idle gateway 0.25 ms.
        self._pipe = self._descriptor if _is_pipe(self._descriptor) else None
        self._notice = notice
        self._capacity = capacity
        self._gathering = gathering
        # Reentrant: a collection of garbage may strike inside ``put`` and log what it finds.
        self._changed = threading.Condition(threading.RLock())
        self._waiting: list[tuple[bytes, int]] = []
        self._size = 0
        self._dropped = 0
        self._lost = 0
        self._torn = False
        self._closing = False
        #: Whether the thread waits for a line; else it comes by itself.
        self._asleep = False
        self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    @property
    def lost(self) -> int:
        """How many lines were dropped since the start."""
        return self._lost

    def put(self, chunk: bytes, lines: int = 1) -> None:
        """Hand over a chunk of ``lines`` whole lines; it is written at once or dropped as a whole. Never blocks."""
        with self._changed:
            if self._closing or (self._waiting and self._size + len(chunk) > self._capacity):
                self._dropped += lines
                self._lost += lines
                return
            if self._pipe is not None and self._asleep and lines < MANY and self._took(self._pipe, chunk):
                return
            self._waiting.append((chunk, lines))
            self._size += len(chunk)
            if self._asleep:
                self._asleep = False
                self._changed.notify()

    def close(self, timeout: float = FLUSH_TIMEOUT) -> bool:
        """Write what waits, for ``timeout`` seconds at most; return whether all of it was. Later lines are dropped."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)
        atexit.unregister(self.close)
        if self._thread.is_alive():
            # Still blocked; the descriptor stays open, so that its number is not another file's when it wakes.
            return False
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = self._pipe = None
        return True

    async def aclose(self, timeout: float = FLUSH_TIMEOUT) -> bool:  # noqa: ASYNC109 - the thread is joined, not awaited
        """Do what ``close`` does without holding up the event loop."""
        return await asyncio.to_thread(self.close, timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._asleep = True
                    self._changed.wait()
                chunks, dropped = self._waiting, self._dropped
                if not chunks and not dropped:
                    return
                self._waiting, self._size, self._dropped = [], 0, 0
                last = self._closing
            self._write_out(chunks, dropped)
            if last:
                return
            if sum(lines for _, lines in chunks) >= MANY:
                # Woken for each batch of lines, it would fight a busy event loop for the interpreter's lock.
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, self._gathering)

    def _took(self, pipe: int, chunk: bytes) -> bool:
        """Whether a pipe took a chunk at once; else it took nothing of it, and the thread has to wait for it."""
        if len(chunk) > select.PIPE_BUF or self._torn or self._dropped:
            return False
        try:
            os.pwritev(pipe, (chunk,), -1, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        except OSError:
            # Its reader has gone, or the system has no such way to write to a pipe: both for good. The thread tells.
            self._pipe = None
            return False
        return True

    def _write(self, data: bytes) -> None:
        if self._descriptor is not None:
            _write_bytes(self._descriptor, data)
        else:
            self._stream.write(data.decode())
            self._stream.flush()

    def _write_out(self, chunks: list[tuple[bytes, int]], dropped: int) -> None:
        """Write the chunks with one call, and behind them, where they are missing, how many lines were dropped."""
        data = [b"\n"] if self._torn else []
        data += [chunk for chunk, _ in chunks]
        if dropped:
            data.append(self._notice(dropped))
        try:
            self._write(b"".join(data))
            self._torn = False
        except (OSError, ValueError):
            # A full disk, a reader that went away, a closed stream: the gateway goes on, and tells how many lines are
            # missing once it can. A line that was cut off in its middle must not swallow the next one.
            self._torn = True
            lost = sum(lines for _, lines in chunks)
            with self._changed:
                self._dropped += dropped + lost
                self._lost += lost


def _own_descriptor(stream: TextIO) -> int | None:
    """Return a descriptor of our own on a stream's file; ``None`` where it has none, like one in memory.

    Writing goes past the stream's buffer: a blocked thread would keep its lock, and the interpreter then aborts at
    its exit.
    """
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, io.UnsupportedOperation):
        return None
    stream.flush()
    return os.dup(descriptor)


def _is_pipe(descriptor: int | None) -> bool:
    """Whether a descriptor is a pipe's, and the system can be asked not to wait for it (Linux, pwritev2(2))."""
    return descriptor is not None and hasattr(os, "RWF_NOWAIT") and stat.S_ISFIFO(os.fstat(descriptor).st_mode)


def _write_bytes(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            # Whoever shares this terminal or pipe has made it non-blocking.
            select.select([], [descriptor], [])
