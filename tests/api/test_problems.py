"""Problems: every error is one, with safe headers, and none tells what it should not."""

from __future__ import annotations

import asyncio
import logging
from typing import ClassVar

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channels.base import PermanentError, Reason
from gateway.api.problems import as_problem, members
from gateway.errors import NotFound
from gateway.storage.unit import StorageError, StorageUnavailableError
from tests.api.test_strict_json import JSON_VALUES

URL = "/v1/verifications"
SAFE = {"x-content-type-options": "nosniff", "cache-control": "no-store", "referrer-policy": "no-referrer"}


class Broken:
    """A part every call of which raises."""

    error: ClassVar[Exception] = RuntimeError("secret 492039")

    async def start(self, *_):
        raise self.error

    prepare = one = page = start


class Locked(Broken):
    error: ClassVar[Exception] = StorageUnavailableError("SQLite: database is locked")


async def test_a_fault_of_ours_is_500_and_tells_nothing(rebuilt, caplog):
    world = await rebuilt(verifications=Broken())
    async with world.client() as client:
        response = await client.post(URL, json={"to": "+4915112345678"})
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert response.headers["content-type"] == "application/problem+json"
    assert "492039" not in response.text + caplog.text
    assert "POST /v1/verifications failed: RuntimeError at test_problems.py:" in caplog.messages[0]


async def test_a_database_that_cannot_be_reached_is_503_with_a_wait(rebuilt, caplog):
    world = await rebuilt(verifications=Locked())
    async with world.client() as client:
        response = await client.post(URL, json={"to": "+4915112345678"})
    assert (
        response.status_code,
        response.json()["code"],
        response.headers["retry-after"],
    ) == (503, "unavailable", "1")
    assert "locked" not in response.text
    assert caplog.messages == ["POST /v1/verifications: SQLite: database is locked"]


def test_a_request_that_fails_because_the_database_is_away_is_503_and_no_line_of_its_own(caplog):
    caplog.set_level(logging.INFO)
    error = StorageUnavailableError("PostgreSQL: ConnectionRefusedError")
    error.told = True
    assert as_problem(error, "POST /x").status == 503
    assert caplog.messages == []


def test_a_refused_statement_is_a_fault_of_ours(caplog):
    problem = as_problem(StorageError("PostgreSQL: UniqueViolationError 23505"), "GET /x")
    assert (500, "Unique" in problem.detail) == (problem.status, False)
    assert caplog.messages == ["GET /x failed: StorageError at an unknown place"]


def test_a_misconfigured_provider_is_unavailable():
    problem = as_problem(PermanentError(Reason.MISCONFIGURED), "POST /x")
    assert (problem.status, problem.headers["Retry-After"]) == (503, "5")


def test_a_problem_has_the_members_of_rfc_9457_and_a_code():
    assert members(NotFound("no such thing")) == {
        "type": "urn:otp-gateway:problem:not_found",
        "title": "Not found",
        "status": 404,
        "detail": "no such thing",
        "code": "not_found",
    }


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/verifications/", "/v2/verifications", "/callbacks", "/%00"])
async def test_an_unknown_path_is_404(client, path):
    response = await client.get(path)
    assert (
        response.status_code,
        response.json()["code"],
        response.headers["content-type"],
    ) == (404, "not_found", "application/problem+json")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", URL, "GET, HEAD, POST"),
        ("PUT", f"{URL}/ver_0", "GET, HEAD"),
        ("GET", f"{URL}/ver_0/check", "POST"),
        ("PATCH", "/v1/subscribers/sub_0", "DELETE, GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("OPTIONS", URL, "GET, HEAD, POST"),
    ],
)
async def test_another_method_is_405_with_those_allowed(client, method, path, allowed):
    response = await client.request(method, path)
    assert (405, "method_not_allowed", allowed) == (
        response.status_code,
        response.json()["code"],
        response.headers["allow"],
    )


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/docs", URL])
async def test_head_is_get_without_the_body(client, path):
    got, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert got.headers == head.headers


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/healthz"), ("GET", "/docs"), ("GET", "/nowhere"), ("PUT", URL), ("POST", URL)]
)
async def test_every_answer_carries_the_safe_headers(client, method, path):
    response = await client.request(method, path)
    assert SAFE.items() <= dict(response.headers).items()


async def test_a_websocket_is_closed(world):
    sent = []

    async def send(message):
        sent.append(message)

    await world.app({"type": "websocket", "path": URL, "headers": []}, None, send)
    assert sent == [{"type": "websocket.close"}]


PATHS = st.sampled_from([URL, f"{URL}/ver_{'0' * 36}/check", f"{URL}/ver_{'0' * 36}/resend", "/v1/subscribers"])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "to": st.just("+4915112345678") | JSON_VALUES,
        "channels": JSON_VALUES,
        "purpose": JSON_VALUES,
        "locale": JSON_VALUES,
        "params": JSON_VALUES,
        "client": JSON_VALUES | st.fixed_dictionaries({}, optional={"ip": JSON_VALUES, "reference": JSON_VALUES}),
        "code": JSON_VALUES | st.fixed_dictionaries({}, optional={"length": JSON_VALUES, "value": JSON_VALUES}),
        "ttl": JSON_VALUES,
        "reference": JSON_VALUES,
        "phone": JSON_VALUES,
        "channel": JSON_VALUES,
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(path=PATHS, body=FIELDS | JSON_VALUES)
async def test_no_json_is_a_fault_of_ours(world, path, body):
    async with world.client() as client:
        response = await client.post(path, json=body)
    assert response.status_code < 500, response.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(path=PATHS, raw=st.binary(max_size=100) | st.text().map(lambda text: f'{{"to": "{text}"}}'.encode()))
async def test_no_bytes_are_a_fault_of_ours(world, path, raw):
    async with world.client() as client:
        response = await client.post(path, content=raw, headers={"Content-Type": "application/json"})
    assert response.status_code < 500, response.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(query=st.dictionaries(st.sampled_from(["status", "to", "cursor", "limit", "x"]), st.text(), max_size=3))
async def test_no_query_is_a_fault_of_ours(world, query):
    async with world.client() as client:
        response = await client.get(URL, params=httpx.QueryParams(query))
    assert response.status_code < 500, response.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(key=st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=300))
async def test_no_idempotency_key_is_a_fault_of_ours(world, key):
    headers = {"Idempotency-Key": key.encode("latin-1").strip()}
    async with world.client() as client:
        response = await client.post(URL, json={"to": "+4915112345678"}, headers=headers)
    assert response.status_code in {201, 400, 429}


async def test_a_cancelled_request_is_not_answered_as_an_error(rebuilt):
    class Waits(Broken):
        async def prepare(self, *_):
            await asyncio.Event().wait()

    world = await rebuilt(verifications=Waits())
    async with world.client() as client:
        call = asyncio.create_task(client.post(URL, json={"to": "+4915112345678"}))
        await asyncio.wait({call}, timeout=0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
