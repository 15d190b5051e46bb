"""Blanking idempotent answers: what they told of somebody who is erased goes, and the rest stays as it was."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import orjson

#: What is told of a person beside an id, and what stands there afterwards.
_PERSONAL: Final[Mapping[str, Any]] = {
    "to": {},
    **dict.fromkeys(("link", "qr", "qr_png", "uri", "secret", "display_name", "challenge", "account", "page")),
    "reference": "",
    "codes": [],
}


def blanked(plain: bytes, ids: Collection[str]) -> bytes | None:
    """Return an answer without what it told of these ids' person; ``None`` where it tells nothing of them."""
    try:
        told = orjson.loads(plain)
    except orjson.JSONDecodeError:
        return None
    left = _blank(told, ids)
    return None if left == told else orjson.dumps(left)


def _blank(told: Any, ids: Collection[str], *, theirs: bool = False) -> Any:
    """Blank what is of these ids; ``theirs``: what it stands in is."""
    if isinstance(told, list):
        return [_blank(item, ids) for item in told]
    if not isinstance(told, dict):
        return told
    theirs = theirs or told.get("id") in ids
    # Recovery codes tell whose they are by where they are alone.
    is_at_theirs = str(told.get("location")).rpartition("/")[2] in ids
    return {
        name: _PERSONAL[name] if theirs and name in _PERSONAL else _blank(value, ids, theirs=is_at_theirs)
        for name, value in told.items()
    }
