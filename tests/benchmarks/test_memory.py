from __future__ import annotations

from benchmarks.memory import memory

HELD = {"rate": 1.0, "resident": 120.0, "peak": 130.0}


def test_memory_is_told_of_what_was_asked_for_it():
    (section,) = memory({"accepts": {"bare": [{"rate": 1.0}], "e-mail": [HELD]}, "idle": {"gateway": [HELD]}})
    assert [(row.name, row.verdict) for row in section.rows] == [
        ("accepts: e-mail, VmRSS", "≤ 200: reached"),
        ("accepts: e-mail, VmHWM", ""),
        ("idle: gateway, VmRSS", "≤ 200: reached"),
        ("idle: gateway, VmHWM", ""),
    ]


def test_where_nobody_was_asked_there_is_no_table():
    assert memory({"claims": {"SQLite": [{"median": 1.0}]}}) == []
