"""What a key may do: scopes, and the one that each call needs.

What is not listed here needs ``admin``: a new path is closed until somebody says whom it is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Scope(StrEnum):
    """A right of a key. The values are what ``keys create --scope`` takes and the database keeps."""

    #: Starting, repeating and canceling verifications, one by one, in batches and by session.
    CREATE = "verify:create"
    #: Checking codes.
    CHECK = "verify:check"
    #: Reading verifications.
    READ = "verify:read"
    #: Asking people to open the bot, reading and forgetting them.
    SUBSCRIBERS = "subscribers"
    #: Enrolling, reading and removing authenticators.
    AUTHENTICATORS = "authenticators"
    #: All of these, and erasing recipients over all services.
    ADMIN = "admin"


#: What a key may do that was made without a word on it, or before there were scopes.
DEFAULT: Final = frozenset(scope for scope in Scope if scope is not Scope.ADMIN)
#: What ``admin`` stands for.
ALL: Final = frozenset(Scope)

_VERIFICATIONS: Final = "/v1/verifications"
_SUBSCRIBERS: Final = "/v1/subscribers"
_AUTHENTICATORS: Final = "/v1/authenticators"

#: The scope that each call with a key needs, by method and path.
NEEDED: Final[Mapping[tuple[str, str], Scope]] = {
    ("POST", _VERIFICATIONS): Scope.CREATE,
    ("POST", f"{_VERIFICATIONS}/batch"): Scope.CREATE,
    ("POST", f"{_VERIFICATIONS}/{{id}}/resend"): Scope.CREATE,
    ("POST", f"{_VERIFICATIONS}/{{id}}/cancel"): Scope.CREATE,
    ("DELETE", "/v1/sessions/{session}"): Scope.CREATE,
    ("POST", f"{_VERIFICATIONS}/{{id}}/check"): Scope.CHECK,
    ("GET", _VERIFICATIONS): Scope.READ,
    ("GET", f"{_VERIFICATIONS}/{{id}}"): Scope.READ,
    ("POST", _SUBSCRIBERS): Scope.SUBSCRIBERS,
    ("GET", f"{_SUBSCRIBERS}/{{id}}"): Scope.SUBSCRIBERS,
    ("DELETE", f"{_SUBSCRIBERS}/{{id}}"): Scope.SUBSCRIBERS,
    ("POST", _AUTHENTICATORS): Scope.AUTHENTICATORS,
    ("GET", _AUTHENTICATORS): Scope.AUTHENTICATORS,
    ("GET", f"{_AUTHENTICATORS}/{{id}}"): Scope.AUTHENTICATORS,
    ("DELETE", f"{_AUTHENTICATORS}/{{id}}"): Scope.AUTHENTICATORS,
    ("POST", f"{_AUTHENTICATORS}/{{id}}/recovery-codes"): Scope.AUTHENTICATORS,
    ("POST", f"{_AUTHENTICATORS}/{{id}}/check"): Scope.CHECK,
    ("DELETE", "/v1/recipients"): Scope.ADMIN,
}


def needed(method: str, path: str) -> Scope:
    """Return the scope that a call needs; ``path`` is the route's, with its pattern. ``HEAD`` is ``GET``."""
    return NEEDED.get(("GET" if method == "HEAD" else method, path), Scope.ADMIN)


def read(text: str | None) -> frozenset[Scope]:
    """Return the scopes of a column: names parted by spaces, ``None`` for the default. An unknown name opens nothing."""
    if text is None:
        return DEFAULT
    found = frozenset(scope for scope in Scope if scope in text.split())
    return ALL if Scope.ADMIN in found else found


def written(scopes: frozenset[Scope]) -> str:
    """Return the same for the column, in the order of ``Scope``."""
    return " ".join(scope for scope in Scope if scope in scopes)
