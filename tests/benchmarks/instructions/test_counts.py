from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.instructions import counts
from benchmarks.instructions.counts import Counts

KEPT = Counts(
    {"check": 1_000_000, "send-email": 2_000_000}, {"check": 0.002}, "callgrind", "CPython 3.11.7", "3.40.1", "x86_64"
)


def now(**instructions: int) -> Counts:
    return replace(KEPT, instructions={name.replace("_", "-"): count for name, count in instructions.items()})


def test_what_is_kept_is_read_as_it_was_written(tmp_path):
    counts.write(tmp_path / "counts.json", KEPT)
    assert counts.read(tmp_path / "counts.json") == KEPT


def test_where_nothing_was_written_nothing_is_kept(tmp_path):
    assert counts.read(tmp_path / "counts.json") is None


@pytest.mark.parametrize(("check", "expected"), [(1_050_000, []), (1_050_001, ["check"]), (900_000, [])])
def test_only_what_grew_by_over_a_twentieth_is_dearer(check, expected):
    assert counts.dearer(now(check=check, send_email=2_000_000, new=9), KEPT) == expected


@given(st.integers(1, 10**9))
def test_what_did_not_change_is_not_dearer(count):
    assert counts.dearer(now(check=count), now(check=count)) == []


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (KEPT, None),
        (replace(KEPT, tool="perf"), "the kept counts are of tool perf, here it is callgrind"),
        (
            replace(KEPT, python="CPython 3.12.1"),
            "the kept counts are of python CPython 3.12.1, here it is CPython 3.11.7",
        ),
        (replace(KEPT, sqlite="3.46.0"), "the kept counts are of sqlite 3.46.0, here it is 3.40.1"),
        (replace(KEPT, machine="aarch64"), "the kept counts are of machine aarch64, here it is x86_64"),
    ],
)
def test_counts_of_another_tool_interpreter_or_machine_cannot_be_compared(other, expected):
    assert KEPT.unlike(other) == expected


def test_a_send_is_what_it_costs_on_top_of_accepting():
    found = counts.with_parts({"accept-email": 3.0, "send-email": 5.0, "check": 1.0})
    assert found == {"accept-email": 3.0, "send-email": 2.0, "check": 1.0}


def test_without_the_accept_it_stays_as_it_is():
    assert counts.with_parts({"send-email": 5.0}) == {"send-email": 5.0}


def test_counts_are_whole_numbers_with_what_the_second_count_differed_by():
    found = counts.made({"check": 1000.4, "send-email": 1.0}, {"check": 990.396}, "callgrind")
    assert (found.instructions, found.differed) == ({"check": 1000, "send-email": 1}, {"check": 0.01})
    assert found.python == counts.python_version()


def test_the_table_shows_the_change():
    table = counts.table(now(check=1_100_000, new=7), KEPT)
    assert table.splitlines() == [
        "instructions each          now        kept   change",
        "check                1,100,000   1,000,000   +10.0%",
        "new                          7",
    ]
