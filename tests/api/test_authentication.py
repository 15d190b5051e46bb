"""Who is let in, and what is told to who sends a key where it does not belong."""

from __future__ import annotations

import io
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from gateway.api.authentication import _bearer
from gateway.api.keys.keys import Keys, Wanted
from gateway.api.keys.networks import parsed
from gateway.api.keys.refusals import Refusals
from gateway.api.keys.scopes import Scope
from gateway.api.keys.text import checksum
from gateway.errors import Unauthorized
from gateway.events.log import configure
from gateway.events.metrics import Metrics
from tests.events.scraping import moved

URL = "/v1/verifications"
BODY = {"to": "+4915112345678"}


def forged() -> str:
    text = f"otpg_nobody00_{'x' * 43}"
    return text + checksum(text)


@pytest.fixture
async def stranger(world):
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=world.app), base_url="http://gateway.test"
    ) as opened:
        yield opened


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_case_insensitive(stranger, world, scheme):
    response = await stranger.get(URL, headers={"Authorization": f"{scheme} {world.key}"})
    assert response.status_code == 200


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic b3RwZzo=", "Token x", "Bearer nonsense", f"Bearer {forged()}"]
)
@pytest.mark.parametrize(("method", "path"), [("POST", URL), ("GET", f"{URL}/ver_0"), ("DELETE", "/v1/subscribers/x")])
async def test_who_shows_no_key_of_ours_is_unauthorized(stranger, header, method, path):
    headers = {} if header is None else {"Authorization": header}
    response = await stranger.request(method, path, headers=headers, json=BODY if method == "POST" else None)
    assert (
        response.status_code,
        response.json()["code"],
        response.headers["www-authenticate"],
    ) == (401, "unauthorized", "Bearer")


async def test_two_authorization_headers_are_none(stranger, world):
    headers = [("Authorization", f"Bearer {world.key}"), ("Authorization", f"Bearer {world.key}")]
    assert (await stranger.get(URL, headers=headers)).status_code == 401


async def test_the_key_of_a_service_that_is_not_configured_opens_nothing(world):
    async with world.client(await world.parts.keys.create("gone")) as client:
        assert (await client.get(URL)).status_code == 401


async def test_a_revoked_key_opens_nothing(client, world):
    assert (await client.get(URL)).status_code == 200
    assert await world.parts.keys.revoke(world.key[5:13])
    assert (await client.get(URL)).status_code == 401


@pytest.mark.parametrize("name", ["key", "api_key", "apikey", "token", "access_token", "anything"])
async def test_a_key_in_the_query_is_refused_though_the_header_is_right(client, stranger, world, name):
    for caller in (client, stranger):
        response = await caller.get(URL, params={name: world.key})
        assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
        assert "Authorization" in response.json()["detail"]
        assert world.key not in response.text


@pytest.mark.parametrize(
    "fields", [{"key": "x"}, {"api_key": 1}, {"token": None}, {"access_token": "x"}, {"to": forged()}]
)
async def test_a_key_in_the_body_is_refused_with_and_without_a_header(client, stranger, fields):
    for caller in (client, stranger):
        response = await caller.post(URL, json={**BODY, **fields})
        assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
        assert "Authorization" in response.json()["detail"]


async def test_an_address_that_only_starts_like_a_key_is_none(client):
    assert (await client.post(URL, json={"to": "otpg_ann@example.org"})).status_code == 201


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"x" * 20_000])
async def test_a_stranger_with_another_body_is_unauthorized(stranger, content):
    response = await stranger.post(URL, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 401


async def test_a_stranger_with_a_form_is_unauthorized(stranger):
    assert (await stranger.post(URL, data={"to": "x"})).status_code == 401


async def test_no_key_reaches_a_log(client, stranger, world, caplog):
    caplog.set_level("DEBUG")
    logged = lambda: "\n".join(m for r in caplog.records if r.name.startswith("gateway") for m in [r.getMessage()])  # noqa: E731
    await client.get(URL, params={"token": world.key})
    await stranger.post(URL, json={"key": world.key})
    await stranger.get(URL, headers={"Authorization": f"Bearer {world.key}x"})
    assert "otpg_" not in logged()


async def test_every_refused_key_is_counted_and_logged_by_why_whose_and_from_where(rebuilt, database, clock):
    metrics, log = Metrics(), io.StringIO()
    keys = Keys(database, clock, Refusals(clock, metrics.key_refused))
    world = await rebuilt(keys=keys)
    bound = Wanted(networks=parsed(["192.0.2.0/24"]))
    elsewhere, revoked, gone = [await keys.create(*given) for given in (("shop", "", bound), ("shop",), ("gone",))]
    ended, reads = [
        await keys.create("shop", "", wanted) for wanted in (Wanted(lifetime=1.0), Wanted(frozenset({Scope.READ})))
    ]
    await keys.revoke(revoked[5:13])
    clock.advance(1)
    tokens = (f"{reads}x", forged(), gone, elsewhere, revoked, ended, reads)
    with configure("json", "debug", log) as lines:
        for token in tokens:
            async with world.client(token) as client:
                assert (await client.post(URL, json=BODY)).status_code == (403 if token == reads else 401)
        assert lines.close()
    unknown, *others = (json.loads(line) for line in log.getvalue().splitlines() if "a key was refused" in line)
    assert (unknown["reason"], unknown["network"], "key" in unknown) == ("unknown", "127.0.0.0/24", False)
    assert [(line["reason"], line["key"], line["level"]) for line in others] == [
        (reason, key[5:13], "warning")
        for reason, key in zip(
            ("unknown", "network", "revoked", "ended", "scope"), (gone, elsewhere, revoked, ended, reads), strict=True
        )
    ]
    assert not [secret for token in tokens for secret in (token, token[14:57]) if secret in log.getvalue()]
    assert moved(metrics) == {
        "keys_refused_total{unknown}": 3,
        **{f"keys_refused_total{{{reason}}}": 1 for reason in ("network", "revoked", "ended", "scope")},
    }


async def test_keys_and_callers_share_no_instance(world, database, clock):
    """A key made by the command line, in another process, works at once."""
    async with world.client(await Keys(database, clock).create("default")) as client:
        assert (await client.get(URL)).status_code == 200


async def test_a_key_bound_to_a_network_is_refused_from_elsewhere_as_if_it_were_unknown(world):
    key = await world.parts.keys.create("default", wanted=Wanted(networks=parsed(["192.0.2.0/24"])))
    answers = []
    for host in ("192.0.2.7", "198.51.100.7"):
        transport = httpx.ASGITransport(app=world.app, client=(host, 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
            # What a caller says of itself is for whoever trusts the proxy: the server has decided before this.
            headers = {"Authorization": f"Bearer {key}", "X-Forwarded-For": "192.0.2.7"}
            answers.append(await client.get(URL, headers=headers))
            unknown = await client.get(URL, headers={"Authorization": f"Bearer {forged()}"})
    assert [answer.status_code for answer in answers] == [200, 401]
    assert unknown.json() == answers[1].json()


@given(st.binary(max_size=80) | st.binary(max_size=80).map(b"Bearer ".__add__))
def test_any_header_is_a_token_or_refused(value):
    request = Request({"type": "http", "headers": [(b"authorization", value)]})
    try:
        token = _bearer(request)
    except Unauthorized:
        assert value.partition(b" ")[0].lower() != b"bearer"
    else:
        assert token.encode("latin-1") == value[7:].strip(b" ")
