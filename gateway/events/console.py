"""Lines for people at a terminal: time, coloured event, the rest as ``key=value``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

_RESET: Final = "\x1b[0m"
_DIM: Final = "\x1b[2m"
#: ECMA-48 colours by level: cyan, green, yellow, red.
_COLOURS: Final = {"debug": "\x1b[36m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_LOUDEST: Final = "\x1b[1;31m"
#: Columns of the event, so that what follows stands in line for nearly all of them.
_WIDTH: Final = 26


def render_console(_logger: object, _method: str, fields: Mapping[str, Any]) -> bytes:
    """Return a line's fields as one coloured line; a structlog processor, the last of a chain."""
    rest = {name: value for name, value in fields.items() if name not in {"timestamp", "level", "event"}}
    time = str(fields.get("timestamp", ""))[11:23]
    colour = _COLOURS.get(str(fields.get("level")), _LOUDEST)
    event = printable(str(fields.get("event", ""))).ljust(_WIDTH if rest else 0)
    pairs = " ".join(f"{_DIM}{printable(name)}={_RESET}{_shown(value)}" for name, value in rest.items())
    return f"{_DIM}{time}{_RESET} {colour}{event}{_RESET} {pairs}".rstrip().encode() + b"\n"


def printable(text: str) -> str:
    """Return ``text`` without what would move a terminal's cursor or change its state; that is shown as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _shown(value: Any) -> str:
    if isinstance(value, str) and value and not set(value) & set(' "='):
        return printable(value)
    return printable(orjson.dumps(value).decode())
