"""Addresses whose ending decides what becomes of a message, over each server's own protocol."""

from __future__ import annotations

import asyncio
import base64

import aiohttp
import aiosmtplib
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox import Sandbox, magic
from gateway.sandbox.fault import Fault, Planned

#: A button that copies a code.
CODE = {"text": "Copy code", "copy_text": {"text": "123456"}}


@pytest.fixture
async def sandbox():
    async with Sandbox(magic_addresses=True) as opened:
        yield opened


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.5)) as session:
        yield session


@pytest.fixture
async def reports():
    """Statuses a Twilio customer hears, and where it does."""
    heard: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    async def hear(request: web.Request) -> web.Response:
        heard.put_nowait({name: str(value) for name, value in (await request.post()).items()})
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/callbacks/sms", hear)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/callbacks/sms", heard
    await runner.cleanup()


def text(http: aiohttp.ClientSession, sandbox: Sandbox, ending: str, callback: str = ""):
    twilio = sandbox.twilio
    credentials = base64.b64encode(f"{twilio.account_sid}:{twilio.auth_token}".encode()).decode()
    form = {"To": f"+4915112345{ending}", "From": "+15005550006", "Body": "Code 123456"}
    return http.post(
        f"{twilio.base_url}/2010-04-01/Accounts/{twilio.account_sid}/Messages.json",
        data=form | ({"StatusCallback": callback} if callback else {}),
        headers={"Authorization": f"Basic {credentials}"},
    )


@pytest.mark.parametrize(
    ("ending", "reported"),
    [
        (magic.DELIVERED, [("sent", None), ("delivered", None)]),
        (magic.UNDELIVERED, [("sent", None), ("undelivered", "30003")]),
    ],
)
async def test_an_sms_is_reported_as_its_number_says(sandbox, http, reports, ending, reported):
    url, heard = reports
    async with text(http, sandbox, ending, url) as answer:
        assert answer.status == 201
    async with asyncio.timeout(10):
        told = [await heard.get() for _ in range(2)]
    assert [(form["MessageStatus"], form.get("ErrorCode")) for form in told] == reported


async def test_a_number_of_timeouts_is_never_answered(sandbox, http):
    with pytest.raises(TimeoutError):
        await text(http, sandbox, magic.TIMEOUT)
    assert sandbox.inbox.letters == []


async def test_a_limited_number_says_when_to_come_again(sandbox, http):
    async with text(http, sandbox, magic.LIMITED) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "1")


def chat(http: aiohttp.ClientSession, sandbox: Sandbox, ending: str, button: object = CODE):
    number = int(f"70{ending}")
    sandbox.telegram.person(number, "Ann")
    url = f"{sandbox.telegram.base_url}/bot{sandbox.telegram.token}/sendMessage"
    markup = {"inline_keyboard": [[button]]}
    return http.post(url, json={"chat_id": number, "text": "Text", "reply_markup": markup})


@pytest.mark.parametrize(("ending", "status"), [(magic.DELIVERED, 200), (magic.UNDELIVERED, 403), (magic.LIMITED, 429)])
async def test_a_chat_answers_as_its_number_says(sandbox, http, ending, status):
    async with chat(http, sandbox, ending) as answer:
        assert answer.status == status
    assert len(sandbox.inbox.letters) == (status == 200)


async def test_a_chat_of_timeouts_is_never_answered(sandbox, http):
    with pytest.raises(TimeoutError):
        await chat(http, sandbox, magic.TIMEOUT)


@pytest.mark.parametrize("ending", [magic.UNDELIVERED, magic.TIMEOUT, magic.LIMITED])
async def test_what_is_no_code_arrives_in_every_chat_so_that_its_person_can_link(sandbox, http, ending):
    async with chat(http, sandbox, ending, {"text": "Yes, connect", "callback_data": "yes:1"}) as answer:
        assert answer.status == 200


async def mail(sandbox: Sandbox, ending: str, seconds: float = 10):
    return await aiosmtplib.send(
        "Subject: Code\r\n\r\n123456",
        sender="codes@example.com",
        recipients=[f"ann+{ending}@example.org"],
        hostname=sandbox.smtp.host,
        port=sandbox.smtp.port,
        start_tls=False,
        timeout=seconds,
    )


@pytest.mark.parametrize(("ending", "code"), [(magic.UNDELIVERED, 550), (magic.LIMITED, 450)])
async def test_a_mailbox_refuses_as_its_name_says(sandbox, ending, code):
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refused:
        await mail(sandbox, ending)
    assert [refusal.code for refusal in refused.value.recipients] == [code]
    assert sandbox.inbox.letters == []


async def test_a_mailbox_that_is_delivered_to_takes_the_mail(sandbox):
    await mail(sandbox, magic.DELIVERED)
    assert [letter.to for letter in sandbox.inbox.letters] == ["ann+901@example.org"]


async def test_a_mailbox_of_timeouts_never_confirms(sandbox):
    with pytest.raises(aiosmtplib.SMTPTimeoutError):
        await mail(sandbox, magic.TIMEOUT, 0.2)


@pytest.mark.parametrize("endings", [magic.SMS, magic.MAIL, magic.CHAT])
def test_slow_is_three_seconds_everywhere(endings):
    assert endings[magic.SLOW] == Planned(Fault.SLOW, delay=3.0)


def test_only_the_end_of_what_is_before_the_at_counts():
    planned = magic.by_ending(magic.MAIL)
    assert planned("a902@example.org") == Planned(Fault.REFUSE)
    assert [planned(to) for to in ("902a@example.org", "ann@902", "+4990200", "", "02")] == [None] * 5


@given(st.text())
def test_any_address_is_read_without_an_error(address):
    magic.by_ending(magic.SMS)(address)


async def test_without_magic_every_address_is_like_any_other(http):
    async with Sandbox() as plain, text(http, plain, magic.LIMITED) as answer:
        assert answer.status == 201
