from __future__ import annotations

from pathlib import Path

from benchmarks import accepts
from benchmarks.accepts import Accepts, accepted, latencies
from benchmarks.figures import Spread
from benchmarks.served import Prepared

LOADED = {"rate": 2000.0, "median": 0.01, "slowest": 0.03, "busy": 0.4, "resident": 120.0, "peak": 130.0}
BARE = {"rate": 5_000.0, "median": 0.002, "slowest": 0.01, "busy": 0.5}
ACCEPTED = {accepts.YARDSTICK: [BARE, BARE], accepts.EMAIL: [LOADED, {**LOADED, "rate": 3000.0}]}
AGAIN = {**ACCEPTED, accepts.AGAIN: [{**BARE, "rate": 4000.0}, {**BARE, "rate": 6000.0}]}
PREPARED = Prepared(Path(), {}, "key")


def named(section, name):
    return next(row for row in section.rows if row.name == name)


def test_accepts_stand_beside_the_bare_app():
    row = named(accepted(ACCEPTED, 3.0), accepts.EMAIL)
    assert (row.ratio, row.verdict) == (Spread(0.5, 0.4, 0.6), "≥ 0.33: reached, and the aim")


def test_the_yardstick_itself_has_no_ratio():
    assert named(accepted(ACCEPTED, 3.0), accepts.YARDSTICK).ratio is None


def test_what_the_yardstick_differs_by_when_it_is_measured_again_is_the_noise():
    assert round(named(accepted(AGAIN, 3.0), accepts.EMAIL).floor, 9) == 0.2


def test_the_text_says_how_busy_the_load_generator_was():
    assert "never busier than 50% of a core" in accepted(ACCEPTED, 3.0).text


def test_latencies_are_told_in_milliseconds_and_the_slowest_hundredth_has_a_target():
    row = named(latencies(ACCEPTED), f"{accepts.EMAIL}, p99")
    assert (row.figure, row.ratio, row.verdict) == (
        Spread(30.0, 30.0, 30.0),
        Spread(3.0, 3.0, 3.0),
        "≤ 20: **missed**",
    )


def test_both_kinds_are_measured_on_both_engines_where_there_is_a_postgresql():
    without, both = (Accepts(Path(), PREPARED, other, 1.0, 0.1).arms() for other in (None, PREPARED))
    assert set(both) - set(without) == {accepts.EMAIL_POSTGRESQL, accepts.SMS_POSTGRESQL}
    assert set(accepts.TARGETS) <= set(both)
