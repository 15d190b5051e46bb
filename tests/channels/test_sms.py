"""The SMS adapter against the Twilio sandbox, and against a server that answers what it is told to."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self
from urllib.parse import urlencode

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from twilio.base.values import unset
from twilio.request_validator import RequestValidator

from channels import sms as module
from channels.base import (
    AmbiguousError,
    CallbackRequest,
    DeliveryError,
    Envelope,
    ForgedCallbackError,
    PermanentError,
    Reason,
    Receipt,
    Report,
    ReportedStatus,
    TransientError,
    load,
)
from channels.sms import SmsChannel, SmsSettings
from channels.twilio_codes import CODES
from gateway.sandbox.fault import Fault
from gateway.sandbox.inbox import Inbox
from gateway.sandbox.twilio import TwilioSandbox
from tests.channels.contract import CODE, ChannelContract, an_envelope, told

ADDRESS = "+4915112345678"
ACCOUNT = "AC0123456789abcdef0123456789abcdef"
TOKEN = "twilio-token-3f9c"
CALLBACK = "https://codes.example.org/callbacks/sms"


def settings(**changes: object) -> SmsSettings:
    keys = {"adapter": "sms", "account_sid": ACCOUNT, "auth_token": TOKEN, "from": "+15005550006", "timeout": 10.0}
    wanted = keys | changes
    return SmsSettings.model_validate({key: value for key, value in wanted.items() if value is not None})


def an_sms(address: str | None = None, *, body: str = f"Your code is {CODE}.\n", **changes: Any) -> Envelope:
    made = an_envelope(address or ADDRESS, {"body.txt": body})
    return Envelope(**{name: changes.get(name, getattr(made, name)) for name in Envelope.__slots__})


# --- The contract -----------------------------------------------------------------------------------------------


class TwilioProvider:
    """The Twilio sandbox as the contract wants to see it."""

    def __init__(self, server: TwilioSandbox, inbox: Inbox) -> None:
        self.server = server
        self.inbox = inbox

    async def accept(self) -> None:
        self.server.faults.clear()

    async def refuse(self) -> None:
        self.server.faults.set(Fault.REFUSE)

    async def defer(self) -> None:
        self.server.faults.set(Fault.DEFER)

    async def limit(self, retry_after: float) -> None:
        self.server.faults.set(Fault.LIMIT, retry_after=int(retry_after))

    async def stall(self) -> None:
        self.server.faults.set(Fault.STALL)

    async def reset(self) -> None:
        self.server.faults.set(Fault.RESET)

    async def garble(self) -> None:
        self.server.faults.set(Fault.GARBLE)

    async def unauthorized(self) -> None:
        self.server.faults.set(Fault.UNAUTHORIZED)

    async def drop_idle(self) -> None:
        for connection in list(self.server._server.server_state.connections):
            connection.transport.close()
        # The loop has to go round for the ends to be written here and read by the client.
        for _ in range(5):
            await asyncio.sleep(0)

    async def close(self) -> None:
        await self.server.__aexit__()

    def requests(self) -> int:
        return self.server.requests

    def received(self) -> list[str]:
        return [letter.text for letter in self.inbox.letters]


@pytest.fixture
async def provider() -> AsyncIterator[TwilioProvider]:
    inbox = Inbox()
    async with TwilioSandbox(inbox, account_sid=ACCOUNT, auth_token=TOKEN) as server:
        yield TwilioProvider(server, inbox)


@pytest.fixture
async def channel(provider: TwilioProvider) -> AsyncIterator[SmsChannel]:
    async with SmsChannel("sms", settings(base_url=provider.server.base_url)) as opened:
        yield opened


@pytest.fixture
def envelope() -> Callable[..., Envelope]:
    return lambda *, address=None: an_sms(address)


class TestSmsChannel(ChannelContract):
    adapter: ClassVar[str] = "sms"
    credentials: ClassVar[tuple[str, ...]] = (TOKEN, base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode())


# --- What is sent, and what answers mean --------------------------------------------------------------------------


@dataclass
class Seen:
    """A request as the provider saw it."""

    path: str
    form: dict[str, str]
    headers: Mapping[str, str] = field(repr=False)


class Scripted:
    """A server that answers every request the same."""

    def __init__(self, status: int = 201, body: object = None, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.body = {"sid": "SM1", "status": "queued"} if body is None else body
        self.headers = headers
        self.seen: list[Seen] = []

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.seen.append(Seen(request.path, form, request.headers.copy()))
        if isinstance(self.body, str):
            return web.Response(status=self.status, text=self.body, headers=self.headers)
        return web.json_response(self.body, status=self.status, headers=self.headers)


async def test_the_sdk_is_loaded_before_the_first_message(monkeypatch: pytest.MonkeyPatch):
    made: list[object] = []

    class Counted(module._Call):
        def __init__(self, *of: Any) -> None:
            made.append(of)
            super().__init__(*of)

    monkeypatch.setattr(module, "_Call", Counted)
    async with Scripted() as server, SmsChannel("sms", settings(base_url=server.base_url)) as channel:
        assert len(made) == 1
        for _ in range(2):
            await channel.deliver(an_sms())
        assert (len(made), len(server.seen)) == (1, 2)


async def sent(envelope: Envelope, *, callback_url: str | None = None, **changes: object) -> Seen:
    """Deliver to an accepting server and return what it saw."""
    async with Scripted() as server:
        chosen = settings(base_url=server.base_url, **changes)
        async with SmsChannel("sms", chosen, callback_url=callback_url) as channel:
            await channel.deliver(envelope)
    assert len(server.seen) == 1
    return server.seen[0]


async def failure(
    status: int, body: object, headers: Mapping[str, str] | None = None, **changes: object
) -> DeliveryError:
    """Return what a delivery answered so raises."""
    async with (
        Scripted(status, body, headers) as server,
        SmsChannel("sms", settings(base_url=server.base_url, **changes)) as channel,
    ):
        with pytest.raises(DeliveryError) as caught:
            await channel.deliver(an_sms())
    return caught.value


def refusal(code: object, message: str = f"'{ADDRESS}' is not reachable") -> dict[str, object]:
    return {"code": code, "message": message, "more_info": "https://www.twilio.com/docs/errors", "status": 400}


def summary(error: DeliveryError) -> tuple[type[DeliveryError], Reason, str | None]:
    return type(error), error.reason, error.provider_code


def test_the_adapter_is_found_by_its_name() -> None:
    assert load("sms") is SmsChannel


async def test_a_message_is_one_form_with_the_codes_lifetime_as_its_validity() -> None:
    seen = await sent(an_sms(lifetime=287.9))
    assert seen.path == f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
    assert seen.form == {
        "To": ADDRESS,
        "From": "+15005550006",
        "Body": f"Your code is {CODE}.",
        "ValidityPeriod": "287",
        "SmartEncoded": "false",
    }
    basic = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
    assert seen.headers["Authorization"] == f"Basic {basic}"


@pytest.mark.parametrize(("lifetime", "period"), [(0.4, "1"), (1.0, "1"), (36_000.0, "36000"), (1e9, "36000")])
async def test_the_validity_stays_within_what_twilio_takes(lifetime: float, period: str) -> None:
    assert (await sent(an_sms(lifetime=lifetime))).form["ValidityPeriod"] == period


async def test_a_receipt_has_twilios_id_and_status() -> None:
    async with (
        Scripted(201, {"sid": "SM2", "status": "accepted", "error_code": None}) as server,
        SmsChannel("sms", settings(base_url=server.base_url)) as channel,
    ):
        assert await channel.deliver(an_sms()) == Receipt(provider_id="SM2", provider_code="accepted")


async def test_the_text_ends_with_its_last_line() -> None:
    seen = await sent(an_sms(body=f"Code\n\n@shop.example #{CODE}\n\n"))
    assert seen.form["Body"] == f"Code\n\n@shop.example #{CODE}"


async def test_characters_of_every_script_arrive() -> None:
    assert (await sent(an_sms(body="Код & = + 😀"))).form["Body"] == "Код & = + 😀"


async def test_a_messaging_service_stands_in_for_the_sender() -> None:
    seen = await sent(an_sms(), **{"from": None, "messaging_service_sid": "MG12"})
    assert (seen.form["MessagingServiceSid"], "From" in seen.form) == ("MG12", False)


async def test_retention_is_asked_for_only_where_it_is_set() -> None:
    seen = await sent(an_sms(), discard_content=True, obfuscate_address=True)
    assert (seen.form["ContentRetention"], seen.form["AddressRetention"]) == ("discard", "obfuscate")


async def test_an_api_key_signs_in_under_the_account() -> None:
    seen = await sent(an_sms(), auth_token=None, api_key_sid="SK1", api_key_secret="s3cret")
    assert seen.path.startswith(f"/2010-04-01/Accounts/{ACCOUNT}/")
    assert seen.headers["Authorization"] == "Basic " + base64.b64encode(b"SK1:s3cret").decode()


async def test_the_callback_carries_the_attempts_token() -> None:
    seen = await sent(an_sms(attempt_token="a/b?c&d"), callback_url=CALLBACK)
    assert seen.form["StatusCallback"] == f"{CALLBACK}?attempt=a%2Fb%3Fc%26d"


@pytest.mark.parametrize(
    "changes",
    [{"status_callbacks": False}, {"auth_token": None, "api_key_sid": "SK1", "api_key_secret": "s3cret"}],
)
async def test_no_callback_is_asked_for_that_is_switched_off_or_could_not_be_verified(
    changes: dict[str, object],
) -> None:
    assert "StatusCallback" not in (await sent(an_sms(), callback_url=CALLBACK, **changes)).form


@pytest.mark.parametrize(
    ("callback_url", "base_url", "asked"),
    [
        ("https://otp.example.org/callbacks/sms", "https://api.twilio.com", True),
        ("https://otp.example.org/callbacks/sms", "http://127.0.0.1:1", True),
        ("http://127.0.0.1:8080/callbacks/sms", "http://127.0.0.1:1", True),
        ("http://localhost:8080/callbacks/sms", "http://[::1]:1", True),
        ("http://127.0.0.1:8080/callbacks/sms", "https://api.twilio.com", False),
        ("http://[::1]:8080/callbacks/sms", "https://api.twilio.com", False),
        ("http://otp.localhost:8080/callbacks/sms", "https://api.twilio.com", False),
        ("http://LOCALHOST/callbacks/sms", "https://api.twilio.com", False),
    ],
)
async def test_no_callback_is_asked_for_at_this_machine_of_a_twilio_that_is_not(
    callback_url: str, base_url: str, asked: bool
) -> None:
    """Twilio refuses the message: 21609."""
    channel = SmsChannel("sms", settings(base_url=base_url), callback_url=callback_url)
    assert (channel._fields(an_sms())["status_callback"] is not unset) == asked


@pytest.mark.parametrize(
    ("changes", "callback_url", "expected"),
    [
        ({}, CALLBACK, True),
        ({"status_callbacks": False}, CALLBACK, False),
        ({"auth_token": None, "api_key_sid": "SK1", "api_key_secret": "s3cret"}, CALLBACK, False),
        ({}, None, False),
        ({}, "http://127.0.0.1:8080/callbacks/sms", False),
    ],
)
def test_reports_are_expected_where_they_are_asked_for(
    changes: dict[str, object], callback_url: str | None, expected: bool
) -> None:
    assert SmsChannel("sms", settings(**changes), callback_url=callback_url).reports is expected


async def test_twilios_environment_variables_do_not_move_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO_EDGE", "sydney")
    monkeypatch.setenv("TWILIO_REGION", "au1")
    assert (await sent(an_sms())).form["To"] == ADDRESS


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (302, PermanentError, Reason.MISCONFIGURED),
        (400, PermanentError, Reason.REJECTED),
        (401, PermanentError, Reason.MISCONFIGURED),
        (408, TransientError, Reason.UNAVAILABLE),
        (413, PermanentError, Reason.REJECTED),
        (429, TransientError, Reason.RATE_LIMITED),
        (500, AmbiguousError, Reason.UNAVAILABLE),
        (502, AmbiguousError, Reason.UNAVAILABLE),
        (503, TransientError, Reason.UNAVAILABLE),
        (504, AmbiguousError, Reason.UNAVAILABLE),
    ],
)
@pytest.mark.parametrize("body", [f"<html>{ADDRESS}</html>", {"code": 99999, "message": "new"}, ["odd"]])
async def test_an_unknown_code_is_judged_by_its_status(
    status: int, kind: type[DeliveryError], reason: Reason, body: object
) -> None:
    error = await failure(status, body)
    assert (type(error), error.reason) == (kind, reason)
    assert ADDRESS not in told(error)


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("<html>denied</html>", Reason.MISCONFIGURED),
        ({"error": "denied"}, Reason.MISCONFIGURED),
        ({"code": 99999, "message": "new"}, Reason.REJECTED),
    ],
)
async def test_a_refusal_without_a_code_is_another_servers_and_one_with_a_new_code_the_messages(
    status: int, body: object, reason: Reason
) -> None:
    """A code that is newer than the table may be about one destination: the others' messages must go on."""
    error = await failure(status, body)
    assert (type(error), error.reason) == (PermanentError, reason)


@pytest.mark.parametrize(("code", "meaning"), CODES.items())
async def test_every_code_of_the_table_means_what_it_says(code: str, meaning: str) -> None:
    kind, _, reason = meaning.partition(":")
    error = await failure(400, refusal(int(code)))
    kinds = {"transient": TransientError, "permanent": PermanentError, "ambiguous": AmbiguousError}
    assert summary(error) == (kinds[kind], Reason(reason), code)


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (20003, PermanentError, Reason.MISCONFIGURED),
        (21211, PermanentError, Reason.INVALID_RECIPIENT),
        (21408, PermanentError, Reason.REJECTED),
        (21610, PermanentError, Reason.BLOCKED),
        (21611, TransientError, Reason.RATE_LIMITED),
        (30003, TransientError, Reason.UNREACHABLE),
        ("21614", PermanentError, Reason.INVALID_RECIPIENT),
    ],
)
async def test_a_known_code_outranks_the_status(code: object, kind: type[DeliveryError], reason: Reason) -> None:
    assert summary(await failure(400, refusal(code))) == (kind, reason, str(code))


async def test_the_newer_form_of_errors_is_understood() -> None:
    body = {"type": "about:blank", "title": f"No {ADDRESS}", "status": 400, "code": 21610, "detail": ADDRESS}
    error = await failure(400, body)
    assert summary(error) == (PermanentError, Reason.BLOCKED, "21610")
    assert ADDRESS not in told(error)


@pytest.mark.parametrize("code", [ADDRESS, "4915112345678", "twenty", None, {}, -1])
async def test_what_is_no_code_is_not_repeated(code: object) -> None:
    assert (await failure(400, refusal(code))).provider_code is None


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("30", 30.0),
        ("3600", 3_600.0),
        ("99999999999", 86_400.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        ("-1", None),
        ("soon", None),
        (None, None),
    ],
)
@pytest.mark.parametrize(
    ("status", "code", "whole"), [(429, 20429, True), (429, 99999, True), (429, 14107, False), (503, 99999, False)]
)
async def test_a_wait_is_kept_and_a_limit_is_the_whole_channels_unless_it_is_one_numbers(
    header: str | None, wait: float | None, status: int, code: int, whole: bool
) -> None:
    error = await failure(status, refusal(code), {"Retry-After": header} if header else None)
    assert isinstance(error, TransientError)
    assert (error.retry_after, error.whole_channel) == (wait, whole)


async def test_the_settings_outrank_the_table_of_codes() -> None:
    codes = {"21211": "ambiguous:unknown", "77777": "transient:unreachable"}
    assert summary(await failure(400, refusal(21211), codes=codes)) == (AmbiguousError, Reason.UNKNOWN, "21211")
    assert summary(await failure(400, refusal(77777), codes=codes)) == (TransientError, Reason.UNREACHABLE, "77777")


@pytest.mark.parametrize(
    "body",
    ["<html>", "", "null", "[]", {}, {"sid": "SM1"}, {"status": "queued"}, {"sid": "", "status": "queued"}, {"sid": 1}],
)
async def test_an_acceptance_that_cannot_be_read_is_ambiguous(body: object) -> None:
    assert summary(await failure(201, body)) == (AmbiguousError, Reason.UNKNOWN, None)


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (30007, PermanentError, Reason.REJECTED),
        (30003, TransientError, Reason.UNREACHABLE),
        (None, PermanentError, Reason.REJECTED),
    ],
)
@pytest.mark.parametrize("status", ["failed", "undelivered"])
async def test_a_message_created_as_failed_is_judged_by_its_code(
    status: str, code: int | None, kind: type[DeliveryError], reason: Reason
) -> None:
    error = await failure(201, {"sid": "SM1", "status": status, "error_code": code})
    assert summary(error) == (kind, reason, str(code) if code else None)


async def test_an_error_holds_no_exception_of_the_sdk() -> None:
    error = await failure(400, refusal(21211))
    assert (error.__cause__, error.__context__) == (None, None)


async def test_the_sdk_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await sent(an_sms())
    assert [record.name for record in caplog.records if record.name.startswith("twilio")] == []


async def test_deliveries_at_once_do_not_mix_their_waits() -> None:
    async def answer(request: web.Request) -> web.Response:
        wait = (await request.post())["To"][-1]  # type: ignore[index]
        return web.json_response(refusal(20429), status=429, headers={"Retry-After": str(wait)})

    server = Scripted()
    server._answer = answer  # type: ignore[method-assign]
    async with server, SmsChannel("sms", settings(base_url=server.base_url)) as channel:
        tries = (channel.deliver(an_sms(f"+491511234567{digit}")) for digit in range(1, 6))
        errors = await asyncio.gather(*tries, return_exceptions=True)
    assert [error.retry_after for error in errors if isinstance(error, TransientError)] == [1.0, 2.0, 3.0, 4.0, 5.0]


# --- Settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"from": None}, "exactly one of from and messaging_service_sid"),
        ({"messaging_service_sid": "MG1"}, "exactly one of from and messaging_service_sid"),
        ({"auth_token": None}, "set auth_token, or api_key_sid and api_key_secret"),
        ({"api_key_sid": "SK1"}, "go together"),
        ({"api_key_secret": "x"}, "go together"),
        ({"account_sid": "../AC1"}, "account_sid"),
        ({"account_sid": "AC0"}, "must be AC and 32 hexadecimal digits"),
        ({"from": "+1…"}, "must be a number with"),
        ({"from": "+1"}, "must be a number with"),
        ({"from": "004915112345678"}, "must be a number with"),
        ({"from": "Buch & Café Online"}, "must be a number with"),
        ({"auth_token": ""}, "auth_token"),
        ({"base_url": "api.twilio.com"}, "must be http"),
        ({"codes": {"30003": "transient"}}, "kind:reason"),
        ({"codes": {"30003": "sometimes:unknown"}}, "kind:reason"),
        ({"codes": {"30003": "permanent:tired"}}, "kind:reason"),
        ({"codes": {"x": "permanent:unknown"}}, "a number"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(changes: dict[str, object], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        settings(**changes)


def test_a_refused_setting_is_not_repeated() -> None:
    with pytest.raises(ValidationError) as caught:
        settings(auth_token=["s3cret"], base_url="https://user:s3cret@example.org")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("sender", ["+15005550006", "12345", "SHOP", "Book & Co-1", "1shop"])
def test_what_twilio_sends_from_is_taken(sender: str) -> None:
    assert settings(**{"from": sender}).sender == sender


def test_the_python_name_of_from_works_too() -> None:
    assert settings(**{"from": None}, sender="SHOP").sender == "SHOP"


def test_every_entry_of_the_table_can_be_written_as_a_setting() -> None:
    assert settings(codes=dict(CODES)).codes == CODES


# --- Callbacks ----------------------------------------------------------------------------------------------------


def receiver(**changes: object) -> SmsChannel:
    return SmsChannel("sms", settings(**changes), callback_url=CALLBACK)


def callback(
    fields: Mapping[str, str] | None = None,
    *,
    target: str = "/callbacks/sms?attempt=token-1",
    signed_url: str | None = None,
    signed_with: str = TOKEN,
    algorithm: str | None = None,
    **headers: str,
) -> CallbackRequest:
    """Return a callback as Twilio would sign it for ``signed_url`` (default: where it is sent to)."""
    form = {"AccountSid": ACCOUNT, "MessageSid": "SM1", "MessageStatus": "delivered", **(fields or {})}
    url = signed_url or CALLBACK + target.removeprefix("/callbacks/sms")
    signature = RequestValidator(signed_with).compute_signature(url, form, algorithm)
    sent_headers = {"x-twilio-signature": signature, **headers}
    if algorithm:
        sent_headers["x-twilio-webhooks-signature-settings"] = f"key=k1,algorithm={algorithm}"
    return CallbackRequest("POST", target, sent_headers, urlencode(form).encode())


def altered(request: CallbackRequest, **changes: Any) -> CallbackRequest:
    return CallbackRequest(**{name: changes.get(name, getattr(request, name)) for name in CallbackRequest.__slots__})


@pytest.mark.parametrize(
    ("status", "reported"),
    [
        ("sent", ReportedStatus.SENT),
        ("delivered", ReportedStatus.DELIVERED),
        ("read", ReportedStatus.DELIVERED),
    ],
)
def test_a_callback_is_a_report_of_its_attempt(status: str, reported: ReportedStatus) -> None:
    assert receiver().report(callback({"MessageStatus": status})) == Report("token-1", reported, "SM1", status)


@pytest.mark.parametrize("status", ["undelivered", "failed"])
@pytest.mark.parametrize(
    ("code", "reason"),
    [("30003", Reason.UNREACHABLE), ("30007", Reason.REJECTED), ("99999", Reason.UNKNOWN), ("", Reason.UNKNOWN)],
)
def test_a_failed_message_is_reported_with_its_reason(status: str, code: str, reason: Reason) -> None:
    expected = Report("token-1", ReportedStatus.UNDELIVERED, "SM1", code or status, reason)
    assert receiver().report(callback({"MessageStatus": status, "ErrorCode": code})) == expected


@pytest.mark.parametrize("status", ["queued", "sending", "accepted", "scheduled", "canceled", "brand_new", ""])
def test_a_status_on_the_way_reports_nothing(status: str) -> None:
    assert receiver().report(callback({"MessageStatus": status})) is None


@pytest.mark.parametrize("target", ["/callbacks/sms", "/callbacks/sms?attempt=", "/callbacks/sms?attempt=a&attempt=b"])
def test_a_callback_without_one_attempt_reports_nothing(target: str) -> None:
    assert receiver().report(callback(target=target)) is None


def test_header_names_may_be_written_in_any_case() -> None:
    request = callback()
    shouted = altered(request, headers={"X-Twilio-SIGNATURE": request.headers["x-twilio-signature"]})
    assert receiver().report(shouted) is not None


def test_blank_and_new_parameters_are_signed_like_any_other() -> None:
    assert receiver().report(callback({"ErrorMessage": "", "RawDlrDoneDate": "2611212300"})) is not None


def test_the_signature_algorithm_may_be_named() -> None:
    assert receiver().report(callback(algorithm="HMAC_SHA256")) is not None


def test_a_proxy_that_changes_scheme_and_path_does_not_matter() -> None:
    behind = SmsChannel("sms", settings(), callback_url="https://example.org/otp/callbacks/sms")
    request = callback(signed_url="https://example.org/otp/callbacks/sms?attempt=token-1")
    assert behind.report(request) is not None


@pytest.mark.parametrize("host", ["example.org:443", "example.org"])
def test_twilio_may_sign_with_the_port_or_without(host: str) -> None:
    behind = SmsChannel("sms", settings(), callback_url="https://example.org/callbacks/sms")
    assert behind.report(callback(signed_url=f"https://{host}/callbacks/sms?attempt=token-1")) is not None


GOOD = callback()


@pytest.mark.parametrize(
    "forged",
    [
        altered(GOOD, headers={}),
        altered(GOOD, headers={"x-twilio-signature": ""}),
        altered(GOOD, headers={"x-twilio-signature": "é" * 28}),
        altered(GOOD, method="GET"),
        altered(GOOD, body=GOOD.body + b"&More=1"),
        altered(GOOD, body=GOOD.body.replace(b"delivered", b"undelivered")),
        altered(GOOD, body=GOOD.body + b"&MessageStatus=delivered"),
        altered(GOOD, body=b"\xff\xfe=%ff"),
        altered(GOOD, body=b"a=%ff"),
        altered(GOOD, body=b"a=" + 8 * 1024 * b"%"),
        altered(GOOD, body=b"&".join(b"a%d=1" % n for n in range(500))),
        altered(GOOD, body=b""),
        altered(GOOD, target="/callbacks/sms?attempt=token-2"),
        altered(GOOD, target="/callbacks/sms"),
        callback(signed_with="another token"),
        callback({"AccountSid": "ACother"}),
        callback(signed_url="https://elsewhere.example/callbacks/sms?attempt=token-1"),
        altered(
            callback(algorithm="HMAC_SHA256"),
            headers={"x-twilio-signature": callback(algorithm="HMAC_SHA256").headers["x-twilio-signature"]},
        ),
        altered(
            GOOD, headers={**GOOD.headers, "x-twilio-webhooks-signature-settings": "key=k,algorithm=NONE\nforged line"}
        ),
    ],
)
def test_a_callback_that_proves_nothing_is_forged(forged: CallbackRequest, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ForgedCallbackError):
        receiver().report(forged)
    assert caplog.records == []


def test_without_a_token_or_a_public_url_every_callback_is_forged() -> None:
    keyed = receiver(auth_token=None, api_key_sid="SK1", api_key_secret="s3cret")
    for channel in (keyed, SmsChannel("sms", settings())):
        with pytest.raises(ForgedCallbackError):
            channel.report(GOOD)


def test_a_token_beside_an_api_key_verifies_callbacks() -> None:
    assert receiver(api_key_sid="SK1", api_key_secret="s3cret").report(GOOD) is not None


@given(st.binary(max_size=200), st.text(max_size=60), st.text(max_size=60))
def test_nothing_unsigned_gets_through(body: bytes, signature: str, query: str) -> None:
    request = CallbackRequest("POST", f"/callbacks/sms?{query}", {"x-twilio-signature": signature}, body)
    with pytest.raises(ForgedCallbackError):
        receiver().report(request)


_FORM = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.dictionaries(_FORM.filter(lambda name: name != "AccountSid"), _FORM, max_size=5))
def test_whatever_is_signed_is_read(fields: dict[str, str]) -> None:
    report = receiver().report(callback(fields))
    assert report is None or report.attempt_token == "token-1"


async def test_the_sandboxs_callbacks_report_the_attempt(provider: TwilioProvider) -> None:
    arrived: asyncio.Queue[CallbackRequest] = asyncio.Queue()

    async def receive(request: web.Request) -> web.Response:
        arrived.put_nowait(
            CallbackRequest(request.method, request.path_qs, dict(request.headers), await request.read())
        )
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/callbacks/sms", receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/callbacks/sms"
    async with SmsChannel("sms", settings(base_url=provider.server.base_url), callback_url=url) as channel:
        receipt = await channel.deliver(an_sms(attempt_token="t-1"))
        async with asyncio.timeout(10):
            reports = [channel.report(await arrived.get()) for _ in range(2)]
    await runner.cleanup()
    assert reports == [
        Report("t-1", ReportedStatus.SENT, receipt.provider_id, "sent"),
        Report("t-1", ReportedStatus.DELIVERED, receipt.provider_id, "delivered"),
    ]


# --- Inspection ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "summary", "faults"),
    [
        ("a" * 97 + "\n", "GSM-7, 97 of 160 characters, 1 segment", ()),
        ("Привет", "UCS-2, 6 of 70 characters, 1 segment", ()),
        ("a" * 161, "GSM-7, 161 characters, 2 segments of 153", ("takes 2 segments, each paid as one SMS",)),
        (
            "it\u2019s\u00a01",
            "UCS-2, 6 of 70 characters, 1 segment",
            (
                "U+00A0 makes the text UCS-2; GSM-7 has a twin of it",
                "U+2019 makes the text UCS-2; GSM-7 has a twin of it",
            ),
        ),
    ],
)
def test_an_inspection_counts_segments_and_names_needless_characters(
    text: str, summary: str, faults: tuple[str, ...]
) -> None:
    found = SmsChannel.inspect({"body.txt": text})
    assert (found.summary, found.faults) == (summary, faults)
