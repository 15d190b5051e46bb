"""The driver of the browser: a failure must be told as one, or the walks would pass on a broken page."""

from __future__ import annotations

import pytest

from tests.browser.chromium import Chromium, installed
from tests.browser.page import BrowserError

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

BUTTONS = """data:text/html,<button id=seen onclick="document.title='pressed'">Go</button>
<button hidden>Go</button><div style="position:relative;height:40px"><button id=under>Stop</button>
<div style="position:absolute;inset:0"></div></div><input id=name value=old>"""


@pytest.fixture
def opened(chromium):
    """Opens pages of a browser."""
    return lambda: chromium.page(400, 300)


async def test_an_error_of_a_script_is_raised_with_its_text(opened):
    page = await opened()
    with pytest.raises(BrowserError, match="this is wrong"):
        await page.evaluate("Promise.reject(new Error('this is wrong'))")


async def test_what_goes_wrong_on_a_page_is_kept(opened):
    page = await opened()
    await page.go("data:text/html,<script>console.error('told'); missing()</script>")
    await page.evaluate("1")
    assert page.errors[0] == "['told']"
    assert page.errors[1].startswith("ReferenceError: missing is not defined")


async def test_an_unknown_command_is_an_error(opened):
    page = await opened()
    with pytest.raises(BrowserError, match=r"Page\.fly: .*wasn't found"):
        await page.call("Page.fly")


async def test_only_what_is_visible_and_uncovered_is_pressed(opened):
    page = await opened()
    await page.go(BUTTONS)
    await page.click("button", "Go")
    await page.until("document.title === 'pressed'")
    with pytest.raises(BrowserError, match="Never seen: #under  to be pressed"):
        await page.click("#under", patience=0.1)
    with pytest.raises(BrowserError, match=r"Never seen: \[hidden\]"):
        await page.shows("[hidden]", patience=0.1)


async def test_fields_are_filled_with_the_keyboard(opened):
    page = await opened()
    await page.go(BUTTONS)
    await page.fill("#name", "new")
    await page.press("!")
    assert await page.evaluate("document.querySelector('#name').value") == "new!"
    await page.fill("#name", "")
    assert await page.evaluate("document.querySelector('#name').value") == ""
    await page.press("Tab", shift=True)
    assert await page.evaluate("document.activeElement.id") == "under"


async def test_a_picture_is_a_png_of_the_size_asked_for(opened):
    page = await opened()
    await page.resize(120, 80, scale=2)
    picture = await page.picture()
    assert picture.startswith(b"\x89PNG")
    assert (int.from_bytes(picture[16:20]), int.from_bytes(picture[20:24])) == (240, 160)


async def test_a_program_that_is_no_browser_is_an_error(tmp_path):
    program = tmp_path / "chromium"
    program.write_text("#!/bin/sh\necho nothing >&2\n")
    program.chmod(0o755)
    with pytest.raises(BrowserError, match="ended before it listened"):
        async with Chromium(str(program)):
            pytest.fail("it was no browser")


async def test_the_environment_names_the_browser_first(monkeypatch, tmp_path):
    for name in ("mine", "google-chrome"):
        (tmp_path / name).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    assert installed() == str(tmp_path / "google-chrome")
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "mine"))
    assert installed() == str(tmp_path / "mine")
    monkeypatch.delenv("CHROMIUM")
    (tmp_path / "google-chrome").unlink()
    assert installed() is None
