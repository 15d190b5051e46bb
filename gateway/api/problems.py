"""What went wrong, as RFC 9457 problem+json. No stack, no SQL, no version and no value of the caller's leaves here."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import orjson

from channels.base import DeliveryError, TransientError
from gateway.api.responses import PROBLEM, Answer
from gateway.errors import Problem, TooLarge, Unavailable, loudness
from gateway.storage.unit import StorageUnavailableError

_log = logging.getLogger(__name__)

#: Seconds a caller is asked to wait for a database: most of its troubles are a lock or a failover.
_STORAGE_WAIT = 1.0
#: Seconds a caller is asked to wait for a provider that named no time itself.
_PROVIDER_WAIT = 5.0


class SlowRequest(Problem):
    """The body did not arrive in time (408); the connection is closed."""

    status, code, title = 408, "request_timeout", "Request timeout"


class HeadTooLarge(TooLarge):
    """The request's line and headers are over the limit (431); the connection is closed."""

    status, title = 431, "Headers too large"


def type_of(code: str) -> str:
    """Return the URI that names a kind of problem; it is a name and leads nowhere (RFC 9457, 3.1.1)."""
    return f"urn:otp-gateway:problem:{code}"


def as_problem(error: Exception, told: str) -> Problem:
    """Return what a caller is told of ``error``; what nobody foresaw is logged, with ``told`` for where."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, StorageUnavailableError):
        _log.log(loudness(error), "%s: %s", told, error)
        return Unavailable("the database cannot take this now", retry_after=_STORAGE_WAIT)
    if isinstance(error, DeliveryError):
        _log.warning("%s: the provider failed: %s", told, error)
        wait = error.retry_after if isinstance(error, TransientError) else None
        return Unavailable("the provider cannot be reached now", retry_after=wait or _PROVIDER_WAIT)
    # By type and place alone: the text of an error may hold a code or an address.
    _log.error("%s failed: %s at %s", told, type(error).__name__, _place(error))
    return Problem("a fault of the gateway's own; it is in its log")


def members(problem: Problem) -> dict[str, object]:
    """Return a problem's JSON members."""
    found: dict[str, object] = {
        "type": type_of(problem.code),
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        **problem.extra,
    }
    if problem.errors:
        found["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in problem.errors]
    return found


def word_of(problem: Problem) -> str:
    """Return what a refusal is counted by: its limit, else its code."""
    limit = problem.extra.get("limit")
    return problem.code if limit is None else str(limit)


def respond(problem: Problem) -> Answer:
    """Return a problem as an answer."""
    body = orjson.dumps(members(problem))
    return Answer(body, status=problem.status, media_type=PROBLEM, headers=problem.headers)


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"
