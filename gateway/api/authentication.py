"""Who calls: the service whose key is in the ``Authorization`` header, and nowhere else; and whether it may."""

from __future__ import annotations

from collections.abc import Container
from urllib.parse import parse_qs

from starlette.requests import Request

from gateway.api.body import MisplacedKey, read_json, refuse_keys, values
from gateway.api.keys import Keys, refusal
from gateway.api.refusals import KeyRefusal, Reason
from gateway.api.resource import PATH
from gateway.api.scopes import needed
from gateway.errors import BadRequest, Forbidden, Problem, TooLarge, UnsupportedMediaType


class Authentication:
    """Lets the configured services' keys in."""

    def __init__(self, keys: Keys, services: Container[str]) -> None:
        self._keys = keys
        self._services = services

    async def __call__(self, request: Request) -> str:
        """Return the calling service's name. Raises ``Unauthorized``, ``Forbidden`` or ``MisplacedKey``."""
        if query := request.scope["query_string"]:
            # Every value: a name may be given twice.
            refuse_keys(parse_qs(query.decode("latin-1"), keep_blank_values=True))
        scope = request.scope
        # The server has put there, before this, whom trusted proxies alone may speak for.
        client = scope.get("client")
        host = client[0] if client else None
        try:
            key = await self._keys.authenticate(_bearer(request), host)
            # The key of a service that was taken out of the configuration opens nothing.
            if key.service not in self._services:
                raise refusal(key_id=key.id)
        except KeyRefusal as problem:
            self._keys.refusals.note(problem.reason, problem.key_id, host)
            raise await _misplaced(request) or problem from None
        wanted = needed(scope["method"], scope.get(PATH, ""))
        if wanted not in key.scopes:
            self._keys.refusals.note(Reason.SCOPE, key.id, host)
            raise Forbidden(f"this key has not the scope {wanted}")
        return key.service


def _bearer(request: Request) -> str:
    given = values(request, b"authorization")
    scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
    if scheme.lower() != b"bearer":
        raise refusal()
    return token.strip(b" ").decode("latin-1")


async def _misplaced(request: Request) -> Problem | None:
    """Return what to tell who sent the key in the body, ``None`` if nobody did."""
    if request.method != "POST":
        return None
    try:
        await read_json(request, optional=True)
    except MisplacedKey as problem:
        return problem
    except (BadRequest, TooLarge, UnsupportedMediaType):
        return None
    return None
