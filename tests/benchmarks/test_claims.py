from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from benchmarks import claims
from benchmarks.parts import Extent, Scale, Stage
from benchmarks.served import Prepared

MEDIANS = {"1,000 queued": 0.002, "10,000 queued": 0.0026, "100,000 queued": 0.0024, "1,000 queued, again": 0.0021}
SCALE = Scale(Extent.QUICK, 1, 60.0, 1.0, 0.1, 10, 1, 1, (800, 900))


def samples(*engines):
    return {f"{engine}, {name}": [{"median": median}] for engine in engines for name, median in MEDIANS.items()}


def test_claims_are_judged_by_the_dearest_over_the_cheapest_without_the_second_yardstick():
    row = claims.section("SQLite", samples("SQLite"), claims.SIZES).rows[-1]
    assert (round(row.judged.median, 6), round(row.floor, 6), row.verdict) == (1.3, 0.05, "≤ 1.3: reached")


def test_one_picture_shows_both_engines():
    first, second = claims.PART.sections(samples("SQLite", "PostgreSQL"), claims_scale())
    (picture,) = first.pictures
    assert (second.pictures, picture.name) == ((), "claims-over-length.svg")
    assert ">SQLite<" in picture.svg
    assert ">PostgreSQL<" in picture.svg


def claims_scale():
    return Scale(Extent.BENCH, 7, 60.0, 1.0, 0.1, 10, 1, 1, claims.SIZES)


def test_the_smallest_table_is_there_twice():
    assert claims.names([10, 20]) == {"10 queued": 10, "20 queued": 20, "10 queued, again": 10}


def test_what_was_claimed_is_given_back_so_that_each_round_finds_it(tmp_path):
    prepared = Prepared(Path(), {}, "key")
    with ExitStack() as stack:
        arms = claims.PART.arms(Stage(tmp_path, SCALE, prepared, None, None, stack))
        taken = [arm() for _ in range(2) for arm in arms.values()]
    assert list(arms) == ["SQLite, 800 queued", "SQLite, 900 queued", "SQLite, 800 queued, again"]
    assert all(sample["median"] > 0 for sample in taken)
