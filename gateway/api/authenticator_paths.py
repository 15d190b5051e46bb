"""Authenticators in the OpenAPI document, with their examples. Each is sent, or provoked, by a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.api import authenticator_shapes as shapes
from gateway.api.authenticators import PATH
from gateway.api.describing import (
    BODY,
    CALL,
    CREATE,
    KEY,
    Json,
    answer,
    identified,
    located,
    named,
    problems,
    queried,
    request,
)
from gateway.api.intake import DEFAULT_LIMIT, MAX_LIMIT

#: What the document's schemas are made of.
SCHEMAS: Final = (
    shapes.CreateAuthenticator,
    shapes.CheckAuthenticator,
    shapes.MakeRecoveryCodes,
    shapes.AuthenticatorShape,
    shapes.AuthenticatorPage,
    shapes.AuthenticatorApproved,
    shapes.RecoveryCodes,
)
TAG: Final = "Authenticators"

AUTHENTICATOR_ID: Final = "auth_019df29270d00001c85e07d31fa94b26e038"
#: Requests to enrol an authenticator, by name.
ENROL: Final[Mapping[str, Json]] = {
    "codes by the time": {"type": "totp", "reference": "user-42", "account": "ann@example.org"},
    "codes by a counter": {"type": "hotp", "reference": "user-42", "account": "ann", "issuer": "Shop", "digits": 8},
}
CHECK: Final[Mapping[str, Json]] = {
    "what the app shows": {"code": "492 039"},
    "a recovery code": {"recovery_code": "CFGH-2345"},
}
RECOVER: Final[Mapping[str, Json]] = {"nothing more to say": {}}
#: An authenticator in use, as it is read back.
AUTHENTICATOR: Final[Json] = {
    "id": AUTHENTICATOR_ID,
    "type": "totp",
    "status": "active",
    "reference": "user-42",
    "account": "ann@example.org",
    "issuer": "Example",
    "algorithm": "SHA1",
    "digits": 6,
    "period": 30,
    "created_at": "2026-05-04T10:40:00.000Z",
    "activated_at": "2026-05-04T10:40:30.000Z",
    "used_at": "2026-05-04T10:40:30.000Z",
    "recovery_codes_left": 10,
}
#: The answer to the request "codes by the time". The secret is that of RFC 4226, appendix D.
ENROLLED: Final[Json] = {
    **AUTHENTICATOR,
    "status": "pending",
    "activated_at": None,
    "used_at": None,
    "recovery_codes_left": 0,
    "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
    "uri": "otpauth://totp/Example:ann@example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Example"
    "&algorithm=SHA1&digits=6&period=30",
    "qr": "data:image/svg+xml;charset=utf-8,%3Csvg …",
    "qr_png": "data:image/png;base64,iVBORw0KGgo …",
}
APPROVED: Final[Json] = {"id": AUTHENTICATOR_ID, "status": "approved", "recovery_codes_left": 10}
RECOVERY_CODES: Final[Json] = {
    "codes": [
        "7F3W-QXHP",
        "RJ92-MCG4",
        "VX58-6HQR",
        "2PWM-JF7C",
        "GQ4X-R93V",
        "HC6J-58WM",
        "M7RP-2XGF",
        "X3VH-QW9J",
        "9GMC-4PR6",
        "WF8Q-V7J2",
    ]
}


def paths() -> Json:
    """Return the operations by path and method."""
    return {
        PATH: {"post": _enrol(), "get": _list()},
        f"{PATH}/{{id}}": {"get": _one(), "delete": _delete()},
        f"{PATH}/{{id}}/check": {"post": _check()},
        f"{PATH}/{{id}}/recovery-codes": {"post": _recover()},
    }


def _enrol() -> Json:
    return {
        **named("createAuthenticator", TAG, "Enrol an authenticator app"),
        "description": "Makes a secret and shows it once: as text, as a URI and as images of it. The first right code makes "
        "the authenticator `active`; one that nobody activates is deleted after a day.",
        "parameters": [KEY],
        "requestBody": request("CreateAuthenticator", ENROL),
        "responses": {"201": located(answer("Enrolled", "Authenticator", ENROLLED)), **problems(CREATE)},
    }


def _list() -> Json:
    return {
        **named("listAuthenticators", TAG, "List authenticators"),
        "description": "The service's own, newest first.",
        "parameters": [
            queried("reference", "Only this person's.", {"type": "string", "minLength": 1, "maxLength": 128}),
            queried("cursor", "The `next_cursor` of the page before.", {"type": "string"}),
            queried(
                "limit", "Items.", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
            ),
        ],
        "responses": {
            "200": answer("A page", "AuthenticatorPage", {"items": [AUTHENTICATOR], "next_cursor": None}),
            **problems((*CALL, "invalid_request")),
        },
    }


def _one() -> Json:
    return {
        **named("getAuthenticator", TAG, "Read an authenticator"),
        "description": "Without its secret.",
        "parameters": [identified(AUTHENTICATOR_ID)],
        "responses": {
            "200": answer("The authenticator", "Authenticator", AUTHENTICATOR),
            **problems((*CALL, "invalid_request", "not_found")),
        },
    }


def _delete() -> Json:
    return {
        **named("deleteAuthenticator", TAG, "Delete an authenticator"),
        "description": "With its recovery codes. How often its person failed is not forgotten.",
        "parameters": [identified(AUTHENTICATOR_ID)],
        "responses": {
            "204": {"description": "Deleted"},
            **problems((*CALL, "invalid_request", "not_found")),
        },
    }


def _check() -> Json:
    return {
        **named("checkAuthenticator", TAG, "Check a code or a recovery code"),
        "description": "200 only where it is right, once; a code that was used is a wrong one. After five wrong ones of a "
        "person, whichever of their authenticators they were for, nothing is compared for 60 s, and with each further one "
        "for twice as long, up to an hour.",
        "parameters": [identified(AUTHENTICATOR_ID)],
        "requestBody": request("CheckAuthenticator", CHECK),
        "responses": {
            "200": answer("Approved", "AuthenticatorApproved", APPROVED),
            **problems((*BODY, "not_found", "wrong_code", "authenticator_locked")),
        },
    }


def _recover() -> Json:
    return {
        **named("createRecoveryCodes", TAG, "Make recovery codes"),
        "description": "Ten codes that take the authenticator's place once each, shown once. Those made before end. 422 "
        "where the authenticator is not active.",
        "parameters": [KEY, identified(AUTHENTICATOR_ID)],
        "requestBody": request("MakeRecoveryCodes", RECOVER, required=False),
        "responses": {
            "201": located(answer("Made", "RecoveryCodes", RECOVERY_CODES)),
            **problems((*CREATE, "not_found")),
        },
    }
