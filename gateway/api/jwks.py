"""``/.well-known/jwks.json``: the public keys of proofs, for whoever checks one."""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.api import examples
from gateway.api.describing import Json, answer, named, problems
from gateway.api.parts import Parts
from gateway.api.responses import Answer, encode
from gateway.api.shapes import KeySet, PublicKeyShape
from gateway.verification.signing_keys import key_set

PATH: Final = "/.well-known/jwks.json"
#: Seconds the key set may be kept: a key is published a day before it signs.
MAX_AGE: Final = 3600


class JwksRoutes:
    """The endpoint. It asks for no key: what it shows is public."""

    def __init__(self, parts: Parts) -> None:
        self._keys = parts.signing_keys

    async def keys(self, _: Request) -> Response:
        """Show every key by which a proof that is valid now, or soon will be, can be signed."""
        found = key_set(await self._keys.published())
        response = Answer(encode(KeySet([msgspec.convert(key, PublicKeyShape) for key in found])))
        response.headers["Cache-Control"] = f"public, max-age={MAX_AGE}"
        return response


def described() -> Json:
    """Return the operation of the OpenAPI document."""
    return {
        **named("keys", "Proofs", "The public keys of proofs"),
        "description": "Ed25519, as JWKs. Keep them for as long as `Cache-Control` says, and read them again for a `kid` "
        "that you do not know.",
        "security": [],
        "responses": {
            "200": answer("The keys", "KeySet", examples.KEY_SET),
            **problems(("internal_error", "unavailable")),
        },
    }
