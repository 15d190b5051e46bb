"""A commit may be made on the event loop while the disk is quick, and not after it was slow."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from gateway.storage.sqlite_quick import ENOUGH, QUICK, Quick


@pytest.fixture
def writer() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


class Disk:
    """What the time is, before and after a commit that takes ``seconds``."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._now = 0.0
        self._under_way = False

    def __call__(self) -> float:
        self._now += self.seconds if self._under_way else 0.0
        self._under_way = not self._under_way
        return self._now


def commit(quick: Quick, writer: sqlite3.Connection, times: int = 1) -> None:
    for _ in range(times):
        writer.execute("BEGIN")
        quick.commit(writer)


def test_a_quick_commit_is_expected_after_enough_of_them_in_a_row(writer):
    quick = Quick(Disk())
    commit(quick, writer, ENOUGH - 1)
    before = quick.expected
    commit(quick, writer)
    assert (before, quick.expected) == (False, True)
    assert not writer.in_transaction


@pytest.mark.parametrize(("seconds", "more"), [(QUICK * 1.5, 1), (QUICK * 20.5, 20)])
def test_a_slow_commit_is_made_up_for_by_as_many_as_it_took_milliseconds(writer, seconds, more):
    quick = Quick(disk := Disk())
    commit(quick, writer, ENOUGH)
    disk.seconds = seconds
    commit(quick, writer)
    disk.seconds = QUICK / 2
    commit(quick, writer, more + ENOUGH - 1)
    before = quick.expected
    commit(quick, writer)
    assert (before, quick.expected) == (False, True)


def test_a_commit_that_fails_slowly_is_none_that_was_quick(writer):
    quick = Quick(disk := Disk())
    commit(quick, writer, ENOUGH)
    disk.seconds = QUICK * 2
    with suppress(sqlite3.OperationalError):
        # Nothing was begun.
        quick.commit(writer)
    assert not quick.expected
