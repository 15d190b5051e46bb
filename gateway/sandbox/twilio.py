"""The part of Twilio's API that sends messages: create, fetch, signed status callbacks, and what it says of the account.

https://www.twilio.com/docs/messaging/api/message-resource
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import secrets
import time
from binascii import Error as Base64Error
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from functools import partial
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import aiohttp
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.sandbox import twilio_errors as errors
from gateway.sandbox.fault import Fault, Planned
from gateway.sandbox.http import HttpSandbox, read_body
from gateway.sandbox.inbox import Inbox, Letter
from gateway.sandbox.loopback import is_loopback
from gateway.sandbox.twilio_account import TwilioAccount

API_VERSION = "2010-04-01"
#: Seconds a status callback may take; Twilio gives 15.
CALLBACK_TIMEOUT = 5.0
#: What a carrier accepts and then a handset, in this order, where nothing goes wrong.
USUAL_STATUSES = ("sent", "delivered")
#: The same for a message that is lost, and why: 30003, the handset cannot be reached.
LOST_STATUSES = ("sent", "undelivered")
LOST_CODE = 30003

_ACCOUNT = f"/{API_VERSION}/Accounts/{{account}}"
_GSM7_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM7_EXTENDED = frozenset("^{}\\[~]|€\f")
_GSM7 = _GSM7_BASIC | _GSM7_EXTENDED

_log = logging.getLogger(__name__)


def signature(auth_token: str, url: str, parameters: Mapping[str, str]) -> str:
    """Return ``X-Twilio-Signature`` for a form: HMAC-SHA1 over the URL and the sorted parameters, in base64.

    https://www.twilio.com/docs/usage/webhooks/webhooks-security
    """
    signed = url + "".join(name + parameters[name] for name in sorted(parameters))
    return base64.b64encode(hmac.digest(auth_token.encode(), signed.encode(), hashlib.sha1)).decode()


def segments(body: str) -> int:
    """Return how many SMS a body fills (3GPP TS 23.038 and 23.040): 160 or 153 septets, 70 or 67 UTF-16 units."""
    if _GSM7.issuperset(body):
        units, single, joined = sum(2 if sign in _GSM7_EXTENDED else 1 for sign in body), 160, 153
    else:
        units, single, joined = len(body.encode("utf-16-le", "surrogatepass")) // 2, 70, 67
    return 1 if units <= single else -(-units // joined)


class TwilioSandbox(HttpSandbox):
    """The API for one account. Open it with ``async with``; ``base_url`` then replaces https://api.twilio.com.

    With ``callbacks`` every message that has a StatusCallback on loopback is reported as sent and delivered (lost,
    where it meets ``Fault.LOSE``); without, ``report`` does it when told. Raises ``ValueError`` for a host that is not
    loopback, unless with ``allow_remote``.
    """

    def __init__(
        self,
        inbox: Inbox,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        account_sid: str = "AC" + "0" * 32,
        auth_token: str = "sandbox-auth-token",  # noqa: S107 - opens nothing but this sandbox
        callbacks: bool = True,
        allow_remote: bool = False,
    ) -> None:
        routes = [
            Route(f"{_ACCOUNT}/Messages.json", self._create, methods=["POST"]),
            Route(f"{_ACCOUNT}/Messages/{{sid}}.json", self._fetch, methods=["GET"]),
            Route(f"{_ACCOUNT}.json", partial(self._look, "account"), methods=["GET"]),
            Route(f"{_ACCOUNT}/IncomingPhoneNumbers.json", partial(self._look, "numbers"), methods=["GET"]),
            Route(f"{_ACCOUNT}/SMS/ShortCodes.json", partial(self._look, "short codes"), methods=["GET"]),
            # At Twilio these are on a host of their own.
            Route("/v1/Services/{service}", partial(self._look, "service"), methods=["GET"]),
            Route("/v1/Services/{service}/{pool}", partial(self._look, "pool"), methods=["GET"]),
        ]
        super().__init__(routes, host=host, port=port, allow_remote=allow_remote)
        self.inbox = inbox
        self.account_sid = account_sid
        #: What the account is and owns.
        self.account = TwilioAccount(account_sid)
        self.auth_token = auth_token
        self.callbacks = callbacks
        #: Message creations received, refused ones included.
        self.requests = 0
        self._messages: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._callback_urls: dict[str, str] = {}
        self._reporting: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALLBACK_TIMEOUT))
        try:
            return await super().__aenter__()
        except BaseException:
            await self._client.close()
            raise

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        for reporting in self._reporting:
            reporting.cancel()
        if self._reporting:
            await asyncio.wait(self._reporting)
        await self._client.close()

    async def report(self, sid: str, status: str, *, error_code: int | None = None) -> int | None:
        """Change a message's status, post it to its StatusCallback and return the HTTP status answered.

        ``None`` where there is no StatusCallback on loopback or nobody answered. Raises ``LookupError`` for an
        unknown ``sid``.
        """
        message = self._messages.get(sid)
        if message is None:
            raise LookupError("No such message was sent.")
        message |= {"status": status, "error_code": error_code, "date_updated": _now()}
        url = self._callback_urls.get(sid)
        return None if url is None else await self._post(url, _callback(message))

    async def _post(self, url: str, parameters: Mapping[str, str]) -> int | None:
        headers = {
            "X-Twilio-Signature": signature(self.auth_token, url, parameters),
            "I-Twilio-Idempotency-Token": secrets.token_hex(16),
        }
        try:
            async with self._client.post(url, data=parameters, headers=headers, allow_redirects=False) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError) as error:
            _log.debug("status callback not delivered: %s", type(error).__name__)
            return None

    async def _create(self, request: Request) -> Response:
        self.requests += 1
        body = await read_body(request)
        if not self._authenticated(request):
            return errors.UNAUTHORIZED.response()
        fields = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        planned = self.faults.take(fields.get("To", ""))
        spoiled = _fault_response(planned, fields) or await self.misbehave(request, planned)
        if spoiled is not None:
            return spoiled
        refused = errors.refusal(fields)
        if refused is not None:
            return refused.response()
        return self._accept(fields, body, lost=planned.fault is Fault.LOSE)

    def _authenticated(self, request: Request, *, by_key: bool = True) -> bool:
        """Tell whether a request is the account's, or where ``by_key`` one of its API keys'."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        try:
            credentials = base64.b64decode(given, validate=True)
        except (Base64Error, ValueError):
            return False
        keys = {self.account_sid: self.auth_token} | (self.account.api_keys if by_key else {})
        right = any(hmac.compare_digest(credentials, f"{user}:{secret}".encode()) for user, secret in keys.items())
        ours = request.path_params.get("account", self.account_sid) == self.account_sid
        return scheme.lower() == "basic" and ours and right

    def _accept(self, fields: Mapping[str, str], body: bytes, *, lost: bool) -> Response:
        sid = f"SM{secrets.token_hex(16)}"
        self._messages[sid] = message = self._resource(sid, fields)
        self._remember_callback(sid, fields.get("StatusCallback"))
        if not lost:
            self.inbox.add(Letter("twilio", fields["To"], fields["Body"], body, fields, time.time(), sid))
        if len(self._messages) > self.inbox.capacity:
            self._callback_urls.pop(self._messages.popitem(last=False)[0], None)
        # After the answer, so that a client usually knows the sid before it hears of its status.
        return JSONResponse(message, 201, background=BackgroundTask(self._start_reporting, sid, lost))

    def _remember_callback(self, sid: str, url: str | None) -> None:
        if url is None:
            return
        if is_loopback(_host(url)):
            self._callback_urls[sid] = url
        else:
            _log.debug("status callbacks go to loopback only")

    async def _start_reporting(self, sid: str, lost: bool) -> None:
        if self.callbacks and sid in self._callback_urls:
            statuses = LOST_STATUSES if lost else USUAL_STATUSES
            reporting = asyncio.create_task(self._report_all(sid, statuses))
            self._reporting.add(reporting)
            reporting.add_done_callback(self._reporting.discard)

    async def _report_all(self, sid: str, statuses: Sequence[str]) -> None:
        for status in statuses:
            if sid in self._messages:  # a flood of messages forgets the oldest
                await self.report(sid, status, error_code=LOST_CODE if status == "undelivered" else None)

    def _resource(self, sid: str, fields: Mapping[str, str]) -> dict[str, Any]:
        """Return the Message resource. One sent by a service waits for its sender: accepted, of no segments yet."""
        sender, service, now = fields.get("From"), fields.get("MessagingServiceSid"), _now()
        uri = f"/{API_VERSION}/Accounts/{self.account_sid}/Messages/{sid}"
        return {
            "account_sid": self.account_sid,
            "api_version": API_VERSION,
            "body": fields["Body"],
            "date_created": now,
            "date_sent": None,
            "date_updated": now,
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "from": sender,
            "messaging_service_sid": service,
            "num_media": "0",
            "num_segments": str(segments(fields["Body"])) if sender else "0",
            "price": None,
            "price_unit": "USD",
            "sid": sid,
            "status": "queued" if sender else "accepted",
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": fields["To"],
            "uri": f"{uri}.json",
        }

    async def _fetch(self, request: Request) -> Response:
        if not self._authenticated(request):
            return errors.UNAUTHORIZED.response()
        message = self._messages.get(request.path_params["sid"])
        return errors.not_found(request.url.path).response() if message is None else JSONResponse(message)

    async def _look(self, asked: str, request: Request) -> Response:
        """Answer what the account is or has; a fault set for a resource's name, such as ``numbers``, meets it alone."""
        await read_body(request)
        if not self._authenticated(request, by_key=asked != "account"):
            return self.dated(errors.UNAUTHORIZED.response())
        planned = self.faults.take(asked, by_address=False)
        spoiled = _fault_response(planned, {}) or await self.misbehave(request, planned)
        if spoiled is not None:
            return self.dated(spoiled)
        found = self._looked_up(asked, request)
        return self.dated(errors.not_found(request.url.path).response() if found is None else JSONResponse(found))

    def _looked_up(self, asked: str, request: Request) -> dict[str, Any] | None:
        """Return a resource of the account's by its name, ``None`` where there is none."""
        match asked:
            case "numbers":
                return self.account.found_numbers(request.query_params.get("PhoneNumber", ""))
            case "short codes":
                return self.account.found_short_codes(request.query_params.get("ShortCode", ""))
            case "service":
                return self.account.service(request.path_params["service"])
            case "pool":
                return self.account.pool(request.path_params["service"], request.path_params["pool"])
            case _:
                return self.account.resource()


def _fault_response(planned: Planned, fields: Mapping[str, str]) -> Response | None:
    """Return the answer by which Twilio itself would tell of a fault."""
    match planned.fault:
        case Fault.REFUSE:
            return errors.invalid_recipient(fields.get("To", "")).response()
        case Fault.DEFER:
            return errors.UNAVAILABLE.response()
        case Fault.LIMIT:
            return errors.TOO_MANY_REQUESTS.response({"Retry-After": str(planned.retry_after)})
        case Fault.UNAUTHORIZED:
            return errors.UNAUTHORIZED.response()
        case _:
            return None


def _callback(message: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters of a status callback; Twilio leaves out what does not apply."""
    parameters = {
        "AccountSid": message["account_sid"],
        "ApiVersion": API_VERSION,
        "ErrorCode": message["error_code"],
        "From": message["from"],
        "MessageSid": message["sid"],
        "MessageStatus": message["status"],
        "MessagingServiceSid": message["messaging_service_sid"],
        "SmsSid": message["sid"],
        "SmsStatus": message["status"],
        "To": message["to"],
    }
    return {name: str(value) for name, value in parameters.items() if value is not None}


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _now() -> str:
    """Return the present as RFC 2822 writes it, which is how this API does."""
    return formatdate(usegmt=False).replace("-0000", "+0000")
