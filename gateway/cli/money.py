"""Sums of money as people read them, in whatever currency the config file's prices are."""

from __future__ import annotations


def money(sum_: float) -> str:
    """Return a sum with two decimals, and with up to four where it has them: an SMS may cost 0.0075."""
    whole, _, parts = f"{sum_:.4f}".partition(".")
    return f"{whole}.{parts.rstrip('0').ljust(2, '0')}"
