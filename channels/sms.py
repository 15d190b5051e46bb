"""The SMS channel: Twilio's Programmable Messaging, sent with its own SDK over this project's HTTP client."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, Self
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from twilio.base.exceptions import TwilioRestException, TwilioServiceException
from twilio.base.values import unset
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.request_validator import (
    SIGNATURE_HEADER,
    SIGNATURE_SETTINGS_HEADER,
    RequestValidator,
    get_signature_algorithm,
)
from twilio.rest import Client

from channels.base import (
    AmbiguousError,
    CallbackRequest,
    Channel,
    ChannelSettings,
    DeliveryError,
    Envelope,
    ForgedCallbackError,
    Inspection,
    Normalize,
    Reason,
    Receipt,
    Report,
    ReportedStatus,
    is_loopback,
)
from channels.findings import Finding, ok, warning
from channels.http import BaseUrl, HttpClient, HttpError, failure_of, form, retry_after, silence
from channels.kinds import phone
from channels.segments import avoidable, measure
from channels.twilio_account import Sent, examine
from channels.twilio_codes import CODES, by_status, checked, code_of, failure, verdict

#: Loggers of the SDK: at INFO they print account and headers, at WARNING what a forger put into a header.
QUIET_LOGGERS: Final = ("twilio",)
#: Seconds a message may wait at Twilio (API reference, ``ValidityPeriod``: 1 to 36000).
VALIDITY_MAX: Final = 36_000
#: Form fields of one status callback that are read; Twilio sends about 20 and adds new ones unannounced.
CALLBACK_FIELDS_MAX: Final = 200
#: Bytes of one: a status has some hundred. Whoever signs nothing has 64 KiB of signs to be unquoted else, 24 ms of everybody's time.
CALLBACK_MAX: Final = 8 * 1024
_REPORTED: Final[Mapping[str, ReportedStatus]] = MappingProxyType(
    {
        "sent": ReportedStatus.SENT,
        "delivered": ReportedStatus.DELIVERED,
        "read": ReportedStatus.DELIVERED,
        "undelivered": ReportedStatus.UNDELIVERED,
        "failed": ReportedStatus.UNDELIVERED,
    }
)


_ACCOUNT_SID = re.compile("AC[0-9A-Fa-f]{32}")
#: What Twilio takes for ``From``: E.164, a short code, an alphanumeric sender
#: (https://www.twilio.com/docs/glossary/what-alphanumeric-sender-id).
_SENDER = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 +_&-]{1,11}")


class SmsSettings(ChannelSettings):
    """``[channels.sms]``: an account, how to authenticate, and what to send from."""

    account_sid: str
    #: Authenticates calls and callbacks.
    auth_token: SecretStr | None = Field(default=None, min_length=1)
    #: Authenticates calls in place of the token; callbacks can be verified with the token only.
    api_key_sid: str | None = Field(default=None, pattern=r"^SK[0-9A-Za-z]+$")
    api_key_secret: SecretStr | None = Field(default=None, min_length=1)
    #: ``from``: a number in E.164, a short code or an alphanumeric sender.
    sender: str | None = Field(default=None, alias="from", min_length=1, max_length=64)
    #: Lets Twilio choose among a service's senders; exactly one of this and ``from``.
    messaging_service_sid: str | None = Field(default=None, pattern=r"^MG[0-9A-Za-z]+$")
    base_url: BaseUrl = "https://api.twilio.com"
    #: Whether Twilio is asked to report what became of each message. Where the callback URL is this machine's and
    #: ``base_url`` is not, it never is.
    status_callbacks: bool = True
    #: Have Twilio keep no text of a message; needs a feature of the account.
    discard_content: bool = False
    #: Have Twilio mask the numbers it keeps; needs a feature of the account.
    obfuscate_address: bool = False
    #: What error codes mean, over the built-in table: ``{"30003" = "transient:unreachable"}``.
    codes: Annotated[dict[str, str], AfterValidator(checked)] = Field(default_factory=dict)

    @field_validator("account_sid")
    @classmethod
    def _check_account(cls, sid: str) -> str:
        if not _ACCOUNT_SID.fullmatch(sid):
            raise ValueError("must be AC and 32 hexadecimal digits, as Twilio's console shows it")
        return sid

    @field_validator("sender")
    @classmethod
    def _check_sender(cls, sender: str | None) -> str | None:
        # Twilio would refuse every message, and the first one would stop the channel.
        if sender is not None and not _SENDER.fullmatch(sender):
            raise ValueError(
                "must be a number with + and country code, a short code of 3 to 8 digits, or a name of 1 to 11 ASCII letters, "
                "digits, spaces and + - _ & with a letter among them"
            )
        return sender

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.sender is None) == (self.messaging_service_sid is None):
            raise ValueError("set exactly one of from and messaging_service_sid")
        if (self.api_key_sid is None) != (self.api_key_secret is None):
            raise ValueError("api_key_sid and api_key_secret go together")
        if self.auth_token is None and self.api_key_sid is None:
            raise ValueError("set auth_token, or api_key_sid and api_key_secret")
        return self

    def credentials(self) -> tuple[str, str]:
        """Return user name and password of a call."""
        if self.api_key_sid is not None and self.api_key_secret is not None:
            return self.api_key_sid, self.api_key_secret.get_secret_value()
        return self.account_sid, self.auth_token.get_secret_value() if self.auth_token else ""


class _Call(AsyncHttpClient):  # type: ignore[misc]  # the SDK has no types
    """One request of the SDK at a time, made with our client; keeps of the answer only what the SDK's exceptions lose.

    The SDK's own client waits forever, logs every header and keeps the last message's text in memory.
    """

    def __init__(self, http: HttpClient, settings: SmsSettings) -> None:
        super().__init__(logger=None, is_async=True)
        self._http = http
        user, password = settings.credentials()
        self._authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        client = Client(
            user,
            password,
            account_sid=settings.account_sid,
            http_client=self,
            # Not the process's environment, whose TWILIO_EDGE and TWILIO_REGION would rewrite the host.
            environment={"TWILIO_EDGE": ""},
        )
        client.api.base_url = settings.base_url
        #: Where messages are created.
        self.messages = client.messages
        #: Seconds the request may take.
        self.seconds = 0.0
        #: The answer's.
        self.status = 0
        self.retry_after: float | None = None

    async def request(
        self,
        method: str,
        uri: str,
        params: Mapping[str, object] | None = None,  # noqa: ARG002 - the SDK's signature
        data: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,  # noqa: ARG002 - always the settings'
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - the attempt has its own
        allow_redirects: bool = False,  # noqa: ARG002 - redirects are never followed
    ) -> Response:
        fields = {**(headers or {}), "Authorization": self._authorization}
        # What the answer before said is not this one's.
        self.status, self.retry_after = 0, None
        answer = await self._http.request(method, uri, headers=fields, data=form(data or {}), timeout=self.seconds)
        self.status = answer.status
        self.retry_after = retry_after(answer.headers.get("retry-after"))
        return Response(answer.status, answer.body.decode("utf-8", "replace"), answer.headers)


class SmsChannel(Channel):
    """Sends codes by SMS and reads Twilio's delivery reports."""

    Settings: ClassVar[type[ChannelSettings]] = SmsSettings
    kinds: ClassVar[Mapping[str, Normalize]] = {"phone": phone}
    parts: ClassVar[tuple[str, ...]] = ("body.txt",)

    settings: SmsSettings

    def __init__(self, name: str, settings: ChannelSettings, *, callback_url: str | None = None) -> None:
        """``callback_url`` is given to Twilio as it is, and is what its signatures are checked over."""
        assert isinstance(settings, SmsSettings)
        super().__init__(name, settings, callback_url=callback_url)
        silence(QUIET_LOGGERS)
        self._http = HttpClient(timeout=settings.timeout, connections=settings.concurrency)
        #: Those that nobody uses now: as many in all as there were calls at once. Making one takes 18 µs.
        self._calls: list[_Call] = []
        token = settings.auth_token.get_secret_value() if settings.auth_token else None
        self._validator = RequestValidator(token) if token else None
        self._fixed = _fixed_fields(settings)
        # Twilio refuses a message whose callback URL it cannot reach (21609); a stand-in on this machine reaches it.
        reaches = _is_here(settings.base_url) or not _is_here(callback_url or "")
        self._reports_to = callback_url if token and settings.status_callbacks and reaches else None

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        # With its first client the SDK imports all of its API: a tenth of a second and more, in which the first code and
        # everybody else would wait.
        self._calls.append(await asyncio.to_thread(_Call, self._http, self.settings))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.__aexit__(None, None, None)

    async def deliver(self, envelope: Envelope) -> Receipt:
        """Create one message at Twilio. Raises ``DeliveryError``."""
        seconds = self.time_for(envelope)
        call = self._calls.pop() if self._calls else _Call(self._http, self.settings)
        try:
            return await self._created(call, seconds, self._fields(envelope))
        finally:
            self._calls.append(call)

    async def _created(self, call: _Call, seconds: float, fields: Mapping[str, Any]) -> Receipt:
        call.seconds = seconds
        failed: DeliveryError
        try:
            return self._receipt(await call.messages.create_async(**fields))
        except DeliveryError as error:
            failed = error
        except HttpError as error:
            failed = failure_of(error)
        except (TwilioRestException, TwilioServiceException) as error:
            failed = self._refused(error.code, call)
        except Exception:  # noqa: BLE001 - whatever the SDK makes of an answer it cannot read, the message may be out
            failed = AmbiguousError(Reason.UNKNOWN)
        # Raised outside the handlers: the SDK's exceptions hold the number, and a traceback would print them.
        raise failed

    def _fields(self, envelope: Envelope) -> dict[str, Any]:
        return {
            **self._fixed,
            "to": envelope.address,
            # A text for WebOTP ends with its last line: an empty one after it would hide the code.
            "body": envelope.parts["body.txt"].rstrip(),
            "validity_period": min(max(int(envelope.lifetime), 1), VALIDITY_MAX),
            "status_callback": self._status_callback(envelope),
        }

    def _status_callback(self, envelope: Envelope) -> Any:
        if self._reports_to is None:
            return unset
        return f"{self._reports_to}?attempt={quote(envelope.attempt_token, safe='')}"

    def _receipt(self, message: Any) -> Receipt:
        """Read the created message. Raises ``DeliveryError`` where it is already known to have failed."""
        if not isinstance(message.sid, str) or not message.sid or not isinstance(message.status, str):
            raise AmbiguousError(Reason.UNKNOWN)
        if _REPORTED.get(message.status) is ReportedStatus.UNDELIVERED:
            code = code_of(message.error_code)
            raise failure(code, self._meaning(code) or "permanent:rejected")
        return Receipt(provider_id=message.sid[:64], provider_code=message.status[:64])

    def _refused(self, given: object, call: _Call) -> DeliveryError:
        code = code_of(given)
        # The SDK puts the status in the place of a code that is missing.
        coded = code is not None and code != str(call.status)
        return failure(code, self._meaning(code) or by_status(call.status, coded=coded), retry_after=call.retry_after)

    async def examine(self) -> Sequence[Finding]:
        """Ask Twilio for the account and for what messages are sent from."""
        chosen = self.settings
        sent = Sent(
            base_url=chosen.base_url,
            account=chosen.account_sid,
            credentials=chosen.credentials(),
            sender=chosen.sender,
            service=chosen.messaging_service_sid,
        )
        async with HttpClient(timeout=chosen.timeout) as http:
            return [*await examine(http, sent, time.time), *self._of_reports()]

    def _of_reports(self) -> list[Finding]:
        if not self.settings.status_callbacks:
            return []
        if self.reports:
            return [ok("reports", "Twilio is asked to report what became of each message")]
        if self._validator is None:
            reason = "without auth_token none could be trusted; set it"
        elif self.callback_url is None:
            reason = "[server] public_url, where it would post that, is not set; set the one the world calls"
        else:
            reason = "[server] public_url is this machine's, where Twilio cannot post them; set the one the world calls"
        return [warning("reports", f"Twilio is not asked what became of a message: {reason}")]

    def _meaning(self, code: str | None) -> str | None:
        return None if code is None else self.settings.codes.get(code, CODES.get(code))

    @property
    def reports(self) -> bool:
        """Whether Twilio is asked to tell what became of a message."""
        return self._reports_to is not None

    def report(self, request: CallbackRequest) -> Report | None:
        """Read a status callback; ``None`` for a status on the way. Raises ``ForgedCallbackError``."""
        fields = self._verified(request)
        attempts = parse_qs(request.target.partition("?")[2]).get("attempt", [])
        status = _REPORTED.get(fields.get("MessageStatus", ""))
        if status is None or len(attempts) != 1:
            return None
        code = code_of(fields.get("ErrorCode"))
        reason = None
        if status is ReportedStatus.UNDELIVERED:
            reason = verdict(self._meaning(code) or "permanent:unknown")[1]
        return Report(
            attempt_token=attempts[0],
            status=status,
            provider_id=fields.get("MessageSid", "")[:64] or None,
            provider_code=(code or fields["MessageStatus"])[:64],
            reason=reason,
        )

    def _verified(self, request: CallbackRequest) -> dict[str, str]:
        """Return the form of a callback that is signed for this URL and account."""
        if self._validator is None or self.callback_url is None or request.method != "POST":
            raise ForgedCallbackError
        headers = {name.lower(): value for name, value in request.headers.items()}
        fields = _form(request.body)
        # The URL as Twilio was given it: what arrives here may have passed a proxy that changed scheme or host.
        query = request.target.partition("?")[2]
        signed = self._validator.validate(
            f"{self.callback_url}?{query}" if query else self.callback_url,
            fields,
            headers.get(SIGNATURE_HEADER.lower(), ""),
            get_signature_algorithm(headers.get(SIGNATURE_SETTINGS_HEADER.lower())),
        )
        if not signed or fields.get("AccountSid") != self.settings.account_sid:
            raise ForgedCallbackError
        return fields

    @classmethod
    def inspect(cls, parts: Mapping[str, str]) -> Inspection:
        """Count segments, and name the characters that double the price for nothing."""
        text = parts["body.txt"].rstrip()
        size = measure(text)
        faults = [f"U+{ord(c):04X} makes the text UCS-2; GSM-7 has a twin of it" for c in avoidable(text)]
        if size.count > 1:
            faults.append(f"takes {size.count} segments, each paid as one SMS")
        return Inspection(summary=str(size), faults=tuple(faults), segments=size.count)


def _is_here(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")


def _fixed_fields(settings: SmsSettings) -> dict[str, Any]:
    """Return the fields that are the same for every message."""
    return {
        "from_": settings.sender if settings.sender is not None else unset,
        "messaging_service_sid": settings.messaging_service_sid or unset,
        "content_retention": "discard" if settings.discard_content else unset,
        "address_retention": "obfuscate" if settings.obfuscate_address else unset,
        # The templates are linted for GSM-7 here; a text is sent as it was rendered.
        "smart_encoded": False,
    }


def _form(body: bytes) -> dict[str, str]:
    """Read a form whose names are all different. Raises ``ForgedCallbackError``."""
    if len(body) > CALLBACK_MAX:
        raise ForgedCallbackError
    try:
        # Blank values are signed like any other.
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=CALLBACK_FIELDS_MAX)
    except ValueError:
        raise ForgedCallbackError from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        # Twilio repeats no field; a reader that took the first and one that took the last would disagree.
        raise ForgedCallbackError
    return fields
