"""A browser, and the sandbox's page as ``otp-gateway demo`` has it. The tests see and do what a person can."""

from __future__ import annotations

import os
import socket

import pytest
import pytest_asyncio

from gateway.cli.sandboxing import sandboxed, settings_of
from gateway.events.log import configure
from gateway.sandbox import Sandbox
from tests.browser.chromium import Chromium, installed
from tests.browser.page import Page

#: A laptop's window.
DESKTOP = (1440, 900)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium():
    """One browser for a module; where there is none, skipped at home and an error in CI."""
    path = installed()
    if path is None and os.environ.get("CI"):
        pytest.fail("no Chromium is installed here, and CHROMIUM names none")
    if path is None:
        pytest.skip("no Chromium is installed here; CHROMIUM can name one")
    async with Chromium(path) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def sandbox():
    """The providers of the demo."""
    async with Sandbox(magic_addresses=True) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def url(sandbox, tmp_path):
    """Where the page of a running gateway is."""
    listener = socket.create_server(("127.0.0.1", 0))
    settings = settings_of(sandbox, tmp_path / "gateway.db", listener.getsockname()[1], 0)
    with configure("json", "error"):
        async with sandboxed(settings, sandbox, listener) as page:
            yield page.url


@pytest_asyncio.fixture(loop_scope="module")
async def page(chromium, url):
    """The page, open and live. In the end nothing had gone wrong on it and it had asked nobody but this machine."""
    opened = await chromium.page(*DESKTOP)
    await opened.prefer(color_scheme="light", reduced_motion="reduce")
    await opened.allow_clipboard(url)
    await opened.go(url)
    await live(opened)
    yield opened
    await chromium.close(opened)
    assert opened.errors == []
    assert [asked for asked in opened.requests if not asked.startswith((f"{url}/", "about:"))] == []


async def live(page: Page) -> None:
    """Wait until the page has shown what there is."""
    await page.shows("#live[data-state=live]", "Live at")
