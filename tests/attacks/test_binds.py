"""Attempts with what a code is bound to: binds that look alike, many at once, and sessions of odd names and of others."""

from __future__ import annotations

import asyncio
import unicodedata
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.api.conftest import EMAIL, client, shop

__all__ = ["client", "shop"]

URL = "/v1/verifications"
BIND = {"session": "s-91", "payee": unicodedata.normalize("NFC", "Café")}


async def started(world: Any, caller: httpx.AsyncClient, bind: dict[str, str]) -> tuple[str, str]:
    """Start a verification; return its id and its code."""
    response = await caller.post(URL, json={"to": EMAIL, "bind": bind})
    assert response.status_code == 201
    return response.json()["id"], world.sent[-1].code


async def checked(caller: httpx.AsyncClient, verification: str, code: str, bind: dict[str, str]) -> httpx.Response:
    return await caller.post(f"{URL}/{verification}/check", json={"code": code, "bind": bind})


@pytest.mark.parametrize(
    "bind",
    [
        {},
        {**BIND, "payee": unicodedata.normalize("NFD", "Café")},
        {**BIND, "Payee": BIND["payee"]},
        {"session": BIND["payee"], "payee": BIND["session"]},
        {**BIND, "more": ""},
    ],
)
async def test_what_only_looks_like_what_a_code_is_bound_to_is_wrong_and_costs_a_check(world, client, bind):
    verification, code = await started(world, client, BIND)
    response = await checked(client, verification, code, bind)
    assert (response.status_code, response.json()["code"], response.json()["checks_left"]) == (422, "wrong_code", 4)
    assert (await checked(client, verification, code, dict(reversed(BIND.items())))).status_code == 200


async def test_of_binds_at_once_with_the_right_code_no_more_are_compared_than_checks(world, client):
    verification, code = await started(world, client, BIND)
    guesses = ({**BIND, "session": f"s-{number}"} for number in range(30))
    answers = await asyncio.gather(*(checked(client, verification, code, guess) for guess in guesses))
    assert [answer.json()["code"] for answer in answers].count("wrong_code") == 5
    assert (await checked(client, verification, code, BIND)).status_code == 410


@pytest.mark.parametrize("session", ["../x", "%2e", "a?b#c", "a\nb"])
async def test_a_session_ends_under_its_name_alone_and_not_at_another_service(world, client, shop, session):
    mine, code = await started(world, client, {"session": session})
    path = f"/v1/sessions/{quote(session, safe='')}"
    assert (await shop.delete(path)).json() == {"canceled": 0}
    assert (await client.delete(path + "x")).json() == {"canceled": 0}
    assert (await client.delete(path)).json() == {"canceled": 1}
    assert (await checked(client, mine, code, {"session": session})).json()["code"] == "canceled"
