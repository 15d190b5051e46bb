"""Who calls: the service whose key is in the ``Authorization`` header, and nowhere else; and whether it may."""

from __future__ import annotations

from collections.abc import Container
from urllib.parse import parse_qs

from starlette.requests import Request

from gateway.api.body import MisplacedKey, headers_of, read_json, refuse_keys, values
from gateway.api.keys.keys import Keys, refusal
from gateway.api.keys.refusals import KeyRefusal, Reason
from gateway.api.keys.scopes import Scope, needed
from gateway.api.resource import PATH
from gateway.errors import BadRequest, Forbidden, Problem, TooLarge, UnsupportedMediaType


class Authentication:
    """Lets the configured services' keys in."""

    def __init__(self, keys: Keys, services: Container[str]) -> None:
        self._keys = keys
        self._services = services
        #: Calls by method, path and a key's scopes that were found to be allowed: there are as many as the routes and the
        #: kinds of keys. To ask a member of an enum for its hash takes longer than all of that.
        self._allowed: set[tuple[str, str, frozenset[Scope]]] = set()

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
            token = _bearer(request)
            key = self._keys.at_once(token, host) or await self._keys.authenticate(token, host)
            # The key of a service that was taken out of the configuration opens nothing.
            if key.service not in self._services:
                raise refusal(key_id=key.id)
        except KeyRefusal as problem:
            self._keys.refusals.note(problem.reason, problem.key_id, host)
            raise await _misplaced(request) or problem from None
        asked = scope["method"], scope.get(PATH, ""), key.scopes
        if asked not in self._allowed:
            self._allow(*asked, key.id, host)
        return key.service

    def _allow(self, method: str, path: str, held: frozenset[Scope], key_id: str, host: str | None) -> None:
        """Find out whether a key's scopes are enough, and remember it where they are. Raises ``Forbidden``."""
        wanted = needed(method, path)
        if wanted not in held:
            self._keys.refusals.note(Reason.SCOPE, key_id, host)
            raise Forbidden(f"this key has not the scope {wanted}")
        self._allowed.add((method, path, held))


def _bearer(request: Request) -> str:
    once = headers_of(request)
    if once and once.get(b"authorization", b"").startswith(b"Bearer otpg_"):
        return once[b"authorization"][7:].strip(b" ").decode("latin-1")
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
