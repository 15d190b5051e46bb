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
}


def blanked(plain: bytes, ids: Collection[str]) -> bytes | None:
    """Return an answer without what it told of these ids' person; ``None`` where it tells nothing of them."""
    try:
        told = orjson.loads(plain)
    except orjson.JSONDecodeError:
        return None
    left = _blank(told, ids)
    return None if left == told else orjson.dumps(left)


def _blank(told: Any, ids: Collection[str]) -> Any:
    if isinstance(told, list):
        return [_blank(item, ids) for item in told]
    if not isinstance(told, dict):
        return told
    theirs = told.get("id") in ids
    return {
        name: _PERSONAL[name] if theirs and name in _PERSONAL else _blank(value, ids) for name, value in told.items()
    }
