from __future__ import annotations

import os

import pytest

from benchmarks.scale.server import Spent, database_of, family_cpu


@pytest.mark.parametrize(
    "url", ["postgresql://u@h/db", "postgresql:///db?host=/run/x", "postgresql://u:p@h:5432/db?host=/a/b"]
)
def test_a_database_is_named_by_its_url(url):
    assert database_of(url) == "db"


def test_cpu_time_is_that_of_a_process_its_children_and_those_that_ended(tmp_path):
    ticks = os.sysconf("SC_CLK_TCK")
    for pid, parent, times in ((10, 1, "1 2 3 4"), (11, 10, "10 20 0 0"), (12, 1, "500 500 0 0")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a) b) S {parent} 0 0 0 0 0 0 0 0 0 {times} 20 0")
    (tmp_path / "13").mkdir()
    (tmp_path / "meminfo").write_text("")
    assert family_cpu(tmp_path, 10) == (1 + 2 + 3 + 4 + 10 + 20) / ticks


def test_what_was_spent_is_the_difference_of_two_looks():
    assert Spent(9.0, 8.0, 7.0, 6.0, 5.0) - Spent(1.0, 1.0, 1.0, 1.0, 1.0) == Spent(8.0, 7.0, 6.0, 5.0, 4.0)
