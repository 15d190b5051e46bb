"""``/v1/sessions/{session}`` over HTTP."""

from __future__ import annotations

import pytest

URL = "/v1/sessions"


async def started(caller, session: str):
    body = {"to": "+4915112345678", "bind": {"session": session}}
    made = await caller.post("/v1/verifications", json=body)
    assert made.status_code == 201, made.text
    return made.json()["id"]


@pytest.mark.parametrize(
    ("session", "path"),
    [
        ("s-91", "s-91"),
        ("a/b", "a%2Fb"),
        ("a/b", "a/b"),
        ("é ?#%", "%C3%A9%20%3F%23%25"),
        ("a\nb\n", "a%0Ab%0A"),
        ("x" * 200, "x" * 200),
    ],
)
async def test_a_session_ends_whatever_its_name(shop, session, path):
    made = await started(shop, session)
    assert (await shop.delete(f"{URL}/{path}")).json() == {"canceled": 1}
    assert (await shop.get(f"/v1/verifications/{made}")).json()["status"] == "canceled"
    again = await shop.delete(f"{URL}/{path}")
    assert (again.status_code, again.json()) == (200, {"canceled": 0})


async def test_a_session_of_another_service_stays(shop, client):
    made = await started(shop, "s-91")
    assert (await client.delete(f"{URL}/s-91")).json() == {"canceled": 0}
    assert (await shop.get(f"/v1/verifications/{made}")).json()["status"] == "pending"


async def test_without_a_name_there_is_no_session(shop):
    for path in (URL, f"{URL}/"):
        response = await shop.delete(path)
        assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_it_asks_for_a_key_and_takes_no_parameters(shop, world):
    async with world.client("nobody") as stranger:
        assert (await stranger.delete(f"{URL}/s-91")).status_code == 401
    assert (await shop.delete(f"{URL}/s-91?all=1")).json()["errors"] == [
        {"pointer": "?all", "detail": "no such parameter"}
    ]
    response = await shop.get(f"{URL}/s-91")
    assert (response.status_code, response.headers["allow"]) == (405, "DELETE")
