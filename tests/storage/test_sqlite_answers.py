"""Answers of the process that writes are told in their order, each once what it is of is on the disk."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from gateway.storage.sqlite_answers import SYNC, Answers


class Disk:
    """A disk whose syncs wait until they are let through, and what happened in which order."""

    def __init__(self) -> None:
        self.happened: list[object] = []
        self.asked, self.through = Event(), Event()

    def sync(self, descriptor: int) -> None:
        assert os.fstat(descriptor).st_size == 3
        self.asked.set()
        assert self.through.wait(10)
        self.happened.append("synced")


class Sink(io.RawIOBase):
    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def write(self, told: bytes) -> int:  # type: ignore[override]
        self._disk.happened.append(told)
        return len(told)


@pytest.fixture
def log(tmp_path) -> str:
    path: Path = tmp_path / "gateway.db-wal"
    path.write_bytes(b"log")
    return str(path)


def never() -> None:
    raise AssertionError("it was ended")


def test_an_answer_is_told_after_its_sync_and_those_given_meanwhile_by_one_more(log):
    disk = Disk()
    answers = Answers(Sink(disk), log, never, disk.sync)  # type: ignore[arg-type]
    answers.tell(b"first", written=True)
    assert disk.asked.wait(10)
    answers.tell(b" second", written=True)
    answers.tell(b" third", written=True)
    assert disk.happened == []
    disk.through.set()
    answers.close()
    assert disk.happened == ["synced", b"first", "synced", b" second third"]


def test_what_was_not_written_waits_for_no_disk(tmp_path):
    sink = io.BytesIO()
    answers = Answers(sink, str(tmp_path / "absent"), never)
    answers.tell(b"a fault", written=False)
    answers.close()
    assert sink.getvalue() == b"a fault"


def _broken(_descriptor: int) -> None:
    raise OSError(5, "Input/output error")


def _starved(_descriptor: int) -> None:
    raise MemoryError


class Gone(io.RawIOBase):
    def write(self, _told: bytes) -> int:  # type: ignore[override]
        raise BrokenPipeError


@pytest.mark.parametrize(("sync", "sink"), [(_broken, io.BytesIO()), (_starved, io.BytesIO()), (SYNC, Gone())])
def test_where_the_disk_the_memory_or_the_listener_fails_the_process_is_ended(
    log, sync: Callable[[int], object], sink: io.BytesIO
):
    ended: list[str] = []
    answers = Answers(sink, log, lambda: ended.append("ended"), sync)
    answers.tell(b"untrue", written=True)
    answers.close()
    assert ended == ["ended"]
    if isinstance(sink, io.BytesIO):
        assert sink.getvalue() == b""


def test_a_log_that_is_not_there_is_no_disk_that_holds_it(tmp_path):
    ended: list[str] = []
    sink = io.BytesIO()
    answers = Answers(sink, str(tmp_path / "absent"), lambda: ended.append("ended"))
    answers.tell(b"untrue", written=True)
    answers.close()
    assert (ended, sink.getvalue()) == (["ended"], b"")
