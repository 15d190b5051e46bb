"""The pictures of the documentation: ``make screenshots`` takes them anew.

They go to the folder that ``SCREENSHOTS`` names. Where it names none they are taken all the same and thrown away, so
that what they show is known to work.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.browser.page import Page
from tests.browser.steps import CHAT, LOG, NARROW, give, link, menu, route, sign_in

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where the pictures go."""
    named = os.environ.get("SCREENSHOTS")
    return Path(named) if named else tmp_path


async def taken(page: Page, path: Path) -> None:
    """Write a picture, once nothing moves on the page."""
    await page.hides("#banner, #toast:not(:empty)")
    await page.until(
        "document.getAnimations().every((each) => each.playState !== 'running')", told="an end of movement"
    )
    keep(path, await page.picture())


def keep(path: Path, picture: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture)


async def retried(page: Page) -> None:
    """Have an SMS that is sent at the second attempt."""
    await page.fill("#to-phone", "+4915799001122")
    await route(page, "sms")
    await page.click("label:has(input[name=fault-twilio][value=limit])")
    await sign_in(page)
    await page.shows(LOG, "message.retried")
    await page.click("label:has(input[name=fault-twilio][value=none])")
    await page.shows(LOG, "message.delivered")
    await page.click("#cancel")
    await page.click("#again")
    await page.fill("#to-phone", "+4915112345678")
    await route(page, "telegram", "email")


async def test_everything_at_once(page, folder):
    await retried(page)
    await link(page)
    await menu(page, "Share my number")
    await page.shows(LOG, "subscriber.proved")
    await sign_in(page)
    await page.shows(CHAT, "Your code:")
    await page.shows("#verify-text", "Delivered by Telegram")
    await taken(page, folder / "sandbox.png")


async def test_a_fallback_in_the_dark(page, folder):
    await page.prefer(color_scheme="dark", reduced_motion="reduce")
    await page.click("label:has(input[name=fault-twilio][value=blocked])")
    await sign_in(page)
    await page.shows("#trail", "E-mail")
    await page.click("#dock-mail")
    await page.click("#mail-list button")
    await give(page, (await page.text("#mail-copy")).removeprefix("Copy "))
    await page.shows("#verify-title", "Signed in")
    await taken(page, folder / "sandbox-dark.png")


async def test_a_telephone(page, folder):
    await link(page)
    await sign_in(page)
    await page.shows(CHAT, "Your code:")
    await page.resize(*NARROW, scale=2)
    await page.click("#tab-phone")
    await taken(page, folder / "sandbox-narrow.png")
