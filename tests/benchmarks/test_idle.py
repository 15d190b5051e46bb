from __future__ import annotations

from benchmarks import idle
from benchmarks.figures import again


def test_an_idle_gateway_is_judged_by_its_milliseconds_and_the_noise_of_the_bare_app():
    samples = {
        idle.YARDSTICK: [{"answered": 0.0005}],
        idle.GATEWAY: [{"answered": 0.002, "sent": 0.0031, "slowest": 0.02}],
        again(idle.YARDSTICK): [{"answered": 0.00055}],
    }
    rows = {row.name: row for row in idle.section(samples).rows}
    sent = rows[f"{idle.GATEWAY}: durably sent, p50"]
    assert (sent.figure.median, sent.verdict) == (3.1, "≤ 3: within the noise")
    assert f"{idle.YARDSTICK}, again: answered" in rows
