"""``/v1/sessions/{session}``: what is bound to a session ends with it."""

from __future__ import annotations

from typing import Final

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from gateway.api import examples, intake
from gateway.api.authentication import Authentication
from gateway.api.describing import CALL, Json, answer, named, problems
from gateway.api.parts import Parts
from gateway.api.responses import Answer, encode
from gateway.api.shapes import EndedSession
from gateway.errors import NotFound

PATH: Final = "/v1/sessions/{session}"
#: How it is found: a session's name may hold anything, slashes and ends of lines too (percent-encoded, which is undone
#: before).
PATTERN: Final = "/v1/sessions/{session:anything}"


class _Anything(Convertor[str]):
    """The rest of a path. Starlette's own ``path`` ends at an end of line: such a session could never be ended."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("anything", _Anything())


class SessionRoutes:
    """The endpoint."""

    def __init__(self, parts: Parts, authenticate: Authentication) -> None:
        self._sessions = parts.sessions
        self._authenticate = authenticate

    async def end(self, request: Request) -> Response:
        """Cancel what is pending and bound to the session: 200, also where nothing is."""
        service = await self._authenticate(request)
        intake.parameters(request.scope["query_string"])
        session: str = request.path_params["session"]
        if not session:
            raise NotFound("no such path")
        return Answer(encode(EndedSession(await self._sessions.end(service, session))))


def described() -> Json:
    """Return the operation of the OpenAPI document."""
    session = {"name": "session", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    return {
        **named("endSession", "Sessions", "End what is bound to a session"),
        "description": "Cancels the service's pending verifications with this `bind.session`; nothing is sent for them "
        "afterwards. Again is the same as once.",
        "parameters": [{**session, "example": examples.SESSION}],
        "responses": {
            "200": answer("Ended", "EndedSession", examples.ENDED_SESSION),
            **problems((*CALL, "invalid_request", "not_found")),
        },
    }
