"""What Twilio's error codes and HTTP statuses mean for a message: the table, and how the settings may change it.

A refusal stops the whole channel where it means ``misconfigured``. It may mean that only where every message of the
channel would meet it: the account, its credentials, the sender itself. One that depends on where a message goes (a
country that is not enabled, a sender that cannot reach one network) is that message's alone, or one person's number
would stop the codes of all others. Where Twilio's page of a code names both, it is the message's.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from channels.base import AmbiguousError, DeliveryError, PermanentError, Reason, TransientError

#: Digits of an error code; today's have five.
CODE_DIGITS_MAX: Final = 6

#: What a Twilio error code means: the kind of failure and its reason, in the notation of the ``codes`` setting.
#: Sources: twilio.com/docs/api/errors/<code> and /docs/messaging/guides/error-codes. Twilio splits codes over time,
#: so every code that is not here is judged by its HTTP status.
CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        # The account: every message fails.
        "10001": "permanent:misconfigured",  # the account is not active
        "20003": "permanent:misconfigured",  # authentication failed
        "20403": "permanent:misconfigured",  # no permission for the API: suspended or closed
        "20404": "permanent:misconfigured",  # no such account
        "30002": "permanent:misconfigured",  # suspended after the message was queued
        "90010": "permanent:misconfigured",  # the account is not active
        # The sender itself: every message fails.
        "21601": "permanent:misconfigured",  # the sender is no number of the account's
        "21603": "permanent:misconfigured",  # a sender is required
        "21609": "permanent:misconfigured",  # the status callback's URL is not valid
        "21660": "permanent:misconfigured",  # the sender is another account's
        "21661": "permanent:misconfigured",  # the sender cannot send SMS
        "63007": "permanent:misconfigured",  # no channel with this sender
        # The sender and this destination: others may be reached.
        "21408": "permanent:rejected",  # the destination's country is not enabled (geo permissions)
        "21606": "permanent:rejected",  # no sender "for this destination/account": a short code of another country, too
        "21657": "permanent:rejected",  # the destination does not support this sender id
        "21659": "permanent:rejected",  # not a number of Twilio's, or a short code of another country
        "21703": "permanent:rejected",  # the messaging service has no number for this message
        "30032": "permanent:rejected",  # a toll-free number that is not verified, to the United States or Canada
        "30034": "permanent:rejected",  # a sender not registered for the United States, to there
        # A trial account reaches the numbers its owner has verified.
        "21219": "permanent:rejected",
        "21608": "permanent:rejected",
        # The recipient.
        "21211": "permanent:invalid_recipient",
        "21265": "permanent:invalid_recipient",  # a short code
        "21266": "permanent:invalid_recipient",  # the sender's own number
        "21268": "permanent:invalid_recipient",  # a premium-rate number
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
        # Later.
        "14107": "transient:rate_limited",  # too many messages from this sender to this number
        "20429": "transient:rate_limited",
        "21611": "transient:rate_limited",  # the sender's queue is full
        "30001": "transient:rate_limited",  # the account's queue is full
        "63018": "transient:rate_limited",
        "30410": "transient:unavailable",  # a carrier did not answer Twilio
        "30003": "transient:unreachable",  # handset off or out of reach
        "30008": "transient:unknown",
    }
)
#: Limits of one recipient; every other limit is the account's or the sender's, and so the whole channel's.
RECIPIENT_LIMITS: Final = frozenset({"14107"})

#: What an answer means whose code is unknown.
_STATUSES: Final[Mapping[int, str]] = MappingProxyType(
    {
        401: "permanent:misconfigured",
        408: "transient:unavailable",  # the server did not get the whole request (RFC 9110 15.5.9)
        429: "transient:rate_limited",
        503: "transient:unavailable",  # refused before anything was done; other 5xx may follow an acceptance
    }
)
#: The same of an answer with no code at all, which something else than Twilio's API gave.
_STRANGE_STATUSES: Final[Mapping[int, str]] = MappingProxyType(
    {
        403: "permanent:misconfigured",  # a proxy that lets nothing through
        404: "permanent:misconfigured",  # a base_url that leads elsewhere
    }
)
_KINDS: Final[Mapping[str, type[DeliveryError]]] = MappingProxyType(
    {"transient": TransientError, "permanent": PermanentError, "ambiguous": AmbiguousError}
)


def verdict(value: str) -> tuple[type[DeliveryError], Reason]:
    """Read ``kind:reason``. Raises ``ValueError``."""
    kind, _, reason = value.partition(":")
    if kind not in _KINDS or reason not in list(Reason):
        raise ValueError("a code means kind:reason, such as transient:unreachable")
    return _KINDS[kind], Reason(reason)


def checked(codes: dict[str, str]) -> dict[str, str]:
    """Return what a setting says of codes. Raises ``ValueError`` where it cannot be read."""
    for code, value in codes.items():
        if not (code.isascii() and code.isdigit()):
            raise ValueError("a Twilio error code is a number, such as 30003")
        verdict(value)
    return codes


def code_of(value: object) -> str | None:
    """Return an error code as text; anything longer than a code is none, for it could hold a number or a text."""
    text = str(value)
    return text if text.isascii() and text.isdigit() and len(text) <= CODE_DIGITS_MAX else None


def by_status(status: int, *, coded: bool) -> str:
    """Return what an answer means by its HTTP status. ``coded`` says whether it has a code, though an unknown one."""
    if status in _STATUSES:
        return _STATUSES[status]
    if status >= 500:
        return "ambiguous:unavailable"
    if status < 400:
        # A redirect is followed nowhere, so its base_url is wrong.
        return "permanent:misconfigured"
    # About this message, as far as anybody knows: Twilio has codes that are newer than the table.
    return "permanent:rejected" if coded else _STRANGE_STATUSES.get(status, "permanent:rejected")


def failure(code: str | None, meaning: str, *, retry_after: float | None = None) -> DeliveryError:
    """Return the failure a code's ``kind:reason`` says; ``retry_after`` is in seconds."""
    kind, reason = verdict(meaning)
    if kind is TransientError:
        whole = reason is Reason.RATE_LIMITED and code not in RECIPIENT_LIMITS
        return TransientError(reason, retry_after=retry_after, whole_channel=whole, provider_code=code)
    return kind(reason, provider_code=code)
