from __future__ import annotations

from benchmarks import offered
from benchmarks.figures import Spread


def sample(median: float, refused: float = 0.0):
    found: dict[str, float] = {}
    for rate in offered.RATES:
        found |= {f"median {rate}": median, f"slowest {rate}": median * 10, f"refused {rate}": 0.0}
    return {**found, "refused 2000": refused}


SAMPLES = {offered.YARDSTICK: [sample(0.001)], offered.GATEWAY: [sample(0.002, refused=0.25)]}


def test_each_rate_has_its_latencies_beside_the_bare_app():
    rows = {row.name: row for row in offered.section(SAMPLES, 0.6).rows}
    row = rows["gateway, SQLite, 500/s, p99"]
    assert (row.figure, row.ratio) == (Spread(20.0, 20.0, 20.0), Spread(2.0, 2.0, 2.0))


def test_a_rate_at_which_requests_were_refused_is_left_out_by_name():
    section = offered.section(SAMPLES, 0.6)
    assert "gateway, SQLite, 2,000/s, p50" not in {row.name for row in section.rows}
    assert "Left out, for more was offered than is done and the gateway answered 503: 2,000/s (25%)." in section.text


def test_where_none_was_the_text_says_so():
    assert "Every rate was answered." in offered.section({**SAMPLES, offered.GATEWAY: [sample(0.002)]}, 0.6).text


def test_the_picture_has_a_line_of_p50_and_p99_each():
    (picture,) = offered.section(SAMPLES, 0.6).pictures
    assert picture.name == "latency-over-load.svg"
    for name in ("gateway, SQLite, p50", "gateway, SQLite, p99", "bare uvicorn JSON app, p50"):
        assert f">{name}<" in picture.svg
