"""``/v1/subscribers``: people who are asked to open a chat with the bot."""

from __future__ import annotations

import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway.api import intake, telling
from gateway.api.authentication import Authentication
from gateway.api.body import read_json
from gateway.api.idempotency import Once, created, key_of
from gateway.api.parts import Parts
from gateway.api.responses import Answer, encode, nothing
from gateway.api.shapes import CreateSubscriber
from gateway.conversation.subscribers import SubscriberView
from gateway.errors import NotFound
from gateway.storage.answers import Source
from gateway.storage.unit import Connection

PATH: Final = "/v1/subscribers"

_ID: Final = re.compile(r"sub_[0-9a-f]{36}")


class SubscriberRoutes:
    """The endpoints. ``base`` is what stands before every path in a ``Location``."""

    def __init__(self, parts: Parts, authenticate: Authentication, base: str) -> None:
        self._parts = parts
        self._authenticate = authenticate
        self._base = base

    async def create(self, request: Request) -> Response:
        """Make a link by which a person opens the bot: 201. A known person gets a new link."""
        service = await self._authenticate(request)
        intake.parameters(request.scope["query_string"])
        key = key_of(request)
        value = await read_json(request)
        body = intake.shaped(value, CreateSubscriber)
        if key is not None:
            once = Once(self._parts.answers, service, Source("POST", PATH, key), value)
            return await self._create_once(service, once, body)
        prepared = await self._parts.subscribers.prepare(service, body.reference, body.phone)
        return created(*self._written(await self._parts.subscribers.create(prepared)))

    async def _create_once(self, service: str, once: Once, body: CreateSubscriber) -> Response:
        if told := await once.told_before():
            return told
        prepared = await self._parts.subscribers.prepare(service, body.reference, body.phone)

        async def create(connection: Connection) -> tuple[str, bytes]:
            return self._written(await self._parts.subscribers.create_within(connection, prepared))

        answer, _ = await once.carry_out(create)
        return answer

    async def one(self, request: Request) -> Response:
        """Read one subscriber."""
        service = await self._authenticate(request)
        intake.parameters(request.scope["query_string"])
        return Answer(encode(telling.subscriber(await self._parts.subscribers.one(service, _id(request)))))

    async def delete(self, request: Request) -> Response:
        """Forget a subscriber: 204."""
        service = await self._authenticate(request)
        intake.parameters(request.scope["query_string"])
        await self._parts.subscribers.delete(service, _id(request))
        return nothing()

    def _written(self, view: SubscriberView) -> tuple[str, bytes]:
        return f"{self._base}{PATH}/{view.id}", encode(telling.subscriber(view))


def _id(request: Request) -> str:
    subscriber_id: str = request.path_params["id"]
    if not _ID.fullmatch(subscriber_id):
        raise NotFound("no such subscriber")
    return subscriber_id
