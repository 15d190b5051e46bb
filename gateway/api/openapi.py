"""The OpenAPI 3.1 document: schemas from ``shapes``, examples from ``examples``, the paths from here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import orjson
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST

from gateway.api import examples, shapes
from gateway.api.responses import JSON, PROBLEM
from gateway.delivery.lifecycle import VerificationStatus

Json = dict[str, Any]

_DESCRIPTION: Final = """\
One-time codes by SMS, e-mail or a chat bot: start a verification, then check what the person typed.

Send a key of your service as `Authorization: Bearer otpg_…`; a key in a query or a body is refused. Bodies are JSON in \
UTF-8, 16 KiB at most; unknown fields are refused by name. Times are RFC 3339 in UTC. Every problem is \
`application/problem+json` (RFC 9457) with a stable `code`; every 429 and 503 has `Retry-After` in whole seconds. \
`HEAD` works wherever `GET` does; a method \
that a path has not is answered with 405 `method_not_allowed` and `Allow`."""

_SCHEMAS: Final = (
    shapes.CreateVerification,
    shapes.CheckCode,
    shapes.Resend,
    shapes.Cancel,
    shapes.CreateSubscriber,
    shapes.VerificationShape,
    shapes.VerificationPage,
    shapes.Approved,
    shapes.SubscriberShape,
    shapes.AliveShape,
    shapes.HealthShape,
    shapes.ProblemShape,
)

#: What any call with a key may be answered, and any call with a body besides.
_CALL: Final = ("unreadable", "unauthorized", "internal_error", "unavailable")
_BODY: Final = (*_CALL, "request_timeout", "too_large", "unsupported_media_type", "invalid_request")
_CREATE: Final = (*_BODY, "idempotency_conflict", "idempotency_mismatch")
_ENDED: Final = ("not_found", "already_approved", "expired", "max_attempts_reached", "failed")

_KEY: Final[Json] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "1 to 255 printable ASCII characters, bare or quoted. For 24 hours the same key with the same body "
    "gets the first answer again (with Idempotent-Replayed: true); refusals are not kept.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 257},
}
_RETRY_AFTER: Final[Json] = {
    "Retry-After": {"description": "Whole seconds; obeying it works.", "schema": {"type": "integer"}}
}


def document(public_url: str) -> Json:
    """Return the document of a gateway at ``public_url``."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "otp-gateway", "version": "1", "description": _DESCRIPTION},
        "servers": [{"url": public_url}],
        "security": [{"key": []}],
        "tags": [{"name": name} for name in ("Verifications", "Subscribers", "Operation")],
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "otpg_<id>_<secret>"}},
        },
    }


def _schemas() -> Json:
    _, found = msgspec.json.schema_components(_SCHEMAS, ref_template="#/components/schemas/{name}")
    # "Shape" tells our classes from the views they are made of; callers have only the one.
    schemas: Json = orjson.loads(orjson.dumps(found).replace(b"Shape", b""))
    return schemas


def _paths() -> Json:
    return {
        "/v1/verifications": {"post": _create(), "get": _list()},
        "/v1/verifications/{id}": {"get": _one()},
        "/v1/verifications/{id}/check": {"post": _check()},
        "/v1/verifications/{id}/resend": {"post": _resend()},
        "/v1/verifications/{id}/cancel": {"post": _cancel()},
        "/v1/verifications/batch": {"post": _batch()},
        "/v1/subscribers": {"post": _subscribe()},
        "/v1/subscribers/{id}": {"get": _subscriber(), "delete": _forget()},
        "/callbacks/{channel}": {"post": _callback()},
        "/healthz": {"get": _alive()},
        "/readyz": {"get": _ready()},
        "/metrics": {"get": _metrics()},
        "/openapi.json": {"get": _open("openapi", "This document", JSON)},
        "/docs": {"get": _open("docs", "This document as a page", "text/html; charset=utf-8")},
    }


def _create() -> Json:
    problems = (*_CREATE, "recipient_refused", "cooldown")
    return {
        **_named("createVerification", "Verifications", "Send a code"),
        "description": "Makes a code and sends it along the route. With `mode` `inbound` nothing is sent: the person "
        "opens the `link`, or types the `challenge` to the bot, and confirms there; read the status. The fields `bind` "
        "and `proof` are not available yet and refused by name.",
        "parameters": [_KEY],
        "requestBody": _request("CreateVerification", examples.CREATE),
        "responses": {
            "201": _located(_answers("Started", "Verification", examples.STARTED)),
            **_problems(problems),
        },
    }


def _list() -> Json:
    statuses = [str(status) for status in VerificationStatus]
    return {
        **_named("listVerifications", "Verifications", "List verifications"),
        "description": "The service's own, newest first.",
        "parameters": [
            _query("status", "Only these.", {"type": "string", "enum": statuses}),
            _query("to", "Only those to this address, whatever its kind.", {"type": "string"}),
            _query("cursor", "The `next_cursor` of the page before.", {"type": "string"}),
            _query("limit", "Items.", {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}),
        ],
        "responses": {
            "200": _answer("A page", "VerificationPage", examples.PAGE),
            **_problems((*_CALL, "invalid_request")),
        },
    }


def _one() -> Json:
    return {
        **_named("getVerification", "Verifications", "Read a verification"),
        "description": "With the attempts of every message and the timeline.",
        "parameters": [_id(examples.VERIFICATION_ID)],
        "responses": {
            "200": _answer("The verification", "Verification", examples.WHOLE),
            **_problems((*_CALL, "invalid_request", "not_found")),
        },
    }


def _check() -> Json:
    return {
        **_named("checkCode", "Verifications", "Check a code"),
        "description": "200 only where the code is right, once. A wrong code spends a check; a malformed one does not.",
        "parameters": [_id(examples.VERIFICATION_ID)],
        "requestBody": _request("CheckCode", examples.CHECK),
        "responses": {
            "200": _answer("Approved", "Approved", examples.APPROVED),
            **_problems((*_BODY, *_ENDED, "canceled", "wrong_code")),
        },
    }


def _resend() -> Json:
    return {
        **_named("resendCode", "Verifications", "Send the code again"),
        "description": "Allowed from `resend_at` on. Neither the expiry nor the count of checks changes. 422 where there is "
        "no code.",
        "parameters": [_id(examples.VERIFICATION_ID)],
        "requestBody": _request("Resend", examples.RESEND, required=False),
        "responses": {
            "202": _answer("Queued", "Verification", examples.VERIFICATION),
            **_problems((*_BODY, *_ENDED, "canceled", "recipient_refused", "cooldown")),
        },
    }


def _cancel() -> Json:
    return {
        **_named("cancelVerification", "Verifications", "Cancel a verification"),
        "description": "Nothing is sent afterwards. Canceling twice is the same as once.",
        "parameters": [_id(examples.VERIFICATION_ID)],
        "requestBody": _request("Cancel", examples.CANCEL, required=False),
        "responses": {
            "200": _answer("Canceled", "Verification", examples.CANCELED),
            **_problems((*_BODY, *_ENDED)),
        },
    }


def _batch() -> Json:
    return {
        **_named("createBatch", "Verifications", "Send many codes (not available yet)"),
        "security": [],
        "responses": _problems(("not_found",)),
    }


def _subscribe() -> Json:
    return {
        **_named("createSubscriber", "Subscribers", "Ask a person to open the bot"),
        "description": "The link works once, for 10 minutes. A known person gets a new link and the old one ends.",
        "parameters": [_KEY],
        "requestBody": _request("CreateSubscriber", examples.SUBSCRIBE),
        "responses": {"201": _located(_answer("Asked", "Subscriber", examples.INVITED)), **_problems(_CREATE)},
    }


def _subscriber() -> Json:
    return {
        **_named("getSubscriber", "Subscribers", "Read a subscriber"),
        "parameters": [_id(examples.SUBSCRIBER_ID)],
        "responses": {
            "200": _answer("The subscriber", "Subscriber", examples.SUBSCRIBER),
            **_problems((*_CALL, "invalid_request", "not_found")),
        },
    }


def _forget() -> Json:
    return {
        **_named("deleteSubscriber", "Subscribers", "Forget a subscriber"),
        "parameters": [_id(examples.SUBSCRIBER_ID)],
        "responses": {
            "204": {"description": "Forgotten"},
            **_problems((*_CALL, "invalid_request", "not_found")),
        },
    }


def _callback() -> Json:
    return {
        **_named("reportDelivery", "Operation", "A provider's report"),
        "description": "For providers, who sign it: reports of deliveries, and what people write to a bot that is told "
        "of it in this way. Unknown and repeated ones are answered like others.",
        "security": [],
        "parameters": [{"name": "channel", "in": "path", "required": True, "schema": {"type": "string"}}],
        "requestBody": {
            "content": {
                **{kind: {"schema": {"type": "object"}} for kind in ("application/x-www-form-urlencoded", JSON)},
                "message/rfc822": {},
            }
        },
        "responses": {
            "204": {"description": "Taken in"},
            **_problems(("forbidden", "not_found", "request_timeout", "too_large", "internal_error", "unavailable")),
        },
    }


def _alive() -> Json:
    return {
        **_named("alive", "Operation", "Is the process alive?"),
        "security": [],
        "responses": {"200": _answer("It is", "Alive", examples.ALIVE)},
    }


def _ready() -> Json:
    return {
        **_named("ready", "Operation", "Should requests come here?"),
        "description": "Decided by database, migrations and draining; the channels are shown only.",
        "security": [],
        "responses": {
            "200": _answer("They should", "Health", examples.READY),
            "503": {**_answer("Not now", "Health", examples.NOT_READY), "headers": _RETRY_AFTER},
        },
    }


def _metrics() -> Json:
    kinds = (CONTENT_TYPE_PLAIN_0_0_4, CONTENT_TYPE_LATEST)
    return {
        **_named("metrics", "Operation", "What Prometheus reads"),
        "description": "In OpenMetrics where `Accept` asks for it. Open, unless `[metrics] token` is set: then that token "
        "has to be shown as `Authorization: Bearer …`.",
        "security": [],
        "responses": {
            "200": {"description": "The metrics", "content": {kind: {} for kind in kinds}},
            **_problems(("unauthorized",)),
        },
    }


def _open(operation: str, summary: str, media_type: str) -> Json:
    return {
        **_named(operation, "Operation", summary),
        "security": [],
        "responses": {"200": {"description": summary, "content": {media_type: {}}}},
    }


def _named(operation: str, tag: str, summary: str) -> Json:
    return {"operationId": operation, "tags": [tag], "summary": summary}


def _id(example: str) -> Json:
    return {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}, "example": example}


def _query(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _request(schema: str, named: Mapping[str, Json], *, required: bool = True) -> Json:
    return {"required": required, "content": {JSON: {"schema": _ref(schema), "examples": _values(named.items())}}}


def _answer(description: str, schema: str, example: Json) -> Json:
    return {"description": description, "content": {JSON: {"schema": _ref(schema), "example": example}}}


def _answers(description: str, schema: str, named: Mapping[str, Json]) -> Json:
    return {"description": description, "content": {JSON: {"schema": _ref(schema), "examples": _values(named.items())}}}


def _located(answer: Json) -> Json:
    header = {"description": "Where what was created can be read.", "schema": {"type": "string"}}
    return {**answer, "headers": {"Location": header}}


def _problems(names: Sequence[str]) -> Json:
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
        response["headers"] = _RETRY_AFTER
    return response


def _values(named: Iterable[tuple[str, Json]]) -> Json:
    return {name: {"value": value} for name, value in named}


def _ref(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}
