"""Every route, in one place."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from gateway.api import authenticators, batch, jwks, recipients, sessions, subscribers, verifications
from gateway.api.authentication import Authentication
from gateway.api.authenticators import AuthenticatorRoutes
from gateway.api.batch import BatchRoutes
from gateway.api.callbacks import CallbackRoutes
from gateway.api.docs import CONTENT_SECURITY_POLICY, page
from gateway.api.health import HealthRoutes
from gateway.api.jwks import JwksRoutes
from gateway.api.metrics import MetricsRoute
from gateway.api.openapi import document
from gateway.api.parts import Parts
from gateway.api.recipients import RecipientRoutes
from gateway.api.resource import Endpoint, Resource, nowhere
from gateway.api.responses import Answer, encode
from gateway.api.sessions import SessionRoutes
from gateway.api.subscribers import SubscriberRoutes
from gateway.api.verifications import VerificationRoutes

#: What stands in a pattern for the id of one thing.
_ID: Final = "{id}"


def create_api(parts: Parts) -> Paths:
    """Return the API as an ASGI application."""
    # Behind a proxy that serves it under a path, that path is in the public URL alone.
    base = urlsplit(parts.public_url or "").path.rstrip("/")
    authenticate = Authentication(parts.keys, parts.services)
    codes = VerificationRoutes(parts, authenticate, base)
    people = SubscriberRoutes(parts, authenticate, base)
    devices = AuthenticatorRoutes(parts, authenticate, base)

    def at(path: str, **methods: Endpoint) -> Resource:
        return Resource(path, methods, parts.metrics.refused)

    one = f"{verifications.PATH}/{{id}}"
    device = f"{authenticators.PATH}/{{id}}"
    # The busiest first: what has a pattern is tried in this order.
    patterns = [
        at(f"{one}/check", POST=codes.check),
        at(one, GET=codes.one),
        at(f"{one}/resend", POST=codes.resend),
        at(f"{one}/cancel", POST=codes.cancel),
        at(f"{device}/check", POST=devices.check),
        at(device, GET=devices.one, DELETE=devices.delete),
        at(f"{device}/recovery-codes", POST=devices.recover),
        at("/callbacks/{channel}", POST=CallbackRoutes(parts).report),
        at(f"{subscribers.PATH}/{{id}}", GET=people.one, DELETE=people.delete),
    ]
    health = HealthRoutes(parts)
    plain = [
        at(verifications.PATH, POST=codes.create, GET=codes.list),
        at(batch.PATH, POST=BatchRoutes(parts, authenticate).create),
        at(subscribers.PATH, POST=people.create),
        at(recipients.PATH, DELETE=RecipientRoutes(parts, authenticate).erase),
        at(authenticators.PATH, POST=devices.create, GET=devices.list),
        at(jwks.PATH, GET=JwksRoutes(parts).keys),
        at("/healthz", GET=health.alive),
        at("/readyz", GET=health.ready),
        at("/metrics", GET=MetricsRoute(parts).scrape),
        *_documentation(parts.public_url),
    ]
    ended = at(sessions.PATH, DELETE=SessionRoutes(parts, authenticate).end)
    routes = [*(Route(resource.path, resource) for resource in patterns), Route(sessions.PATTERN, ended)]
    return Paths(plain, Router(routes, redirect_slashes=False, default=nowhere))


class Paths:
    """Finds the resource of a path: the plain ones by name, those of one thing by the rest of it, the others by pattern."""

    def __init__(self, plain: Iterable[Resource], patterns: Router) -> None:
        self._plain = {resource.path: resource for resource in plain}
        self._patterns = patterns
        #: What the patterns would find as well, in 2.5 µs more.
        self._of_one = {found.path: found for found in self.resources if found.path.split("/")[3:4] == [_ID]}

    @property
    def resources(self) -> list[Resource]:
        """Everything that is served."""
        behind = (route.endpoint for route in self._patterns.routes if isinstance(route, Route))
        return [*self._plain.values(), *(endpoint for endpoint in behind if isinstance(endpoint, Resource))]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        found = None
        if scope["type"] == "http":
            path: str = scope["path"]
            found = self._plain.get(path) or self._one(scope, path)
        await (found or self._patterns)(scope, receive, send)

    def _one(self, scope: Scope, path: str) -> Resource | None:
        """Return the resource of ``/v1/<things>/<id>`` and what may follow, having put the id where patterns put it."""
        pieces = path.split("/", 5)
        if len(pieces) < 4 or not pieces[3]:
            return None
        name, pieces[3] = pieces[3], _ID
        found = self._of_one.get("/".join(pieces))
        if found is not None:
            scope["path_params"] = {"id": name}
        return found


def _documentation(public_url: str | None) -> list[Resource]:
    @cache
    def described() -> tuple[bytes, bytes]:
        # When it is asked for: nearly no start of the gateway needs its 12 ms.
        told = document(public_url)
        return encode(told), page(told).encode()

    async def openapi(_: Request) -> Response:
        return Answer(described()[0])

    async def docs(_: Request) -> Response:
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
        return Answer(described()[1], media_type="text/html; charset=utf-8", headers=headers)

    return [Resource("/openapi.json", {"GET": openapi}), Resource("/docs", {"GET": docs})]
