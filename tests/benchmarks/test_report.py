from __future__ import annotations

import pytest

from benchmarks.figures import Spread, Target, again
from benchmarks.report import Picture, Report, Row, Section, compared, number, ranged, table, targets

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


PICTURE = Picture("accepts.svg", "Accepts by load", "<svg/>")
SECTION = Section(
    "Accepts",
    "How it was done.",
    "accepts/s",
    [
        Row("bare", FIGURE),
        Row("e-mail", FIGURE, Spread(0.19, 0.1, 0.3), Target(0.2, at_least=True, aim=0.4), floor=0.1),
    ],
    [PICTURE],
)


def test_the_page_holds_the_machine_the_tables_and_how_to_repeat_them():
    report = Report({"Cores": "2", "SQLite": "3.40.1"}, "7", [SECTION], {"other": "it is not installed"})
    lines = report.text.splitlines()
    for line in (
        "# Benchmarks",
        "| Accepts: e-mail | 0.190 (0.100 to 0.300) | ≥ 0.2 | 0.4 | ±10% | within the noise |",
        "- other: it is not installed",
        "| Cores | 2 |",
        "| SQLite | 3.40.1 |",
        "| Rounds | 7 |",
        "## Accepts",
        "How it was done.",
        "![Accepts by load](images/accepts.svg)",
        "| bare | 2,310 (2,100 to 2,400) | - |  |",
        "## How to repeat it",
    ):
        assert line in lines


def test_nothing_is_said_of_left_out_parts_where_there_are_none():
    assert "## Left out" not in Report({}, "7", [SECTION], {}).text


def test_the_page_is_written_with_its_pictures_beside_it(tmp_path):
    (tmp_path / "images").mkdir()
    report = Report({}, "7", [SECTION], {})
    report.write(tmp_path / "benchmarks.md")
    assert (tmp_path / "benchmarks.md").read_text() == report.text
    assert (tmp_path / "images" / "accepts.svg").read_text() == "<svg/>"


def test_a_target_for_the_figure_is_told_in_its_unit():
    section = Section(
        "Idle", "", "ms", [Row("sent", Spread(2.5, 2.0, 3.0), None, Target(3.0, at_least=False), on_ratio=False)]
    )
    assert targets([section]).splitlines()[-1] == "| Idle: sent | 2.50 (2.00 to 3.00) ms | ≤ 3 |  |  | reached |"


def test_a_target_for_a_ratio_that_was_not_measured_is_refused():
    with pytest.raises(ValueError, match="sent: a target for a ratio needs one"):
        _ = Row("sent", FIGURE, None, Target(3.0, at_least=True)).verdict


def test_arms_stand_beside_the_yardstick_if_they_measure_the_figure():
    samples = {
        "bare": [{"rate": 10.0}, {"rate": 20.0}],
        "e-mail": [{"rate": 5.0}, {"rate": 5.0}],
        "memory": [{"resident": 1.0}, {"resident": 1.0}],
        again("bare"): [{"rate": 9.0}, {"rate": 22.0}],
    }
    rows = compared(samples, "rate", "bare", {"e-mail": Target(0.3, at_least=True)}, scale=2.0)
    assert [(row.name, row.figure.median, row.ratio, row.verdict) for row in rows] == [
        ("bare", 30.0, None, ""),
        ("e-mail", 10.0, Spread(0.375, 0.25, 0.5), "≥ 0.3: reached"),
        ("bare, again", 31.0, Spread(1.0, 0.9, 1.1), ""),
    ]
    assert {round(row.floor, 9) for row in rows} == {0.1}
