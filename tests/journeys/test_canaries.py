"""No code, key, token or full address reaches a log, an answer, an error or the database, at DEBUG, by any channel."""

from __future__ import annotations

import asyncio
import io
import re
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.api import create_api
from gateway.app import running
from gateway.config import load_settings, shipped
from gateway.events.log import configure
from gateway.sandbox import Sandbox
from gateway.sandbox.fault import Fault
from gateway.sandbox.shapes import code_of
from tests.journeys.node import by_all

PHONE, EMAIL, NAME = "+4915112345678", "ann.canary@example.org", "Canary Persson"
#: What every code of these tests is bound to.
BIND = {"session": "canary-session-91", "payee": "Canary Booksellers"}


@pytest.fixture
async def sandbox():
    async with Sandbox() as opened:
        yield opened


@pytest.fixture
def settings(sandbox, tmp_path):
    # One person is sent to by every channel and at every fault.
    counts = ("SENDS_PER_10M", "SENDS_PER_HOUR", "GUESSES_PER_HOUR", "GUESSES_PER_DAY")
    unlimited = {f"SERVICES__DEFAULT__LIMITS__{count}": "0" for count in counts}
    unlimited["SERVICES__DEFAULT__CODE__ALLOW_GUESSABLE"] = "true"
    environ = by_all(sandbox, DATABASE__URL=f"sqlite:///{tmp_path}/gateway.db", LOG__LEVEL="debug", **unlimited)
    return load_settings(shipped("config.toml"), {f"OTP_GATEWAY_{name}": value for name, value in environ.items()})


async def test_no_sink_holds_a_code_a_key_a_token_or_an_address(sandbox, settings, tmp_path, capfd):
    log = io.StringIO()
    answers: list[Any] = []
    codes: list[str] = []
    events = configure("json", "debug", log)
    async with running(settings, on_commit=events) as gateway:
        key = await gateway.keys.create("default", "canary")
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(create_api(gateway.parts)), base_url="http://127.0.0.1:8080"
        )
        async with client:
            client.headers["Authorization"] = f"Bearer {key}"
            link = await by_link(client, sandbox)
            link_in, challenge = await by_challenge(client, sandbox, answers)
            for channel, to, address in (
                ("sms", {"phone": PHONE}, PHONE),
                ("email", {"email": EMAIL}, EMAIL),
                ("telegram", {"telegram": "user-42"}, "4242"),
            ):
                body = {"to": to, "channels": [channel], "params": {"name": NAME}, "bind": BIND}
                started = await client.post("/v1/verifications", json=body)
                code = await code_to(sandbox, address)
                codes.append(code)
                path = f"/v1/verifications/{started.json()['id']}"
                wrong = f"{(int(code) + 1) % 10**6:06d}"
                answers += [
                    started,
                    await client.post(f"{path}/check", json={"code": wrong, "bind": BIND}),
                    await client.post(f"{path}/check", json={"code": code}),
                    await client.post(f"{path}/check", json={"code": f"x{code}y!"}),
                    await client.post("/v1/verifications", json=body),
                    await client.post("/v1/verifications", json={**body, "to": {channel: PHONE + EMAIL}}),
                    await client.get("/v1/verifications", params={"to": PHONE}),
                    await client.get("/v1/verifications", params={"api_key": key}),
                    await client.post(f"{path}/check", json={"code": code, "bind": BIND}),
                    await client.get(path),
                ]
            await with_faults(client, sandbox, answers)
    events.close()
    secrets = [PHONE, PHONE[1:], EMAIL, NAME, key, key[14:], sandbox.telegram.token, sandbox.twilio.auth_token, link]
    secrets += [*BIND.values(), link_in, challenge, challenge.replace("-", "")]
    texts = {"the log": log.getvalue(), "standard streams": "".join(capfd.readouterr())}
    texts |= {f"answer {place}": answer.text + str(answer.headers) for place, answer in enumerate(answers)}
    for where, text in texts.items():
        assert [secret for secret in secrets if secret in text] == [], where
        assert [code for code in codes if re.search(rf"(?<![0-9a-f]){code}(?![0-9a-f])", text)] == [], where
    stored = everything_in(tmp_path)
    assert [secret for secret in secrets if secret.encode() in stored] == []
    assert len(log.getvalue().splitlines()) > 30


def everything_in(folder: Path) -> bytes:
    """Return the database's files as they are on disk, the write-ahead log included, but not the keys beside them."""
    return b"".join(path.read_bytes() for path in folder.glob("gateway.db*") if path.suffix != ".secrets")


async def by_link(client: httpx.AsyncClient, sandbox: Sandbox) -> str:
    """Have a person open the bot, confirm and share their number; return the link's token."""
    subscriber = (await client.post("/v1/subscribers", json={"reference": "user-42", "phone": PHONE})).json()
    token = str(subscriber["link"].partition("?start=")[2])
    person = sandbox.telegram.person(4242, NAME)
    person.press_start(token)
    question = await question_in(sandbox)
    [[confirm, *_]] = question["reply_markup"]["inline_keyboard"]
    person.press(question["message_id"], confirm["callback_data"])
    async with asyncio.timeout(10):
        while (await client.get(f"/v1/subscribers/{subscriber['id']}")).json()["status"] != "linked":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    for step in (
        lambda: person.share_contact(PHONE),
        lambda: person.share_contact(PHONE, user_id=7),
        lambda: person.write(f"{NAME} {EMAIL}"),
        lambda: person.write("/codes"),
    ):
        answered = len(sandbox.inbox.to("4242"))
        step()
        await sandbox.inbox.wait("4242", timeout=10, count=answered + 1)
    return token


async def by_challenge(client: httpx.AsyncClient, sandbox: Sandbox, answers: list[httpx.Response]) -> tuple[str, str]:
    """Have the person type a challenge and approve it; return the link's token and the challenge."""
    asked = {"to": {"phone": PHONE}, "channels": ["telegram"], "mode": "inbound"}
    made = (await client.post("/v1/verifications", json=asked)).json()
    path, person = f"/v1/verifications/{made['id']}", sandbox.telegram.person(4242, NAME)
    person.write(made["challenge"])
    question = await question_in(sandbox)
    [[confirm, *_]] = question["reply_markup"]["inline_keyboard"]
    person.press(question["message_id"], confirm["callback_data"])
    async with asyncio.timeout(10):
        while (await client.get(path)).json()["status"] != "approved":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    answers.append(await client.get(path))
    answers.append(await client.post(f"{path}/check", json={"code": made["challenge"].replace("-", "")[:10]}))
    return str(made["link"].partition("?start=")[2]), str(made["challenge"])


async def question_in(sandbox: Sandbox) -> dict[str, Any]:
    """Return the latest message of the chat once it is one with buttons: answers to what came before may still come."""
    async with asyncio.timeout(20):
        while True:
            count = len(sandbox.inbox.to("4242"))
            latest = sandbox.telegram.chat(4242)[-1:]
            if latest and "inline_keyboard" in latest[0].get("reply_markup", {}):
                return latest[0]
            await sandbox.inbox.wait("4242", timeout=10, count=count + 1)


async def code_to(sandbox: Sandbox, address: str) -> str:
    """Return the code that was sent to ``address``; a bot writes other things as well."""
    async with asyncio.timeout(10):
        while True:
            letters = sandbox.inbox.to(address)
            found = next((code for letter in letters if (code := code_of(letter))), None)
            if found is not None:
                return found
            await sandbox.inbox.wait(address, timeout=10, count=len(letters) + 1)


async def with_faults(client: httpx.AsyncClient, sandbox: Sandbox, answers: list[httpx.Response]) -> None:
    """Have every channel fail in every way, with addresses of their own."""
    for number, fault in enumerate(
        (Fault.REFUSE, Fault.DEFER, Fault.LIMIT, Fault.RESET, Fault.GARBLE, Fault.UNAUTHORIZED)
    ):
        for server in (sandbox.smtp, sandbox.twilio, sandbox.telegram):
            server.faults.set(fault)
        to = {"phone": f"+49151123456{number}9", "email": f"bob.canary{number}@example.org", "telegram": "user-42"}
        started = await client.post("/v1/verifications", json={"to": to, "ttl": 30})
        assert started.status_code == 201
        answers.append(started)
        answers.append(await client.get(started.headers["location"]))
    for server in (sandbox.smtp, sandbox.twilio, sandbox.telegram):
        server.faults.clear()


async def test_the_database_can_be_opened_by_any_tool(settings, tmp_path):
    async with running(settings):
        pass
    with sqlite3.connect(tmp_path / "gateway.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
