"""Writing lines: in order, with few calls, never blocking, and honest about what was lost."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import io
import os
import select
import subprocess
import sys
import textwrap
import threading
import time
from typing import TextIO

import pytest

from gateway.events.writer import MANY, LineWriter


def notice(lines: int) -> bytes:
    return f"dropped {lines}\n".encode()


class Gate(io.StringIO):
    """A stream without a file whose writes wait for a gate; it keeps each call's text."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.entered = threading.Event()
        self.calls: list[str] = []
        self.faults: list[Exception] = []

    def write(self, text: str) -> int:
        self.entered.set()
        self.open.wait(5)
        if self.faults:
            raise self.faults.pop(0)
        self.calls.append(text)
        return len(text)


class Pipe:
    """A pipe with a stream to write to, as standard output is one, and a reader who may stall."""

    def __init__(self) -> None:
        self.out, into = os.pipe()
        self.stream: TextIO = os.fdopen(into, "w")

    def read_all(self) -> bytes:
        """Read until every writer has closed."""
        self.stream.close()
        with os.fdopen(self.out, "rb") as reader:
            return reader.read()


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open.set()


def test_chunks_are_written_in_order():
    pipe = Pipe()
    writer = LineWriter(pipe.stream, notice)
    for number in range(1000):
        writer.put(f"{number}\n".encode())
    assert writer.close()
    assert pipe.read_all().split() == [str(number).encode() for number in range(1000)]


def test_what_gathers_while_one_write_is_under_way_is_written_with_one_call(gate):
    writer = LineWriter(gate, notice)
    writer.put(b"1\n")
    gate.entered.wait(5)
    writer.put(b"2\n")
    writer.put(b"3\n4\n", 2)
    gate.open.set()
    assert writer.close()
    assert gate.calls == ["1\n", "2\n3\n4\n"]


def test_while_there_is_much_to_write_lines_gather_for_a_moment(gate):
    gate.open.set()
    writer = LineWriter(gate, notice, gathering=60)
    writer.put(b"much\n", lines=MANY)
    while not gate.calls:
        gate.entered.wait(0.01)
    writer.put(b"a\n")
    writer.put(b"b\n")
    assert writer.close()
    assert gate.calls == ["much\n", "a\nb\n"]


def test_a_few_lines_are_written_at_once(gate):
    gate.open.set()
    writer = LineWriter(gate, notice, gathering=60)
    for line in ("a\n", "b\n"):
        gate.entered.clear()
        writer.put(line.encode(), lines=MANY - 1)
        assert gate.entered.wait(5)
    assert writer.close()
    assert gate.calls == ["a\n", "b\n"]


def asleep(writer: LineWriter) -> None:
    """Wait until its thread waits for a line."""
    while not writer._asleep:
        time.sleep(0.001)


def test_a_few_lines_that_a_pipe_has_room_for_are_written_without_the_thread():
    pipe = Pipe()
    writer = LineWriter(pipe.stream, notice)
    asleep(writer)
    with writer._changed:  # the thread can take nothing
        writer.put(b"1\n2\n", 2)
        assert os.read(pipe.out, 100) == b"1\n2\n"
        writer.put(b"3\n", MANY)
    assert writer.close()
    assert pipe.read_all() == b"3\n"


def test_lines_wait_for_a_full_pipe_and_whoever_brings_them_does_not():
    pipe = Pipe()
    os.set_blocking(pipe.stream.fileno(), False)
    full = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            full += os.write(pipe.stream.fileno(), b"x" * select.PIPE_BUF)
    os.set_blocking(pipe.stream.fileno(), True)
    writer = LineWriter(pipe.stream, notice)
    asleep(writer)
    writer.put(b"1\n")
    writer.put(b"2\n")
    assert os.read(pipe.out, full) == b"x" * full
    assert writer.close()
    assert pipe.read_all() == b"1\n2\n"


@pytest.mark.parametrize("known", [True, False])
def test_where_a_pipe_cannot_be_asked_not_to_wait_the_thread_writes_every_line(monkeypatch, known):
    if known:
        monkeypatch.delattr(os, "RWF_NOWAIT")
    asked = []

    def refused(*arguments: object) -> int:
        asked.append(arguments)
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "pwritev", refused)
    pipe = Pipe()
    writer = LineWriter(pipe.stream, notice)
    for line in (b"1\n", b"2\n"):
        asleep(writer)
        writer.put(line)
    assert writer.close()
    assert (pipe.read_all(), len(asked)) == (b"1\n2\n", 0 if known else 1)


def test_what_a_reader_missed_is_told_before_the_next_reader_gets_a_line(tmp_path):
    os.mkfifo(tmp_path / "log")
    first = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    with (tmp_path / "log").open("w") as stream:
        writer = LineWriter(stream, notice)
        os.close(first)
        writer.put(b"1\n", MANY)
        while not writer.lost:
            time.sleep(0.001)
        second = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
        asleep(writer)
        writer.put(b"2\n")
        assert writer.close()
    with os.fdopen(second, "rb") as reader:
        assert reader.read() == f"\n2\ndropped {MANY}\n".encode()


def test_what_was_printed_before_comes_first():
    pipe = Pipe()
    pipe.stream.write("first\n")
    writer = LineWriter(pipe.stream, notice)
    writer.put(b"second\n")
    writer.close()
    assert pipe.read_all() == b"first\nsecond\n"


def test_a_reader_who_stalls_holds_nobody_up_and_is_told_what_is_missing():
    pipe = Pipe()
    writer = LineWriter(pipe.stream, notice, capacity=300_000)
    chunk = b"x" * 999 + b"\n"
    started = time.perf_counter()
    for _ in range(2000):
        writer.put(chunk)
    assert time.perf_counter() - started < 1
    read: list[bytes] = []
    pipe.stream.close()
    with os.fdopen(pipe.out, "rb") as reader:
        drain = threading.Thread(target=lambda: read.extend(reader))
        drain.start()
        assert writer.close()
        drain.join(5)
    kept = [line for line in read if line == chunk]
    told = [line for line in read if line != chunk]
    # Told once a write: as often as lines were dropped before one, which is up to the threads.
    missing = [int(line.split()[-1]) for line in told]
    assert told == [notice(number) for number in missing]
    assert sum(missing) == 2000 - len(kept)
    assert 300 <= len(kept) < 1000


def test_a_chunk_larger_than_the_buffer_is_written_when_nothing_waits(gate):
    gate.open.set()
    writer = LineWriter(gate, notice, capacity=1)
    writer.put(b"a long line\n")
    assert writer.close()
    assert gate.calls == ["a long line\n"]


def test_closing_waits_only_so_long_for_a_reader_who_stalls(gate):
    writer = LineWriter(gate, notice)
    writer.put(b"1\n")
    gate.entered.wait(5)
    assert not writer.close(0.01)


async def test_closing_does_not_hold_up_the_loop(gate):
    writer = LineWriter(gate, notice)
    writer.put(b"1\n")
    assert not await writer.aclose(0.01)
    gate.open.set()
    assert await writer.aclose()
    assert gate.calls == ["1\n"]


def test_what_comes_after_the_end_is_dropped():
    pipe = Pipe()
    writer = LineWriter(pipe.stream, notice)
    writer.close()
    writer.put(b"late\n")
    assert writer.close()
    assert pipe.read_all() == b""


def test_a_write_that_fails_is_counted_and_told_once_it_works_again(gate):
    writer = LineWriter(gate, notice)
    gate.faults = [OSError(28, "No space left on device")]
    writer.put(b"1\n2\n", 2)
    gate.entered.wait(5)
    writer.put(b"3\n")
    gate.open.set()
    assert writer.close()
    # A line that was cut off must not swallow the next one.
    assert gate.calls == ["\n3\ndropped 2\n"]
    assert writer.lost == 2


def test_lines_lost_last_are_told_at_the_end(gate):
    writer = LineWriter(gate, notice, capacity=4)
    writer.put(b"1\n")
    gate.entered.wait(5)
    writer.put(b"2\n")
    writer.put(b"three\n")
    gate.open.set()
    writer.close()
    assert gate.calls == ["1\n", "2\ndropped 1\n"]
    assert writer.lost == 1


def test_a_reader_who_went_away_is_no_error():
    pipe = Pipe()
    writer = LineWriter(pipe.stream, notice)
    os.close(pipe.out)
    writer.put(b"1\n")
    assert writer.close()
    pipe.stream.close()


def test_a_stream_closed_by_others_is_still_written_to():
    pipe = Pipe()
    writer = LineWriter(pipe.stream, notice)
    pipe.stream.close()
    writer.put(b"1\n")
    assert writer.close()
    assert pipe.read_all() == b"1\n"


def test_a_non_blocking_pipe_is_waited_for():
    pipe = Pipe()
    flags = fcntl.fcntl(pipe.stream.fileno(), fcntl.F_GETFL)
    fcntl.fcntl(pipe.stream.fileno(), fcntl.F_SETFL, flags | os.O_NONBLOCK)
    writer = LineWriter(pipe.stream, notice)
    writer.put(b"x" * 200_000)
    read: list[bytes] = []
    drain = threading.Thread(target=lambda: read.append(pipe.read_all()))
    drain.start()
    assert writer.close()
    drain.join(5)
    assert read == [b"x" * 200_000]


def test_logging_from_a_garbage_collection_inside_put_locks_nothing_up(gate):
    writer = LineWriter(gate, notice)
    gate.open.set()

    class Wreck:
        def __init__(self) -> None:
            self.ring = self

        def __del__(self) -> None:
            writer.put(b"found\n")

    class Chunk(bytes):
        # Called by ``put`` while it holds its lock, as a collection may strike there.
        def __len__(self) -> int:
            Wreck()
            gc.collect()
            return 2

    writer.put(Chunk(b"1\n"))
    assert writer.close()
    assert "found\n" in "".join(gate.calls)
    assert "1\n" in "".join(gate.calls)


def run(program: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[bytes]:
    """Run a program of ours in an interpreter of its own."""
    call = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(call, check=False, stdout=stdout, stderr=subprocess.PIPE, timeout=20)


def test_what_waits_is_written_at_the_interpreters_exit():
    done = run(
        """
        import sys
        from gateway.events.writer import MANY, LineWriter
        LineWriter(sys.stdout, lambda lines: b"").put(b"the last line\\n")
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"the last line\n", b"")


def test_a_blocked_write_does_not_break_the_interpreters_exit():
    """A daemon thread that kept the lock of ``sys.stdout`` would abort the process."""
    out, into = os.pipe()
    done = run(
        """
        import sys
        from gateway.events.writer import MANY, LineWriter
        writer = LineWriter(sys.stdout, lambda lines: b"")
        writer.put(b"x" * 1_000_000)
        writer.close(0.05)
        """,
        stdout=into,
    )
    os.close(into)
    os.close(out)
    assert (done.returncode, done.stderr) == (0, b"")
