"""``/v1/subscribers`` over HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import pytest

from gateway.conversation.subscribers import Subscribers

URL = "/v1/subscribers"


async def created(caller, **body: object) -> dict[str, Any]:
    response = await caller.post(URL, json={"reference": "user-42", **body})
    assert response.status_code == 201, response.text
    assert response.headers["location"] == f"{URL}/{response.json()['id']}"
    made: dict[str, Any] = response.json()
    return made


async def test_a_subscriber_is_asked_for_with_a_link_and_its_image(client):
    body = await created(client)
    assert {
        "id": body["id"],
        "reference": "user-42",
        "status": "pending",
        "link": body["link"],
        "qr": body["qr"],
        "expires_at": "2026-05-04T10:50:00.000Z",
        "display_name": None,
        "created_at": "2026-05-04T10:40:00.000Z",
    } == body
    assert body["link"].startswith("https://t.me/example_bot?start=")
    kind, _, svg = body["qr"].partition(",")
    assert (kind, ET.fromstring(unquote(svg)).tag.rpartition("}")[2]) == ("data:image/svg+xml;charset=utf-8", "svg")


async def test_a_link_is_shown_once(client):
    body = await created(client, phone="+4915112345678")
    shown = (await client.get(f"{URL}/{body['id']}")).json()
    assert {**body, "link": None, "qr": None} == shown


async def test_a_known_person_gets_a_new_link(client):
    first, second = await created(client), await created(client)
    assert first["id"] == second["id"]
    assert first["link"] != second["link"]


async def test_the_same_key_gets_the_same_link(client):
    headers = {"Idempotency-Key": "k"}
    first, again = [await client.post(URL, json={"reference": "user-42"}, headers=headers) for _ in range(2)]
    assert (201, first.content, "true") == (again.status_code, again.content, again.headers["idempotent-replayed"])


async def test_a_deleted_subscriber_is_gone(client):
    url = f"{URL}/{(await created(client))['id']}"
    gone = await client.delete(url)
    assert (gone.status_code, gone.content, gone.headers["cache-control"]) == (204, b"", "no-store")
    assert [(await client.get(url)).status_code, (await client.delete(url)).status_code] == [404, 404]


async def test_another_services_subscriber_looks_as_if_it_were_not_there(client, shop):
    foreign = (await created(client))["id"]
    for method in ("GET", "DELETE"):
        seen = await shop.request(method, f"{URL}/{foreign}")
        malformed = await shop.request(method, f"{URL}/nobody")
        assert (404, malformed.content) == (seen.status_code, seen.content)
    assert (await client.get(f"{URL}/{foreign}")).status_code == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/reference"),
        ({"reference": ""}, "/reference"),
        ({"reference": 42}, "/reference"),
        ({"reference": "user-42", "phone": "0151"}, "/phone"),
        ({"reference": "user-42", "name": "Ann"}, "/name"),
    ],
)
async def test_what_is_wrong_is_named_with_its_place(client, body, pointer):
    response = await client.post(URL, json=body)
    assert (422, [pointer]) == (response.status_code, [fault["pointer"] for fault in response.json()["errors"]])


async def test_without_a_bot_nobody_can_subscribe(rebuilt, database, sealer, hasher, clock, world):
    botless = Subscribers(
        database=database, sealer=sealer, hasher=hasher, clock=clock, bot=None, phone=world.parts.kinds["phone"]
    )
    async with (await rebuilt(subscribers=botless)).client() as client:
        response = await client.post(URL, json={"reference": "user-42"})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
