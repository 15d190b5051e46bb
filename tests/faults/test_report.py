"""The report tells what held, what broke, and what was not tried, and why."""

from __future__ import annotations

import pytest

from tests.faults.figures import Figures
from tests.faults.mutation import Mutation, Verdict
from tests.faults.report import Result, document, line, mutations, skipped, table
from tests.faults.script import ABSENT, TRIALS
from tests.faults.trial import BOTH, Trial


async def script(_) -> Figures:
    raise AssertionError("not run here")


def result(fault: str = "F-17", **how) -> Result:
    return Result(Trial(fault, "the disk is full", "a ballast", "503", script), "sqlite", **how)


@pytest.mark.parametrize(
    ("found", "verdict", "failed"),
    [
        (result(figures=Figures()), "held", False),
        (result(figures=Figures(lost=2)), "**lost**", True),
        (result(skipped="there is no strace"), "skipped", False),
        (result(error="TimeoutError: "), "**broke off**: TimeoutError: ", True),
    ],
)
def test_a_verdict_says_what_came_of_it(found, verdict, failed):
    assert (found.verdict, found.failed) == (verdict, failed)


def test_a_line_shows_every_figure():
    found = Figures(duplicated=1, excused=3, recovery=4.26, others={"503": 7})
    assert line(result(figures=found)) == (
        "| F-17 | the disk is full | SQLite | 0 | 1 of 3 | 0 | 4.3 | 503 7 | 503 | held |"
    )


def test_a_line_without_figures_has_as_many_cells():
    assert line(result(skipped="no")).count("|") == line(result(figures=Figures())).count("|")


def test_the_table_is_in_the_order_of_the_faults():
    text = table([result("F-10", figures=Figures()), result("F-02", figures=Figures())])
    assert text.index("F-02") < text.index("F-10")


def test_what_was_skipped_is_named_with_its_reason():
    text = skipped([result(skipped="there is no strace")], {"F-98": "nobody can"})
    assert text.splitlines() == [
        "- **F-17**, the disk is full (sqlite): there is no strace",
        "- **F-98**: nobody can",
    ]


def test_a_mutation_that_survived_stands_out():
    mutation = Mutation("the fence", "x.py", "a", "b", "not asked", ("tests/x.py",))
    assert "**survived**" in mutations([Verdict(mutation, killed=False)])
    assert "killed" in mutations([Verdict(mutation, killed=True)])
    assert mutations(None).startswith("Not run")


def test_the_document_holds_the_table_and_the_machine():
    text = document({"Cores": "2"}, [result(figures=Figures())], {}, None)
    assert "| Cores | 2 |" in text
    assert "| F-17 | the disk is full | SQLite | 0 |" in text


def test_every_fault_of_the_table_has_a_script_or_a_reason():
    named = {trial.fault for trial in TRIALS} | ABSENT.keys()
    assert named == {f"F-{number:02}" for number in range(1, 41)}


def test_scripts_have_names_of_their_own():
    names = [trial.name for trial in TRIALS]
    assert len(names) == len(set(names))


def test_a_script_runs_on_databases_there_are():
    assert {engine for trial in TRIALS for engine in trial.engines} == set(BOTH)
