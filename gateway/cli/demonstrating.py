"""What ``otp-gateway demo`` does: one code by each channel through a sandbox of real protocol servers, and all that comes."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import Awaitable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from gateway.cli.sandboxing import Caller, sandboxed, settings_of
from gateway.config import Settings
from gateway.events.log import configure
from gateway.sandbox import Sandbox
from gateway.sandbox.inbox import Letter
from gateway.sandbox.scenes import Answered
from gateway.sandbox.shapes import code_of
from gateway.serving import bind, until_stopped

_PAGE_PORT = 8090
#: Seconds a message may take to arrive in the demo; it takes milliseconds.
_PATIENCE = 20.0
#: Seconds between looks at what happened.
_GLANCE = 0.1
_PHONE, _EMAIL, _REFERENCE, _PERSON = "+4915112345678", "ann@example.org", "user-42", 4242


async def demonstrate(port: int, *, once: bool) -> None:
    """Serve on ``port``, or a free one where it is taken, and send one code by each channel; then serve on unless ``once``."""
    console = Console(highlight=False)
    with configure("json", "error"), tempfile.TemporaryDirectory(prefix="otp-gateway-demo-") as folder:
        async with Sandbox(magic_addresses=True) as sandbox:
            ports = _free(port), _free(_PAGE_PORT if port else 0)
            settings = settings_of(sandbox, Path(folder) / "demo.db", *ports)
            async with sandboxed(settings, sandbox, bind(settings.server)) as page:
                console.print(Text.assemble("\nSee it all at ", (page.url, "bold"), ", the sandbox's page."))
                await _first_round(console, settings, sandbox, page.caller)
                if not once:
                    await _serve_on(console, settings, sandbox, page.caller.key)


async def _first_round(console: Console, settings: Settings, sandbox: Sandbox, caller: Caller) -> None:
    url = str(settings.server.public_url)
    console.print(Text.assemble("\notp-gateway is up at ", (url, "bold"), ", with a sandbox of"))
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


async def _link(console: Console, sandbox: Sandbox, caller: Caller) -> None:
    """Have a person open the bot by its link and confirm."""
    subscriber = await _done(caller.post("/v1/subscribers", {"reference": _REFERENCE}))
    person = sandbox.telegram.person(_PERSON, "Ann")
    person.press_start(subscriber["link"].partition("?start=")[2])
    await sandbox.inbox.newest(str(_PERSON), timeout=_PATIENCE)
    [question] = sandbox.telegram.chat(_PERSON)[-1:]
    [[confirm, *_]] = question["reply_markup"]["inline_keyboard"]
    person.press(question["message_id"], confirm["callback_data"])
    async with asyncio.timeout(_PATIENCE):
        while (await _done(caller.get(f"/v1/subscribers/{subscriber['id']}")))["status"] != "linked":  # noqa: ASYNC110 - the API is asked
            await asyncio.sleep(_GLANCE)
    bot = subscriber["link"].partition("?")[0]
    console.print(f"\nAnn opened {bot} and confirmed: Telegram reaches her now.", soft_wrap=True)


async def _verify(
    console: Console, sandbox: Sandbox, caller: Caller, channel: str, to: Mapping[str, str], address: str
) -> None:
    started = await _done(caller.post("/v1/verifications", {"to": to, "channels": [channel], "purpose": "login"}))
    letter, code = await _with_code(sandbox, address)
    _show(console, letter)
    checked = await _done(caller.post(f"/v1/verifications/{started['id']}/check", {"code": code}))
    timeline = (await _done(caller.get(f"/v1/verifications/{started['id']}")))["events"]
    names = [item["event"] for item in timeline]
    [approved] = [item for item in timeline if item["event"] == "verification.approved"]
    took = (_seconds(approved["at"]) - _seconds(timeline[0]["at"])) * 1000
    console.print(Text.assemble(("  ✓ ", "green"), (f"{checked['status']} after {took:.0f} ms", "bold")))
    console.print(Text(f"    {' → '.join(names)}", "dim"), soft_wrap=True)


async def _with_code(sandbox: Sandbox, address: str) -> tuple[Letter, str]:
    """Return the first letter to ``address`` that carries a code, and the code; a bot writes other things as well."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            for letter in sandbox.inbox.to(address):
                code = code_of(letter)
                if code is not None:
                    return letter, code
            await sandbox.inbox.wait(address, timeout=_PATIENCE, count=len(sandbox.inbox.to(address)) + 1)


async def _done(call: Awaitable[Answered]) -> dict[str, Any]:
    """Return what the API answered to a request that cannot fail here."""
    answered = await call
    assert answered.status < 400, answered.body
    return answered.body


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
        await asyncio.sleep(_GLANCE)
        for letter in list(sandbox.inbox.letters):
            if letter.id not in shown:
                shown.add(letter.id)
                _show(console, letter)


def _show(console: Console, letter: Letter) -> None:
    title = {"smtp": "E-mail", "twilio": "SMS", "telegram": "Telegram"}[letter.protocol]
    console.print()
    console.print(Panel(Text(letter.text.strip()), title=f"{title} to {letter.to}", title_align="left", width=72))


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
