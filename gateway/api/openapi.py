"""The OpenAPI 3.1 document: schemas from ``shapes``, examples from ``examples``, the paths from here."""

from __future__ import annotations

from typing import Final

import msgspec
import orjson
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST

from gateway.api import authenticator_paths, batch, examples, jwks, recipient_shapes, recipients, sessions, shapes
from gateway.api.describing import (
    BODY,
    CALL,
    CREATE,
    ENDED,
    KEY,
    RETRY_AFTER,
    Json,
    answer,
    answers,
    identified,
    located,
    named,
    problems,
    queried,
    request,
)
from gateway.api.responses import JSON
from gateway.delivery.lifecycle import VerificationStatus

_DESCRIPTION: Final = """\
One-time codes by SMS, e-mail or a chat bot: start a verification, then check what the person typed.

Send a key of your service as `Authorization: Bearer otpg_…`; a key in a query or a body is refused. Bodies are JSON in \
UTF-8, 16 KiB at most (a batch: 1 MiB); unknown fields are refused by name. Times are RFC 3339 in UTC. Every problem is \
`application/problem+json` (RFC 9457) with a stable `code`; every 429 and 503 has `Retry-After` in whole seconds. \
`HEAD` works wherever `GET` does; a method \
that a path has not is answered with 405 `method_not_allowed` and `Allow`, a line and headers of more than 16 KiB with \
431 `too_large`."""

_SCHEMAS: Final = (
    shapes.CreateVerification,
    shapes.CreateBatch,
    shapes.CheckCode,
    shapes.Resend,
    shapes.Cancel,
    shapes.CreateSubscriber,
    shapes.VerificationShape,
    shapes.VerificationPage,
    shapes.BatchShape,
    shapes.Approved,
    shapes.EndedSession,
    shapes.KeySet,
    shapes.SubscriberShape,
    shapes.AliveShape,
    shapes.HealthShape,
    shapes.ProblemShape,
    *authenticator_paths.SCHEMAS,
    recipient_shapes.EraseRecipient,
    recipient_shapes.ErasedShape,
)


def document(public_url: str | None) -> Json:
    """Return the document of a gateway at ``public_url``; where that is not known, at wherever the document came from."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "otp-gateway", "version": "1", "description": _DESCRIPTION},
        "servers": [{"url": public_url or "/"}],
        "security": [{"key": []}],
        "tags": [
            {"name": name}
            for name in (
                "Verifications",
                "Sessions",
                "Proofs",
                "Subscribers",
                "Authenticators",
                "Recipients",
                "Operation",
            )
        ],
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
        batch.PATH: {"post": batch.described()},
        recipients.PATH: {"delete": recipients.described()},
        sessions.PATH: {"delete": sessions.described()},
        "/v1/subscribers": {"post": _subscribe()},
        "/v1/subscribers/{id}": {"get": _subscriber(), "delete": _forget()},
        **authenticator_paths.paths(),
        "/callbacks/{channel}": {"post": _callback()},
        jwks.PATH: {"get": jwks.described()},
        "/healthz": {"get": _alive()},
        "/readyz": {"get": _ready()},
        "/metrics": {"get": _metrics()},
        "/openapi.json": {"get": _open("openapi", "This document", JSON)},
        "/docs": {"get": _open("docs", "This document as a page", "text/html; charset=utf-8")},
    }


def _create() -> Json:
    return {
        **named("createVerification", "Verifications", "Send a code"),
        "description": "Makes a code and sends it along the route. With `mode` `inbound` nothing is sent: the person "
        "opens the `link`, or types the `challenge` to the bot, and confirms there; read the status. What is given as "
        "`bind` can be shown in the message, and has to be given again with the code.",
        "parameters": [KEY],
        "requestBody": request("CreateVerification", examples.CREATE),
        "responses": {
            "201": located(answers("Started", "Verification", examples.STARTED)),
            **problems((*CREATE, "recipient_refused", "cooldown")),
        },
    }


def _list() -> Json:
    statuses = [str(status) for status in VerificationStatus]
    return {
        **named("listVerifications", "Verifications", "List verifications"),
        "description": "The service's own, newest first.",
        "parameters": [
            queried("status", "Only these.", {"type": "string", "enum": statuses}),
            queried("to", "Only those to this address, whatever its kind; or `kind=address`.", {"type": "string"}),
            queried("cursor", "The `next_cursor` of the page before.", {"type": "string"}),
            queried("limit", "Items.", {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}),
        ],
        "responses": {
            "200": answer("A page", "VerificationPage", examples.PAGE),
            **problems((*CALL, "invalid_request")),
        },
    }


def _one() -> Json:
    return {
        **named("getVerification", "Verifications", "Read a verification"),
        "description": "With the attempts of every message and the timeline.",
        "parameters": [identified(examples.VERIFICATION_ID)],
        "responses": {
            "200": answer("The verification", "Verification", examples.WHOLE),
            **problems((*CALL, "invalid_request", "not_found")),
        },
    }


def _check() -> Json:
    return {
        **named("checkCode", "Verifications", "Check a code"),
        "description": "200 only where the code is right, once, with a signed `proof` of it. A wrong code spends a check, and "
        "so does another `bind` than the verification's (the order of its names does not matter); what is malformed does not.",
        "parameters": [identified(examples.VERIFICATION_ID)],
        "requestBody": request("CheckCode", examples.CHECK),
        "responses": {
            "200": answer("Approved", "Approved", examples.APPROVED),
            **problems((*BODY, *ENDED, "canceled", "wrong_code")),
        },
    }


def _resend() -> Json:
    return {
        **named("resendCode", "Verifications", "Send the code again"),
        "description": "Allowed from `resend_at` on. Neither the expiry nor the count of checks changes. 422 where there is "
        "no code.",
        "parameters": [identified(examples.VERIFICATION_ID)],
        "requestBody": request("Resend", examples.RESEND, required=False),
        "responses": {
            "202": answer("Queued", "Verification", examples.VERIFICATION),
            **problems((*BODY, *ENDED, "canceled", "recipient_refused", "cooldown")),
        },
    }


def _cancel() -> Json:
    return {
        **named("cancelVerification", "Verifications", "Cancel a verification"),
        "description": "Nothing is sent afterwards. Canceling twice is the same as once.",
        "parameters": [identified(examples.VERIFICATION_ID)],
        "requestBody": request("Cancel", examples.CANCEL, required=False),
        "responses": {
            "200": answer("Canceled", "Verification", examples.CANCELED),
            **problems((*BODY, *ENDED)),
        },
    }


def _subscribe() -> Json:
    return {
        **named("createSubscriber", "Subscribers", "Ask a person to open the bot"),
        "description": "The link works once, for 10 minutes. A known person gets a new link and the old one ends.",
        "parameters": [KEY],
        "requestBody": request("CreateSubscriber", examples.SUBSCRIBE),
        "responses": {"201": located(answer("Asked", "Subscriber", examples.INVITED)), **problems(CREATE)},
    }


def _subscriber() -> Json:
    return {
        **named("getSubscriber", "Subscribers", "Read a subscriber"),
        "parameters": [identified(examples.SUBSCRIBER_ID)],
        "responses": {
            "200": answer("The subscriber", "Subscriber", examples.SUBSCRIBER),
            **problems((*CALL, "invalid_request", "not_found")),
        },
    }


def _forget() -> Json:
    return {
        **named("deleteSubscriber", "Subscribers", "Forget a subscriber"),
        "parameters": [identified(examples.SUBSCRIBER_ID)],
        "responses": {
            "204": {"description": "Forgotten"},
            **problems((*CALL, "invalid_request", "not_found")),
        },
    }


def _callback() -> Json:
    return {
        **named("reportDelivery", "Operation", "A provider's report"),
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
            **problems(("forbidden", "not_found", "request_timeout", "too_large", "internal_error", "unavailable")),
        },
    }


def _alive() -> Json:
    return {
        **named("alive", "Operation", "Is the process alive?"),
        "security": [],
        "responses": {"200": answer("It is", "Alive", examples.ALIVE)},
    }


def _ready() -> Json:
    return {
        **named("ready", "Operation", "Should requests come here?"),
        "description": "Decided by database, migrations and draining; the channels are shown only.",
        "security": [],
        "responses": {
            "200": answer("They should", "Health", examples.READY),
            "503": {**answer("Not now", "Health", examples.NOT_READY), "headers": RETRY_AFTER},
        },
    }


def _metrics() -> Json:
    kinds = (CONTENT_TYPE_PLAIN_0_0_4, CONTENT_TYPE_LATEST)
    return {
        **named("metrics", "Operation", "What Prometheus reads"),
        "description": "In OpenMetrics where `Accept` asks for it. Open, unless `[metrics] token` is set: then that token "
        "has to be shown as `Authorization: Bearer …`.",
        "security": [],
        "responses": {
            "200": {"description": "The metrics", "content": {kind: {} for kind in kinds}},
            **problems(("unauthorized",)),
        },
    }


def _open(operation: str, summary: str, media_type: str) -> Json:
    return {
        **named(operation, "Operation", summary),
        "security": [],
        "responses": {"200": {"description": summary, "content": {media_type: {}}}},
    }
