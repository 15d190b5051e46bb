"""The JSON of authenticators that comes in and goes out. The OpenAPI document is made of these classes.

What a class cannot say is checked in ``gateway.verification.authenticators.enrolling``; here it is told for the document.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.api.shapes import Request, Time
from gateway.verification.authenticators.enrolling import DIGITS, MAX_ACCOUNT, MAX_ISSUER, PERIODS
from gateway.verification.authenticators.otp import ALGORITHMS, MAX_TYPED, Kind


class CreateAuthenticator(Request, frozen=True):
    """Asks for a secret by which a person's app shows codes."""

    type: Annotated[
        str,
        Meta(
            description="totp: codes by the time. hotp: codes by a counter.",
            extra_json_schema={"enum": [str(kind) for kind in Kind]},
        ),
    ]
    reference: Annotated[str, Meta(description="The service's own name for the person, 1 to 128 characters.")]
    account: Annotated[
        str,
        Meta(description=f"What the app shows: the person's user name, say. 1 to {MAX_ACCOUNT} characters, no colon."),
    ]
    issuer: (
        Annotated[
            str,
            Meta(
                description=f"What the app shows above it; the service's name unless given. 1 to {MAX_ISSUER} characters, "
                "no colon."
            ),
        ]
        | None
    ) = None
    algorithm: (
        Annotated[
            str,
            Meta(
                description="SHA1 unless given: many apps ignore the others.",
                extra_json_schema={"enum": list(ALGORITHMS)},
            ),
        ]
        | None
    ) = None
    digits: (
        Annotated[
            int,
            Meta(
                description="Of a code; 6 unless given.",
                # Checked with the other fields, so that all their faults are named at once.
                extra_json_schema={"minimum": min(DIGITS), "maximum": max(DIGITS)},
            ),
        ]
        | None
    ) = None
    period: (
        Annotated[
            int,
            Meta(
                description="Seconds a code of a totp is shown; 30 unless given.",
                extra_json_schema={"enum": list(PERIODS)},
            ),
        ]
        | None
    ) = None


class CheckAuthenticator(Request, frozen=True):
    """Gives what the person typed: one of the two."""

    code: (
        Annotated[
            str, Meta(min_length=1, max_length=MAX_TYPED, description="What the app shows; spaces do not matter.")
        ]
        | None
    ) = None
    recovery_code: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=MAX_TYPED,
                description="A recovery code; case, spaces and dashes do not matter.",
            ),
        ]
        | None
    ) = None


class MakeRecoveryCodes(Request, frozen=True):
    """Nothing more to say."""


class AuthenticatorShape(Struct, frozen=True):
    """A person's authenticator app as the service sees it."""

    id: str
    type: str
    status: Annotated[str, Meta(description="pending until the first right code, then active.")]
    reference: str
    account: str
    issuer: str
    algorithm: str
    digits: int
    period: Annotated[int | None, Meta(description="Seconds; null for hotp.")]
    created_at: Time
    activated_at: Time | None
    used_at: Annotated[Time | None, Meta(description="When a code of it was right last.")]
    recovery_codes_left: int
    secret: Annotated[
        str | UnsetType, Meta(description="In base32, for people who cannot scan; only when it is made.")
    ] = UNSET
    uri: Annotated[str | UnsetType, Meta(description="otpauth://…; only when it is made.")] = UNSET
    qr: Annotated[str | UnsetType, Meta(description="The URI as an SVG image in a data: URL.")] = UNSET
    qr_png: Annotated[str | UnsetType, Meta(description="The URI as a PNG image in a data: URL.")] = UNSET


class AuthenticatorPage(Struct, frozen=True):
    """Some authenticators, newest first."""

    items: list[AuthenticatorShape]
    next_cursor: Annotated[str | None, Meta(description="What to send as cursor for more; null at the end.")]


class AuthenticatorApproved(Struct, frozen=True):
    """The code was right, and is used up."""

    id: str
    status: str
    recovery_codes_left: Annotated[int, Meta(description="At 0 or near it, ask the person to make new ones.")]


class RecoveryCodes(Struct, frozen=True):
    """Codes that take the authenticator's place, once each."""

    codes: Annotated[list[str], Meta(description="Shown here only.")]
