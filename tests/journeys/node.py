"""A gateway as its operators run it: a process of its own, started by ``serve``, killed without a word."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import aiohttp

from gateway.sandbox import Sandbox
from gateway.sandbox.telegram import TelegramSandbox

ROOT = Path(__file__).parents[2]
#: Seconds a process may take to start or to stop.
PATIENCE = 30.0


class Node:
    """One ``serve`` process. ``environ`` are its ``OTP_GATEWAY_`` variables without the prefix."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OTP_GATEWAY_")},
            "PYTHONPATH": str(ROOT),
            "OTP_GATEWAY_CONFIG": str(ROOT / "config.toml"),
            **{f"OTP_GATEWAY_{name}": value for name, value in environ.items()},
        }
        self._process: asyncio.subprocess.Process | None = None
        self._drain: asyncio.Task[bytes] | None = None
        self.url = ""
        #: What ``serve`` is told beside its port.
        self.options: tuple[str, ...] = ()
        #: What it said on standard error before it served.
        self.said: list[str] = []
        self.log = folder / f"node-{id(self)}.log"

    async def start(self) -> None:
        """Start the process and wait until it serves."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "serve", "--port", "0", *self.options),
                env=self._environ,
                cwd=self._folder,
                stdout=log,
                stderr=asyncio.subprocess.PIPE,
            )
        assert self._process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            while line := (await self._process.stderr.readline()).decode():
                if "serves on " in line:
                    self.url = line.split()[-1]
                    self._drain = asyncio.create_task(self._process.stderr.read())
                    return
                self.said.append(line.rstrip())
                print(line, end="")
        raise AssertionError("the gateway did not start")

    async def run(self, *words: str) -> str:
        """Run another verb with the same settings and return its standard output."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", *words),
            env=self._environ,
            cwd=self._folder,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, words
        return out.decode()

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return how the process ended; 0 if it never began."""
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            code = await self._process.wait()
        if self._drain is not None:
            await self._drain
        return code


class Caller:
    """An application, speaking HTTP to one node or another."""

    def __init__(self, key: str) -> None:
        self._session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def post(
        self, node: Node, path: str, body: object, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, object]]:
        """Send a request; return the status and the body."""
        async with self._session.post(node.url + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def get(self, node: Node, path: str) -> dict[str, object]:
        """Fetch; return the body."""
        async with self._session.get(node.url + path) as answer:
            found: dict[str, object] = await answer.json()
            return found


def by_bot(telegram: TelegramSandbox, **more: str) -> dict[str, str]:
    """Return the settings of a gateway's bot at a local Bot API."""
    return {
        "CHANNELS__TELEGRAM__ADAPTER": "telegram",
        "CHANNELS__TELEGRAM__TOKEN": telegram.token,
        "CHANNELS__TELEGRAM__BASE_URL": telegram.base_url,
        **more,
    }


def by_email(host: str, port: int, **more: str) -> dict[str, str]:
    """Return the settings of a gateway that sends e-mail to a local server."""
    return {
        "CHANNELS__EMAIL__ADAPTER": "email",
        "CHANNELS__EMAIL__HOST": host,
        "CHANNELS__EMAIL__PORT": str(port),
        "CHANNELS__EMAIL__TLS": "none",
        "CHANNELS__EMAIL__FROM": "codes@example.com",
        "SERVICES__DEFAULT__CHANNELS": '["email"]',
        "SERVICES__DEFAULT__LIMITS__COOLDOWN": "0",
        "SERVICES__DEFAULT__LIMITS__SENDS_PER_10M": "0",
        "SERVICES__DEFAULT__LIMITS__SENDS_PER_HOUR": "0",
        "SERVICES__DEFAULT__LIMITS__SENDS_PER_DAY": "0",
        "SERVICES__DEFAULT__LIMITS__PREFIX_PER_HOUR": "0",
        **more,
    }


def by_all(sandbox: Sandbox, **more: str) -> dict[str, str]:
    """Return the settings of a gateway that reaches people by every channel, each at a local server."""
    return by_email(
        sandbox.smtp.host,
        sandbox.smtp.port,
        **by_bot(sandbox.telegram),
        **{
            "CHANNELS__SMS__ADAPTER": "sms",
            "CHANNELS__SMS__ACCOUNT_SID": sandbox.twilio.account_sid,
            "CHANNELS__SMS__AUTH_TOKEN": sandbox.twilio.auth_token,
            "CHANNELS__SMS__FROM": "+15005550006",
            "CHANNELS__SMS__BASE_URL": sandbox.twilio.base_url,
            "SERVICES__DEFAULT__CHANNELS": '["telegram", "sms", "email"]',
            **more,
        },
    )
