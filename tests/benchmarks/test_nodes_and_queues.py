from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import nodes_and_queues
from benchmarks.parts import Extent, Scale, SkippedError, Stage
from benchmarks.served import Prepared

SCALE = Scale(Extent.FULL, 1, 60.0, 1.0, 0.1, 10, 1, 1, (1,))


def test_what_came_twice_is_counted_over_all_runs():
    samples = {
        "1 dispatch": [{"rate": 1000.0, "doubled": 0.0}, {"rate": 1000.0, "doubled": 1.0}],
        "4 dispatch": [{"rate": 1500.0, "doubled": 0.0}, {"rate": 1700.0, "doubled": 0.0}],
    }
    rates, twice = nodes_and_queues.PARTS[0].sections(samples, SCALE)
    (row,) = twice.rows
    assert (rates.rows[-1].judged.median, row.figure.median, row.verdict) == (1.6, 1.0, "≤ 0: **missed**")


def test_other_queues_are_judged_by_our_rate_over_theirs():
    samples = {
        "otp-gateway": [{"through": 1500.0}],
        "pgqueuer": [{"through": 1000.0}],
        "otp-gateway, again": [{"through": 1500.0}],
    }
    (section,) = nodes_and_queues.PARTS[1].sections(samples, SCALE)
    row = section.rows[-1]
    assert (row.name, row.ratio is not None and row.ratio.median, row.verdict) == (
        "otp-gateway over pgqueuer",
        1.5,
        "≥ 1: reached",
    )


@pytest.mark.parametrize("part", nodes_and_queues.PARTS, ids=lambda part: part.title)
def test_without_a_postgresql_they_are_left_out(part):
    with pytest.raises(SkippedError, match="no PostgreSQL could be started"):
        part.arms(Stage(Path(), SCALE, Prepared(Path(), {}, "key"), None, None))
