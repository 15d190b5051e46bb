from __future__ import annotations

import pytest

from benchmarks.children import ChildError
from benchmarks.figures import Spread
from benchmarks.latencies import rows, sampled

DONE = {"created": 990, "refused": {}, "seconds": 3.0, "median": 0.01, "slowest": 0.03}


def test_a_load_gives_its_rate_and_its_latencies():
    assert sampled(DONE) == {"rate": 330.0, "median": 0.01, "slowest": 0.03}


def test_a_hundredth_may_be_refused_and_no_more():
    assert sampled({**DONE, "refused": {"503": 10}})["rate"] == 330.0
    with pytest.raises(ChildError, match=r"requests were refused: \{'429': 1, '503': 10\}"):
        sampled({**DONE, "refused": {"429": 1, "503": 10}})


def test_latencies_are_milliseconds_beside_the_yardsticks():
    samples = {"bare": [{"median": 0.001, "slowest": 0.002}], "ours": [{"median": 0.004, "slowest": 0.01}]}
    assert [(row.name, row.figure.median, row.ratio) for row in rows(samples, "bare")] == [
        ("bare, p50", 1.0, None),
        ("ours, p50", 4.0, Spread(4.0, 4.0, 4.0)),
        ("bare, p99", 2.0, None),
        ("ours, p99", 10.0, Spread(5.0, 5.0, 5.0)),
    ]
