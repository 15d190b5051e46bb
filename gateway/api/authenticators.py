"""``/v1/authenticators``: enrol, read, check, recover, delete."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from gateway.api import intake
from gateway.api.authentication import Authentication
from gateway.api.authenticator_shapes import (
    AuthenticatorApproved,
    AuthenticatorPage,
    AuthenticatorShape,
    CheckAuthenticator,
    CreateAuthenticator,
    MakeRecoveryCodes,
    RecoveryCodes,
)
from gateway.api.body import read_json
from gateway.api.drawing import Images
from gateway.api.idempotency import Once, created, key_of
from gateway.api.parts import Parts
from gateway.api.responses import Answer, encode, nothing
from gateway.clock import rfc3339
from gateway.delivery.lifecycle import VerificationStatus
from gateway.errors import InvalidRequest, NotFound
from gateway.storage.answers import Source
from gateway.storage.unit import Connection
from gateway.verification.authenticators.view import ID, AuthenticatorView, Wanted

PATH: Final = "/v1/authenticators"


class AuthenticatorRoutes:
    """The endpoints. ``base`` is what stands before every path in a ``Location``."""

    def __init__(self, parts: Parts, authenticate: Authentication, base: str) -> None:
        self._parts = parts
        self._of = parts.authenticators
        self._authenticate = authenticate
        self._base = base

    async def create(self, request: Request) -> Response:
        """Make a secret for a person's app: 201, the secret shown once."""
        service = await self._authenticate(request)
        intake.parameters(request.scope["query_string"])
        key = key_of(request)
        value = await read_json(request)
        wanted = _wanted(intake.shaped(value, CreateAuthenticator))
        if key is not None:
            once = Once(self._parts.answers, service, Source("POST", PATH, key), value)
            return await self._create_once(service, once, wanted)
        prepared = self._of.enrolling.prepare(service, wanted)
        written = await self._written(prepared.view)
        await self._of.enrolling.create(prepared)
        return created(*written)

    async def _create_once(self, service: str, once: Once, wanted: Wanted) -> Response:
        if told := await once.told_before():
            return told
        prepared = self._of.enrolling.prepare(service, wanted)
        # Before the transaction: drawing the images takes longer than writing them.
        written = await self._written(prepared.view)

        async def create(connection: Connection) -> tuple[str, bytes]:
            await self._of.enrolling.create_within(connection, prepared)
            return written

        answer, _ = await once.carry_out(create)
        return answer

    async def list(self, request: Request) -> Response:
        """Page through the service's own authenticators, newest first; of one person, if named."""
        service = await self._authenticate(request)
        query = intake.parameters(request.scope["query_string"], ("reference", "cursor", "limit"))
        cursor = query.get("cursor", "")
        if "cursor" in query and not ID.fullmatch(cursor):
            raise InvalidRequest.field("?cursor", "not one that a page ended with")
        limit = intake.page_size(query)
        page = await self._of.enrolling.page(service, reference=query.get("reference"), cursor=cursor, limit=limit)
        return Answer(encode(AuthenticatorPage([shown(view) for view in page.items], page.next_cursor)))

    async def one(self, request: Request) -> Response:
        """Read one authenticator, without its secret."""
        service = await self._authenticate(request)
        intake.parameters(request.scope["query_string"])
        return Answer(encode(shown(await self._of.enrolling.one(service, _id(request)))))

    async def check(self, request: Request) -> Response:
        """Check a code or a recovery code: 200 only where it is right."""
        service = await self._authenticate(request)
        intake.parameters(request.scope["query_string"])
        body = intake.shaped(await read_json(request), CheckAuthenticator)
        authenticator_id = _id(request)
        checked = await self._of.checking.check(
            service, authenticator_id, code=body.code, recovery_code=body.recovery_code
        )
        status = VerificationStatus.APPROVED.value
        return Answer(encode(AuthenticatorApproved(authenticator_id, status, checked.recovery_codes_left)))

    async def recover(self, request: Request) -> Response:
        """Make the recovery codes anew: 201, shown once; those before end."""
        service = await self._authenticate(request)
        intake.parameters(request.scope["query_string"])
        key = key_of(request)
        value = await read_json(request, optional=True)
        intake.shaped(value, MakeRecoveryCodes)
        authenticator_id = _id(request)
        location = f"{self._base}{PATH}/{authenticator_id}"
        if key is None:
            codes = await self._of.recovery.renew(service, authenticator_id)
            return created(location, encode(RecoveryCodes(codes)))

        async def renew(connection: Connection) -> tuple[str, bytes]:
            made = await self._of.recovery.renew_within(connection, service, authenticator_id)
            return location, encode(RecoveryCodes(made))

        source = Source("POST", f"{PATH}/{authenticator_id}/recovery-codes", key)
        answer, _ = await Once(self._parts.answers, service, source, value).carry_out(renew)
        return answer

    async def delete(self, request: Request) -> Response:
        """Delete an authenticator with its recovery codes: 204."""
        service = await self._authenticate(request)
        intake.parameters(request.scope["query_string"])
        await self._of.enrolling.delete(service, _id(request))
        return nothing()

    async def _written(self, view: AuthenticatorView) -> tuple[str, bytes]:
        assert view.uri is not None, "it was made a moment ago"
        images = await self._parts.drawing.images(view.uri)
        return f"{self._base}{PATH}/{view.id}", encode(shown(view, images))


def shown(view: AuthenticatorView, images: Images | None = None) -> AuthenticatorShape:
    """Return an authenticator as callers read it, with the ``images`` of its URI where it is shown."""
    return AuthenticatorShape(
        id=view.id,
        type=view.kind,
        status=view.status,
        reference=view.reference,
        account=view.account,
        issuer=view.issuer,
        algorithm=view.algorithm,
        digits=view.digits,
        period=view.period,
        created_at=rfc3339(view.created_at),
        activated_at=_moment(view.activated_at),
        used_at=_moment(view.used_at),
        recovery_codes_left=view.recovery_codes_left,
        secret=view.secret or UNSET,
        uri=view.uri or UNSET,
        qr=UNSET if images is None else images.svg,
        qr_png=UNSET if images is None else images.png,
    )


def _wanted(body: CreateAuthenticator) -> Wanted:
    return Wanted(
        kind=body.type,
        reference=body.reference,
        account=body.account,
        issuer=body.issuer,
        algorithm=body.algorithm,
        digits=body.digits,
        period=body.period,
    )


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)


def _id(request: Request) -> str:
    authenticator_id: str = request.path_params["id"]
    if not ID.fullmatch(authenticator_id):
        raise NotFound("no such authenticator")
    return authenticator_id
