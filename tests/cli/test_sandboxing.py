"""The sandbox around a gateway, all of it in one process: the page signs in as an application does."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Sequence

import aiohttp
import pytest

from gateway.api.keys.keys import Keys
from gateway.app import opened_store
from gateway.cli.sandboxing import Caller, opened_servers, sandboxed, servers
from gateway.config import SandboxSettings, load_settings, shipped
from gateway.errors import ConfigError
from gateway.events.event import Event
from gateway.sandbox import Sandbox
from gateway.sandbox.loopback import listen
from gateway.sandbox.scenes import ActError
from gateway.serving import bind
from tests.journeys.node import by_email

EMAIL = "bob@example.org"


@pytest.fixture
async def sandbox():
    async with Sandbox(magic_addresses=True) as opened:
        yield opened


@pytest.fixture
def make_settings(sandbox, tmp_path):
    def make(**more: str):
        environ = by_email(
            sandbox.smtp.host,
            sandbox.smtp.port,
            DATABASE__URL=f"sqlite:///{tmp_path}/gateway.db",
            SERVER__PORT="0",
            SANDBOX__PORT="0",
            SERVICES__DEFAULT__NAME="Shop",
        )
        values = {f"OTP_GATEWAY_{name}": value for name, value in (environ | more).items()}
        return load_settings(shipped("config.toml"), values)

    return make


async def act(http: aiohttp.ClientSession, name: str, **wish: object) -> dict[str, object]:
    async with http.post(f"/act/{name}", json=wish) as answer:
        assert answer.status == 200
        found: dict[str, object] = await answer.json()
        return found


async def test_the_page_signs_in_and_a_program_reads_the_code(sandbox, make_settings):
    settings = make_settings()
    noted: list[str] = []

    def note(notes: Sequence[object]) -> None:
        noted.extend(item.name.value for item in notes if isinstance(item, Event))

    async with (
        sandboxed(settings, sandbox, bind(settings.server), on_commit=note) as page,
        aiohttp.ClientSession(page.url, timeout=aiohttp.ClientTimeout(total=10)) as http,
        http.get("/feed") as feed,
    ):
        snapshot = json.loads((await feed.content.readline()).removeprefix(b"data: "))
        assert (snapshot["brand"], snapshot["channels"]) == ("Shop", ["email"])
        started = await act(http, "sign-in", to=EMAIL)
        assert started["status"] == 201
        assert isinstance(started["body"], dict)
        async with http.get(f"/sandbox/inbox/{EMAIL}", params={"wait": "10"}) as answer:
            code = (await answer.json())["code"]
        checked = await act(http, "check", id=started["body"]["id"], code=code)
        assert (checked["status"], await read_until(feed, "verification.approved")) == (200, True)
        looked = await act(http, "look", id=started["body"]["id"])
        assert isinstance(looked["body"], dict)
        assert looked["body"]["status"] == "approved"
    assert "verification.approved" in noted
    async with opened_store(settings) as store:
        keys = await Keys(store.database, store.clock).list("default")
    assert [key.revoked_at is not None for key in keys] == [True]


async def read_until(feed: aiohttp.ClientResponse, name: str) -> bool:
    async with asyncio.timeout(10):
        async for line in feed.content:
            if f'"name":"{name}"'.encode() in line:
                return True
    return False


async def test_a_taken_port_of_the_page_is_told_and_leaves_nothing_open(sandbox, make_settings):
    with listen("127.0.0.1", 0) as taken:
        settings = make_settings(SANDBOX__PORT=str(taken.getsockname()[1]))
        with pytest.raises(ConfigError) as refused:
            async with sandboxed(settings, sandbox, bind(settings.server)):
                pass
    [fault] = refused.value.faults
    assert fault.startswith("[sandbox] host, port: 127.0.0.1:")
    async with opened_store(settings) as store:
        keys = await Keys(store.database, store.clock).list("default")
    assert [key.revoked_at is not None for key in keys] == [True]


async def test_a_taken_port_of_a_server_is_told():
    with listen("127.0.0.1", 0) as taken:
        settings = SandboxSettings(port=taken.getsockname()[1] - 2)
        with pytest.raises(ConfigError, match="cannot be listened on"):
            async with opened_servers(settings):
                pass


def test_the_servers_follow_the_page_port_by_port():
    made = servers(SandboxSettings(port=8090))
    assert (made.smtp.port, made.twilio.port, made.telegram.port) == (8091, 8092, 8093)
    free = servers(SandboxSettings(port=0))
    assert (free.smtp.port, free.twilio.port, free.telegram.port) == (0, 0, 0)


async def test_the_servers_know_the_addresses_that_mean_something():
    async with opened_servers(SandboxSettings(port=0)) as opened:
        assert opened.smtp.faults.take("ann904@example.org").fault.value == "limit"


async def test_a_gateway_that_does_not_answer_is_told_of_as_such():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        caller = Caller(session, "key")
        with pytest.raises(ActError) as refused:
            await caller.get("/v1/verifications/ver_1")
        assert refused.value.status == 502
        with pytest.raises(ActError):
            await caller.post("/v1/verifications", {})


@pytest.mark.parametrize(("host", "url"), [("127.0.0.1", "http://127.0.0.1:{}"), ("0.0.0.0", "http://127.0.0.1:{}")])
def test_a_gateway_is_found_on_this_machine_wherever_it_listens(host, url):
    from gateway.cli.sandboxing import _url

    with socket.create_server((host, 0)) as listener:
        assert _url(listener) == url.format(listener.getsockname()[1])


def test_a_gateway_on_ipv6_is_found():
    from gateway.cli.sandboxing import _url

    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        assert _url(listener) == f"http://[::1]:{listener.getsockname()[1]}"
