"""A headless Chromium driven by the DevTools protocol over aiohttp's own WebSocket client.

https://chromedevtools.github.io/devtools-protocol/ . No driver is downloaded: whatever Chromium the machine has will do.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from typing import Any, Self

import aiohttp

from tests.browser.page import BrowserError, Json, Page

#: Where a Chromium may be, after what ``$CHROMIUM`` names.
NAMES = ("chromium", "chromium-browser", "google-chrome")
#: Seconds until the browser must have started, or answered; more than a page is waited for, whose own error says more.
_ANSWER = 40.0
#: Bytes of one message of the protocol; a screenshot is one.
MAX_MESSAGE = 64 * 1024 * 1024

_FLAGS = (
    "--headless=new",
    # Whatever the machine's language, the bot answers people of this one.
    "--accept-lang=en-US",
    "--remote-debugging-port=0",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--hide-scrollbars",
    "--metrics-recording-only",
    # Tests run as root in containers, where Chromium has no sandbox of its own; it sees loopback pages alone.
    "--no-sandbox",
    # The file system keyring and proxies of the machine are none of ours.
    "--password-store=basic",
    "--no-proxy-server",
)


def installed() -> str | None:
    """Return the path of a Chromium, ``None`` where there is none."""
    return next(filter(None, map(shutil.which, (os.environ.get("CHROMIUM") or "", *NAMES))), None)


class Chromium:
    """One browser process with a profile of its own, gone with it. Open it with ``async with``."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def __aenter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="otp-browser-", ignore_cleanup_errors=True)
        self._process = await asyncio.create_subprocess_exec(
            self._path,
            *_FLAGS,
            f"--user-data-dir={self._folder.name}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self._session = aiohttp.ClientSession()
        try:
            async with asyncio.timeout(_ANSWER):
                self._socket = await self._session.ws_connect(await self._address(), max_msg_size=MAX_MESSAGE)
        except BaseException:
            await self._end()
            raise
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Json]] = {}
        self._hearing: dict[str, Callable[[str, Json], None]] = {}
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        await asyncio.wait([self._reading])
        await self._socket.close()
        await self._end()
        await self._draining

    async def _end(self) -> None:
        await self._session.close()
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.wait()
        self._folder.cleanup()

    async def _address(self) -> str:
        """Return where the browser listens, which it tells on its standard error."""
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            if line.startswith(b"DevTools listening on "):
                self._draining = asyncio.create_task(_drain(self._process.stderr))
                return line.decode().split()[-1]
        raise BrowserError("the browser ended before it listened")

    async def _read(self) -> None:
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                waiter = self._waiting.pop(told["id"])
                if not waiter.done():
                    waiter.set_result(told)
            elif hear := self._hearing.get(told.get("sessionId", "")):
                hear(told["method"], told["params"])

    async def call(self, method: str, session: str | None = None, /, **parameters: Any) -> Json:
        """Give a command and return its result. Raises ``BrowserError``."""
        number = next(self._numbers)
        waiter = self._waiting[number] = asyncio.get_running_loop().create_future()
        command: Json = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(command | ({"sessionId": session} if session else {}))
        async with asyncio.timeout(_ANSWER):
            told = await waiter
        if "error" in told:
            raise BrowserError(f"{method}: {told['error']['message']}")
        result: Json = told["result"]
        return result

    async def page(self, width: int, height: int) -> Page:
        """Return a new, empty page of this size in CSS pixels, alone in a context of its own."""
        context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        target = (await self.call("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
        session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        page = Page(self.call, session, context)
        self._hearing[session] = page.hear
        for domain in ("Page", "Runtime", "Network", "Log"):
            await page.call(f"{domain}.enable")
        await page.resize(width, height)
        return page

    async def close(self, page: Page) -> None:
        """Close a page with its context."""
        del self._hearing[page.session]
        await self.call("Target.disposeBrowserContext", browserContextId=page.context)


async def _drain(lines: asyncio.StreamReader) -> None:
    """Read to the end: a browser whose complaints nobody reads stops once the pipe is full."""
    while await lines.read(65536):
        pass
