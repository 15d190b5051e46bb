"""JSON read strictly: what two parsers could read in two ways is refused.

RFC 8259 leaves repeated keys, lone surrogates and large numbers to the reader, and Python's reader takes ``NaN`` too.
A plain body, as nearly all are, is read by msgspec: 0.6 µs in place of 1.6.
"""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from gateway.errors import BadRequest

#: Levels of arrays and objects.
MAX_DEPTH: Final = 16
#: Characters of an integer: the 19 digits of 64 bits and a sign.
_MAX_INTEGER: Final = 20


_Plain = str | bool | Annotated[int, Meta(ge=-(2**53), le=2**53)] | None
#: What a plain body is: two levels, no fractions and nothing that readers differ in but a key named twice.
_plain: Final = msgspec.json.Decoder(dict[str, _Plain | list[str] | dict[str, _Plain]])


class _RefusedError(ValueError):
    """Well-formed JSON that is not taken."""


def parse(raw: bytes) -> object:
    """Return the value in ``raw``. Raises ``BadRequest`` with a sentence that repeats nothing of it."""
    value = _read_plainly(raw)
    return _read_strictly(raw) if value is None else value


def _read_plainly(raw: bytes) -> dict[str, Any] | None:
    """Return a plain body's value, ``None`` where it has to be read strictly, or refused by a reader that says why."""
    if b"\\" in raw:
        # An escape may stand for what is refused.
        return None
    try:
        value = _plain.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    members = len(value)
    for inner in value.values():
        if type(inner) is dict:
            members += len(inner)
    # Each member has a colon: where there are no more of them, none was read over another of the same name.
    return value if raw.count(b":") == members else None


def _read_strictly(raw: bytes) -> object:
    if raw.startswith(codecs.BOM_UTF8):
        raise BadRequest("the body starts with a byte order mark")
    try:
        text = raw.decode("utf-8")
        value: object = _decoder.decode(text)
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON (line {error.lineno}, column {error.colno})") from None
    except _RefusedError as error:
        raise BadRequest(str(error)) from None
    except RecursionError:
        raise _too_deep() from None
    # Only a body with that many brackets can be that deep, and only one with escapes can hold these characters.
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value)
    if "\\u" in text:
        _check_strings(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _RefusedError("an object of the body names a key twice")
    return found


def _constant(_: str) -> float:
    raise _RefusedError("NaN and Infinity are not JSON")


def _integer(digits: str) -> int:
    if len(digits) > _MAX_INTEGER:
        raise _RefusedError("a number of the body is too large")
    return int(digits)


def _fraction(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise _RefusedError("a number of the body is too large")
    return value


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_fraction
)


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for item in level for inner in _within(item) if isinstance(inner, dict | list)]
    if level:
        raise _too_deep()


def _check_strings(value: object) -> None:
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            _check_string(item)
        elif isinstance(item, dict):
            rest.extend(item)
            rest.extend(item.values())
        elif isinstance(item, list):
            rest.extend(item)


def _check_string(text: str) -> None:
    if "\0" in text:
        raise BadRequest("a string of the body holds a NUL character")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise BadRequest("a string of the body holds half of a surrogate pair")


def _within(item: object) -> Iterable[object]:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, list) else ()


def _too_deep() -> BadRequest:
    return BadRequest(f"the body nests deeper than {MAX_DEPTH} levels")
