"""Paths lead to the same resources by the short way as by patterns."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from gateway.api.app import Paths
from gateway.api.resource import Resource, nowhere
from gateway.api.responses import Answer

PATTERNS = ("/v1/things/{id}/check", "/v1/things/{id}", "/callbacks/{channel}", "/v1/sessions/{session}")


def resource(path: str) -> Resource:
    async def told(request: Request) -> Response:
        return Answer(f"{path} {sorted(request.path_params.items())}".encode())

    return Resource(path, {"GET": told})


async def answered(app: Any, path: str) -> tuple[int, bytes]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "root_path": ""}
    await app(scope, None, send)
    return sent[0]["status"], sent[1]["body"]


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/things/1", "/v1/things/1/check", "/v1/things/ /check", "/v1/things/{id}", "/v1/things/a\nb"),
        *(
            "/v1/things//check",
            "/v1/things/",
            "/v1/things",
            "/v1/things/1/",
            "/v1/things/1/check/",
            "/v1/things/1/none",
        ),
        *("/v1/things/1/check\n", "/v2/things/1", "/v1/things/1/2/check", "//v1/things/1", "v1/things/1", "", "/"),
        *("/callbacks/sms", "/v1/sessions/1", "/v1/sessions/1/2", "/v1/sessions/"),
    ],
)
async def test_a_path_is_found_as_its_pattern_finds_it(path):
    patterns = Router([Route(name, resource(name)) for name in PATTERNS], redirect_slashes=False, default=nowhere)
    assert await answered(patterns, path) == await answered(Paths([], patterns), path)
