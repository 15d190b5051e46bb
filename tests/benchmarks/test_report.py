from __future__ import annotations

import pytest

from benchmarks.figures import Spread, Target
from benchmarks.report import Row, Section, document, number, ranged, table

FIGURE = Spread(2310.0, 2100.0, 2400.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.2144, "0.214"),
        (1.005, "1.00"),
        (3.146, "3.15"),
        (12.54, "12.5"),
        (99.94, "99.9"),
        (99.96, "100"),
        (9.996, "10.0"),
        (0.9996, "1.00"),
        (9810.4, "9,810"),
        (0.0, "0.000"),
    ],
)
def test_a_figure_has_three_significant_digits(value, text):
    assert number(value) == text


def test_a_range_stands_behind_its_median():
    assert ranged(FIGURE) == "2,310 (2,100 to 2,400)"


def test_what_was_not_measured_is_a_dash():
    assert ranged(None) == "-"


def test_a_target_is_judged_by_the_median_ratio():
    row = Row("e-mail", FIGURE, Spread(0.23, 0.1, 0.3), Target(0.2, at_least=True))
    assert row.verdict == "≥ 0.2: reached"


def test_a_missed_target_stands_out():
    row = Row("e-mail", FIGURE, Spread(0.13, 0.1, 0.3), Target(0.2, at_least=True))
    assert row.verdict == "≥ 0.2: **missed**"


def test_a_target_may_be_for_the_figure_itself():
    row = Row("idle", Spread(6.0, 4.0, 9.0), Spread(1.0, 1.0, 1.0), Target(5.0, at_least=False), on_ratio=False)
    assert row.verdict == "≤ 5: **missed**"


def test_without_a_target_there_is_no_verdict():
    assert Row("bare", FIGURE).verdict == ""


def test_a_table_has_a_line_for_each_row():
    section = Section(
        "Accepts",
        "How.",
        "accepts/s",
        [
            Row("bare", Spread(10_000.0, 9000.0, 11_000.0)),
            Row("e-mail", FIGURE, Spread(0.231, 0.21, 0.24), Target(0.2, at_least=True)),
        ],
    )
    assert table(section).splitlines() == [
        "| what | accepts/s | ratio to the yardstick | target |",
        "|---|---|---|---|",
        "| bare | 10,000 (9,000 to 11,000) | - |  |",
        "| e-mail | 2,310 (2,100 to 2,400) | 0.231 (0.210 to 0.240) | ≥ 0.2: reached |",
    ]


def test_the_document_holds_the_machine_the_tables_and_how_to_repeat_them():
    section = Section("Accepts", "How it was done.", "accepts/s", [Row("bare", FIGURE)])
    lines = document({"Cores": "2", "SQLite": "3.40.1"}, "5", [section]).splitlines()
    for line in (
        "# Benchmarks",
        "| Cores | 2 |",
        "| SQLite | 3.40.1 |",
        "| Rounds | 5 |",
        "## Accepts",
        "How it was done.",
        "| bare | 2,310 (2,100 to 2,400) | - |  |",
        "## How to repeat it",
    ):
        assert line in lines
