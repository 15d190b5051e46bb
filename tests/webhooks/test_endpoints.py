"""The services' receivers, and those that want no more."""

from __future__ import annotations

import asyncio
import base64

import pytest

from gateway.config import Settings
from gateway.errors import ConfigError
from gateway.events.event import EventName
from gateway.webhooks.endpoints import Endpoint, Endpoints, endpoints_of
from tests.conftest import START

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
SHOP = Endpoint("shop", "https://shop.example.com/otp?token=very-secret", (KEY,))


def settings(url: str | None, *, allow_private: bool = False, public_url: str = "https://otp.example.com") -> Settings:
    service: dict[str, object] = {"channels": ("console",)}
    if url is not None:
        service |= {"webhook_url": url, "webhook_secret": (SECRET, SECRET)}
    return Settings.model_validate(
        {
            "server": {"public_url": public_url},
            "services": {"shop": service},
            "webhooks": {"allow_private": allow_private},
        }
    )


def test_an_endpoint_has_its_url_and_its_secrets():
    assert endpoints_of(settings("https://shop.example.com/otp")) == {
        "shop": Endpoint("shop", "https://shop.example.com/otp", (KEY, KEY))
    }


def test_a_service_without_a_url_has_none():
    assert endpoints_of(settings(None)) == {}


@pytest.mark.parametrize("url", ["http://shop.example.com/otp", "https://shop.example.com:22/"])
def test_a_url_where_webhooks_cannot_go_is_a_fault_that_names_the_key_alone(url):
    with pytest.raises(ConfigError) as caught:
        endpoints_of(settings(url))
    (fault,) = caught.value.faults
    assert fault.startswith("[services.shop] webhook_url: must ")
    assert "example" not in fault


def test_http_is_right_where_the_operator_says_so_or_the_gateway_is_this_machines_alone():
    assert endpoints_of(settings("http://10.0.0.7:3000/", allow_private=True))
    assert endpoints_of(settings("http://shop.example.com/", public_url="http://127.0.0.1:8080"))


def test_an_endpoint_shows_neither_url_nor_secrets():
    assert repr(SHOP) == "Endpoint(service='shop')"


async def test_a_receiver_that_wants_no_more_is_told_of_once(database, committed):
    endpoints = Endpoints(database, {"shop": SHOP})
    assert await endpoints.disabled() == {}
    known = await asyncio.gather(*(endpoints.disable(SHOP, "gone", START) for _ in range(3)))
    assert sorted(known) == [False, False, True]
    assert [(item.name, item.service, item.reason) for item in committed] == [
        (EventName.WEBHOOK_DISABLED, "shop", "gone")
    ]
    found = await endpoints.disabled()
    assert [(item.service, item.at, item.reason) for item in found.values()] == [("shop", START, "gone")]


async def test_another_url_is_another_receiver(database, committed):
    await Endpoints(database, {"shop": SHOP}).disable(SHOP, "gone", START)
    moved = Endpoint("shop", "https://shop.example.com/new", SHOP.secrets)
    endpoints = Endpoints(database, {"shop": moved})
    assert await endpoints.disabled() == {}
    assert await endpoints.disable(moved, "gone", START + 1)
    assert (await endpoints.disabled())["shop"].at == START + 1
    assert await Endpoints(database, {"shop": SHOP}).disabled() == {}
    assert await Endpoints(database, {}).disabled() == {}


async def test_a_receiver_can_be_told_again(database):
    endpoints = Endpoints(database, {"shop": SHOP})
    await endpoints.disable(SHOP, "gone", START)
    await endpoints.enable("shop")
    await endpoints.enable("bank")
    assert await endpoints.disabled() == {}
    assert await endpoints.disable(SHOP, "gone", START)


async def test_a_url_is_not_in_the_database(database):
    await Endpoints(database, {"shop": SHOP}).disable(SHOP, "gone", START)
    (found,) = await database.fetch("SELECT * FROM endpoint")
    assert b"example" not in b"".join(str(value).encode() for value in dict(found).values())
