"""Health, as a load balancer reads it."""

from __future__ import annotations

import re
from dataclasses import replace

import httpx
import pytest

from gateway.api.openapi import document
from gateway.events.gauges import STATES


@pytest.fixture
async def anybody(world):
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=world.app), base_url="http://gateway.test"
    ) as opened:
        yield opened


async def test_a_process_that_answers_is_alive_without_a_key(anybody):
    response = await anybody.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_a_ready_node_shows_its_parts(anybody):
    response = await anybody.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {
        "status": "ok",
        "database": True,
        "migrations": True,
        "draining": False,
        "channels": {"sms": "configured"},
    }


@pytest.mark.parametrize("change", [{"database": False}, {"migrations": False}, {"draining": True}])
async def test_a_node_is_not_ready_without_database_or_migrations_or_while_draining(anybody, world, change):
    world.health = replace(world.health, **change)
    response = await anybody.get("/readyz")
    assert (
        response.status_code,
        response.headers["retry-after"],
        response.json()["status"],
    ) == (503, "1", "unavailable")
    assert change.items() <= response.json().items()


@pytest.mark.parametrize("state", STATES)
async def test_a_channels_state_is_shown_and_makes_no_node_unready(anybody, world, state):
    world.health = replace(world.health, channels={"sms": state})
    response = await anybody.get("/readyz")
    assert (response.status_code, response.json()["channels"]) == (200, {"sms": state})


async def test_a_process_that_waits_for_its_database_is_alive(anybody, world):
    world.health = replace(world.health, database=False, migrations=False, draining=True)
    assert (await anybody.get("/healthz")).status_code == 200


def test_every_state_is_told_of_in_the_document():
    described = document("https://otp.example.org")["components"]["schemas"]["Health"]["properties"]["channels"]
    assert [state for state in STATES if state not in re.findall(r"\w+", described["description"])] == []
