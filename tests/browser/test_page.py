"""Walks through the sandbox's page, by what is visible alone: seen, pressed and typed in a real browser."""

from __future__ import annotations

import pytest

from tests.browser.conftest import live
from tests.browser.page import Page
from tests.browser.steps import CHAT, LOG, NARROW, give, link, menu, route, sign_in

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

# -- what the page is for


async def test_a_linked_person_copies_the_code_signs_in_and_sees_it_used(page):
    await link(page)
    await sign_in(page)
    await page.shows(CHAT, "Your code:")
    await page.click(f"{CHAT} .keys button", "Copy code")
    await page.shows("#toast", "Copied")
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied in await page.text(f"{CHAT}.protected")
    await give(page, copied)
    await page.shows("#verify-title", "Signed in")
    await page.shows(LOG, "message.edited")
    await page.hides(CHAT, copied)
    await page.shows(f"{CHAT} .meta", "edited")


async def test_a_person_who_did_not_ask_stops_the_sign_in(page):
    await link(page)
    await sign_in(page)
    await page.shows(CHAT, "Your code:")
    await page.click(f"{CHAT}.protected .keys > :last-child button")
    await page.shows("#verify-title", "Stopped")
    await page.shows(LOG, "verification.reported")
    await page.hides(CHAT, "Your code:")


async def test_somebody_elses_number_is_refused_and_ones_own_is_proved(page):
    await page.click("#dock-telegram")
    await page.click("#start")
    await page.shows(CHAT, "Hello")
    await page.click("#slash")
    await page.click("#commands button", "/link")
    await page.shows("#share")
    await menu(page, "Share somebody else")
    await page.shows(f"{CHAT}.mine", "Contact of somebody else")
    refused = (
        f"[...document.querySelectorAll('{CHAT}')].filter((each) => each.textContent.includes('does not prove')).length"
    )
    await page.until(f"{refused} === 1")
    await menu(page, "Forward my contact")
    await page.shows(f"{CHAT}.mine", "Forwarded contact")
    await page.until(f"{refused} === 2")
    await page.hides(LOG, "subscriber.proved")
    await page.click("#share")
    await page.shows(LOG, "subscriber.proved")


async def test_sms_takes_over_where_the_bot_is_blocked(page):
    await link(page)
    await menu(page, "Block the bot")
    await page.shows("#unblock")
    await page.shows(LOG, "subscriber.blocked")
    await sign_in(page)
    await page.shows("#trail", "SMS")
    await page.click("#dock-sms")
    await give(page, await page.text("#sms-list .code"))
    await page.shows("#verify-title", "Signed in")


async def test_a_code_that_is_limited_is_sent_again_and_the_log_says_so(page):
    await route(page, "sms")
    await page.click("label:has(input[name=fault-twilio][value=limit])")
    await sign_in(page)
    await page.shows("#events .warn b", "message.retried")
    await page.shows("#events li", "rate limited")
    await page.click("label:has(input[name=fault-twilio][value=none])")
    await page.shows("#events .good b", "message.sent")
    await page.shows("#sms-list .text", "Example Shop")


async def test_a_person_confirms_in_the_chat_without_any_code(page):
    await link(page)
    await page.fill("#to-phone", "")
    await page.click("label:has(input[name=mode][value=inbound])")
    await page.click("#sign-in .main")
    await page.shows("#challenge-text", "-")
    await page.click("#open-chat")
    await page.click("#start")
    # The bot writes once a second into a chat: the question before this one may still stand there.
    await page.shows(CHAT, "asks whether")
    await page.click(f"{CHAT} .keys button", "Yes")
    await page.shows("#verify-title", "Signed in")
    await page.shows("#verify-text", "They confirmed it in the chat.")


async def test_a_challenge_can_be_written_to_the_bot_and_its_owner_proves_the_number(page):
    await page.fill("#to-telegram", "")
    await page.click("label:has(input[name=mode][value=inbound])")
    await page.click("#sign-in .main")
    challenge = await page.text("#challenge-text")
    await page.click("#dock-telegram")
    await page.click("#start")
    await page.fill("#message", challenge.lower().replace("-", " "))
    await page.press("Enter")
    await page.click("#share")
    await page.shows(LOG, "subscriber.proved")
    await page.click(f"{CHAT} .keys button", "Yes")
    await page.shows("#verify-title", "Signed in")


# -- what else it shows


async def test_a_mail_is_shown_as_a_mail_program_would(page):
    await route(page, "email")
    await sign_in(page)
    await page.shows("#banner", "Your")
    await page.click("#banner button")
    await page.click("#mail-list button.unread")
    assert await page.text("#mail-address") == "codes@example.com"
    code = (await page.text("#mail-copy")).removeprefix("Copy ")
    assert await page.evaluate("document.querySelector('#mail-body iframe').getAttribute('sandbox')") == ""
    await give(page, code)
    await page.shows("#verify-title", "Signed in")
    await page.click("#mail-back")
    await page.hides("#mail-list .unread")


async def test_wrong_codes_are_counted_and_the_right_one_still_works(page):
    await route(page, "sms")
    await sign_in(page)
    code = await page.text("#sms-list .code")
    await give(page, "000000" if code != "000000" else "111111")
    await page.shows("#check-result", "4 checks left.")
    assert await page.evaluate("document.querySelector('#code').ariaInvalid") == "true"
    await give(page, code)
    await page.shows("#verify-title", "Signed in")


async def test_whom_the_bot_meets_it_answers_in_the_browsers_language(page):
    await page.speak("de-AT")
    await page.reload()
    await live(page)
    await page.click("#dock-telegram")
    await page.click("#start")
    await page.shows(CHAT, "Hallo!")
    await page.click("#slash")
    await page.shows("#commands button", "Was ich kann")


async def test_a_refusal_says_what_is_wrong(page):
    await page.fill("#to-phone", "12345")
    await page.click("#sign-in .main")
    await page.shows("#refused", "To/phone: ")


async def test_a_reload_loses_nothing(page):
    await route(page, "sms")
    await sign_in(page)
    code = await page.text("#sms-list .code")
    await page.reload()
    await live(page)
    await page.shows("#events b", "message.sent")
    assert await page.text("#sms-list .code") == code
    await give(page, code)
    await page.shows("#verify-title", "Signed in")


async def test_a_canceled_code_works_no_more(page):
    await route(page, "sms")
    await sign_in(page)
    await page.click("#cancel")
    await page.shows("#verify-title", "Canceled")
    await page.click("#again")
    await page.shows("#sign-in")


async def test_what_people_write_is_text_and_nothing_else(page):
    await page.click("#dock-telegram")
    await page.click("#start")
    await page.fill("#message", "<img src=x onerror=document.title='bad'> /help")
    await page.press("Enter")
    await page.shows(f"{CHAT}.mine", "<img src=x onerror=document.title='bad'> /help")
    assert await page.evaluate("[document.querySelectorAll('#chat img').length, document.title]") == [
        0,
        "otp-gateway sandbox",
    ]


# -- for everybody


async def tab_to(page: Page, selector: str) -> None:
    """Go to an element with the keyboard alone."""
    for _ in range(80):
        await page.press("Tab")
        if await page.evaluate(f"document.activeElement.matches({selector!r})"):
            return
    pytest.fail(f"The tabulator never reaches {selector}.")


_DARK = "getComputedStyle(document.body).backgroundColor === 'rgb(13, 17, 16)'"


async def test_one_signs_in_on_a_narrow_dark_screen_with_the_keyboard_alone(page):
    await page.resize(*NARROW)
    await page.prefer(color_scheme="dark", reduced_motion="reduce")
    await tab_to(page, "#route input[value=telegram]")
    await page.press(" ")
    await tab_to(page, "#sign-in .main")
    await page.press("Enter")
    await page.until("document.activeElement.id === 'code'")
    await page.shows("#tab-phone .badge", "1")
    await tab_to(page, "#tab-app")
    await page.press("ArrowRight")
    code = await page.text("#sms-list .code")
    await page.press("ArrowLeft")
    await tab_to(page, "#code")
    await page.write(code)
    await page.press("Enter")
    await page.shows("#verify-title", "Signed in")
    await page.until("document.activeElement.id === 'verify-title'")
    assert await page.evaluate(_DARK)


async def test_the_slash_leads_to_the_chat_and_escape_closes_menus(page):
    await page.click("#dock-telegram")
    await page.click("#start")
    await page.shows(CHAT, "Hello")
    await page.click("#dock-sms")
    await page.press("/")
    await page.until("document.activeElement.id === 'message'")
    await page.click("#chat-more")
    await page.until("document.activeElement.textContent === 'Share my number'")
    await page.press("ArrowUp")
    await page.until("document.activeElement.textContent === 'Block the bot'")
    await page.press("Escape")
    await page.hides("#chat-menu")
    await page.until("document.activeElement.id === 'chat-more'")


async def fill_every_pane(page: Page) -> None:
    """Have something of every kind on the page."""
    await page.click("label:has(input[name=fault-twilio][value=blocked])")
    await sign_in(page)
    await page.shows(LOG, "message.failed")
    await page.shows("#trail .bad")
    await page.click("#dock-telegram")
    await page.click("#start")
    await page.shows(CHAT, "Hello")
    await page.click("#chat-more")


#: Every visible text whose contrast with what lies behind it is under 4.5, with the ratio (WCAG 2.2, 1.4.3).
_PALE = """(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const mixed = (colors) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const color of colors) { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((part) => part / 255).map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => node ? [...behind(node.parentElement), getComputedStyle(node).backgroundColor] : ["white"];
  const pale = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !node.checkVisibility({ visibilityProperty: true })) continue;
    if (node.closest(".hidden, :disabled, noscript")) continue;
    const ground = behind(node);
    const [front, back] = [mixed([...ground, getComputedStyle(node).color]), mixed(ground)].map(light).sort((a, b) => b - a);
    const ratio = (front + 0.05) / (back + 0.05);
    if (ratio < 4.5) pale.push(`${node.tagName}.${node.className} ${texts.currentNode.data.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return pale;
})()"""


async def test_all_text_stands_out_from_what_is_behind_it_in_both_themes(page):
    await fill_every_pane(page)
    assert await page.evaluate(_PALE) == []
    for scheme in ("light", "dark"):
        await page.prefer(color_scheme=scheme, reduced_motion="reduce")
        for app in ("telegram", "sms", "mail"):
            await page.click(f"#dock-{app}")
            assert await page.evaluate(_PALE) == []
    await page.click("#again")
    assert await page.evaluate(_PALE) == []


#: Everything that is pressed or filled in and is smaller than 44 pixels; codes and commands in a text are exempt (2.5.8).
_SMALL = """[...document.querySelectorAll("button, summary, a, label.check, .segments label, input")].filter((node) =>
  node.checkVisibility({ visibilityProperty: true }) && !node.matches(".code, .spoiler, [type=radio], [type=checkbox]"))
  .map((node) => [node.id || node.textContent, node.getBoundingClientRect()])
  .filter(([, { width, height }]) => width < 43.9 || height < 43.9).map(([name, { width, height }]) => `${name} ${width}x${height}`)"""


async def test_everything_to_press_is_large_enough_for_a_finger(page):
    assert await page.evaluate(_SMALL) == []
    await fill_every_pane(page)
    assert await page.evaluate(_SMALL) == []


async def test_nothing_is_wider_than_the_screen(page):
    await fill_every_pane(page)
    wide = """[document.scrollingElement, ...document.querySelectorAll("main, .pane, .stream")]
      .filter((node) => node.scrollWidth > node.clientWidth).map((node) => node.id || node.tagName)"""
    for width in (320, 390, 768, 1024, 1440):
        await page.resize(width, 844)
        for pane in ("app", "phone", "log"):
            await page.evaluate(f"document.querySelector('#tab-{pane}').click()")
            assert (width, pane, await page.evaluate(wide)) == (width, pane, [])


async def test_the_theme_is_chosen_and_kept(page):
    await page.click("#theme")
    await page.until(_DARK)
    await page.reload()
    # From the first paint on: nothing fades in from the other theme.
    assert await page.evaluate(_DARK)
    await live(page)
    assert await page.evaluate("document.querySelector('#theme').getAttribute('aria-pressed')") == "true"
