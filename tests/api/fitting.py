"""Whether a value fits a schema, by the parts of JSON Schema that the OpenAPI document uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

_TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}
_TIME = re.compile(r"\d{4}(-\d\d){2}T(\d\d:){2}\d\d\.\d{3}Z")


def misfits(document: Json, value: Any, schema: Json, place: str = "") -> list[str]:
    """Return where ``value`` does not fit."""
    schema = resolved(document, schema)
    if "anyOf" in schema:
        fits = any(not misfits(document, value, choice, place) for choice in schema["anyOf"])
        return [] if fits else [f"{place}: fits none of anyOf"]
    kind = schema.get("type")
    if kind is not None and not _is(value, kind):
        return [f"{place}: {value!r} is no {kind}"]
    return [*_bounds(value, schema, place), *_within(document, value, schema, place)]


def resolved(document: Json, schema: Json) -> Json:
    """Return what a reference leads to."""
    if "$ref" not in schema:
        return schema
    found: Json = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool) and kind != "boolean":
        return False
    return isinstance(value, _TYPES[kind])


def _bounds(value: Any, schema: Json, place: str) -> Iterator[str]:
    if isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{place}: range"
    if not isinstance(value, str):
        return
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        yield f"{place}: length"
    if value not in schema.get("enum", [value]):
        yield f"{place}: none of those"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{place}: pattern"
    if schema.get("format") == "date-time" and not _TIME.fullmatch(value):
        yield f"{place}: time"


def _within(document: Json, value: Any, schema: Json, place: str) -> Iterator[str]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from misfits(document, item, schema["items"], f"{place}/{number}")
    if not isinstance(value, dict):
        return
    yield from (f"{place}/{name}: missing" for name in schema.get("required", ()) if name not in value)
    # Also where the schema is silent: an answer must not have what its document does not name.
    others = schema.get("additionalProperties", "properties" not in schema)
    for name, item in value.items():
        inner = schema.get("properties", {}).get(name, others)
        if inner is False:
            yield f"{place}/{name}: unknown"
        elif isinstance(inner, dict):
            yield from misfits(document, item, inner, f"{place}/{name}")
