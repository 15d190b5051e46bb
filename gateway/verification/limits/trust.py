"""Trusted contexts: a device or an IP address that was approved for a recipient has a budget of guesses of its own."""

from __future__ import annotations

from gateway.storage.unit import Fetch, Record, Write
from gateway.verification.limits import statements as sql
from gateway.verification.limits.claims import visitor_of
from gateway.verification.limits.windows import TRUSTED_FOR


def contexts_of(reference: str | None, ip: str | None) -> list[str]:
    """Return the contexts a request names, the one that says more first: a device before an IP address."""
    found = [] if reference is None else [f"reference:{reference}"]
    return found if ip is None else [*found, f"ip:{visitor_of(ip)}"]


async def trusted(fetch: Fetch, service: str, address_hash: bytes, contexts: list[str], now: float) -> str:
    """Return the first of ``contexts`` that is trusted for a recipient, ``""`` where none is."""
    if not contexts:
        return ""
    known = {record["context"] for record in await fetch(sql.TRUSTED, service=service, hash=address_hash, at=now)}
    return next((context for context in contexts if context in known), "")


async def budget(fetch: Fetch, service: str, address_hash: bytes, record: Record) -> str:
    """Return whose budget of guesses a verification asks of a recipient: its context's if they trust it, else ``""``.

    ``record`` has its ``context`` and ``created_at``. They trusted it, or not, when it began: so do the statements say
    that hold back its checks and count its wrong codes.
    """
    contexts = [record["context"]] if record["context"] else []
    return await trusted(fetch, service, address_hash, contexts, record["created_at"])


def trust(service: str, address_hash: bytes, contexts: list[str], now: float) -> list[Write]:
    """Return what makes contexts trusted for a recipient from ``now`` on."""
    return [(sql.TRUST, (service, address_hash, context, now + TRUSTED_FOR)) for context in contexts]
