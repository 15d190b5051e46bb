from __future__ import annotations

from benchmarks import end_to_end

SAMPLES = {
    end_to_end.YARDSTICK: [{"rate": 4000.0, "cpu": 0.0002}],
    end_to_end.GATEWAY: [{"rate": 1000.0, "cpu": 0.0004}],
}


def test_mails_stand_beside_the_bare_loop():
    row = end_to_end.sent(SAMPLES, 3000).rows[1]
    assert (row.name, row.verdict) == (end_to_end.GATEWAY, "≥ 0.5: **missed**")


def test_their_cpu_time_is_told_in_milliseconds():
    row = end_to_end.cpu(SAMPLES).rows[1]
    assert (row.figure.median, row.verdict) == (0.4, "≤ 2.2: reached")
