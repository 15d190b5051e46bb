"""Numbers of things as people read them."""

from __future__ import annotations


def counted(number: int, one: str, several: str = "") -> str:
    """Return ``1 verification`` or ``2 verifications``; ``several`` is the plural where it is more than an s."""
    return f"{number} {one if number == 1 else several or f'{one}s'}"
