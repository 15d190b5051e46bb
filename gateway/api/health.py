"""``/healthz`` and ``/readyz``, for whoever starts, stops and balances nodes."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.parts import Parts
from gateway.api.responses import Answer, encode
from gateway.api.shapes import AliveShape, HealthShape

#: Seconds until a node that is not ready is asked again.
_WAIT = 1


class HealthRoutes:
    """The endpoints. They ask for no key and tell nothing of who is served."""

    def __init__(self, parts: Parts) -> None:
        self._ready = parts.ready

    async def alive(self, _: Request) -> Response:
        """Answer that the process answers."""
        return Answer(encode(AliveShape("ok")))

    async def ready(self, _: Request) -> Response:
        """Tell whether requests should come here: 200 or 503."""
        health = await self._ready()
        body = HealthShape(
            status="ok" if health.ready else "unavailable",
            database=health.database,
            migrations=health.migrations,
            draining=health.draining,
            channels=dict(health.channels),
        )
        if health.ready:
            return Answer(encode(body))
        return Answer(encode(body), status=503, headers={"Retry-After": str(_WAIT)})
