from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.rounds import Budget, column, measure, rotated


class Hand:
    """A clock whose hand each measurement moves on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hand() -> Hand:
    return Hand()


def run(hand: Hand, names: str, *, rounds: int, seconds: float, budget: float, share: float = 1.0):
    """Measure arms that each take ``seconds``; return the order they were called in and the samples."""
    order: list[str] = []

    def arm(name: str):
        def measured():
            order.append(name)
            hand.now += seconds
            return {"rate": float(len(order))}

        return measured

    samples = measure(
        "title",
        {name: arm(name) for name in names},
        rounds=rounds,
        budget=Budget(budget, hand),
        share=share,
        summary=lambda latest: " ".join(f"{name}={sample['rate']:g}" for name, sample in latest.items()),
    )
    return "".join(order), samples


@given(st.lists(st.integers(), max_size=8), st.integers(0, 50))
def test_rotating_keeps_every_item(items, by):
    assert sorted(rotated(items, by)) == sorted(items)


@given(st.lists(st.integers(), min_size=1, max_size=8))
def test_over_as_many_rounds_as_items_each_is_first_once(items):
    assert [rotated(items, by)[0] for by in range(len(items))] == items


def test_each_round_begins_with_the_next_arm(hand):
    order, _ = run(hand, "abc", rounds=4, seconds=0.0, budget=10.0)
    assert order == "abcbcacababc"


def test_samples_stand_under_their_arm_round_by_round(hand):
    _, samples = run(hand, "ab", rounds=2, seconds=0.0, budget=10.0)
    assert {name: column(taken, "rate") for name, taken in samples.items()} == {"a": [1.0, 4.0], "b": [2.0, 3.0]}


def test_a_round_that_does_not_fit_any_more_is_left_out(hand, capsys):
    order, _ = run(hand, "ab", rounds=5, seconds=2.0, budget=11.0)
    assert order == "abba"
    assert capsys.readouterr().err.splitlines()[-1] == "title: stopped after 2 of 5 rounds, the time is used up"


def test_a_measurement_ends_within_its_share_of_the_budget(hand):
    order, _ = run(hand, "ab", rounds=5, seconds=2.0, budget=16.0, share=0.5)
    assert order == "abba"


def test_there_is_always_one_round(hand):
    order, _ = run(hand, "ab", rounds=5, seconds=9.0, budget=1.0)
    assert order == "ab"


def test_each_round_tells_one_line(hand, capsys):
    run(hand, "ab", rounds=2, seconds=1.0, budget=10.0)
    assert capsys.readouterr().err.splitlines() == [
        "title: round 1 of 2, 2 s gone: a=1 b=2",
        "title: round 2 of 2, 4 s gone: a=4 b=3",
    ]
