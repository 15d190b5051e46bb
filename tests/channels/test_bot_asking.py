"""What Telegram is asked of a bot, and what each answer means."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from channels.bot_asking import PENDING_USUAL, RECENTLY, Expected, examine
from channels.findings import Finding
from channels.http import HttpClient
from channels.telegram import TelegramChannel, TelegramSettings
from gateway.sandbox.fault import Fault
from gateway.sandbox.inbox import Inbox
from gateway.sandbox.telegram import TelegramSandbox
from tests.channels.bot_server import BOT, TOKEN, BotApi, no, ok, page

HERE = "http://127.0.0.1:8080/callbacks/telegram"


@pytest.fixture
async def sandbox() -> AsyncIterator[TelegramSandbox]:
    async with TelegramSandbox(Inbox(), token=TOKEN) as server:
        yield server


async def found(base_url: str, callback_url: str = HERE, **changes: object) -> list[Finding]:
    keys = {"adapter": "telegram", "token": TOKEN, "base_url": base_url, **changes}
    channel = TelegramChannel("telegram", TelegramSettings.model_validate(keys), callback_url=callback_url)
    findings = list(await channel.examine())
    assert [item for item in findings if TOKEN in repr(item)] == []
    return findings


def verdicts(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(item.subject, item.verdict) for item in findings]


async def hook(base_url: str, url: str) -> None:
    async with HttpClient(timeout=10.0) as http:
        await http.request("GET", f"{base_url}/bot{TOKEN}/setWebhook?url={url}")


async def test_a_bot_that_is_asked_for_updates_is_well(sandbox):
    assert verdicts(await found(sandbox.base_url)) == [("bot", "ok"), ("updates", "ok"), ("clock", "ok")]
    assert dict(sandbox.requests) == {"getMe": 1, "getWebhookInfo": 1}


async def test_a_webhook_beside_polling_is_told(sandbox):
    await hook(sandbox.base_url, HERE)
    updates = (await found(sandbox.base_url))[1]
    assert (updates.verdict, "another program has set a webhook" in updates.told) == ("warning", True)


async def test_a_webhook_must_be_set_and_lead_here(sandbox):
    for url, verdict, word in (
        ("", "warning", "no webhook is set"),
        ("http://127.0.0.1:9/x", "warning", "leads elsewhere"),
        (HERE, "ok", "this gateway's"),
    ):
        await hook(sandbox.base_url, url)
        updates = (await found(sandbox.base_url, updates="webhook"))[1]
        assert (updates.verdict, word in updates.told) == (verdict, True)


async def test_a_bot_that_hears_nobody_is_told(sandbox):
    assert verdicts(await found(sandbox.base_url, updates="off"))[1] == ("updates", "warning")


async def test_a_wrong_clock_is_seen(sandbox):
    sandbox.clock = lambda: time.time() + 10.0
    clock = (await found(sandbox.base_url))[2]
    assert (clock.subject, clock.verdict, "behind Telegram's" in clock.told) == ("clock", "warning", True)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.UNAUTHORIZED, [("bot", "fault"), ("clock", "ok")]),
        (Fault.DEFER, [("bot", "fault"), ("clock", "ok")]),
        (Fault.LIMIT, [("bot", "warning"), ("clock", "ok")]),
        (Fault.GARBLE, [("bot", "fault"), ("updates", "warning"), ("clock", "ok")]),
        (Fault.RESET, [("bot", "fault")]),
    ],
)
async def test_what_cannot_be_asked_is_told(sandbox, fault, expected):
    sandbox.faults.set(fault)
    assert verdicts(await found(sandbox.base_url)) == expected


async def test_a_break_after_the_first_answer_keeps_it(sandbox):
    sandbox.faults.set(Fault.RESET, recipient="getWebhookInfo")
    assert verdicts(await found(sandbox.base_url)) == [("bot", "ok"), ("updates", "fault")]


INFO = {"url": HERE, "pending_update_count": 0}


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (INFO, []),
        (INFO | {"pending_update_count": PENDING_USUAL}, []),
        (INFO | {"pending_update_count": PENDING_USUAL + 1}, ["101 of them wait"]),
        (INFO | {"last_error_date": int(time.time()) - 60, "last_error_message": "no"}, ["Telegram could not deliver"]),
        (INFO | {"last_error_date": int(time.time() - RECENTLY) - 60}, []),
    ],
    ids=["well", "usual", "waiting", "failing", "long ago"],
)
async def test_what_waits_and_what_failed_of_late_is_told(info, expected):
    async with BotApi() as api:
        api.answer("getMe", ok(BOT))
        api.answer("getWebhookInfo", ok(info))
        findings = await asked(api, "webhook")
    assert [item.told.partition(" at Telegram")[0].partition(" one to")[0] for item in findings[2:-1]] == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (no(404), "fault"),
        (page(404), "fault"),
        (ok({"id": 1, "is_bot": False}), "fault"),
        (ok({"id": 1, "is_bot": True}), "fault"),
        (ok(True), "fault"),
    ],
)
async def test_an_answer_that_is_no_bots_is_a_fault(answer, expected):
    async with BotApi() as api:
        api.answer("getMe", answer)
        assert (await asked(api, "polling"))[0].verdict == expected


async def asked(api: BotApi, updates: str, callback_url: str = HERE, base_url: str | None = None) -> list[Finding]:
    async with HttpClient(timeout=10.0) as http:
        expected = Expected(base_url or api.base_url, TOKEN, updates, callback_url)  # type: ignore[arg-type]
        return await examine(http, expected, time.time)


async def test_a_webhook_without_tls_is_a_fault_at_telegram_itself():
    from channels.bot_asking import _while_hooked

    expected = Expected("https://api.telegram.org", TOKEN, "webhook", HERE)
    assert _while_hooked(INFO, expected).verdict == "fault"
    assert TOKEN not in repr(expected)
