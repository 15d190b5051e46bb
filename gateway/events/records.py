"""Lines of the standard library's ``logging``, ours and the libraries': the same shape, and nothing that must not be told.

A library does not know what it prints. So of its exceptions only type and place are told, its debugging is left out,
and where it is known to print tokens, numbers or texts its messages are told without their values.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from gateway.clock import rfc3339
from gateway.events.redaction import Redactor
from gateway.events.trace import frames, related, told

#: Our own packages: their loggers may say everything, and their ``extra`` becomes keys.
OURS: Final = frozenset({"gateway", "channels"})

#: Libraries that print secrets below WARNING: httpx the bot's token in every URL, telegram and aiosmtplib the message
#: with its code, twilio numbers and account, sqlalchemy what is bound to a statement, access logs what stands in a path.
GUARDED: Final = (
    "aiohttp",
    "aiosmtplib",
    "httpcore",
    "httpx",
    "sqlalchemy",
    "telegram",
    "twilio",
    "urllib3",
    "uvicorn.access",
)

#: What a record is made of by itself; everything else in it came by ``extra``.
_STANDARD: Final = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})
#: Keys of the line itself, which an ``extra`` does not replace.
_TAKEN: Final = frozenset({"timestamp", "level", "event", "logger", "exception", "frames", "related"})
#: ``extra`` cannot be called ``message`` (``logging`` refuses it): ids take the names they have in an event's line.
_RENAMED: Final = {"message_id": "message", "verification_id": "verification"}
#: Where the reprs of values begin in asyncio's messages: ``Exception in callback send('492039')``.
_VALUES: Final = "<({['\"\n"


def is_guarded(name: str) -> bool:
    """Whether a logger is, or is below, one of those that print secrets."""
    return any(name == guarded or name.startswith(f"{guarded}.") for guarded in GUARDED)


def fields_of(record: logging.LogRecord, redactor: Redactor) -> dict[str, Any]:
    """Return the keys and values of a record's line, not yet masked. Never raises on account of the record."""
    fields: dict[str, Any] = {
        "timestamp": rfc3339(record.created),
        "level": record.levelname.lower(),
        "event": _text_of(record, redactor),
        "logger": record.name,
    }
    if _package(record) in OURS:
        fields |= {_RENAMED.get(name, name): value for name, value in vars(record).items() if _is_extra(name)}
    error = record.exc_info[1] if record.exc_info else None
    return fields | explained(error)


def explained(error: BaseException | None) -> dict[str, Any]:
    """Return the keys that tell of an exception; none without one."""
    if error is None:
        return {}
    keys = {"exception": told(error), "frames": frames(error), "related": related(error)}
    return {name: value for name, value in keys.items() if value}


def _package(record: logging.LogRecord) -> str:
    return record.name.partition(".")[0]


def _is_extra(name: str) -> bool:
    return name not in _STANDARD and name not in _TAKEN


def _text_of(record: logging.LogRecord, redactor: Redactor) -> str:
    if isinstance(record.msg, BaseException):
        return told(record.msg)
    if not isinstance(record.msg, str):
        return f"<{type(record.msg).__qualname__}>"
    if is_guarded(record.name):
        return record.msg.strip()
    text = _formatted(record, record.msg, redactor).strip()
    return _without_values(text) if _package(record) == "asyncio" else text


def _formatted(record: logging.LogRecord, template: str, redactor: Redactor) -> str:
    if not record.args:
        return template
    try:
        text: str = template % _arguments(record.args, redactor)
    except Exception as error:  # noqa: BLE001 - a value's own __str__ may raise anything, and a line must come out
        return f"{template} (its values cannot be shown: {type(error).__name__})"
    return text


def _arguments(args: Any, redactor: Redactor) -> Any:
    if isinstance(args, Mapping):
        return {name: _argument(value, redactor) for name, value in args.items()}
    return tuple(_argument(value, redactor) for value in args)


def _argument(value: object, redactor: Redactor) -> object:
    """Return a value as it may be formatted: an exception's text, alone or in a list, may hold anything."""
    shown = (BaseException, Mapping, list, tuple, set, frozenset)
    return redactor.value(value) if isinstance(value, shown) else value


def _without_values(text: str) -> str:
    """Cut asyncio's message where the repr of a task or of a callback's arguments begins: they show exceptions."""
    end = min((at for sign in _VALUES if (at := text.find(sign)) >= 0), default=len(text))
    return text[:end].strip()
