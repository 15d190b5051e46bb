"""``otp-gateway demo``: the whole main job without any account, on this machine alone."""

from __future__ import annotations

import asyncio
import re
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from gateway.app import Gateway, running
from gateway.cli.running import run
from gateway.config import Settings, load_settings, shipped
from gateway.events.log import configure
from gateway.sandbox import Sandbox
from gateway.sandbox.inbox import Letter
from gateway.serving import bind, serving, until_stopped

_PREFIX = "OTP_GATEWAY_"
_PORT = 8080
#: Seconds a message may take to arrive in the demo; it takes milliseconds.
_PATIENCE = 20.0
_PHONE, _EMAIL, _REFERENCE, _PERSON = "+4915112345678", "ann@example.org", "user-42", 4242
_CODE = re.compile(r"\b\d{6}\b")


def demo(
    port: Annotated[int, typer.Option(help="Where to serve; a free port where this one is taken.")] = _PORT,
    *,
    once: Annotated[bool, typer.Option("--once", help="Stop after the first round instead of serving on.")] = False,
) -> None:
    """Run the server with a local sandbox of real protocol servers, and send one code by each channel."""
    run(_demo(port, once=once))


async def _demo(port: int, *, once: bool) -> None:
    console = Console(highlight=False)
    with configure("json", "error"), tempfile.TemporaryDirectory(prefix="otp-gateway-demo-") as folder:
        async with Sandbox() as sandbox:
            settings = _settings(sandbox, Path(folder), _free(port))
            listener = bind(settings.server)
            async with running(settings, sandbox=True) as gateway, serving(gateway, settings.server, listener):
                async with _caller(gateway, settings) as caller:
                    await _first_round(console, settings, sandbox, caller)
                if not once:
                    await _serve_on(console, settings, sandbox, caller.key)


class _Caller:
    """An application that uses the gateway, by HTTP alone."""

    def __init__(self, session: aiohttp.ClientSession, key: str) -> None:
        self._session = session
        self.key = key

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and return the answer's body."""
        async with self._session.post(path, json=body) as answer:
            answer.raise_for_status()
            found: dict[str, Any] = await answer.json()
            return found

    async def get(self, path: str) -> dict[str, Any]:
        """Fetch and return the answer's body."""
        async with self._session.get(path) as answer:
            answer.raise_for_status()
            found: dict[str, Any] = await answer.json()
            return found


@asynccontextmanager
async def _caller(gateway: Gateway, settings: Settings) -> AsyncIterator[_Caller]:
    key = await gateway.keys.create("default", "demo")
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(settings.server.public_url, headers=headers) as session:
        yield _Caller(session, key)


async def _first_round(console: Console, settings: Settings, sandbox: Sandbox, caller: _Caller) -> None:
    console.print(Text.assemble("\notp-gateway is up at ", (settings.server.public_url, "bold"), ", with a sandbox of"))
    for name, url in (
        ("SMTP server", f"{sandbox.smtp.host}:{sandbox.smtp.port}"),
        ("Twilio's Messages API", sandbox.twilio.base_url),
        ("Telegram's Bot API", sandbox.telegram.base_url),
    ):
        console.print(f"  {name:<22} {url}", style="dim")
    await _link(console, sandbox, caller)
    for channel, to, address in (
        ("sms", {"phone": _PHONE}, _PHONE),
        ("email", {"email": _EMAIL}, _EMAIL),
        ("telegram", {"telegram": _REFERENCE}, str(_PERSON)),
    ):
        await _verify(console, sandbox, caller, channel, to, address)


async def _link(console: Console, sandbox: Sandbox, caller: _Caller) -> None:
    """Have a person open the bot by its link and confirm."""
    subscriber = await caller.post("/v1/subscribers", {"reference": _REFERENCE})
    person = sandbox.telegram.person(_PERSON, "Ann")
    person.press_start(subscriber["link"].partition("?start=")[2])
    await sandbox.inbox.wait(str(_PERSON), timeout=_PATIENCE)
    [question] = sandbox.telegram.chat(_PERSON)[-1:]
    [[confirm, *_]] = question["reply_markup"]["inline_keyboard"]
    person.press(question["message_id"], confirm["callback_data"])
    await sandbox.inbox.wait(str(_PERSON), timeout=_PATIENCE, count=2)
    bot = subscriber["link"].partition("?")[0]
    console.print(f"\nAnn opened {bot} and confirmed: Telegram reaches her now.", soft_wrap=True)


async def _verify(
    console: Console, sandbox: Sandbox, caller: _Caller, channel: str, to: Mapping[str, str], address: str
) -> None:
    before = len(sandbox.inbox.to(address))
    started = await caller.post("/v1/verifications", {"to": to, "channels": [channel], "purpose": "login"})
    letter = await sandbox.inbox.wait(address, timeout=_PATIENCE, count=before + 1)
    _show(console, letter)
    code = _CODE.search(letter.text)
    assert code is not None, "the message holds the code"
    checked = await caller.post(f"/v1/verifications/{started['id']}/check", {"code": code[0]})
    timeline = (await caller.get(f"/v1/verifications/{started['id']}"))["events"]
    names = [item["event"] for item in timeline]
    [approved] = [item for item in timeline if item["event"] == "verification.approved"]
    took = (_seconds(approved["at"]) - _seconds(timeline[0]["at"])) * 1000
    console.print(Text.assemble(("  ✓ ", "green"), (f"{checked['status']} after {took:.0f} ms", "bold")))
    console.print(Text(f"    {' → '.join(names)}", "dim"), soft_wrap=True)


async def _serve_on(console: Console, settings: Settings, sandbox: Sandbox, key: str) -> None:
    url = settings.server.public_url
    body = '{"to": "ann@example.org", "purpose": "signup"}'
    find = "python3 -c 'import json, sys; print(json.load(sys.stdin)[\"id\"])'"
    console.print("\n[bold]Now you.[/bold] Paste these into another terminal; messages show up here.\n")
    # Lines to paste must not be broken where a terminal's line ends.
    paste = partial(console.print, markup=False, soft_wrap=True)
    paste(f"KEY={key}")
    paste(
        f'ID=$(curl -s {url}/v1/verifications -H "Authorization: Bearer $KEY" '
        f"-H 'Content-Type: application/json' -d '{body}' | {find}); echo $ID"
    )
    paste(f'curl -s {url}/v1/verifications/$ID -H "Authorization: Bearer $KEY"')
    paste(
        f'printf "The code shown in the demo: "; read -r CODE; curl -s {url}/v1/verifications/$ID/check '
        '-H "Authorization: Bearer $KEY" -H "Content-Type: application/json" -d "{\\"code\\": \\"$CODE\\"}"'
    )
    console.print(f"\nThe API is described at {url}/docs. Ctrl-C ends the demo and removes what it made.")
    shower = asyncio.create_task(_show_what_comes(console, sandbox))
    await until_stopped()
    shower.cancel()
    await asyncio.gather(shower, return_exceptions=True)


async def _show_what_comes(console: Console, sandbox: Sandbox) -> None:
    shown = {letter.id for letter in sandbox.inbox.letters}
    while True:
        await asyncio.sleep(0.1)
        for letter in list(sandbox.inbox.letters):
            if letter.id not in shown:
                shown.add(letter.id)
                _show(console, letter)


def _show(console: Console, letter: Letter) -> None:
    title = {"smtp": "E-mail", "twilio": "SMS", "telegram": "Telegram"}[letter.protocol]
    console.print()
    console.print(Panel(Text(letter.text.strip()), title=f"{title} to {letter.to}", title_align="left", width=72))


def _settings(sandbox: Sandbox, folder: Path, port: int) -> Settings:
    values = {
        "SERVER__PORT": str(port),
        "DATABASE__URL": f"sqlite:///{folder / 'demo.db'}",
        "SERVICES__DEFAULT__NAME": "Example Shop",
        "SERVICES__DEFAULT__CHANNELS": '["telegram", "sms", "email"]',
        "SERVICES__DEFAULT__LIMITS__COOLDOWN": "5",
        "CHANNELS__SMS__ADAPTER": "sms",
        "CHANNELS__SMS__ACCOUNT_SID": sandbox.twilio.account_sid,
        "CHANNELS__SMS__AUTH_TOKEN": sandbox.twilio.auth_token,
        "CHANNELS__SMS__FROM": "+15005550006",
        "CHANNELS__SMS__BASE_URL": sandbox.twilio.base_url,
        "CHANNELS__EMAIL__ADAPTER": "email",
        "CHANNELS__EMAIL__HOST": sandbox.smtp.host,
        "CHANNELS__EMAIL__PORT": str(sandbox.smtp.port),
        "CHANNELS__EMAIL__TLS": "none",
        "CHANNELS__EMAIL__FROM": "codes@example.com",
        "CHANNELS__TELEGRAM__ADAPTER": "telegram",
        "CHANNELS__TELEGRAM__TOKEN": sandbox.telegram.token,
        "CHANNELS__TELEGRAM__BASE_URL": sandbox.telegram.base_url,
    }
    return load_settings(shipped("config.toml"), {_PREFIX + name: value for name, value in values.items()})


def _free(port: int) -> int:
    """Return ``port``, or another that is free where somebody has it."""
    for wanted in (port, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    return port


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()
