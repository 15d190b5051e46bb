"""Allowances as they are put together: a request that is one too many is told so, and money spent is not forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import httpx
import pytest

from channels.base import Reason, TransientError
from gateway.api import create_api
from gateway.app import Gateway, running
from gateway.config import Settings, load_settings

CONFIG = """
[channels.console]
adapter = "console"
price = 0.1
prices = { DE = 0.25 }
[services.default]
channels = ["console"]
[services.default.limits]
requests_per_second = 0.01
spend_per_day = 0.4
"""
#: Seconds that what is done at once may take on a slow machine.
PATIENCE = 20.0


@pytest.fixture
def settings(tmp_path) -> Settings:
    path: Path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return load_settings(path, {})


async def until(held: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not held():  # noqa: ASYNC110 - a tally has no event
            await asyncio.sleep(0.02)


async def asked(gateway: Gateway, client: httpx.AsyncClient, *numbers: str) -> list[httpx.Response]:
    headers = {"Authorization": f"Bearer {await gateway.keys.create('default')}"}
    post = [client.post("/v1/verifications", json={"to": number}, headers=headers) for number in numbers]
    return [await request for request in post]


async def test_a_service_is_held_to_what_it_may_use_after_a_restart_too(settings):
    async with running(settings) as gateway:
        transport = httpx.ASGITransport(app=create_api(gateway.parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
            taken, refused = await asked(gateway, client, "+4915112345678", "+436641234567")
            metrics = (await client.get("/metrics")).text
        assert taken.status_code == 201
        assert (refused.status_code, refused.json()["limit"]) == (429, "requests_per_second")
        assert refused.headers["RateLimit-Policy"] == '"requests_per_second";q=1;w=100'
        assert 0 < int(refused.headers["Retry-After"]) <= 100
        assert 'otp_gateway_refusals_total{code="requests_per_second"} 1.0' in metrics
        await until(lambda: gateway.allowances.spent() == {"default": 0.25})
        await gateway.allowances.tally()
    async with running(settings) as gateway:
        await until(lambda: gateway.allowances.spent() == {"default": 0.25})
        transport = httpx.ASGITransport(app=create_api(gateway.parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
            [refused] = await asked(gateway, client, "+4915112345679")
            metrics = (await client.get("/metrics")).text
        assert (refused.status_code, refused.json()["limit"]) == (429, "spend_per_day")
        assert 'otp_gateway_spent_today{service="default"} 0.25' in metrics


async def test_what_was_made_in_the_last_second_of_a_node_is_reckoned_with_by_the_next(settings, monkeypatch):
    """Each restart gave the whole allowance anew while a provider was away."""
    monkeypatch.setattr("gateway.app.upkeep.TALLY", 3600.0)
    monkeypatch.setattr("channels.console.ConsoleChannel.deliver", Mock(side_effect=TransientError(Reason.UNAVAILABLE)))
    outcomes = []
    for number in ("+4915112345678", "+4915112345679"):
        async with running(settings) as gateway:
            await gateway.allowances.tally()
            transport = httpx.ASGITransport(app=create_api(gateway.parts))
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
                [answer] = await asked(gateway, client, number)
                outcomes.append((answer.status_code, answer.json().get("limit")))
    assert outcomes == [(201, None), (429, "spend_per_day")]
