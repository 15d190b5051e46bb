"""The examples of the OpenAPI document. Each is sent, or provoked, by a test: what stands here is what happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.api.body import MAX_BODY
from gateway.api.keys.keys import refusal
from gateway.api.problems import HeadTooLarge, SlowRequest, members
from gateway.errors import (
    AlreadyApproved,
    BadRequest,
    Cooldown,
    Forbidden,
    Gone,
    IdempotencyConflict,
    IdempotencyMismatch,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Problem,
    RecipientRefused,
    TooLarge,
    Unavailable,
    UnsupportedMediaType,
    WrongCode,
)
from gateway.verification.authenticators import throttling

Json = dict[str, Any]

VERIFICATION_ID: Final = "ver_019df29270d000013f6b1d7c52e04a98b6c1"
SUBSCRIBER_ID: Final = "sub_019df29270d00001a41f7c03d95e82b6f017"
_MESSAGE_ID: Final = "msg_019df29270d00001d3b8427f1e69c05a7d94"

#: Requests to create a verification, by name.
CREATE: Final[Mapping[str, Json]] = {
    "a number": {"to": "+4915112345678"},
    "an e-mail address": {"to": "ann@example.org", "purpose": "login", "locale": "de-AT"},
    "a route": {
        "to": {"phone": "+4915112345678", "email": "ann@example.org"},
        "channels": ["sms", "email"],
        "purpose": "login",
        "locale": "de-AT",
        "params": {"name": "Ann"},
        "client": {"ip": "203.0.113.9", "reference": "device-7"},
        "code": {"length": 6, "alphabet": "digits"},
        "ttl": 300,
    },
    "a payment": {
        "to": "+4915112345678",
        "purpose": "payment",
        "bind": {"session": "s-91", "amount": "12.00 EUR", "payee": "Example Books"},
    },
    "nothing sent": {"to": "+4915112345678", "mode": "inbound"},
}
CHECK: Final[Mapping[str, Json]] = {
    "what the person typed": {"code": "492 039"},
    "the payment it is for": {
        "code": "492 039",
        "bind": {"session": "s-91", "amount": "12.00 EUR", "payee": "Example Books"},
    },
}
#: A recipient who may be unknown.
ERASE: Final[Mapping[str, Json]] = {
    "an e-mail address": {"to": "ann@example.org"},
    "a number, by its kind": {"to": {"phone": "+4915112345678"}},
}
ERASED: Final[Json] = {
    "verifications": 3,
    "canceled": 1,
    "subscribers": 0,
    "chats": 0,
    "authenticators": 0,
    "accounts": 0,
    "webhooks": 9,
    "answers": 1,
    "under_way": 0,
    "still_readable": False,
}

#: A session that may be over.
SESSION: Final = "s-91"
RESEND: Final[Mapping[str, Json]] = {"the same channel": {}, "from a channel on": {"channel": "email"}}
CANCEL: Final[Mapping[str, Json]] = {"nothing more to say": {}}
SUBSCRIBE: Final[Mapping[str, Json]] = {
    "a person": {"reference": "user-42"},
    "a person who is to prove a number": {"reference": "user-42", "phone": "+4915112345678"},
}

#: The answer to the request "a route".
VERIFICATION: Final[Json] = {
    "id": VERIFICATION_ID,
    "status": "pending",
    "service": "default",
    "purpose": "login",
    "locale": "de-AT",
    "to": {"phone": "+49••••••••678", "email": "a•••@e•••.org"},
    "channel": "sms",
    "next_channels": ["email"],
    "created_at": "2026-05-04T10:40:00.000Z",
    "expires_at": "2026-05-04T10:45:00.000Z",
    "resend_at": "2026-05-04T10:40:30.000Z",
    "checks_left": 5,
    "sends_left": 4,
    "link": None,
    "challenge": None,
    "page": None,
    "messages": [{"id": _MESSAGE_ID, "channel": "sms", "status": "queued"}],
}
#: The answer to the request "nothing sent".
CHALLENGE: Final[Json] = {
    **VERIFICATION,
    "purpose": "verification",
    "locale": "en",
    "to": {"phone": "+49••••••••678"},
    "channel": "bot",
    "next_channels": [],
    "resend_at": "2026-05-04T10:45:00.000Z",
    "checks_left": 0,
    "sends_left": None,
    "link": "https://t.me/example_bot?start=Yq3n0vJ8kQx5tZ2mB7wLrA",
    "challenge": "CFGH-2345",
    "messages": [],
}
STARTED: Final[Mapping[str, Json]] = {"a route": VERIFICATION, "nothing sent": CHALLENGE}
#: Items of a batch, one of which cannot be used, and what becomes of them.
BATCH: Final[Mapping[str, Json]] = {"two, one of them faulty": {"items": [CREATE["a route"], {"to": "ann@"}]}}
BATCHED: Final[Json] = {
    "items": [
        {"status": 201, "body": VERIFICATION},
        {"status": 422, "body": members(InvalidRequest.field("/to", "this is not an e-mail address"))},
    ]
}
PAGE: Final[Json] = {"items": [VERIFICATION], "next_cursor": None}
WHOLE: Final[Json] = {
    **VERIFICATION,
    "messages": [
        {
            "id": _MESSAGE_ID,
            "channel": "sms",
            "status": "sent",
            "attempts": [
                {
                    "number": 1,
                    "started_at": "2026-05-04T10:40:00.000Z",
                    "finished_at": "2026-05-04T10:40:00.000Z",
                    "outcome": "sent",
                    "reason": None,
                    "provider_id": "SM0123456789abcdef0123456789abcdef",
                    "provider_code": "queued",
                }
            ],
        }
    ],
    "events": [
        {
            "id": "evt_019df29270d0000185c2e3610b9f47da5872",
            "at": "2026-05-04T10:40:00.000Z",
            "event": "verification.created",
            "channel": "sms",
            "recipient": "+49••••••••678",
        },
        {
            "id": "evt_019df29270e100011a90c4f7d2356e8b4013",
            "at": "2026-05-04T10:40:00.000Z",
            "event": "message.sent",
            "message_id": _MESSAGE_ID,
            "channel": "sms",
            "attempt": 1,
            "outcome": "sent",
            "provider_code": "queued",
            "recipient": "+49••••••••678",
            "milliseconds": 284.0,
        },
    ],
}
CANCELED: Final[Json] = {
    **VERIFICATION,
    "status": "canceled",
    "next_channels": [],
    "checks_left": 0,
    "messages": [{"id": _MESSAGE_ID, "channel": "sms", "status": "canceled"}],
}
APPROVED: Final[Json] = {
    "id": VERIFICATION_ID,
    "status": "approved",
    "proof": "eyJhbGciOiJFZERTQSIsImtpZCI6Ii4uLiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiIuLi4ifQ.c2lnbmF0dXJl",
}
ENDED_SESSION: Final[Json] = {"canceled": 1}
#: The key of RFC 8037, appendix A.
KEY_SET: Final[Json] = {
    "keys": [
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            "alg": "EdDSA",
            "use": "sig",
        }
    ]
}
SUBSCRIBER: Final[Json] = {
    "id": SUBSCRIBER_ID,
    "reference": "user-42",
    "status": "linked",
    "link": None,
    "qr": None,
    "expires_at": None,
    "display_name": "Ann",
    "created_at": "2026-05-04T10:40:00.000Z",
}
INVITED: Final[Json] = {
    **SUBSCRIBER,
    "status": "pending",
    "link": "https://t.me/example_bot?start=Yq3n0vJ8kQx5tZ2mB7wLrA",
    "qr": "data:image/svg+xml;charset=utf-8,%3Csvg …",
    "expires_at": "2026-05-04T10:50:00.000Z",
    "display_name": None,
}
ALIVE: Final[Json] = {"status": "ok"}
READY: Final[Json] = {
    "status": "ok",
    "database": True,
    "migrations": True,
    "draining": False,
    "channels": {"sms": "ok", "email": "open"},
}
NOT_READY: Final[Json] = {**READY, "status": "unavailable", "draining": True}

_COOLDOWN: Final = Cooldown(
    "sent a moment ago; again in 30 s", retry_after=30.0, limit="cooldown", verification=VERIFICATION_ID
)

#: One problem of every kind, by a name of its own.
PROBLEMS: Final[Mapping[str, Problem]] = {
    "unreadable": BadRequest("the body is not JSON (line 1, column 8)"),
    "invalid_request": InvalidRequest.field("/nonsense", "no such field"),
    "unauthorized": refusal(),
    "missing_scope": Forbidden("this key has not the scope verify:read"),
    "forbidden": Forbidden("this callback does not prove that it comes from the provider"),
    "not_found": NotFound("no such verification"),
    "method_not_allowed": MethodNotAllowed("this path takes GET, HEAD"),
    "request_timeout": SlowRequest("the body took longer than 15 s"),
    "idempotency_conflict": IdempotencyConflict("try again in a moment"),
    "already_approved": AlreadyApproved("the code was used already"),
    "expired": Gone("expired", "Expired", "the code's time ran out; start a new verification"),
    "canceled": Gone("canceled", "Canceled", "the verification was canceled"),
    "max_attempts_reached": Gone(
        "max_attempts_reached", "No checks left", "too many wrong codes; start a new verification"
    ),
    "failed": Gone("failed", "Not delivered", "no channel could deliver the code; start a new verification"),
    "too_large": TooLarge(f"a body has at most {MAX_BODY} bytes"),
    "head_too_large": HeadTooLarge("a request's line and headers have at most 16384 bytes"),
    "unsupported_media_type": UnsupportedMediaType("send JSON, as 'Content-Type: application/json'"),
    "wrong_code": WrongCode("that is not the code", checks_left=4),
    "recipient_refused": RecipientRefused("this service does not send to that country"),
    "idempotency_mismatch": IdempotencyMismatch("the first request with this key had another body; take a new key"),
    "cooldown": _COOLDOWN,
    "authenticator_locked": throttling.refusal(60.0, throttling.FREE, 0.0),
    "internal_error": Problem("a fault of the gateway's own; it is in its log"),
    "unavailable": Unavailable("the database cannot take this now", retry_after=1.0),
}


def problem(name: str) -> Json:
    """Return the JSON of a problem."""
    return members(PROBLEMS[name])
