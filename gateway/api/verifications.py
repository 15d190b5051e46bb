"""``/v1/verifications``: start, read, check, send again, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway.api import intake, telling
from gateway.api.authentication import Authentication
from gateway.api.body import read_json
from gateway.api.idempotency import Once, created, key_of
from gateway.api.parts import Parts
from gateway.api.responses import Answer, encode
from gateway.api.shapes import Approved, Cancel, CheckCode, CreateVerification, Resend, VerificationPage
from gateway.delivery.lifecycle import VerificationStatus
from gateway.errors import InvalidRequest, NotFound
from gateway.storage.answers import Source
from gateway.storage.unit import Connection
from gateway.verification.addressee import NobodyError, named, read
from gateway.verification.request import Asked
from gateway.verification.verifications import Prepared
from gateway.verification.view import ID

PATH: Final = "/v1/verifications"

_STATUSES: Final = frozenset(map(str, VerificationStatus))


class VerificationRoutes:
    """The endpoints. ``base`` is what stands before every path in a ``Location``."""

    def __init__(self, parts: Parts, authenticate: Authentication, base: str) -> None:
        self._parts = parts
        self._authenticate = authenticate
        self._base = base

    async def create(self, request: Request) -> Response:
        """Start a verification: 201."""
        service = await self._authenticate(request)
        intake.parameters(request.scope["query_string"])
        key = key_of(request)
        value = await read_json(request)
        body = intake.shaped(value, CreateVerification)
        asked = intake.asked(body)
        if key is not None:
            once = Once(self._parts.answers, service, Source("POST", PATH, key), value)
            return await self._create_once(service, once, body, asked)
        view = await self._parts.verifications.start(await self._prepare(service, body, asked))
        return created(self._location(view.id), encode(telling.verification(view)))

    async def _create_once(self, service: str, once: Once, body: CreateVerification, asked: Asked) -> Response:
        # Before anything is prepared: that may renew the link a person was sent in the first answer.
        if told := await once.told_before():
            return told
        prepared = await self._prepare(service, body, asked)
        written = prepared

        async def create(connection: Connection) -> tuple[str, bytes]:
            nonlocal written
            # It may run twice, each time from what was prepared.
            written = await self._parts.verifications.start_within(connection, prepared)
            return self._location(written.view.id), encode(telling.verification(written.view))

        try:
            answer, replayed = await once.carry_out(create)
        except Exception:
            self._parts.verifications.dropped(prepared)
            raise
        if replayed:
            # The same request came twice at once: the other one's was written.
            self._parts.verifications.dropped(prepared)
        else:
            self._parts.verifications.started(written)
        return answer

    async def _prepare(self, service: str, body: CreateVerification, asked: Asked) -> Prepared:
        try:
            return await self._parts.verifications.prepare(service, asked)
        except InvalidRequest as problem:
            if isinstance(body.to, str):
                raise intake.as_string(problem) from None
            raise

    async def list(self, request: Request) -> Response:
        """Page through the service's own verifications, newest first."""
        service = await self._authenticate(request)
        query = intake.parameters(request.scope["query_string"], ("status", "to", "cursor", "limit"))
        status, cursor = query.get("status", ""), query.get("cursor", "")
        if "status" in query and status not in _STATUSES:
            raise InvalidRequest.field("?status", f"one of {', '.join(sorted(_STATUSES))}")
        if "cursor" in query and not ID.fullmatch(cursor):
            raise InvalidRequest.field("?cursor", "not one that a page ended with")
        limit = intake.page_size(query)
        to = self._hashes(query["to"]) if "to" in query else None
        page = await self._parts.reading.page(service, status=status, to=to, cursor=cursor, limit=limit)
        items = [telling.verification(view) for view in page.items]
        return Answer(encode(VerificationPage(items, page.next_cursor)))

    async def one(self, request: Request) -> Response:
        """Read one verification with its attempts and events."""
        service = await self._authenticate(request)
        intake.parameters(request.scope["query_string"])
        view = await self._parts.reading.one(service, _id(request))
        return Answer(encode(telling.verification(view, whole=True)))

    async def check(self, request: Request) -> Response:
        """Check a code: 200 only where it is approved."""
        service = await self._authenticate(request)
        intake.parameters(request.scope["query_string"])
        body = intake.shaped(await read_json(request), CheckCode)
        verification_id = _id(request)
        bind = intake.bound(body.bind)
        proof = await self._parts.checking.check(service, verification_id, body.code, bind)
        return Answer(encode(Approved(verification_id, VerificationStatus.APPROVED.value, proof)))

    async def resend(self, request: Request) -> Response:
        """Send the code once more: 202."""
        service = await self._authenticate(request)
        intake.parameters(request.scope["query_string"])
        body = intake.shaped(await read_json(request, optional=True), Resend)
        verification_id = _id(request)
        await self._parts.verifications.resend(service, verification_id, body.channel)
        return await self._now(service, verification_id, 202)

    async def cancel(self, request: Request) -> Response:
        """End a verification; again is the same as once."""
        service = await self._authenticate(request)
        intake.parameters(request.scope["query_string"])
        intake.shaped(await read_json(request, optional=True), Cancel)
        verification_id = _id(request)
        await self._parts.checking.cancel(service, verification_id)
        return await self._now(service, verification_id, 200)

    async def _now(self, service: str, verification_id: str, status: int) -> Response:
        view = await self._parts.reading.one(service, verification_id)
        return Answer(encode(telling.verification(view)), status=status)

    def _hashes(self, to: str) -> Sequence[bytes]:
        # "+49…" that was not percent-encoded arrives as " 49…": a form's plus is a space, with which no address begins.
        address = f"+{to[1:]}" if to.startswith(" ") else to
        kinds = self._parts.kinds
        try:
            return read(kinds, named(kinds, address)).hashes(self._parts.hasher)
        except NobodyError as error:
            instead = error.reference and f"; a reference that is written like one is asked for as {error.reference}=…"
            raise InvalidRequest.field("?to", f"{error}{instead}") from None

    def _location(self, verification_id: str) -> str:
        return f"{self._base}{PATH}/{verification_id}"


def _id(request: Request) -> str:
    verification_id: str = request.path_params["id"]
    if not ID.fullmatch(verification_id):
        raise NotFound("no such verification")
    return verification_id
