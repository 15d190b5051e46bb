"""The Messages API as Twilio's own SDK and a plain HTTP client see it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import io
import logging
import re
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from twilio.base.exceptions import TwilioRestException
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from gateway.sandbox.fault import Fault
from gateway.sandbox.inbox import Inbox
from gateway.sandbox.twilio import TwilioSandbox, segments, signature

TO, FROM = "+4915112345678", "+15005550006"
FORM = {"To": TO, "From": FROM, "Body": "Code 123456"}


@pytest.fixture
async def server():
    async with TwilioSandbox(Inbox()) as opened:
        yield opened


class Api:
    """A plain client of one account."""

    def __init__(self, server: TwilioSandbox, session: aiohttp.ClientSession) -> None:
        self.server, self.session = server, session
        self.url = f"{server.base_url}/2010-04-01/Accounts/{server.account_sid}/Messages"
        credentials = base64.b64encode(f"{server.account_sid}:{server.auth_token}".encode()).decode()
        self.headers = {"Authorization": f"Basic {credentials}"}

    def create(self, **fields: str):
        form = {name: value for name, value in (FORM | fields).items() if value}
        return self.session.post(f"{self.url}.json", data=form, headers=self.headers)


@pytest.fixture
async def api(server):
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield Api(server, session)


class Wire(AsyncHttpClient):  # type: ignore[misc]  # the SDK has no types
    """The SDK's way out. Its own client gives aiohttp an argument that is deprecated."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        super().__init__(logger=logging.getLogger(__name__), is_async=True)
        self.session = session

    async def request(self, method, url, params=None, data=None, headers=None, auth=None, **_) -> Response:
        credentials = {"Authorization": aiohttp.encode_basic_auth(*auth)}
        async with self.session.request(method, url, params=params, data=data, headers=headers | credentials) as answer:
            return Response(answer.status, await answer.text())


@pytest.fixture
def sdk(server, api) -> Client:
    client = Client(server.account_sid, server.auth_token, http_client=Wire(api.session))
    client.api.base_url = server.base_url
    return client


class Application:
    """A server that hears status callbacks."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[str, dict[str, str]]] = asyncio.Queue()
        self.status = 204
        self.before_answer: Callable[[], Awaitable[None]] | None = None
        self.url = ""

    async def hear(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.heard.put_nowait((request.headers["X-Twilio-Signature"], form))
        if self.before_answer is not None:
            await self.before_answer()
        return web.Response(status=self.status)

    async def next(self) -> tuple[str, dict[str, str]]:
        async with asyncio.timeout(10):
            return await self.heard.get()


@pytest.fixture
async def application():
    heard = Application()
    app = web.Application()
    app.router.add_post("/callbacks/sms", heard.hear)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    heard.url = f"http://127.0.0.1:{runner.addresses[0][1]}/callbacks/sms?attempt=a%2Fb"
    yield heard
    await runner.cleanup()


async def test_twilios_own_sdk_sends_and_fetches(server, sdk):
    message = await sdk.messages.create_async(to=TO, from_=FROM, body="Code 123456", validity_period=300)
    fetched = await sdk.messages(message.sid).fetch_async()
    assert (message.status, message.error_code, message.num_segments) == ("queued", None, "1")
    assert (fetched.sid, fetched.body, fetched.to) == (message.sid, "Code 123456", TO)
    [letter] = server.inbox.letters
    assert (letter.protocol, letter.to, letter.text, letter.id) == ("twilio", TO, "Code 123456", message.sid)
    assert letter.fields["ValidityPeriod"] == "300"
    assert b"ValidityPeriod=300" in letter.raw


async def test_twilios_own_sdk_understands_a_refusal(server, sdk):
    server.faults.set(Fault.REFUSE)
    with pytest.raises(TwilioRestException) as refused:
        await sdk.messages.create_async(to=TO, from_=FROM, body="Code 123456")
    assert (refused.value.status, refused.value.code) == (400, 21211)


async def test_the_resource_is_whole(server, api):
    async with api.create() as answer:
        message = await answer.json()
    assert answer.status == 201
    assert re.fullmatch(r"SM[0-9a-f]{32}", message["sid"])
    uri = f"/2010-04-01/Accounts/{server.account_sid}/Messages/{message['sid']}"
    assert message.pop("date_created") == message.pop("date_updated")
    assert message == {
        "account_sid": server.account_sid,
        "api_version": "2010-04-01",
        "body": "Code 123456",
        "date_sent": None,
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "from": FROM,
        "messaging_service_sid": None,
        "num_media": "0",
        "num_segments": "1",
        "price": None,
        "price_unit": "USD",
        "sid": message["sid"],
        "status": "queued",
        "subresource_uris": {"media": f"{uri}/Media.json"},
        "to": TO,
        "uri": f"{uri}.json",
    }


async def test_dates_are_of_rfc_2822(api):
    async with api.create() as answer:
        date = (await answer.json())["date_created"]
    assert date.endswith(" +0000")
    assert parsedate_to_datetime(date).utcoffset() is not None


async def test_a_messaging_service_accepts_without_a_sender(api):
    async with api.create(From="", MessagingServiceSid="MG1") as answer:
        message = await answer.json()
    assert (message["status"], message["from"], message["messaging_service_sid"]) == ("accepted", None, "MG1")


@pytest.mark.parametrize(
    ("headers", "account"),
    [
        ({}, None),
        ({"Authorization": "Basic !"}, None),
        ({"Authorization": "Bearer " + base64.b64encode(b"x").decode()}, None),
        ({"Authorization": "Basic " + base64.b64encode(b"AC:x").decode()}, None),
        (None, "AC1"),
    ],
)
async def test_other_credentials_and_other_accounts_are_refused(server, api, headers, account):
    url = api.url if account is None else api.url.replace(server.account_sid, account)
    sent = api.headers if headers is None else headers
    async with api.session.post(f"{url}.json", data=FORM, headers=sent) as created:
        assert (created.status, (await created.json())["code"]) == (401, 20003)
    async with api.session.get(f"{url}/SM1.json", headers=sent) as fetched:
        assert fetched.status == 401
    assert server.inbox.letters == []


async def test_an_unknown_message_is_not_found(api):
    async with api.session.get(f"{api.url}/SM1.json", headers=api.headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (404, 20404)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"To": ""}, 21604),
        ({"From": ""}, 21603),
        ({"Body": ""}, 21602),
        ({"To": "004915112345678"}, 21211),
        ({"To": "+15005550001"}, 21211),
        ({"To": "+15005550002"}, 21612),
        ({"To": "+15005550003"}, 21408),
        ({"To": "+15005550004"}, 21610),
        ({"To": "+15005550009"}, 21614),
        ({"Body": "x" * 1601}, 21617),
        ({"ValidityPeriod": "0"}, 21624),
        ({"ValidityPeriod": "36001"}, 21624),
        ({"ValidityPeriod": "9" * 5000}, 21624),
        ({"ValidityPeriod": "soon"}, 21624),
    ],
)
async def test_what_twilio_would_refuse_is_refused_with_its_code(server, api, fields, code):
    async with api.create(**fields) as answer:
        error = await answer.json()
    assert (answer.status, error["status"], error["code"]) == (400, 400, code)
    assert error["more_info"] == f"https://www.twilio.com/docs/errors/{code}"
    assert server.requests == 1
    assert server.inbox.letters == []


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault.REFUSE, 400, 21211),
        (Fault.DEFER, 503, 20503),
        (Fault.LIMIT, 429, 20429),
        (Fault.UNAUTHORIZED, 401, 20003),
    ],
)
async def test_a_fault_is_told_in_its_code(server, api, fault, status, code):
    server.faults.set(fault, times=1, retry_after=3)
    async with api.create() as answer:
        assert (answer.status, (await answer.json())["code"]) == (status, code)
        assert answer.headers.get("Retry-After") == ("3" if fault is Fault.LIMIT else None)
    assert server.inbox.letters == []
    async with api.create() as answer:
        assert answer.status == 201


async def test_a_garbled_answer_is_html_with_status_200(server, api):
    server.faults.set(Fault.GARBLE, recipient=TO)
    async with api.create() as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")


async def test_a_reset_drops_the_connection_after_the_request(server, api):
    server.faults.set(Fault.RESET)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await api.create()
    assert (server.requests, server.inbox.letters) == (1, [])


async def test_a_reset_leaves_other_connections_alone(server, api):
    server.faults.set(Fault.STALL, recipient=TO)
    server.faults.set(Fault.RESET, recipient="+4915112345679")
    stalled = asyncio.create_task(created(api))
    while not server.requests:  # noqa: ASYNC110 - the server has no event to wait for
        await asyncio.sleep(0)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await api.create(To="+4915112345679")
    assert not stalled.done()
    stalled.cancel()
    await asyncio.wait([stalled])


async def test_a_stalled_request_ends_with_its_client(server, api):
    server.faults.set(Fault.STALL)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await api.create()
    assert (server.requests, server.inbox.letters) == (1, [])


async def created(api: Api) -> None:
    async with api.create():
        pass


async def test_a_stalled_request_does_not_hold_the_shutdown():
    async with aiohttp.ClientSession() as session:
        async with TwilioSandbox(Inbox()) as server:
            server.faults.set(Fault.STALL)
            stalled = asyncio.create_task(created(Api(server, session)))
            while not server.requests:  # noqa: ASYNC110 - the server has no event to wait for
                await asyncio.sleep(0)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await stalled


async def test_a_body_over_the_limit_is_refused(api):
    async with api.session.post(f"{api.url}.json", data=io.BytesIO(b"x" * 1_100_000), headers=api.headers) as answer:
        assert answer.status == 413


async def test_sent_and_delivered_are_reported_with_a_signature_twilio_would_make(server, api, application):
    async with api.create(StatusCallback=application.url) as answer:
        sid = (await answer.json())["sid"]
    validator = RequestValidator(server.auth_token)
    for status in ("sent", "delivered"):
        signed, form = await application.next()
        assert validator.validate(application.url, form, signed)
        assert form == {
            "AccountSid": server.account_sid,
            "ApiVersion": "2010-04-01",
            "From": FROM,
            "MessageSid": sid,
            "MessageStatus": status,
            "SmsSid": sid,
            "SmsStatus": status,
            "To": TO,
        }
    async with api.session.get(f"{api.url}/{sid}.json", headers=api.headers) as fetched:
        assert (await fetched.json())["status"] == "delivered"


async def test_without_callbacks_a_report_comes_when_told(application):
    async with TwilioSandbox(Inbox(), callbacks=False) as server, aiohttp.ClientSession() as session:
        async with Api(server, session).create(StatusCallback=application.url) as answer:
            sid = (await answer.json())["sid"]
        application.status = 403
        assert await server.report(sid, "undelivered", error_code=30003) == 403
        _, form = await application.next()
        assert (form["MessageStatus"], form["ErrorCode"]) == ("undelivered", "30003")
        assert application.heard.empty()


async def test_a_report_of_an_unknown_message_is_an_error(server):
    with pytest.raises(LookupError):
        await server.report("SM1", "sent")


@pytest.mark.parametrize("url", ["http://192.0.2.1/x", "http://[", "nonsense"])
async def test_callbacks_to_other_machines_are_not_posted(server, api, url):
    async with api.create(StatusCallback=url) as answer:
        sid = (await answer.json())["sid"]
    assert await server.report(sid, "sent") is None


async def test_a_callback_nobody_hears_is_logged_at_debug_without_its_url(server, api, application, caplog):
    caplog.set_level(logging.DEBUG, "gateway.sandbox")
    server.callbacks = False
    async with api.create(StatusCallback="http://127.0.0.1:1/callbacks/sms?attempt=secret") as answer:
        sid = (await answer.json())["sid"]
    assert await server.report(sid, "sent") is None
    [record] = caplog.records
    assert (record.levelname, "secret" in record.getMessage()) == ("DEBUG", False)


async def test_a_callback_under_way_does_not_hold_the_shutdown():
    asked, release = asyncio.Event(), asyncio.Event()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await release.wait()
        writer.close()

    deaf = await asyncio.start_server(swallow, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{deaf.sockets[0].getsockname()[1]}/"
    async with aiohttp.ClientSession() as session, TwilioSandbox(Inbox()) as server:
        async with Api(server, session).create(StatusCallback=url) as answer:
            assert answer.status == 201
        async with asyncio.timeout(10):
            await asked.wait()
    release.set()
    deaf.close()
    await deaf.wait_closed()


async def test_a_flood_of_messages_forgets_the_oldest_and_its_reports(application):
    async with TwilioSandbox(Inbox(capacity=1)) as server, aiohttp.ClientSession() as session:
        api = Api(server, session)
        application.before_answer = lambda: created(api)
        async with api.create(StatusCallback=application.url) as answer:
            sid = (await answer.json())["sid"]
        assert (await application.next())[1]["MessageStatus"] == "sent"
        async with asyncio.timeout(10):
            while server._reporting:  # noqa: ASYNC110 - the server has no event to wait for
                await asyncio.sleep(0)
        async with api.session.get(f"{api.url}/{sid}.json", headers=api.headers) as answer:
            assert answer.status == 404
    assert application.heard.empty()


@given(token=st.text(), values=st.dictionaries(st.text(min_size=1), st.text()))
def test_signatures_agree_with_twilios(token, values):
    url = "https://example.org/callbacks/sms?attempt=1"
    ours = {
        name.encode("utf-8", "replace").decode(): value.encode("utf-8", "replace").decode()
        for name, value in values.items()
    }
    assert signature(token, url, ours) == RequestValidator(token).compute_signature(url, ours)


def test_a_signature_is_an_hmac_over_url_and_sorted_parameters():
    expected = base64.b64encode(hmac.new(b"key", b"http://a/A1b2", hashlib.sha1).digest()).decode()
    assert signature("key", "http://a/", {"b": "2", "A": "1"}) == expected


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("x" * 160, 1),
        ("x" * 161, 2),
        ("x" * 306, 2),
        ("x" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("ш" * 70, 1),
        ("ш" * 71, 2),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
    ],
)
def test_segments_are_counted_in_the_alphabet_a_body_needs(body, count):
    assert segments(body) == count


async def test_a_lost_message_is_accepted_reported_undelivered_and_not_read_by_anyone(server, api, application):
    server.faults.set(Fault.LOSE)
    async with api.create(StatusCallback=application.url) as answer:
        assert answer.status == 201
    told = [(await application.next())[1] for _ in range(2)]
    assert [(form["MessageStatus"], form.get("ErrorCode")) for form in told] == [
        ("sent", None),
        ("undelivered", "30003"),
    ]
    assert server.inbox.letters == []


async def test_a_slow_answer_is_an_answer(server, api):
    server.faults.set(Fault.SLOW, delay=0.05)
    async with api.create() as answer:
        assert answer.status == 201
    assert len(server.inbox.letters) == 1


async def test_nothing_is_sent_for_a_client_that_left_a_slow_server(server, api):
    server.faults.set(Fault.SLOW, delay=0.2)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await api.create()
    # The server's own end waits for the requests that were under way.
    await server.__aexit__()
    assert server.inbox.letters == []
    await server.__aenter__()
