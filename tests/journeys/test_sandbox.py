"""``serve`` with a sandbox beside it where the configuration asks for one, and ``demo``, which always has one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from typing import Any

import aiohttp
import pytest

from gateway.sandbox.loopback import listen
from tests.journeys.node import PATIENCE, ROOT, Caller, by_email

PERSON = 4242


@pytest.fixture
def port() -> int:
    """A free port of which the next three are free too: below those that are handed out to whoever asks for any."""
    for found in range(20_000 + os.getpid() % 1_000 * 8, 32_000, 4):
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            for place in range(found, found + 4):
                held.enter_context(listen("127.0.0.1", place))
            return found
    raise AssertionError("no four free ports in a row")


async def test_a_gateway_sends_to_the_sandbox_beside_it_and_its_page_shows_it(make_node, tmp_path, port):
    environ = by_email("127.0.0.1", port + 1, DATABASE__URL=f"sqlite:///{tmp_path}/gateway.db")
    node = make_node(environ | {"SANDBOX__ENABLED": "true", "SANDBOX__PORT": str(port)})
    await node.start()
    [line] = [line for line in node.said if "sandbox" in line]
    page, smtp, twilio, bot = re.findall(r"127\.0\.0\.1:(\d+)", line)
    assert [int(place) for place in (page, smtp, twilio, bot)] == [port, port + 1, port + 2, port + 3]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{page}", timeout=aiohttp.ClientTimeout(total=15)) as http:
        async with http.post("/act/sign-in", json={"to": "ann@example.org"}) as answer:
            assert (await answer.json())["status"] == 201
        async with http.get("/sandbox/inbox/ann@example.org?wait=10") as answer:
            assert (await answer.json())["protocol"] == "smtp"
    assert await node.end() == 0


async def test_a_program_links_a_chat_proves_a_number_and_reads_a_code_there_by_http_alone(make_node, tmp_path, port):
    bot = {"CHANNELS__TELEGRAM__ADAPTER": "telegram", "CHANNELS__TELEGRAM__TOKEN": "123456:sandbox"}
    environ = by_email("127.0.0.1", port + 1, DATABASE__URL=f"sqlite:///{tmp_path}/gateway.db") | bot
    environ |= {"CHANNELS__TELEGRAM__BASE_URL": f"http://127.0.0.1:{port + 3}"}
    node = make_node(environ | {"SANDBOX__ENABLED": "true", "SANDBOX__PORT": str(port)})
    await node.start()
    key = (await node.run("keys", "create", "--service", "default")).strip()
    page = aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=aiohttp.ClientTimeout(total=15))
    async with Caller(key) as app, page as http:

        async def act(name: str, **body: object) -> None:
            async with http.post(f"/act/{name}", json={"person": PERSON, **body}) as answer:
                assert answer.status == 200, await answer.text()

        async def letter(after: str = "") -> dict[str, Any]:
            async with http.get(f"/sandbox/inbox/{PERSON}?wait=10{after and f'&after={after}'}") as answer:
                found: dict[str, Any] = await answer.json()
                assert answer.status == 200, found
                return found

        _, person = await app.post(node, "/v1/subscribers", {"reference": "user-42", "phone": "+4915112345678"})
        await act("start", link=person["link"])
        question = await letter()
        await act("press", message=question["id"], data=question["buttons"][0][0]["data"])
        wants_number = await letter(after=question["id"])
        assert wants_number["keyboard"]["contact"] is True
        assert (await app.get(node, f"/v1/subscribers/{person['id']}"))["status"] == "linked"
        await act("contact", phone="+4915112345678")
        thanks = await letter(after=wants_number["id"])
        asked = {"to": {"phone": "+4915112345678"}, "channels": ["telegram"]}
        status, started = await app.post(node, "/v1/verifications", asked)
        assert status == 201, started
        code = (await letter(after=thanks["id"]))["code"]
        status, approved = await app.post(node, f"/v1/verifications/{started['id']}/check", {"code": code})
        assert (status, approved["status"]) == (200, "approved")
    assert await node.end() == 0


async def test_no_sandbox_is_started_unasked(make_node, tmp_path, smtp):
    node = make_node(by_email(smtp.host, smtp.port, DATABASE__URL=f"sqlite:///{tmp_path}/gateway.db"))
    await node.start()
    assert [line for line in node.said if "sandbox" in line] == []
    assert await node.end() == 0


async def test_a_public_gateway_has_no_sandbox(make_node, tmp_path, smtp):
    environ = by_email(smtp.host, smtp.port, DATABASE__URL=f"sqlite:///{tmp_path}/gateway.db")
    node = make_node(environ | {"SANDBOX__ENABLED": "true", "SERVER__PUBLIC_URL": "https://codes.example.com"})
    with pytest.raises(AssertionError, match="did not start"):
        await node.start()
    assert any("sandbox" in line.lower() and "public_url" in line for line in node.said)


@pytest.fixture
async def demo(tmp_path):
    """``otp-gateway demo`` after its first round, and what it said until then."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTP_GATEWAY_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "demo", "--port", "0"),
        env=environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            said = (await process.stdout.readuntil(b"Ctrl-C ends the demo")).decode()
        yield process, said
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_the_demo_goes_on_and_shows_what_comes_on_its_page_and_its_terminal(demo):
    process, said = demo
    first, *_ = re.findall(r"See it all at (\S+), the sandbox's page", said)
    assert "KEY=otpg_" in said
    async with aiohttp.ClientSession(first, timeout=aiohttp.ClientTimeout(total=15)) as http:
        async with http.post("/act/sign-in", json={"to": "bob@example.org", "channels": ["email"]}) as answer:
            assert (await answer.json())["status"] == 201
        async with http.get("/sandbox/inbox/bob@example.org?wait=10") as answer:
            code = (await answer.json())["code"]
    async with asyncio.timeout(PATIENCE):
        shown = (await process.stdout.readuntil(code.encode())).decode()
    assert "E-mail to bob@example.org" in shown
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(PATIENCE):
        await process.communicate()
    assert process.returncode == 0
