"""What was seen: the worst of it, and findings by area."""

from __future__ import annotations

import pytest

from channels.findings import Verdict, fault, ok, warning
from gateway.diagnosis.seen import Area, Seen, seen, worst


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([], Verdict.OK),
        ([ok("a", "x")], Verdict.OK),
        ([warning("a", "x"), ok("b", "x")], Verdict.WARNING),
        ([ok("a", "x"), fault("b", "x"), warning("c", "x")], Verdict.FAULT),
    ],
)
def test_the_worst_verdict_decides(findings, expected):
    assert worst(seen(Area.DNS, findings)) is expected


def test_findings_belong_to_an_area():
    assert seen(Area.KEYS, [ok("ring", "well")]) == [Seen(Area.KEYS, "ring", Verdict.OK, "well")]
