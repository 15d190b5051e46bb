"""Services take turns, each oldest first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery.dispatching.rounds import Rounds
from tests.delivery.messages import message


def filled(*pairs: tuple[str, str]) -> Rounds:
    rounds = Rounds()
    for name, service in pairs:
        rounds.put(message(name, service))
    return rounds


def taken(rounds: Rounds) -> list[str]:
    return [rounds.take().id for _ in range(rounds.total)]


def test_one_service_is_served_in_order():
    assert taken(filled(("a", "shop"), ("b", "shop"), ("c", "shop"))) == ["a", "b", "c"]


def test_a_flood_of_one_service_leaves_every_other_turn_to_another():
    rounds = filled(*((f"shop-{n}", "shop") for n in range(5)), ("bank-0", "bank"), ("bank-1", "bank"))
    assert taken(rounds) == ["shop-0", "bank-0", "shop-1", "bank-1", "shop-2", "shop-3", "shop-4"]


def test_a_service_that_comes_back_takes_its_place_behind_the_others():
    rounds = filled(("a", "shop"), ("b", "bank"), ("c", "bank"))
    assert rounds.take().id == "a"
    rounds.put(message("d", "shop"))
    assert taken(rounds) == ["b", "d", "c"]


def test_what_has_waited_for_its_time_is_next():
    rounds = filled(("a", "shop"), ("b", "bank"), ("c", "shop"))
    rounds.put_first(message("x", "bank"))
    rounds.put_first(message("y", "club"))
    assert taken(rounds) == ["y", "x", "a", "b", "c"]


def test_it_tells_how_many_there_are():
    rounds = filled(("a", "shop"), ("b", "bank"), ("c", "shop"))
    assert (rounds.total, dict(rounds.counts())) == (3, {"shop": 2, "bank": 1})
    assert [rounds.count(name) for name in ("shop", "bank", "club")] == [2, 1, 0]


def test_a_drained_one_is_empty_and_may_be_filled_again():
    rounds = filled(("a", "shop"), ("b", "bank"))
    assert sorted(item.id for item in rounds.drain()) == ["a", "b"]
    assert (rounds.total, rounds.drain(), dict(rounds.counts())) == (0, [], {})
    with pytest.raises(IndexError):
        rounds.take()
    rounds.put(message("c"))
    assert taken(rounds) == ["c"]


@given(st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "c"]))))
def test_nothing_is_lost_and_nobody_is_passed_twice(steps):
    """``None`` takes one, a name puts one."""
    rounds, put, got = Rounds(), 0, []
    passed: dict[str, int] = {}
    for step in steps:
        if step is not None:
            rounds.put(message(f"{put}", step))
            put += 1
        elif rounds.total:
            waiting = dict(rounds.counts())
            item = rounds.take()
            got.append((item.service, int(item.id)))
            for service in waiting:
                passed[service] = 0 if service == item.service else passed.get(service, 0) + 1
            # With three services, nobody waits for more than two others.
            assert max(passed.values()) <= 2
            for service in passed.keys() - dict(rounds.counts()).keys():
                passed[service] = 0
    assert rounds.total == put - len(got)
    for service in "abc":
        mine = [number for name, number in got if name == service]
        assert mine == sorted(mine)
