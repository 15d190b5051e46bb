from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scale.arithmetic import BUSY, Cost, Need, ceiling, cost, deployments, need

EACH = Cost(node=0.0006, server=0.0003, wal=4096.0, syncs=0.2, commits=0.3, kept=2048.0, connections=5.0)
SAMPLE = {
    "rate": 1000.0,
    "lost": 0.0,
    "doubled": 0.0,
    "node cpu": 0.0006,
    "server cpu": 0.0003,
    "wal": 4096.0,
    "commits": 0.3,
    "syncs": 0.2,
    "kept": 2048.0,
    "connections": 5.0,
}


def test_a_cost_is_the_median_of_its_arm():
    assert cost([SAMPLE, {**SAMPLE, "wal": 8192.0}, {**SAMPLE, "wal": 4096.0}]) == EACH


def test_what_a_rate_needs_follows_from_what_one_costs():
    found = need(EACH, 1000)
    assert replace(found, server=round(found.server, 6)) == Need(
        rate=1000, server=0.5, nodes=1, wal=4_096_000.0, kept=176_947_200_000.0, connections=5
    )


def test_a_node_is_one_process_so_there_are_whole_ones():
    assert [need(EACH, rate).nodes for rate in (1, 1001, 2001)] == [1, 2, 3]


def test_a_ceiling_is_what_the_cores_are_good_for():
    assert ceiling(EACH, 8) == pytest.approx(8 * BUSY / 0.0003)


@given(st.integers(1, 10**6), st.integers(1, 128))
def test_so_many_deployments_suffice_and_one_less_does_not(rate, cores):
    number = deployments(EACH, rate, cores)
    assert number * ceiling(EACH, cores) >= rate
    assert number == 1 or (number - 1) * ceiling(EACH, cores) < rate
