"""Errors a caller or an operator can be told about: each is one problem+json type.

::

    GatewayError
    ├── ConfigError            config.toml or the environment: every fault named, exit code 2
    ├── Problem                answered to an HTTP caller as RFC 9457 problem+json
    │   ├── InvalidRequest · Unauthorized · Forbidden · NotFound …
    │   └── Refused            with Retry-After: cooldown, rate_limited, unavailable
    └── TemplateError          a broken template, with file and line
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class GatewayError(Exception):
    """Anything this project raises on purpose for a caller or an operator."""

    #: Whether the log has its cause already, from the one who knows: what follows from it is told for debugging only.
    told: bool = False


def loudness(error: BaseException, otherwise: int = logging.WARNING) -> int:
    """Return the ``logging`` level of a line about ``error``: ``DEBUG`` where the log has its cause already."""
    return logging.DEBUG if isinstance(error, GatewayError) and error.told else otherwise


class ConfigError(GatewayError):
    """The configuration cannot be used. ``faults`` names each fault and what to do, one sentence each.

    ``read_from`` names the file at fault; it is empty where the faults name it, or are the command line's.
    """

    def __init__(self, faults: Sequence[str], *, read_from: str = "") -> None:
        self.faults = tuple(faults)
        self.read_from = read_from
        super().__init__("\n".join(self.faults))


class TemplateError(GatewayError):
    """A template is broken; the text names file and line, never a value."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault of one field of a request."""

    #: RFC 6901 JSON pointer: ``/code/length``.
    pointer: str
    #: What is wrong, without repeating the value.
    detail: str


class Problem(GatewayError):  # noqa: N818 - the word of RFC 9457, and what callers know it by
    """An answer other than success, as RFC 9457 wants it. ``extra`` are further members of the body."""

    status: int = 500
    code: str = "internal_error"
    title: str = "Internal error"

    def __init__(
        self,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.extra = extra
        super().__init__(f"{self.code}: {detail}")


class InvalidRequest(Problem):
    """The request's shape or values are wrong (422); ``BadRequest`` is for what cannot even be read."""

    status, code, title = 422, "invalid_request", "Invalid request"

    @classmethod
    def field(cls, pointer: str, detail: str) -> InvalidRequest:
        """Return the problem for one field."""
        return cls(f"{pointer}: {detail}", errors=(FieldError(pointer, detail),))


class BadRequest(Problem):
    """The request cannot be read: broken JSON, a key in the query (400)."""

    status, code, title = 400, "invalid_request", "Invalid request"


class Unauthorized(Problem):
    """No key, or none we know (401)."""

    status, code, title = 401, "unauthorized", "Unauthorized"


class Forbidden(Problem):
    """The caller may not do this (403)."""

    status, code, title = 403, "forbidden", "Forbidden"


class NotFound(Problem):
    """No such thing, or not this service's (404): the two look the same."""

    status, code, title = 404, "not_found", "Not found"


class MethodNotAllowed(Problem):
    """The path exists, the method does not (405)."""

    status, code, title = 405, "method_not_allowed", "Method not allowed"


class TooLarge(Problem):
    """The body is over the limit (413)."""

    status, code, title = 413, "too_large", "Body too large"


class UnsupportedMediaType(Problem):
    """The body is not ``application/json`` (415)."""

    status, code, title = 415, "unsupported_media_type", "Unsupported media type"


class WrongCode(Problem):
    """The code is not the one that was sent (422); ``checks_left`` says how many checks remain."""

    status, code, title = 422, "wrong_code", "Wrong code"


class RecipientRefused(Problem):
    """The service's policy does not reach this recipient (422)."""

    status, code, title = 422, "recipient_refused", "Recipient refused"


class IdempotencyMismatch(Problem):
    """The key was used with another body (422)."""

    status, code, title = 422, "idempotency_mismatch", "Idempotency-Key reused with another request"


class IdempotencyConflict(Problem):
    """The first request with this key is still running (409)."""

    status, code, title = 409, "idempotency_conflict", "A request with this Idempotency-Key is still running"


class AlreadyApproved(Problem):
    """The code was used already (409)."""

    status, code, title = 409, "already_approved", "Already approved"


class Gone(Problem):
    """The verification ended without approval (410); ``code`` says how."""

    status = 410

    def __init__(self, code: str, title: str, detail: str) -> None:
        self.code = code
        self.title = title
        super().__init__(detail)


class Refused(Problem):
    """Not now (429 or 503). ``retry_after`` is in seconds; obeying it works."""

    def __init__(
        self, detail: str, *, retry_after: float, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        # Rounded up: a caller who comes back after whole seconds must not be a fraction early.
        seconds = max(1, -int(-retry_after // 1))
        super().__init__(detail, headers={**(headers or {}), "Retry-After": str(seconds)}, **extra)


class Cooldown(Refused):
    """The recipient was sent a code a moment ago (429)."""

    status, code, title = 429, "cooldown", "Too soon"


class RateLimited(Refused):
    """A limit is reached (429); ``limit`` names it by its key in the service's table."""

    status, code, title = 429, "rate_limited", "Too many"


class Unavailable(Refused):
    """The gateway cannot take the request now (503)."""

    status, code, title = 503, "unavailable", "Unavailable"
