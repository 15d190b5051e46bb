"""Scopes: what each call needs, what keys have, and that nothing is open by oversight."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.keys import scopes
from gateway.api.keys.keys import Wanted
from gateway.api.keys.scopes import ALL, DEFAULT, NEEDED, Scope

#: Calls that take no key.
OPEN = {"/callbacks/{channel}", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/.well-known/jwks.json"}


def calls(world):
    """Every call that is served: method and path."""
    return {
        (method, resource.path) for resource in world.app.resources for method in resource._methods if method != "HEAD"
    }


def test_every_call_is_open_or_says_which_scope_it_needs(world):
    assert {call for call in calls(world) if call[1] not in OPEN} == set(NEEDED)


async def test_every_call_refuses_a_key_without_its_scope_and_names_it(world):
    for (method, path), scope in NEEDED.items():
        others = frozenset(ALL - {scope, Scope.ADMIN})
        async with world.client(await world.parts.keys.create("default", wanted=Wanted(others))) as client:
            response = await client.request(method, path.format(id="x", session="s"))
        assert (response.status_code, response.json()["code"], response.json()["detail"]) == (
            *(403, "forbidden"),
            f"this key has not the scope {scope}",
        )


@pytest.mark.parametrize("scope", [Scope.READ, Scope.ADMIN])
async def test_a_key_with_the_scope_is_let_in_and_admin_has_every_one(world, scope):
    key = await world.parts.keys.create("default", wanted=Wanted(frozenset({scope})))
    async with world.client(key) as client:
        assert (await client.get("/v1/verifications")).status_code == 200
        assert (await client.head("/v1/verifications")).status_code == 200


async def test_a_key_made_without_a_word_does_everything_but_erase(client):
    assert (await client.post("/v1/verifications", json={"to": "+4915112345678"})).status_code == 201
    assert (await client.request("DELETE", "/v1/recipients", json={"to": "+4915112345678"})).status_code == 403


def test_what_is_not_listed_needs_admin():
    assert [scopes.needed("GET", "/v1/new"), scopes.needed("PUT", "/v1/verifications")] == [Scope.ADMIN, Scope.ADMIN]


@given(st.frozensets(st.sampled_from(Scope)))
def test_scopes_are_read_as_they_were_written(given_scopes):
    expected = ALL if Scope.ADMIN in given_scopes else given_scopes
    assert expected == scopes.read(scopes.written(given_scopes))


def test_a_column_from_before_scopes_is_the_default_and_an_unknown_name_opens_nothing():
    assert (DEFAULT, frozenset()) == (scopes.read(None), scopes.read("everything verify:"))
    assert Scope.ADMIN not in DEFAULT
