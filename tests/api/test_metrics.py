"""``/metrics``: for everybody or for who has the token, in the format asked for, with the database away too."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from pydantic import SecretStr

from gateway.events.metrics import Metrics
from gateway.storage.unit import StorageUnavailableError
from tests.events.scraping import moved

TOKEN = "a-token-of-the-scraper"
URL = "/v1/verifications"


def visitor(world) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=world.app), base_url="http://gateway.test")


async def scraped(world, *tokens: str, **headers: str) -> httpx.Response:
    shown = [("Authorization", token) for token in tokens]
    async with visitor(world) as client:
        return await client.get("/metrics", headers=[*shown, *headers.items()])


async def test_they_are_open_where_no_token_is_configured(world):
    response = await scraped(world)
    assert (response.status_code, response.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "otp_gateway_build_info" in response.text
    assert response.headers["cache-control"] == "no-store"


async def test_openmetrics_are_given_to_who_asks_for_them(world):
    response = await scraped(world, Accept="application/openmetrics-text; version=1.0.0")
    assert response.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    names = {family.name for family in text_string_to_metric_families(response.text)}
    assert "otp_gateway_send_seconds" in names


@pytest.mark.parametrize("shown", [f"Bearer {TOKEN}", f"bearer  {TOKEN} "])
async def test_who_shows_the_token_is_let_in(rebuilt, shown):
    assert (await scraped(await rebuilt(metrics_token=SecretStr(TOKEN)), shown)).status_code == 200


@pytest.mark.parametrize(
    "shown",
    [[], ["Bearer"], ["Bearer "], [f"Basic {TOKEN}"], [TOKEN], [f"Bearer {TOKEN}x"], [f"Bearer {TOKEN[:-1]}"]],
)
async def test_nobody_else_is(rebuilt, shown):
    response = await scraped(await rebuilt(metrics_token=SecretStr(TOKEN)), *shown)
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "unauthorized"
    assert TOKEN not in response.text


async def test_two_tokens_are_none(rebuilt):
    world = await rebuilt(metrics_token=SecretStr(TOKEN))
    assert (await scraped(world, f"Bearer {TOKEN}", f"Bearer {TOKEN}")).status_code == 401


async def test_a_key_of_a_service_is_no_token(rebuilt):
    world = await rebuilt(metrics_token=SecretStr(TOKEN))
    assert (await scraped(world, f"Bearer {world.key}")).status_code == 401


async def test_the_token_is_in_no_repr(rebuilt):
    assert TOKEN not in repr((await rebuilt(metrics_token=SecretStr(TOKEN))).parts)


async def test_head_is_get_without_the_body(world):
    async with visitor(world) as client:
        response = await client.head("/metrics")
    assert (response.status_code, response.content) == (200, b"")


async def test_they_are_told_while_the_database_is_away(rebuilt, database, monkeypatch):
    world = await rebuilt()

    async def away(*_: object, **__: object) -> None:
        raise StorageUnavailableError("SQLite: database is locked")

    monkeypatch.setattr(database, "fetch", away)
    monkeypatch.setattr(database, "run", away)
    assert (await scraped(world)).status_code == 200


async def test_refusals_are_counted_by_the_limit_or_by_the_code(rebuilt):
    world = await rebuilt(metrics=Metrics())
    async with world.client() as client:
        made = await client.post(URL, json={"to": "+4915112345678"})
        assert (await client.post(URL, json={"to": "+4915112345678"})).json()["limit"] == "cooldown"
        await client.post(URL, json={"to": "nonsense"})
        wrong = "000000" if world.sent[0].code != "000000" else "111111"
        await client.post(f"{URL}/{made.json()['id']}/check", json={"code": wrong})
        await client.get(f"{URL}/ver_0")
    async with world.client("otpg_forged") as client:
        await client.get(URL)
    assert moved(world.parts.metrics) == {
        "refusals_total{cooldown}": 1,
        "refusals_total{invalid_request}": 1,
        "refusals_total{wrong_code}": 1,
        "refusals_total{not_found}": 1,
        "refusals_total{unauthorized}": 1,
    }


async def test_a_fault_of_ours_is_counted_and_told_once(rebuilt, caplog):
    class Broken:
        async def forget(self) -> int:
            return 0

    world = await rebuilt(metrics=Metrics(), reading=Broken())
    async with world.client() as client:
        response = await client.get(URL)
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert moved(world.parts.metrics) == {"refusals_total{internal_error}": 1}
    assert [record.levelname for record in caplog.records if record.name == "gateway.api.problems"] == ["ERROR"]


async def test_what_is_answered_well_is_no_refusal(rebuilt):
    world = await rebuilt(metrics=Metrics())
    async with world.client() as client:
        assert (await client.post(URL, json={"to": "+4915112345678"})).status_code == 201
    assert moved(world.parts.metrics) == {}


async def test_a_caller_who_goes_away_is_no_refusal(rebuilt):
    world = await rebuilt(metrics=Metrics())

    async def gone() -> dict[str, object]:
        return {"type": "http.disconnect"}

    sent: list[object] = []

    async def send(message: object) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {world.key}".encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": URL, "query_string": b"", "headers": headers}
    await world.app(scope, gone, send)
    assert sent == []
    assert moved(world.parts.metrics) == {}
