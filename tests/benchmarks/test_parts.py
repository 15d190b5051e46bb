from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.children import ChildError
from benchmarks.kept import Kept
from benchmarks.parts import (
    EVERY,
    FULL_ONLY,
    Extent,
    Outcome,
    Part,
    Scale,
    Shown,
    SkippedError,
    Stage,
    chosen,
    measure_all,
)
from benchmarks.report import Section
from benchmarks.rounds import Budget
from benchmarks.served import Prepared

SCALE = Scale(Extent.BENCH, 3, 100.0, 1.0, 0.1, 10, 1, 1, (1,))
STAGE = Stage(Path(), SCALE, Prepared(Path(), {}, "key"), None, None)


class Hand:
    """A clock whose hand each measurement moves on by 10 s."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def arm(self):
        self.now += 10
        return {"rate": 1.0}


def part(title: str, arm, **options) -> Part:
    return Part(
        title, lambda _: {"bare": arm}, lambda taken, _: [Section(title, "", "/s", [])], **{"weight": 1, **options}
    )


def measured(*parts: Part, hand: Hand | None = None) -> Outcome:
    return measure_all(parts, STAGE, Budget(SCALE.budget, hand or Hand()))


def titles(outcome: Outcome) -> list[str]:
    return [section.title for section in outcome.sections]


def test_parts_are_measured_in_order_as_many_rounds_as_the_run_makes(capsys):
    hand = Hand()
    found = measured(part("a", hand.arm), part("b", hand.arm, rounds=1), hand=hand)
    assert (titles(found), found.rounds, hand.now) == (["a", "b"], "1 to 3", 40.0)


def test_a_part_has_its_share_of_the_time_and_what_was_left_over(capsys):
    hand = Hand()
    found = measured(part("a", hand.arm, weight=10), part("b", hand.arm, weight=90), hand=hand)
    assert [len(taken["bare"]) for taken in found.samples.values()] == [1, 3]


def test_a_run_that_was_cut_off_goes_on_where_it_stopped(tmp_path, capsys):
    kept, first, second = Kept(tmp_path, "this scale"), Hand(), Hand()
    measure_all([part("a", first.arm)], STAGE, Budget(SCALE.budget, first), kept)
    found = measure_all([part("a", second.arm), part("b", second.arm, rounds=1)], STAGE, Budget(100.0, second), kept)
    assert (titles(found), found.rounds, second.now) == (["a", "b"], "1 to 3", 10.0)


def test_a_part_that_cannot_be_measured_is_left_out_by_name(capsys):
    def nowhere():
        raise SkippedError("it is not installed")

    found = measured(part("a", nowhere), part("b", Hand().arm))
    assert (found.skipped, found.failed, titles(found)) == ({"a": "it is not installed"}, [], ["b"])


@pytest.mark.parametrize(
    ("error", "reason"),
    [(ChildError("gateway ended:\na long story"), "it failed: gateway ended:"), (KeyError("x"), "it failed: KeyError")],
)
def test_one_that_fails_is_named_and_the_others_are_measured(capsys, error, reason):
    def broken():
        raise error

    found = measured(part("a", broken), part("b", Hand().arm))
    assert (found.skipped, found.failed, titles(found)) == ({"a": reason}, ["a"], ["b"])
    # Where it failed is told whole, at once.
    assert "in broken" in capsys.readouterr().err


def test_what_the_arms_share_ends_with_the_part(capsys):
    told = []

    def arms(stage: Stage):
        stage.stack.callback(lambda: told.append("closed"))
        return {"bare": lambda: {"rate": float(len(told))}}

    found = measured(replace(part("a", None), arms=arms))
    assert (told, found.samples["a"]["bare"][-1]) == (["closed"], {"rate": 0.0})


def test_a_run_that_measured_nothing_made_no_round():
    assert measured().rounds == "0"


def test_a_run_measures_the_parts_that_belong_to_it():
    parts = [part("a", None, extents=EVERY), part("b", None), part("c", None, extents=FULL_ONLY)]
    found = {extent: [one.title for one in chosen(parts, extent)] for extent in Extent}
    assert found == {Extent.QUICK: ["a"], Extent.BENCH: ["a", "b"], Extent.FULL: ["a", "b", "c"]}


def test_named_parts_are_measured_whatever_they_belong_to():
    parts = [part("a", None), part("c", None, extents=FULL_ONLY)]
    assert [one.title for one in chosen(parts, Extent.QUICK, ["c"])] == ["c"]


def test_a_name_that_no_part_has_is_refused():
    with pytest.raises(KeyError, match="'d'"):
        chosen([part("a", None)], Extent.BENCH, ["d"])


def test_a_line_of_progress_shows_one_figure_of_those_that_have_it():
    assert Shown("median", " ms", 1000.0)({"a": {"median": 0.002}, "b": {"rate": 1.0}}) == "a 2.00 ms"
