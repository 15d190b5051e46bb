"""Every route, in one place."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

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


def create_api(parts: Parts) -> ASGIApp:
    """Return the API as an ASGI application."""
    # Behind a proxy that serves it under a path, that path is in the public URL alone.
    base = urlsplit(parts.public_url).path.rstrip("/")
    authenticate = Authentication(parts.keys, parts.services)
    codes = VerificationRoutes(parts, authenticate, base)
    people = SubscriberRoutes(parts, authenticate, base)
    health = HealthRoutes(parts)
    one = f"{verifications.PATH}/{{id}}"
    # The busiest first: they are tried in this order.
    return Router(
        [
            _route(verifications.PATH, POST=codes.create, GET=codes.list),
            _route(f"{one}/check", POST=codes.check),
            _route(f"{verifications.PATH}/batch", POST=verifications.batch),
            _route(one, GET=codes.one),
            _route(f"{one}/resend", POST=codes.resend),
            _route(f"{one}/cancel", POST=codes.cancel),
            _route("/callbacks/{channel}", POST=CallbackRoutes(parts).report),
            _route(subscribers.PATH, POST=people.create),
            _route(f"{subscribers.PATH}/{{id}}", GET=people.one, DELETE=people.delete),
            _route("/healthz", GET=health.alive),
            _route("/readyz", GET=health.ready),
            *_documentation(parts.public_url),
        ],
        redirect_slashes=False,
        default=nowhere,
    )


def _documentation(public_url: str) -> list[Route]:
    described = document(public_url)
    json, html = encode(described), page(described).encode()

    async def openapi(_: Request) -> Response:
        return Answer(json)

    async def docs(_: Request) -> Response:
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
        return Answer(html, media_type="text/html; charset=utf-8", headers=headers)

    return [_route("/openapi.json", GET=openapi), _route("/docs", GET=docs)]


def _route(path: str, **methods: Endpoint) -> Route:
    return Route(path, Resource(path, methods))
