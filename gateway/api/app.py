"""Every route, in one place."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from gateway.api import subscribers, verifications
from gateway.api.authentication import Authentication
from gateway.api.callbacks import CallbackRoutes
from gateway.api.docs import CONTENT_SECURITY_POLICY, page
from gateway.api.health import HealthRoutes
from gateway.api.openapi import document
from gateway.api.parts import Parts
from gateway.api.resource import Endpoint, Resource, nowhere
from gateway.api.responses import Answer, encode
from gateway.api.subscribers import SubscriberRoutes
from gateway.api.verifications import VerificationRoutes


def create_api(parts: Parts) -> Paths:
    """Return the API as an ASGI application."""
    # Behind a proxy that serves it under a path, that path is in the public URL alone.
    base = urlsplit(parts.public_url).path.rstrip("/")
    authenticate = Authentication(parts.keys, parts.services)
    codes = VerificationRoutes(parts, authenticate, base)
    people = SubscriberRoutes(parts, authenticate, base)
    health = HealthRoutes(parts)
    one = f"{verifications.PATH}/{{id}}"
    # The busiest first: what has a pattern is tried in this order.
    patterns = Router(
        [
            _route(f"{one}/check", POST=codes.check),
            _route(one, GET=codes.one),
            _route(f"{one}/resend", POST=codes.resend),
            _route(f"{one}/cancel", POST=codes.cancel),
            _route("/callbacks/{channel}", POST=CallbackRoutes(parts).report),
            _route(f"{subscribers.PATH}/{{id}}", GET=people.one, DELETE=people.delete),
        ],
        redirect_slashes=False,
        default=nowhere,
    )
    plain = [
        Resource(verifications.PATH, {"POST": codes.create, "GET": codes.list}),
        Resource(f"{verifications.PATH}/batch", {"POST": verifications.batch}),
        Resource(subscribers.PATH, {"POST": people.create}),
        Resource("/healthz", {"GET": health.alive}),
        Resource("/readyz", {"GET": health.ready}),
        *_documentation(parts.public_url),
    ]
    return Paths(plain, patterns)


class Paths:
    """Finds the resource of a path: the plain ones by name, the others by pattern."""

    def __init__(self, plain: Iterable[Resource], patterns: Router) -> None:
        self._plain = {resource.path: resource for resource in plain}
        self._patterns = patterns

    @property
    def resources(self) -> list[Resource]:
        """Everything that is served."""
        behind = (route.endpoint for route in self._patterns.routes if isinstance(route, Route))
        return [*self._plain.values(), *(endpoint for endpoint in behind if isinstance(endpoint, Resource))]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        found = self._plain.get(scope["path"]) if scope["type"] == "http" else None
        await (found or self._patterns)(scope, receive, send)


def _documentation(public_url: str) -> list[Resource]:
    described = document(public_url)
    json, html = encode(described), page(described).encode()

    async def openapi(_: Request) -> Response:
        return Answer(json)

    async def docs(_: Request) -> Response:
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
        return Answer(html, media_type="text/html; charset=utf-8", headers=headers)

    return [Resource("/openapi.json", {"GET": openapi}), Resource("/docs", {"GET": docs})]


def _route(path: str, **methods: Endpoint) -> Route:
    return Route(path, Resource(path, methods))
