"""Cooldowns: how soon a service may send to a recipient again, and the refusal that names the wait."""

from __future__ import annotations

from typing import Any

from gateway.errors import Cooldown

#: The cooldown grows with each send of a verification up to this many times its base: 30, 60, 90, 120 s.
GROWTH = 4


def length(base: float, sends: int) -> float:
    """Return the seconds of cooldown after that many sends of a verification (1 …)."""
    return base * min(sends, GROWTH)


def refusal(wait: float, verification_id: str | None, *, base: float) -> Cooldown:
    """Return the refusal for a cooldown with ``wait`` seconds left, started by ``verification_id``."""
    seconds = max(1, -int(-wait // 1))
    headers = {
        # It grows with the sends: a window is never shorter than what is left of it.
        "RateLimit-Policy": f'"cooldown";q=1;w={max(int(base), seconds)}',
        "RateLimit": f'"cooldown";r=0;t={seconds}',
    }
    extra: dict[str, Any] = {"limit": "cooldown"}
    if verification_id is not None:
        extra["verification"] = verification_id
    return Cooldown(f"sent a moment ago; again in {seconds} s", retry_after=wait, headers=headers, **extra)
