"""The checker itself: it sees what is lost, doubled, late and contradictory, and holds runs to their bounds."""

from __future__ import annotations

import pytest

from gateway.sandbox.inbox import Letter
from tests.faults.figures import Figures, Joined, Promise, figures, joined, summed

DEATH = 1000.0


def promise(to: str) -> Promise:
    return Promise(to, f"ver_{to}", DEATH - 60, DEATH)


def letter(to: str, code: str = "123456", at: float = DEATH - 30) -> Letter:
    return Letter("smtp", to, f"{code} is your code.", b"", {}, at, "1")


def test_what_was_promised_and_arrived_once_is_well():
    assert joined([promise("ann")], [letter("ann")]) == Joined(lost=[], duplicated=0, other_codes=[], late=[])


def test_a_promise_without_a_letter_is_lost():
    assert joined([promise("ann"), promise("bob")], [letter("bob")]).lost == ["ann"]


def test_a_recipient_who_rightly_got_nothing_is_not_lost():
    assert joined([promise("ann")], [], excused=["ann"]).lost == []


def test_every_letter_beyond_the_first_is_a_duplicate():
    assert joined([promise("ann"), promise("bob")], [letter("ann")] * 3 + [letter("bob")]).duplicated == 2


def test_two_codes_for_one_promise_are_seen():
    assert joined([promise("ann")], [letter("ann"), letter("ann", "654321")]).other_codes == ["ann"]


def test_a_letter_after_the_death_of_its_code_is_late_though_another_was_in_time():
    found = joined(
        [promise("ann"), promise("bob")], [letter("ann"), letter("ann", at=DEATH + 0.1), letter("bob", at=DEATH)]
    )
    assert found.late == ["ann"]


def test_a_letter_that_nobody_was_promised_is_nobodys():
    assert joined([promise("ann")], [letter("ann"), letter("stranger")]).duplicated == 0


@pytest.mark.parametrize(
    ("found", "broken"),
    [
        (Figures(), []),
        (Figures(lost=1), ["lost"]),
        (Figures(late=1), ["late"]),
        (Figures(duplicated=2, excused=2), []),
        (Figures(duplicated=2, excused=1), ["duplicated 2, excused 1"]),
        (Figures(duplicated=1, excused=1, other_codes=1), ["two codes for one verification"]),
        (Figures(recovery=25.0), []),
        (Figures(recovery=25.1), ["recovery 25.1 s, accepted 25 s"]),
        (Figures(held={"it lives": True}), []),
        (Figures(held={"it lives": False}), ["not so: it lives"]),
    ],
)
def test_a_run_is_held_to_its_bounds(found, broken):
    assert found.broken == broken


def test_figures_are_those_of_the_join():
    found = figures([promise("ann"), promise("bob")], [letter("ann"), letter("ann")], excused=1, recovery=2.0)
    assert (found.lost, found.duplicated, found.excused, found.recovery) == (1, 1, 1, 2.0)


def test_runs_add_up_and_what_failed_once_failed():
    runs = [
        Figures(lost=1, recovery=3.0, others={"503": 2, "shape": "a"}, held={"lives": True, "only here": True}),
        Figures(duplicated=1, excused=1, recovery=9.0, others={"503": 5, "shape": "b"}, held={"lives": False}),
    ]
    assert summed(runs) == Figures(
        lost=1,
        duplicated=1,
        excused=1,
        recovery=9.0,
        others={"runs": 2, "503": 7, "shape": "b"},
        held={"lives": False, "only here": True},
    )
