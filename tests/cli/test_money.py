"""Sums of money: two decimals, and more only where they say something."""

from __future__ import annotations

import pytest

from gateway.cli.money import money


@pytest.mark.parametrize(
    ("of", "shown"),
    [(0.0, "0.00"), (1.5, "1.50"), (0.075, "0.075"), (0.0075, "0.0075"), (1.125, "1.125"), (12.00004, "12.00")],
)
def test_a_sum_has_two_decimals_and_up_to_four_where_they_count(of, shown):
    assert money(of) == shown
