"""``/metrics``, for Prometheus: open, or for whoever shows the configured token."""

from __future__ import annotations

import hmac

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.body import values
from gateway.api.parts import Parts
from gateway.api.responses import Answer
from gateway.errors import Unauthorized


class MetricsRoute:
    """The endpoint. It reads memory alone, so it answers while the database is away."""

    def __init__(self, parts: Parts) -> None:
        self._render = parts.metrics.render
        token = parts.metrics_token
        self._token = None if token is None else token.get_secret_value().encode()

    async def scrape(self, request: Request) -> Response:
        """Tell the metrics as text. Raises ``Unauthorized`` where a token is configured and not shown."""
        if self._token is not None and not hmac.compare_digest(_bearer(request), self._token):
            raise Unauthorized(
                "send the token of [metrics] as 'Authorization: Bearer …'", headers={"WWW-Authenticate": "Bearer"}
            )
        body, media_type = self._render(",".join(request.headers.getlist("accept")))
        return Answer(body, media_type=media_type)


def _bearer(request: Request) -> bytes:
    """Return the token that was shown, empty for none: no configured one is."""
    given = values(request, b"authorization")
    scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
    return token.strip(b" ") if scheme.lower() == b"bearer" else b""
