"""The OpenAPI document is true: every route is in it, every example is sent or provoked, every answer fits its schema."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from channels.base import Channel
from gateway.api import authenticator_paths, examples
from gateway.api.body import MAX_BODY
from gateway.api.keys.keys import Wanted
from gateway.api.keys.scopes import Scope
from gateway.api.openapi import document
from gateway.delivery.lifecycle import VerificationStatus
from gateway.errors import IdempotencyConflict
from gateway.storage.unit import StorageUnavailableError
from gateway.verification import ending
from gateway.verification.authenticators import throttling
from gateway.verification.authenticators.otp import Device, Kind, code_at, step_at
from tests.api.conftest import World
from tests.api.fitting import Json, misfits

DOCUMENT = document("https://otp.example.org")
URL = "/v1/verifications"


def operations() -> Iterator[tuple[str, str, Json]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def content_of(operation: Json, status: int | str) -> Json:
    content: Json = next(iter(operation["responses"][str(status)]["content"].values()))
    return content


def shown(content: Json) -> list[Any]:
    """Return the examples of a body."""
    values = [content["example"]] if "example" in content else []
    return values + [item["value"] for item in content.get("examples", {}).values()]


def told(response: httpx.Response, operation: Json) -> None:
    """Assert that an answer is one the document tells of: status, media type, schema, headers."""
    assert str(response.status_code) in operation["responses"], response.text
    described = operation["responses"][str(response.status_code)]
    for name in described.get("headers", {}):
        assert name in response.headers
    if not response.content:
        assert "content" not in described
        return
    assert response.headers["content-type"] in described["content"]
    assert misfits(DOCUMENT, response.json(), content_of(operation, response.status_code)["schema"]) == []


async def prepared(caller: httpx.AsyncClient, world: World, clock, path: str, **asked: Any) -> str:
    """Return ``path`` with the id of something that is there and may be called; ``asked`` is for a verification."""
    if "{id}" not in path:
        return path.format(channel="sms", session=examples.SESSION)
    if path.startswith("/v1/authenticators"):
        return path.format(id=(await enrolled(caller, clock))[0])
    if path.startswith("/v1/subscribers"):
        made = await caller.post("/v1/subscribers", json={"reference": "user-1"})
    else:
        made = await caller.post(URL, json={**examples.CREATE["a route"], **asked})
        await world.queue.begin(world.sent[-1])
        clock.advance(30)
    return path.format(id=made.json()["id"])


async def enrolled(caller: httpx.AsyncClient, clock) -> tuple[str, Json]:
    """Return the id of an active authenticator and what its next check is right with, by the field's name."""
    made = (await caller.post("/v1/authenticators", json=authenticator_paths.ENROL["codes by the time"])).json()
    device = Device(Kind.TOTP, base64.b32decode(made["secret"]), "SHA1", 6, 30)
    url, step = f"/v1/authenticators/{made['id']}", step_at(clock.now(), 30)
    await caller.post(f"{url}/check", json={"code": code_at(device, step)})
    codes = (await caller.post(f"{url}/recovery-codes")).json()["codes"]
    return made["id"], {"code": code_at(device, step + 1), "recovery_code": codes[0]}


def test_every_route_is_in_the_document_and_the_other_way_round(world):
    served = {
        (resource.path, method.lower())
        for resource in world.app.resources
        for method in resource._methods
        if method != "HEAD"
    }
    assert served == {(path, method) for path, method, _ in operations()}


def test_every_reference_leads_somewhere_and_every_schema_is_used():
    text = str(DOCUMENT)
    names = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert names == set(DOCUMENT["components"]["schemas"])
    assert "Shape" not in text


def test_where_one_has_to_wait_the_document_says_for_how_long():
    without = [
        (path, status)
        for path, _, operation in operations()
        for status, response in operation["responses"].items()
        if status in {"429", "503"} and "Retry-After" not in response.get("headers", {})
    ]
    assert without == []


def test_operation_ids_are_unique():
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(ids) == len(set(ids))


def test_every_example_fits_its_schema():
    found = []
    for path, method, operation in operations():
        for place in (operation.get("requestBody", {}), *operation["responses"].values()):
            for content in place.get("content", {}).values():
                for value in shown(content):
                    found += misfits(DOCUMENT, value, content["schema"], f"{method} {path}")
    assert found == []


def test_every_problem_there_is_is_documented_somewhere():
    named = {
        name
        for _, _, operation in operations()
        for response in operation["responses"].values()
        for content in response.get("content", {}).values()
        for name in content.get("examples", {})
    }
    # A path of this table takes the methods it is listed with; any other is answered like this. A head that is too large
    # names no path yet.
    assert set(examples.PROBLEMS) - named == {"method_not_allowed", "head_too_large"}
    assert "method_not_allowed" in DOCUMENT["info"]["description"]
    assert "431 `too_large`" in DOCUMENT["info"]["description"]


@pytest.mark.parametrize(("path", "method"), [(path, method) for path, method, _ in operations()])
async def test_every_operation_answers_its_examples_as_documented(world, shop, clock, path, method):
    operation = DOCUMENT["paths"][path][method]
    content: Json = next(iter(operation.get("requestBody", {}).get("content", {}).values()), {})
    bodies = [item["value"] for item in content.get("examples", {}).values()] or [None]
    success = next(iter(operation["responses"]))
    for body in bodies:
        checks = operation["operationId"] == "checkCode"
        target = await prepared(shop, world, clock, path, **({"bind": body.get("bind")} if checks else {}))
        if checks:
            body = {**body, "code": world.sent[-1].code}
        if operation["operationId"] == "checkAuthenticator":
            authenticator_id, right = await enrolled(shop, clock)
            target, body = path.format(id=authenticator_id), {name: right[name] for name in body}
        response = await shop.request(method.upper(), target, json=body, headers={"X-Signature": "genuine"})
        assert success == str(response.status_code), response.text
        if operation["operationId"] in {"openapi", "docs", "metrics"}:
            continue
        told(response, operation)
        for example in shown(content_of(operation, success)) if response.content else ():
            assert example.keys() == response.json().keys()


@pytest.mark.parametrize("name", examples.STARTED)
async def test_the_example_of_a_create_is_answered_with_the_example(world, client, name):
    expected, made = examples.STARTED[name], (await client.post(URL, json=examples.CREATE[name])).json()
    # What is made at random has the same form; the bot of these tests has another name.
    for place in ("id", "link", "challenge"):
        assert (made[place] is None, expected[place] is None) in {(True, True), (False, False)}
        made[place] = expected[place]
    for message, other in zip(made["messages"], expected["messages"], strict=True):
        message["id"] = other["id"]
    made["channel"] = {"telegram": "bot"}.get(made["channel"], made["channel"])
    assert made == expected


class Provoked:
    """How each problem comes about, by its name in the document."""

    def __init__(self, world: World, clock, database, rebuilt) -> None:
        self.world, self.clock, self.database, self.rebuilt = world, clock, database, rebuilt

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        async with self.world.client() as client:
            return await client.request(method, path, **options)

    async def made(self) -> Json:
        made: Json = (await self.ask("POST", URL, json={"to": "+4915112345678"})).json()
        return made

    async def check(self, code: str | None = None) -> httpx.Response:
        made = self.world.sent[-1]
        body = {"code": code or made.code}
        return await self.ask("POST", f"{URL}/{made.verification_id}/check", json=body)

    async def ended(self, status: VerificationStatus) -> httpx.Response:
        made = await self.made()

        async def work(connection):
            await ending.end(connection, self.world.queue, made["id"], "default", status, self.clock.now())

        await self.database.run(work)
        return await self.check()

    async def unreadable(self):
        return await self.ask("POST", URL, content=b'{"to": "', headers={"Content-Type": "application/json"})

    async def invalid_request(self):
        return await self.ask("POST", URL, json={"to": "+4915112345678", "nonsense": 1})

    async def unauthorized(self):
        return await self.ask("GET", URL, headers={"Authorization": "Bearer nobody"})

    async def missing_scope(self):
        key = await self.world.parts.keys.create("default", wanted=Wanted(frozenset({Scope.CHECK})))
        async with self.world.client(key) as client:
            return await client.get(URL)

    async def forbidden(self):
        return await self.ask("POST", "/callbacks/sms")

    async def not_found(self):
        return await self.ask("GET", f"{URL}/{examples.VERIFICATION_ID}")

    async def method_not_allowed(self):
        return await self.ask("POST", "/healthz")

    async def idempotency_conflict(self):
        class Busy:
            async def kept(self, *_):
                return None

            async def once(self, *_):
                raise IdempotencyConflict("try again in a moment")

        self.world = await self.rebuilt(answers=Busy())
        return await self.ask("POST", URL, json={"to": "+4915112345678"}, headers={"Idempotency-Key": "k"})

    async def already_approved(self):
        return await self.ended(VerificationStatus.APPROVED)

    async def expired(self):
        return await self.ended(VerificationStatus.EXPIRED)

    async def canceled(self):
        return await self.ended(VerificationStatus.CANCELED)

    async def max_attempts_reached(self):
        return await self.ended(VerificationStatus.MAX_ATTEMPTS_REACHED)

    async def failed(self):
        return await self.ended(VerificationStatus.FAILED)

    async def too_large(self):
        return await self.ask("POST", URL, json={"to": "x" * MAX_BODY})

    async def unsupported_media_type(self):
        return await self.ask("POST", URL, data={"to": "x"})

    async def wrong_code(self):
        await self.made()
        return await self.check("0")

    async def recipient_refused(self):
        async with self.world.client(await self.world.parts.keys.create("near")) as near:
            return await near.post(URL, json={"to": "+4915112345678"})

    async def idempotency_mismatch(self):
        headers = {"Idempotency-Key": "k"}
        await self.ask("POST", URL, json={"to": "+4915112345678"}, headers=headers)
        return await self.ask("POST", URL, json={"to": "ann@example.org"}, headers=headers)

    async def authenticator_locked(self):
        enrolment = authenticator_paths.ENROL["codes by the time"]
        made = (await self.ask("POST", "/v1/authenticators", json=enrolment)).json()
        wrong = [
            await self.ask("POST", f"/v1/authenticators/{made['id']}/check", json={"code": "0"})
            for _ in range(throttling.FREE + 1)
        ]
        return wrong[-1]

    async def cooldown(self):
        await self.made()
        return await self.ask("POST", URL, json={"to": "+4915112345678"})

    async def internal_error(self):
        return await self.broken(RuntimeError())

    async def unavailable(self):
        return await self.broken(StorageUnavailableError("SQLite: database is locked"))

    async def broken(self, error: Exception) -> httpx.Response:
        class Broken:
            async def page(self, *_, **__):
                raise error

        self.world = await self.rebuilt(reading=Broken())
        return await self.ask("GET", URL)


#: What the server answers before the API is asked, or after 15 s: ``test_body`` and ``test_slow_clients`` provoke that.
SLOW = {"request_timeout", "head_too_large"}


@pytest.mark.parametrize("name", sorted(set(examples.PROBLEMS) - SLOW))
async def test_every_problem_is_answered_as_its_example_tells(world, clock, database, rebuilt, name):
    response = await getattr(Provoked(world, clock, database, rebuilt), name)()
    expected, answered = examples.problem(name), response.json()
    if "verification" in answered:
        answered["verification"] = expected["verification"]
    assert expected == answered
    assert (expected["status"], "application/problem+json") == (
        response.status_code,
        response.headers["content-type"],
    )
    assert examples.PROBLEMS[name].headers.get("Retry-After") == response.headers.get("retry-after")


async def test_the_document_is_served_as_it_is(client):
    response = await client.get("/openapi.json")
    assert response.json() == DOCUMENT
    assert response.headers["content-type"] == "application/json"


def test_the_channels_of_the_examples_are_those_of_the_tests(world):
    """Else the examples' routes would not be sent."""
    assert {"sms", "email"} <= world.parts.channels.keys()
    assert all(isinstance(channel, Channel) for channel in world.parts.channels.values())
