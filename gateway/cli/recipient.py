"""``--to`` of verbs that look for a person: an address as every kind that takes it, or ``kind=address``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import ConfigError
from gateway.verification.addressee import NobodyError


@contextmanager
def refused() -> Iterator[None]:
    """Tell whoever wrote no address so, without repeating it: it may be somebody's, mistyped. Raises ``ConfigError``."""
    try:
        yield
    except NobodyError as error:
        of = f" {error.kind}:" if error.kind else ""
        raise ConfigError([f"--to:{of} {error}{_instead(error)}"]) from None


def _instead(error: NobodyError) -> str:
    if not error.reference:
        return ""
    return f"; a reference that is written like one is given by its kind: --to {error.reference}=…"
