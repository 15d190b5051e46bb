"""What the paths of the OpenAPI document are made of: bodies, answers, problems, parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from gateway.api import examples
from gateway.api.responses import JSON, PROBLEM

#: A JSON object.
Json = dict[str, Any]

#: What any call with a key may be answered, by the names of ``examples.PROBLEMS``.
CALL: Final = ("unreadable", "unauthorized", "missing_scope", "internal_error", "unavailable")
#: The same for any call with a body.
BODY: Final = (*CALL, "request_timeout", "too_large", "unsupported_media_type", "invalid_request")
#: The same for what creates.
CREATE: Final = (*BODY, "idempotency_conflict", "idempotency_mismatch")
#: Why there is no pending verification.
ENDED: Final = ("not_found", "already_approved", "expired", "max_attempts_reached", "failed")

#: The header by which a POST that creates may be sent again.
KEY: Final[Json] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "1 to 255 printable ASCII characters, bare or quoted. For 24 hours the same key with the same body "
    "gets the first answer again (with Idempotent-Replayed: true); refusals are not kept.",
    # Bare, or as a structured field's string (RFC 9651, 3.3.3).
    "schema": {"type": "string", "pattern": r'^(?:[!#-~](?:[ -~]{0,253}[!-~])?|"(?:[ !#-\[\]-~]|\\["\\]){1,255}")$'},
}
#: The header of every 429 and 503.
RETRY_AFTER: Final[Json] = {
    "Retry-After": {"description": "Whole seconds; obeying it works.", "schema": {"type": "integer"}}
}


def named(operation: str, tag: str, summary: str) -> Json:
    """Return what an operation is called by programs, under which heading it stands, and by people."""
    return {"operationId": operation, "tags": [tag], "summary": summary}


def identified(example: str) -> Json:
    """Return the parameter that stands for ``{id}`` in a path."""
    return {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}, "example": example}


def queried(name: str, description: str, schema: Json) -> Json:
    """Return a parameter of a query."""
    return {"name": name, "in": "query", "description": description, "schema": schema}


def request(schema: str, shown: Mapping[str, Json], *, required: bool = True) -> Json:
    """Return a body that comes in, with its examples by name."""
    return {"required": required, "content": {JSON: {"schema": _ref(schema), "examples": _values(shown.items())}}}


def answer(description: str, schema: str, example: Json) -> Json:
    """Return an answer with its example."""
    return {"description": description, "content": {JSON: {"schema": _ref(schema), "example": example}}}


def answers(description: str, schema: str, shown: Mapping[str, Json]) -> Json:
    """Return an answer with several examples, by name."""
    return {"description": description, "content": {JSON: {"schema": _ref(schema), "examples": _values(shown.items())}}}


def located(told: Json) -> Json:
    """Return an answer that has a ``Location``."""
    header = {"description": "Where what was created can be read.", "schema": {"type": "string"}}
    return {**told, "headers": {"Location": header}}


def problems(names: Sequence[str]) -> Json:
    """Return the responses for the problems with these names, one a status."""
    by_status: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: examples.PROBLEMS[name].status):
        by_status.setdefault(str(examples.PROBLEMS[name].status), []).append(name)
    return {status: _problem(found) for status, found in by_status.items()}


def _problem(names: Sequence[str]) -> Json:
    codes = dict.fromkeys(examples.PROBLEMS[name].code for name in names)
    values = _values((name, examples.problem(name)) for name in names)
    response: Json = {
        "description": ", ".join(codes),
        "content": {PROBLEM: {"schema": _ref("Problem"), "examples": values}},
    }
    if any("Retry-After" in examples.PROBLEMS[name].headers for name in names):
        response["headers"] = RETRY_AFTER
    return response


def _values(shown: Iterable[tuple[str, Json]]) -> Json:
    return {name: {"value": value} for name, value in shown}


def _ref(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}
