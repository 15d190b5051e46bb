"""What Twilio says of an account, its credentials and its sender, asked for ``otp-gateway doctor``. Nothing is sent.

https://www.twilio.com/docs/iam/api/account, /docs/phone-numbers/api/incomingphonenumber-resource,
/docs/messaging/api/short-code-resource and /docs/messaging/api/service-resource
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from channels.findings import Finding, fault, ok, warning
from channels.http import HttpClient, HttpError
from channels.http_asking import Heard, Now, ask, clocks, unheard

#: The hosts of Twilio's, ``<product>[.<edge>.<region>].twilio.com`` (https://www.twilio.com/docs/global-infrastructure).
_TWILIOS_API: Final = re.compile(r"api(\.[a-z0-9-]+){0,2}\.twilio\.com", re.IGNORECASE)
#: What a messaging service may send from; any one of them will do.
_SENDERS: Final = ("PhoneNumbers", "ShortCodes", "AlphaSenders", "DestinationAlphaSenders")
#: Twilio's code for what test credentials may not do; they send nothing at all.
_TEST_CREDENTIALS: Final = 20008

_CREDENTIALS: Final = "credentials"
_SENDER: Final = "sender"
_STRANGE: Final = "the answer is none of Twilio's; base_url leads elsewhere"
_LIMITED: Final = "Twilio asks for fewer requests; ask again later"
_REFUSED: Final = "these credentials may not look it up; whether it can send shows with the first message"


@dataclass(frozen=True, slots=True)
class Sent:
    """What messages are sent as: the account, how it authenticates, and one of a number and a messaging service."""

    #: ``https://api.twilio.com``, one of its edges and regions, or a server in its place.
    base_url: str
    account: str
    #: User name and password of a call.
    credentials: tuple[str, str] = field(repr=False)
    #: A number in E.164, a short code or a name; ``None`` where a service chooses.
    sender: str | None
    #: The messaging service.
    service: str | None

    @property
    def by_api_key(self) -> bool:
        """Whether calls are made with an API key, which may not read the account unless it is a main one."""
        return self.credentials[0] != self.account


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a sort of sender is looked up."""

    what: str
    #: The list below the account, and the parameter that asks for one of it.
    path: str
    query: str
    #: Where the answer has them, and each has itself.
    records: str
    key: str


_NUMBER: Final = _Kind("number", "IncomingPhoneNumbers.json", "PhoneNumber", "incoming_phone_numbers", "phone_number")
_SHORT_CODE: Final = _Kind("short code", "SMS/ShortCodes.json", "ShortCode", "short_codes", "short_code")


def messaging_url(base_url: str) -> str:
    """Return where the Messaging API is: a host of its own at Twilio, in the same edge and region; else the same server."""
    parts = urlsplit(base_url)
    if not _TWILIOS_API.fullmatch(parts.hostname or ""):
        return base_url
    return parts._replace(netloc=f"messaging{parts.netloc[len('api') :]}").geturl()


async def examine(http: HttpClient, sent: Sent, now: Now) -> list[Finding]:
    """Return what Twilio says of the account and of what messages are sent from."""
    return await _Examination(http, sent, now).findings()


class _Examination:
    """The questions to one account."""

    def __init__(self, http: HttpClient, sent: Sent, now: Now) -> None:
        self._http = http
        self._sent = sent
        self._now = now
        self._answers: list[Heard] = []
        basic = base64.b64encode(":".join(sent.credentials).encode()).decode()
        self._headers = {"Authorization": f"Basic {basic}", "Accept": "application/json"}
        self._account = f"{sent.base_url}/2010-04-01/Accounts/{sent.account}"

    async def findings(self) -> list[Finding]:
        try:
            account = await self._ask(f"{self._account}.json")
        except HttpError as error:
            return [unheard(_CREDENTIALS, error)]
        if account.status == 401 and not self._sent.by_api_key:
            return [_of_account(account, self._sent, known=False)]
        # What a standard API key may not read of the account is shown by what it may look up.
        sender, known = await self._sender()
        return [_of_account(account, self._sent, known=known), *sender, *clocks(self._answers, "Twilio")]

    async def _ask(self, url: str, **query: object) -> Heard:
        heard = await ask(
            self._http, f"{url}?{urlencode(query)}" if query else url, headers=self._headers, now=self._now
        )
        self._answers.append(heard)
        return heard

    async def _sender(self) -> tuple[list[Finding], bool]:
        """Return what there is to say of the sender, and whether the credentials were good for a look at it."""
        try:
            if self._sent.service is not None:
                return await self._of_service(f"{messaging_url(self._sent.base_url)}/v1/Services/{self._sent.service}")
            return await self._of_number(self._sent.sender or "")
        except HttpError as error:
            return [unheard(_SENDER, error)], False

    async def _of_number(self, sender: str) -> tuple[list[Finding], bool]:
        kind = _NUMBER if sender.startswith("+") else _SHORT_CODE if sender.isdecimal() else None
        if kind is None:
            told = "a name, which Twilio cannot be asked about; whether a country takes it shows with the first message"
            # Something else must show whether a standard API key is good.
            listed = await self._ask(f"{self._account}/{_NUMBER.path}", PageSize=1) if self._sent.by_api_key else None
            return [ok(_SENDER, told)], listed is not None and listed.status == 200
        heard = await self._ask(f"{self._account}/{kind.path}", **{kind.query: sender})
        if heard.status != 200:
            return _not_seen(heard)
        found = heard.body.get(kind.records)
        if not isinstance(found, list):
            return [fault(_SENDER, _STRANGE)], False
        own = [item for item in found if isinstance(item, dict) and item.get(kind.key) == sender]
        return [_of_own(own, kind.what)], True

    async def _of_service(self, url: str) -> tuple[list[Finding], bool]:
        service = await self._ask(url)
        if service.status == 404:
            told = "there is no such messaging service; check messaging_service_sid and that it is this account's"
            return [fault(_SENDER, told)], True
        if service.status != 200:
            return _not_seen(service)
        if service.body.get("sid") != self._sent.service:
            return [fault(_SENDER, _STRANGE)], False
        pools = await asyncio.gather(*(self._ask(f"{url}/{pool}", PageSize=1) for pool in _SENDERS))
        if any(map(_holds_something, pools)):
            return [ok(_SENDER, "the messaging service has senders")], True
        if all(pool.status == 200 for pool in pools):
            return [fault(_SENDER, "the messaging service has no senders; add one to its sender pool")], True
        return [warning(_SENDER, "the messaging service is there, and its senders cannot be looked up")], True


def _of_account(heard: Heard, sent: Sent, *, known: bool) -> Finding:
    if heard.status in {401, 403} and sent.by_api_key and known:
        return ok(
            _CREDENTIALS, "the API key works; it may not read the account, so whether that is active is not known"
        )
    if heard.status != 200:
        return _refusal(heard, sent)
    if heard.body.get("sid") != sent.account:
        return fault(_CREDENTIALS, _STRANGE)
    if heard.body.get("status") != "active":
        return fault(_CREDENTIALS, "they are right, and the account is suspended or closed; see Twilio's console")
    if heard.body.get("type") == "Trial":
        told = "they work, and a trial account reaches only numbers its owner has verified; upgrade it"
        return warning(_CREDENTIALS, told)
    return ok(_CREDENTIALS, "they work, and the account is active")


def _refusal(heard: Heard, sent: Sent) -> Finding:
    key = "api_key_sid and api_key_secret" if sent.by_api_key else "account_sid and auth_token"
    if heard.body.get("code") == _TEST_CREDENTIALS:
        return fault(_CREDENTIALS, "they are test credentials, with which Twilio sends nothing; set the account's own")
    if heard.status == 401:
        return fault(_CREDENTIALS, f"refused; check {key}")
    if heard.limited:
        return warning(_CREDENTIALS, _LIMITED)
    if heard.down:
        return fault(_CREDENTIALS, f"Twilio has a fault of its own (HTTP {heard.status}); look at its status page")
    if "code" not in heard.body:
        return fault(_CREDENTIALS, _STRANGE)
    return fault(_CREDENTIALS, f"refused (HTTP {heard.status}); check {key} and that the account is not closed")


def _not_seen(heard: Heard) -> tuple[list[Finding], bool]:
    """Return what an answer means that tells nothing of the sender."""
    if heard.limited:
        return [warning(_SENDER, _LIMITED)], True
    if heard.down:
        return [fault(_SENDER, f"Twilio has a fault of its own (HTTP {heard.status}); ask again later")], False
    # Whether the credentials are good at all is told of them.
    return [warning(_SENDER, _REFUSED)], False


def _of_own(own: list[dict[str, Any]], what: str) -> Finding:
    if not own:
        return fault(_SENDER, f"the {what} in from is none of this account's; Twilio will refuse every message (21606)")
    if _capable(own[0]):
        return ok(_SENDER, f"the {what} in from is this account's and can send SMS")
    return fault(_SENDER, f"the {what} in from is this account's and cannot send SMS; take one that can")


def _capable(record: Mapping[str, Any]) -> bool:
    """Tell whether a number sends SMS; a short code always does, and has no list of what it can."""
    can = record.get("capabilities")
    return not isinstance(can, dict) or any(value is True for name, value in can.items() if name.lower() == "sms")


def _holds_something(page: Heard) -> bool:
    meta = page.body.get("meta")
    key = meta.get("key") if isinstance(meta, dict) else None
    return page.status == 200 and bool(page.body.get(key) if isinstance(key, str) else None)
