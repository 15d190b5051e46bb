"""The SMS channel: Twilio's Programmable Messaging, sent with its own SDK over this project's HTTP client."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, Self
from urllib.parse import parse_qs, parse_qsl, quote, urlencode, urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator
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
    PermanentError,
    Reason,
    Receipt,
    Report,
    ReportedStatus,
    TransientError,
    is_loopback,
)
from channels.http import AnswerLostError, BaseUrl, ConnectError, HttpClient, retry_after, silence
from channels.kinds import phone
from channels.segments import avoidable, measure

#: Loggers of the SDK: at INFO they print account and headers, at WARNING what a forger put into a header.
QUIET_LOGGERS: Final = ("twilio",)
#: Seconds a message may wait at Twilio (API reference, ``ValidityPeriod``: 1 to 36000).
VALIDITY_MAX: Final = 36_000
#: Form fields of one status callback that are read; Twilio sends about 20 and adds new ones unannounced.
CALLBACK_FIELDS_MAX: Final = 200
#: Digits of an error code; today's have five.
CODE_DIGITS_MAX: Final = 6

#: What a Twilio error code means: the kind of failure and its reason, in the notation of the ``codes`` setting.
#: Sources: twilio.com/docs/api/errors and /docs/messaging/guides/error-codes. Twilio splits codes over time,
#: so every code that is not here is judged by its HTTP status.
CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "20003": "permanent:misconfigured",  # authentication failed
        "21603": "permanent:misconfigured",  # a sender is required
        "21606": "permanent:misconfigured",  # the sender cannot send SMS
        "21609": "permanent:misconfigured",  # the status callback's URL is not valid
        "21659": "permanent:misconfigured",  # the sender is not one of the account's
        "21660": "permanent:misconfigured",  # sender and account do not match
        "21703": "permanent:misconfigured",  # the messaging service has no sender
        "30002": "permanent:misconfigured",  # account suspended
        "30034": "permanent:misconfigured",  # sender not registered for the United States
        "63007": "permanent:misconfigured",  # no channel with this sender
        "21408": "permanent:rejected",  # no permission for this region: others may still be served
        "21211": "permanent:invalid_recipient",
        "21612": "permanent:invalid_recipient",  # no route from this sender to this number
        "21614": "permanent:invalid_recipient",  # not a mobile number
        "21635": "permanent:invalid_recipient",  # a landline
        "30005": "permanent:invalid_recipient",  # unknown handset
        "30006": "permanent:invalid_recipient",  # landline or unreachable carrier
        "63003": "permanent:invalid_recipient",
        "63024": "permanent:invalid_recipient",
        "21610": "permanent:blocked",  # the person answered STOP
        "30004": "permanent:blocked",
        "30450": "permanent:blocked",  # held back as fraud for 15 to 30 minutes
        "30453": "permanent:blocked",  # held back as fraud for hours
        "30007": "permanent:rejected",  # filtered by a carrier
        "63016": "permanent:rejected",  # only a template may be sent
        "30036": "permanent:expired",  # the validity period ran out
        "20429": "transient:rate_limited",
        "21611": "transient:rate_limited",  # the sender's queue is full
        "30001": "transient:rate_limited",  # the account's queue is full
        "63018": "transient:rate_limited",
        "30410": "transient:unavailable",  # a carrier did not answer Twilio
        "30003": "transient:unreachable",  # handset off or out of reach
        "30008": "transient:unknown",
    }
)
_STATUSES: Final[Mapping[int, str]] = MappingProxyType(
    {
        401: "permanent:misconfigured",
        403: "permanent:misconfigured",
        404: "permanent:misconfigured",  # no such account, or a base_url that leads elsewhere
        429: "transient:rate_limited",
        503: "transient:unavailable",  # refused before anything was done; other 5xx may follow an acceptance
    }
)
_REPORTED: Final[Mapping[str, ReportedStatus]] = MappingProxyType(
    {
        "sent": ReportedStatus.SENT,
        "delivered": ReportedStatus.DELIVERED,
        "read": ReportedStatus.DELIVERED,
        "undelivered": ReportedStatus.UNDELIVERED,
        "failed": ReportedStatus.UNDELIVERED,
    }
)
_KINDS: Final[Mapping[str, type[DeliveryError]]] = MappingProxyType(
    {"transient": TransientError, "permanent": PermanentError, "ambiguous": AmbiguousError}
)


def _verdict(value: str) -> tuple[type[DeliveryError], Reason]:
    """Read ``kind:reason``. Raises ``ValueError``."""
    kind, _, reason = value.partition(":")
    if kind not in _KINDS or reason not in list(Reason):
        raise ValueError("a code means kind:reason, such as transient:unreachable")
    return _KINDS[kind], Reason(reason)


def _checked(codes: dict[str, str]) -> dict[str, str]:
    for code, value in codes.items():
        if not (code.isascii() and code.isdigit()):
            raise ValueError("a Twilio error code is a number, such as 30003")
        _verdict(value)
    return codes


class SmsSettings(ChannelSettings):
    """``[channels.sms]``: an account, how to authenticate, and what to send from."""

    account_sid: str = Field(pattern=r"^AC[0-9A-Za-z]+$")
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
    codes: Annotated[dict[str, str], AfterValidator(_checked)] = Field(default_factory=dict)

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
    """One request of the SDK, made with our client; keeps of the answer only what the SDK's exceptions lose.

    The SDK's own client waits forever, logs every header and keeps the last message's text in memory.
    """

    def __init__(self, http: HttpClient) -> None:
        super().__init__(logger=None, is_async=True)
        self._http = http
        self.status = 0
        self.retry_after: float | None = None

    async def request(
        self,
        method: str,
        uri: str,
        params: Mapping[str, object] | None = None,  # noqa: ARG002 - the SDK's signature
        data: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - the client has the channel's
        allow_redirects: bool = False,  # noqa: ARG002 - redirects are never followed
    ) -> Response:
        fields = dict(headers or {})
        if auth is not None:
            fields["Authorization"] = "Basic " + base64.b64encode(":".join(auth).encode()).decode()
        answer = await self._http.request(method, uri, headers=fields, data=urlencode(data or {}).encode())
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
        token = settings.auth_token.get_secret_value() if settings.auth_token else None
        self._validator = RequestValidator(token) if token else None
        self._fixed = _fixed_fields(settings)
        # Twilio refuses a message whose callback URL it cannot reach (21609); a stand-in on this machine reaches it.
        reaches = _is_here(settings.base_url) or not _is_here(callback_url or "")
        self._reports_to = callback_url if token and settings.status_callbacks and reaches else None

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.__aexit__(None, None, None)

    async def deliver(self, envelope: Envelope) -> Receipt:
        """Create one message at Twilio. Raises ``DeliveryError``."""
        call = _Call(self._http)
        client = self._client(call)
        fields = self._fields(envelope)
        failure: DeliveryError
        try:
            return self._receipt(await client.messages.create_async(**fields))
        except DeliveryError as error:
            failure = error
        except ConnectError:
            failure = TransientError(Reason.UNAVAILABLE)
        except AnswerLostError as error:
            failure = AmbiguousError(Reason.TIMEOUT if error.timed_out else Reason.UNAVAILABLE)
        except (TwilioRestException, TwilioServiceException) as error:
            failure = self._refused(error.code, call)
        except Exception:  # noqa: BLE001 - whatever the SDK makes of an answer it cannot read, the message may be out
            failure = AmbiguousError(Reason.UNKNOWN)
        # Raised outside the handlers: the SDK's exceptions hold the number, and a traceback would print them.
        raise failure

    def _client(self, call: _Call) -> Client:
        user, password = self.settings.credentials()
        client = Client(
            user,
            password,
            account_sid=self.settings.account_sid,
            http_client=call,
            # Not the process's environment, whose TWILIO_EDGE and TWILIO_REGION would rewrite the host.
            environment={"TWILIO_EDGE": ""},
        )
        client.api.base_url = self.settings.base_url
        return client

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
            raise self._failure(message.error_code, "permanent:rejected")
        return Receipt(provider_id=message.sid[:64], provider_code=message.status[:64])

    def _refused(self, code: object, call: _Call) -> DeliveryError:
        return self._failure(code, _by_status(call.status), call.retry_after)

    def _failure(self, code: object, default: str, wait: float | None = None) -> DeliveryError:
        provider_code = _code(code)
        kind, reason = _verdict(self._meaning(provider_code) or default)
        if kind is TransientError:
            # Twilio's limits are the account's or the sender's, never a recipient's.
            return TransientError(
                reason,
                retry_after=wait,
                whole_channel=reason is Reason.RATE_LIMITED,
                provider_code=provider_code,
            )
        return kind(reason, provider_code=provider_code)

    def _meaning(self, code: str | None) -> str | None:
        return None if code is None else self.settings.codes.get(code, CODES.get(code))

    def report(self, request: CallbackRequest) -> Report | None:
        """Read a status callback; ``None`` for a status on the way. Raises ``ForgedCallbackError``."""
        fields = self._verified(request)
        attempts = parse_qs(request.target.partition("?")[2]).get("attempt", [])
        status = _REPORTED.get(fields.get("MessageStatus", ""))
        if status is None or len(attempts) != 1:
            return None
        code = _code(fields.get("ErrorCode"))
        reason = None
        if status is ReportedStatus.UNDELIVERED:
            reason = _verdict(self._meaning(code) or "permanent:unknown")[1]
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
        return Inspection(summary=str(size), faults=tuple(faults))


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


def _code(value: object) -> str | None:
    """Return an error code as text; anything longer than a code is none, for it could hold a number or a text."""
    text = str(value)
    return text if text.isascii() and text.isdigit() and len(text) <= CODE_DIGITS_MAX else None


def _by_status(status: int) -> str:
    if status >= 500:
        return _STATUSES.get(status, "ambiguous:unavailable")
    # A redirect is followed nowhere, so its base_url is wrong; any other 4xx is about this message.
    return _STATUSES.get(status, "permanent:misconfigured" if status < 400 else "permanent:rejected")


def _form(body: bytes) -> dict[str, str]:
    """Read a form whose names are all different. Raises ``ForgedCallbackError``."""
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
