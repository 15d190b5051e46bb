"""Serving: a socket that can be had or a sentence that says why not, and an end that waits for what is under way."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from gateway import serving as module
from gateway.config import ServerSettings
from gateway.errors import ConfigError
from gateway.serving import bind, serving, until_stopped


def test_a_taken_port_is_a_fault_of_the_configuration_that_says_what_to_do():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port} cannot be listened on: .*--port"):
            bind(ServerSettings(port=port))


def test_an_address_of_version_6_can_be_listened_on():
    listener = bind(ServerSettings(host="::1", port=0))
    assert listener.family == socket.AF_INET6
    listener.close()


def test_what_it_accepts_answers_without_waiting_for_acknowledgements():
    with bind(ServerSettings(port=0)) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


async def test_a_request_under_way_is_answered_before_the_end(monkeypatch):
    entered, gate = asyncio.Event(), asyncio.Event()

    async def slow(_scope, _receive, send):
        entered.set()
        await gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    # The API is built from parts that this test has none of; what is under test is the server around it.
    monkeypatch.setattr(module, "create_api", lambda _: slow)
    settings = ServerSettings(port=0)
    gateway: Any = SimpleNamespace(parts=None, draining=asyncio.Event())
    listener = bind(settings)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with aiohttp.ClientSession() as session:
        async with serving(gateway, settings, listener):
            answer = asyncio.create_task(session.get(url))
            await entered.wait()
            asyncio.get_running_loop().call_soon(gate.set)
        assert gateway.draining.is_set()
        async with await answer as response:
            assert await response.text() == "ok"
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(url)
    listener.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_wait(number):
    before = signal.getsignal(number)
    waiting = asyncio.create_task(until_stopped())
    await asyncio.sleep(0)
    os.kill(os.getpid(), number)
    async with asyncio.timeout(5):
        await waiting
    assert waiting.done()
    assert waiting.exception() is None
    asyncio.get_running_loop().remove_signal_handler(number)
    signal.signal(number, before)


async def test_a_second_signal_ends_the_process(monkeypatch):
    ended: list[int] = []
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(module, "end_by", ended.append)
    waiting = asyncio.create_task(until_stopped())
    await asyncio.sleep(0)
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(5):
            await waiting
        assert ended == []
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(5):
            while not ended:  # noqa: ASYNC110 - a signal has no event to wait for
                await asyncio.sleep(0)
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)
    assert ended == [signal.SIGTERM]


@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
@pytest.mark.parametrize(
    ("trusted", "told", "seen"),
    [
        # Nobody is trusted, unless somebody is named.
        ([], ["192.0.2.7"], "127.0.0.1"),
        (["192.0.2.0/24"], ["198.51.100.7"], "127.0.0.1"),
        (["127.0.0.0/8"], ["198.51.100.7"], "198.51.100.7"),
        # What the caller wrote stands before what the proxy added, in one header or in two.
        (["127.0.0.0/8"], ["203.0.113.1, 198.51.100.7"], "198.51.100.7"),
        (["127.0.0.0/8"], ["203.0.113.1", "198.51.100.7"], "198.51.100.7"),
        (["127.0.0.0/8", "192.0.2.0/24"], ["203.0.113.1, 198.51.100.7, 192.0.2.1"], "198.51.100.7"),
        (["127.0.0.0/8", "2001:db8::/32"], ["203.0.113.1, 198.51.100.7, 2001:db8::1"], "198.51.100.7"),
    ],
)
async def test_only_trusted_proxies_speak_for_others(monkeypatch, trusted, told, seen, host):
    async def who(scope, _receive, send):
        body = f"{scope['client'][0]} {scope['scheme']}".encode()
        length = str(len(body)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": body})

    # The API is built from parts that this test has none of; what is under test is the server around it.
    monkeypatch.setattr(module, "create_api", lambda _: who)
    # uvicorn would take these for the proxies' networks.
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    settings = ServerSettings(host=host, port=0, trusted_proxies=trusted)
    gateway: Any = SimpleNamespace(parts=None, draining=asyncio.Event())
    listener = bind(settings)
    headers = [("X-Forwarded-For", value) for value in told]
    headers += [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.example"), ("Forwarded", "for=203.0.113.9")]
    async with serving(gateway, settings, listener), aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with session.get(url, headers=headers) as response:
            # A socket for both families tells an IPv4 caller as ::ffff:127.0.0.1.
            expected = f"{seen} {'http' if seen == '127.0.0.1' else 'https'}"
            assert (await response.text()).removeprefix("::ffff:") == expected
    listener.close()
