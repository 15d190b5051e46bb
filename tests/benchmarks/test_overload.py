from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import overload
from benchmarks.__main__ import NORMAL
from benchmarks.overload import counted

TIMES = st.dictionaries(st.integers(0, 50).map(str), st.floats(0, 100))


def test_what_is_accepted_comes_in_time_late_or_never():
    asked = {"a": 10.0, "b": 10.0, "c": 10.0, "d": 10.0}
    came = {"a": 11.0, "b": 15.0, "c": 15.5, "stranger": 1.0}
    assert counted(asked, came, 5.0) == {"in time": 0.5, "late": 0.25, "never": 0.25, "longest": 5.5}


@given(TIMES.filter(bool), TIMES, st.floats(0.1, 100))
def test_nothing_is_counted_twice_or_not_at_all(asked, came, ttl):
    parts = counted(asked, came, ttl)
    assert parts["in time"] + parts["late"] + parts["never"] == pytest.approx(1.0)


def test_where_nothing_was_accepted_nothing_can_be_told():
    with pytest.raises(ValueError, match="nothing was accepted"):
        counted({}, {"a": 1.0}, 5.0)


def test_the_overload_is_longer_than_two_lives_of_a_code():
    assert overload.LASTS > 2 * overload.TTL


def test_the_part_that_came_in_time_is_judged():
    sample = {"in time": 0.95, "late": 0.05, "never": 0.0, "longest": 6.0, "accepted": 180.0, "refused": 900.0}
    parts, asked, waits = overload.sections({overload.GATEWAY: [sample]}, NORMAL)
    assert [row.verdict for row in parts.rows] == ["≥ 0.9: reached", "", ""]
    assert [row.figure.median for row in (*asked.rows, *waits.rows)] == [180.0, 900.0, 6.0]
