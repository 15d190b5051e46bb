"""One thing is not told of as several."""

from __future__ import annotations

from gateway.cli.numbers import counted


def test_one_is_one_and_any_other_number_is_several():
    assert [counted(number, "send") for number in range(3)] == ["0 sends", "1 send", "2 sends"]
    assert [counted(number, "row waits", "rows wait") for number in (1, 2)] == ["1 row waits", "2 rows wait"]
