"""``DELETE /v1/recipients``: who may, whom it means, and what it says."""

from __future__ import annotations

import pytest

from gateway.api.keys.keys import Wanted
from gateway.api.keys.scopes import ALL
from tests.api.conftest import EMAIL, PHONE

URL = "/v1/recipients"


async def test_a_recipient_is_erased_over_all_services(world, client, shop):
    made = (await client.post("/v1/verifications", json={"to": PHONE})).json()
    response = await shop.request("DELETE", URL, json={"to": PHONE})
    assert (
        response.status_code,
        {name: response.json()[name] for name in ("verifications", "canceled")},
    ) == (200, {"verifications": 1, "canceled": 1})
    after = (await client.get(f"/v1/verifications/{made['id']}")).json()
    assert (after["status"], after["to"]) == ("canceled", {})
    again = (await shop.request("DELETE", URL, json={"to": PHONE})).json()
    assert (again.pop("still_readable"), set(again.values())) == (False, {0})


async def test_what_the_files_still_hold_is_told_to_the_caller_and_in_the_log(world, shop, monkeypatch, caplog):
    async def held_open() -> bool:
        """Find that something reads the database at an older state."""
        return False

    monkeypatch.setattr(world.parts.erasing, "_empty_log", held_open)
    response = await shop.request("DELETE", URL, json={"to": PHONE})
    assert (response.status_code, response.json()["still_readable"]) == (200, True)
    assert [record.levelname for record in caplog.records if "can still be read" in record.getMessage()] == ["WARNING"]


async def test_a_reference_is_the_calling_services_own(world, client, shop):
    for caller in (client, shop):
        await caller.post("/v1/subscribers", json={"reference": "user-42"})
    assert (await shop.request("DELETE", URL, json={"to": {"telegram": "user-42"}})).json()["subscribers"] == 1
    left = await world.database.fetch("SELECT service FROM subscriber")
    assert [record["service"] for record in left] == ["default"]


async def test_a_stored_answer_is_told_again_without_the_person_and_nothing_is_sent(world, shop):
    headers = {"Idempotency-Key": "k"}
    first = (await shop.post("/v1/verifications", json={"to": EMAIL}, headers=headers)).json()
    assert (await shop.request("DELETE", URL, json={"to": EMAIL})).json()["answers"] == 1
    again = await shop.post("/v1/verifications", json={"to": EMAIL}, headers=headers)
    assert ("true", {**first, "to": {}}) == (again.headers["idempotent-replayed"], again.json())
    assert len(world.sent) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/to"),
        ({"to": 1}, "/to"),
        ({"to": ""}, "/to"),
        ({"to": {"phone": "nonsense"}}, "/to/phone"),
        ({"to": "cust77@example-nonsense"}, "/to"),
        ({"to": "+491512345600"}, "/to"),
        ({"to": {"telegram": "user-42", "email": "cust77@example"}}, "/to/email"),
        ({"to": {}}, "/to"),
        ({"to": {"pigeon": "x"}}, "/to"),
        ({"to": "x" * 1001}, "/to"),
        ({"to": PHONE, "sure": True}, "/sure"),
    ],
)
async def test_what_names_nobody_is_refused_by_where_it_is_wrong(shop, body, pointer):
    response = await shop.request("DELETE", URL, json=body)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert [pointer] == [fault["pointer"] for fault in response.json()["errors"]]
    assert "nonsense" not in response.text


async def test_a_reference_that_looks_like_an_address_is_erased_by_its_kind(client, shop):
    await shop.post("/v1/subscribers", json={"reference": "ann@home"})
    refused = (await shop.request("DELETE", URL, json={"to": "ann@home"})).json()
    assert refused["errors"][0]["detail"].endswith('is given by its kind: {"telegram": …}')
    assert (await shop.request("DELETE", URL, json={"to": {"telegram": "ann@home"}})).json()["subscribers"] == 1


async def test_a_query_is_no_place_for_an_address(shop):
    response = await shop.request("DELETE", URL, params={"to": EMAIL}, json={"to": EMAIL})
    assert response.status_code == 422


async def test_without_admin_nobody_is_erased(world, client):
    await client.post("/v1/verifications", json={"to": PHONE})
    key = await world.parts.keys.create("default", wanted=Wanted(frozenset(ALL - {"admin"})))
    async with world.client(key) as caller:
        response = await caller.request("DELETE", URL, json={"to": PHONE})
    assert (response.status_code, response.json()["detail"]) == (403, "this key has not the scope admin")
    assert [record["to_masked"] for record in await world.database.fetch("SELECT to_masked FROM verification")] != [
        "{}"
    ]
