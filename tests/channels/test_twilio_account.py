"""What Twilio is asked of an account and its sender, and what each answer means."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from channels.findings import Finding
from channels.sms import SmsChannel, SmsSettings
from channels.twilio_account import messaging_url
from gateway.sandbox.fault import Fault
from gateway.sandbox.inbox import Inbox
from gateway.sandbox.twilio import TwilioSandbox
from tests.channels.raw_server import Server, response, serving

NUMBER, SERVICE = "+15005550006", "MG0123456789abcdef"
TOKEN, KEY, SECRET = "twilio-token-3f9c", "SK0123456789abcdef", "key-secret-77e1"
CALLBACK = "https://codes.example.org/callbacks/sms"


@pytest.fixture
async def twilio() -> AsyncIterator[TwilioSandbox]:
    async with TwilioSandbox(Inbox(), auth_token=TOKEN) as server:
        yield server


async def found(server: TwilioSandbox | str, callback_url: str = CALLBACK, **changes: object) -> list[Finding]:
    """Return what an examination finds; nothing of it may show a credential or a number."""
    base_url, account = (server, f"AC{1:032x}") if isinstance(server, str) else (server.base_url, server.account_sid)
    keys = {"adapter": "sms", "account_sid": account, "auth_token": TOKEN, "from": NUMBER, "base_url": base_url}
    given = {key: value for key, value in (keys | changes).items() if value is not None}
    channel = SmsChannel("sms", SmsSettings.model_validate(given), callback_url=callback_url)
    findings = list(await channel.examine())
    assert [item for item in findings for secret in (TOKEN, SECRET, NUMBER, SERVICE) if secret in repr(item)] == []
    return findings


def verdicts(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(item.subject, item.verdict) for item in findings]


WELL = [("credentials", "ok"), ("sender", "ok"), ("clock", "ok"), ("reports", "ok")]
BY_KEY: dict[str, Any] = {"auth_token": None, "api_key_sid": KEY, "api_key_secret": SecretStr(SECRET)}
BY_SERVICE: dict[str, Any] = {"from": None, "messaging_service_sid": SERVICE}


@pytest.mark.parametrize("changes", [{}, {"from": "12345"}, {"from": "Shop"}, BY_SERVICE], ids=str)
async def test_an_account_that_works_is_well(twilio, changes):
    assert verdicts(await found(twilio, **changes)) == WELL


@pytest.mark.parametrize(
    ("state", "verdict", "word"),
    [({"status": "suspended"}, "fault", "suspended"), ({"type": "Trial"}, "warning", "trial")],
)
async def test_an_account_that_is_not_whole_is_named(twilio, state, verdict, word):
    for name, value in state.items():
        setattr(twilio.account, name, value)
    credentials = (await found(twilio))[0]
    assert (credentials.subject, credentials.verdict) == ("credentials", verdict)
    assert word in credentials.told


async def test_a_wrong_token_is_a_fault_and_ends_the_questions(twilio):
    assert verdicts(await found(twilio, auth_token="another-token-55")) == [("credentials", "fault"), ("reports", "ok")]


async def test_a_standard_api_key_may_not_read_the_account_and_works(twilio):
    twilio.account.api_keys[KEY] = SECRET
    for sent_as in ({"from": "Shop"}, {"from": "12345"}, BY_SERVICE):
        assert {item.verdict for item in (await found(twilio, **BY_KEY, **sent_as))[:2]} == {"ok"}
    credentials, sender, clock, reports = await found(twilio, **BY_KEY)
    assert (credentials.verdict, "may not read the account" in credentials.told) == ("ok", True)
    assert (sender.verdict, clock.verdict) == ("ok", "ok")
    # Without the token no report could be checked.
    assert (reports.verdict, "set it" in reports.told) == ("warning", True)


async def test_an_api_key_that_opens_nothing_is_a_fault(twilio):
    credentials, sender = (await found(twilio, **BY_KEY))[:2]
    assert (credentials.verdict, "api_key_sid" in credentials.told) == ("fault", True)
    assert sender.verdict == "warning"


@pytest.mark.parametrize(
    ("owned", "word"),
    [({}, "none of this account's"), ({NUMBER: False}, "cannot send SMS")],
    ids=["another's", "voice"],
)
async def test_a_number_must_be_the_accounts_and_send(twilio, owned, word):
    twilio.account.numbers = owned
    sender = (await found(twilio))[1]
    assert (sender.subject, sender.verdict) == ("sender", "fault")
    assert word in sender.told


async def test_a_short_code_must_be_the_accounts(twilio):
    twilio.account.short_codes = frozenset({"54321"})
    assert (await found(twilio, **{"from": "12345"}))[1].verdict == "fault"


@pytest.mark.parametrize(
    ("services", "verdict", "word"),
    [
        ({}, "fault", "no such messaging service"),
        ({SERVICE: {}}, "fault", "no senders"),
        ({SERVICE: {"AlphaSenders": ("Shop",)}}, "ok", "has senders"),
        ({SERVICE: {"DestinationAlphaSenders": ("Shop",)}}, "ok", "has senders"),
    ],
)
async def test_a_messaging_service_must_be_there_and_have_senders(twilio, services, verdict, word):
    twilio.account.services = services
    sender = (await found(twilio, **BY_SERVICE))[1]
    assert (sender.verdict, word in sender.told) == (verdict, True)


@pytest.mark.parametrize(
    ("fault", "asked", "verdict"),
    [
        (Fault.LIMIT, None, ["warning", "warning"]),
        (Fault.DEFER, None, ["fault", "fault"]),
        (Fault.GARBLE, None, ["fault", "fault"]),
        (Fault.UNAUTHORIZED, "numbers", ["ok", "warning"]),
        (Fault.RESET, "numbers", ["ok", "fault"]),
    ],
)
async def test_what_cannot_be_asked_is_told(twilio, fault, asked, verdict):
    twilio.faults.set(fault, recipient=asked)
    assert [item.verdict for item in (await found(twilio))[:2]] == verdict


async def test_a_pool_that_cannot_be_read_leaves_the_senders_unknown(twilio):
    twilio.faults.set(Fault.UNAUTHORIZED, recipient="pool")
    assert verdicts(await found(twilio, **BY_SERVICE))[1] == ("sender", "warning")
    twilio.faults.set(Fault.UNAUTHORIZED, recipient="service")
    assert verdicts(await found(twilio, **BY_SERVICE))[1] == ("sender", "warning")
    twilio.faults.set(Fault.GARBLE, recipient="service")
    assert verdicts(await found(twilio, **BY_SERVICE))[1] == ("sender", "fault")


async def test_a_clock_that_is_wrong_is_seen(twilio):
    twilio.clock = lambda: time.time() - 120.0
    clock = (await found(twilio))[2]
    assert (clock.subject, clock.verdict) == ("clock", "fault")
    assert "ahead of Twilio's" in clock.told


async def test_nobody_there_is_a_fault(twilio):
    base_url = twilio.base_url
    await twilio.__aexit__()
    assert verdicts(await found(base_url))[0] == ("credentials", "fault")


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (response(b'{"code": 20008}', status="403 Forbidden"), "test credentials"),
        (response(b'{"code": 20403}', status="403 Forbidden"), "refused (HTTP 403)"),
        (response(b"no", status="403 Forbidden"), "leads elsewhere"),
        (response(b'{"sid": "AC2", "status": "active"}'), "leads elsewhere"),
    ],
)
async def test_other_answers_say_what_is_wrong(answer, word):
    async with serving(Server(answer)) as server:
        credentials = (await found(server.url))[0]
    assert (credentials.verdict, word in credentials.told) == ("fault", True)


@pytest.mark.parametrize(
    ("callback_url", "word"), [("http://127.0.0.1:8080/callbacks/sms", "is this machine's"), (None, "is not set")]
)
def test_reports_that_cannot_arrive_are_not_asked_for_and_told_of(callback_url, word):
    keys = {"adapter": "sms", "account_sid": f"AC{1:032x}", "auth_token": TOKEN, "from": NUMBER}
    channel = SmsChannel("sms", SmsSettings.model_validate(keys), callback_url=callback_url)
    [reports] = channel._of_reports()
    assert (channel.reports, reports.subject, reports.verdict) == (False, "reports", "warning")
    assert (word in reports.told, "public_url" in reports.told) == (True, True)


async def test_reports_that_nobody_wants_are_not_told_of(twilio):
    assert "reports" not in dict(verdicts(await found(twilio, status_callbacks=False)))


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("https://api.twilio.com", "https://messaging.twilio.com"),
        ("https://API.twilio.com:443", "https://messaging.twilio.com:443"),
        ("https://api.dublin.ie1.twilio.com", "https://messaging.dublin.ie1.twilio.com"),
        ("http://127.0.0.1:8092/x", "http://127.0.0.1:8092/x"),
        ("https://api.twilio.com.example.org", "https://api.twilio.com.example.org"),
        ("https://sms.example.org", "https://sms.example.org"),
    ],
)
def test_messaging_has_a_host_of_its_own_at_twilio_alone(base_url, expected):
    assert messaging_url(base_url) == expected
