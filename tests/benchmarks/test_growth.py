from __future__ import annotations

import pytest

from benchmarks import growth
from benchmarks.__main__ import NORMAL
from benchmarks.growth import GATEWAY, grown, steps


class Hand:
    """A clock that every step moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.first: list[int] = []

    def send(self, first: int) -> float:
        self.first.append(first)
        self.now += 30.0
        return 150.0 + len(self.first)

    def monotonic(self) -> float:
        return self.now


def test_every_step_begins_where_the_one_before_ended():
    hand = Hand()
    held = steps(hand.send, 300, 100, 1000.0, hand.monotonic)
    assert (held, hand.first) == ([151.0, 152.0, 153.0], [0, 100, 200])


def test_a_step_that_would_take_too_long_is_left_out_with_those_after_it():
    hand = Hand()
    assert len(steps(hand.send, 1000, 100, 100.0, hand.monotonic)) == 3


def test_growth_counts_once_memory_has_settled():
    assert grown([100.0, 150.0, 151.0, 154.0], 10) == {
        "messages": 40.0,
        "first": 100.0,
        "settled": 150.0,
        "held": 154.0,
        "grown": 2.0,
    }


def test_of_two_steps_the_second_is_the_growth():
    assert grown([100.0, 101.5], 10)["grown"] == 1.5


def test_one_step_shows_no_growth():
    with pytest.raises(ValueError, match="less than two steps"):
        grown([100.0], 10)


def test_the_table_says_how_many_messages_there_were():
    [section] = growth.sections({GATEWAY: [grown([100.0, 150.0, 150.5, 151.0], growth.STEP)]}, NORMAL)
    assert [(row.name, row.figure.median, row.verdict) for row in section.rows] == [
        ("after 100,000 messages", 100.0, ""),
        ("after 200,000 messages", 150.0, ""),
        ("after 400,000 messages", 151.0, "≤ 200: reached"),
        ("each further 100,000 messages", 0.5, "≤ 1: reached"),
    ]
