"""Findings: what two clocks' difference means."""

from __future__ import annotations

import pytest

from channels.findings import CLOCK, Verdict, clock_finding, fault, ok, warning


@pytest.mark.parametrize(
    ("ahead", "verdict", "told"),
    [
        (0.0, Verdict.OK, "within 5 s of Ann's"),
        (-5.0, Verdict.OK, "within 5 s of Ann's"),
        (5.6, Verdict.WARNING, "6 s ahead of Ann's"),
        (-29.9, Verdict.WARNING, "30 s behind Ann's"),
        (30.0, Verdict.FAULT, "30 s ahead of Ann's"),
        (-3600.0, Verdict.FAULT, "3600 s behind Ann's"),
    ],
)
def test_clocks_may_differ_by_seconds_and_not_by_a_time_step(ahead, verdict, told):
    found = clock_finding(ahead, "Ann")
    assert (found.subject, found.verdict, found.told.partition(";")[0]) == (CLOCK, verdict, told)


def test_each_verdict_has_its_maker():
    made = [make("it", "is so").verdict for make in (ok, warning, fault)]
    assert made == list(Verdict)
