"""``DELETE /v1/recipients``: one recipient is erased, everywhere."""

from __future__ import annotations

import logging
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway.api import examples, intake
from gateway.api.authentication import Authentication
from gateway.api.body import read_json
from gateway.api.describing import BODY, Json, answer, named, problems, request
from gateway.api.parts import Parts
from gateway.api.recipient_shapes import ErasedShape, EraseRecipient
from gateway.api.responses import Answer, encode
from gateway.errors import InvalidRequest
from gateway.verification.addressee import NobodyError

_log = logging.getLogger(__name__)

PATH: Final = "/v1/recipients"


class RecipientRoutes:
    """The endpoint. The address is in the body, for what stands in a path or a query stands in logs."""

    def __init__(self, parts: Parts, authenticate: Authentication) -> None:
        self._parts = parts
        self._authenticate = authenticate

    async def erase(self, asked: Request) -> Response:
        """Erase a recipient over all services: 200 with what there was; again is the same as once."""
        service = await self._authenticate(asked)
        intake.parameters(asked.scope["query_string"])
        body = intake.shaped(await read_json(asked), EraseRecipient)
        erasing = self._parts.erasing
        try:
            # Another service may call somebody else by the same reference.
            person = erasing.whom(body.to, service)
        except NobodyError as error:
            raise _no_address(error) from None
        gone = await erasing.erase(person, by=service)
        if gone.still_readable:
            _log.warning(
                "what was erased can still be read in SQLite's files: something has been reading them for long; they are "
                "cleared within a minute of its end"
            )
        return Answer(encode(ErasedShape(*(getattr(gone, name) for name in ErasedShape.__struct_fields__))))


def _no_address(error: NobodyError) -> InvalidRequest:
    if error.kind:
        return InvalidRequest.field(f"/to/{error.kind}", str(error))
    instead = (
        error.reference and f'; a reference that is written like one is given by its kind: {{"{error.reference}": …}}'
    )
    return InvalidRequest.field("/to", f"{error}{instead}")


def described() -> Json:
    """Return the operation of the OpenAPI document."""
    return {
        **named("eraseRecipient", "Recipients", "Erase a recipient"),
        "description": "Over all services; needs a key with the scope `admin`. Verifications stay as rows without "
        "addresses, pending ones are canceled, what the person forbade in a chat is kept by keyed hashes. A reference is "
        "the calling service's own. It may take some seconds; again is the same as once.",
        "requestBody": request("EraseRecipient", examples.ERASE),
        "responses": {"200": answer("Erased", "Erased", examples.ERASED), **problems(BODY)},
    }
