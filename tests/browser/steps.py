"""Steps that several walks through the page have in common."""

from __future__ import annotations

from tests.browser.page import Page

LOG = "#events b"
CHAT = "#chat .message"
#: A telephone's window.
NARROW = (390, 844)


async def route(page: Page, *channels: str) -> None:
    """Have these channels on the route and no others."""
    for channel in ("telegram", "sms", "email"):
        box = f"#route input[value={channel}]"
        if await page.evaluate(f"document.querySelector('{box}').checked") != (channel in channels):
            await page.click(box)


async def sign_in(page: Page) -> None:
    await page.click("#sign-in .main")
    await page.shows("#verify-title", "Enter the code")


async def give(page: Page, code: str) -> None:
    await page.fill("#code", code)
    await page.press("Enter")


async def link(page: Page) -> None:
    """Have the person open the bot by a link and confirm."""
    await page.click("#link")
    await page.click("#open-link")
    await page.click("#start")
    await page.shows(CHAT, "Example Shop wants to send codes")
    await page.click(f"{CHAT} .keys button", "Yes")
    await page.shows(LOG, "subscriber.linked")


async def menu(page: Page, item: str) -> None:
    await page.click("#chat-more")
    await page.click("#chat-menu button", item)
