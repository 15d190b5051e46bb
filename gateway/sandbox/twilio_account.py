"""What the sandbox's Twilio account is and owns: its status, its numbers and short codes, its messaging services.

https://www.twilio.com/docs/iam/api/account, /docs/phone-numbers/api/incomingphonenumber-resource,
/docs/messaging/api/short-code-resource and /docs/messaging/api/service-resource
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: The pools of a messaging service: the last part of its path, and what one sender of it has.
POOLS: Mapping[str, str] = {
    "PhoneNumbers": "phone_number",
    "ShortCodes": "short_code",
    "AlphaSenders": "alpha_sender",
    "DestinationAlphaSenders": "alpha_sender",
}

Json = dict[str, Any]


@dataclass(slots=True)
class TwilioAccount:
    """The account's state, to be changed by whoever plays Twilio."""

    sid: str
    #: ``active``, ``suspended`` or ``closed``.
    status: str = "active"
    #: ``Full`` or ``Trial``.
    type: str = "Full"
    #: The numbers it owns and whether each sends SMS; ``None``: every one that is asked for, and it does.
    numbers: Mapping[str, bool] | None = None
    #: The short codes it owns; ``None``: every one that is asked for.
    short_codes: frozenset[str] | None = None
    #: Its messaging services and the senders in their pools; ``None``: every one that is asked for, with a number.
    services: Mapping[str, Mapping[str, tuple[str, ...]]] | None = None
    #: Standard API keys and their secrets: they may do everything but read the account.
    api_keys: dict[str, str] = field(default_factory=dict, repr=False)

    def resource(self) -> Json:
        """Return the Account resource."""
        return {"sid": self.sid, "friendly_name": "Sandbox", "status": self.status, "type": self.type}

    def found_numbers(self, asked: str) -> Json:
        """Return the page of numbers that are ``asked`` for."""
        owned = {asked: True} if self.numbers is None else self.numbers
        found = [
            {"phone_number": number, "capabilities": {"voice": True, "sms": sends, "mms": False}}
            for number, sends in owned.items()
            if number == asked
        ]
        return {"incoming_phone_numbers": found, "page": 0, "page_size": 50}

    def found_short_codes(self, asked: str) -> Json:
        """Return the page of short codes that are ``asked`` for."""
        owned = self.short_codes is None or asked in self.short_codes
        return {"short_codes": [{"short_code": asked}] if owned else [], "page": 0, "page_size": 50}

    def service(self, sid: str) -> Json | None:
        """Return the Service resource, ``None`` where there is none."""
        if self.services is not None and sid not in self.services:
            return None
        return {"sid": sid, "account_sid": self.sid, "friendly_name": "Sandbox"}

    def pool(self, sid: str, name: str) -> Json | None:
        """Return one pool of a service, ``None`` where there is no such service or pool."""
        if self.service(sid) is None or name not in POOLS:
            return None
        pools = {"PhoneNumbers": ("+15005550006",)} if self.services is None else self.services[sid]
        key = "alpha_senders" if "Alpha" in name else f"{POOLS[name]}s"
        return {key: [{POOLS[name]: sender} for sender in pools.get(name, ())], "meta": {"key": key, "page": 0}}
