"""What Twilio refuses and how it says so (https://www.twilio.com/docs/api/errors)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import JSONResponse, Response

#: UTF-16 units of a message's body.
MAX_BODY = 1600
#: Seconds a message may wait at Twilio.
VALIDITY = range(1, 36_001)

_E164 = re.compile(r"(?:whatsapp:)?\+[1-9]\d{6,14}")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as Twilio's API answers it."""

    status: int
    code: int
    message: str

    def response(self, headers: Mapping[str, str] | None = None) -> Response:
        """Return the HTTP answer."""
        content = {
            "code": self.code,
            "message": self.message,
            "more_info": f"https://www.twilio.com/docs/errors/{self.code}",
            "status": self.status,
        }
        return JSONResponse(content, self.status, headers)


UNAUTHORIZED = Refusal(401, 20003, "Authenticate")
TOO_MANY_REQUESTS = Refusal(429, 20429, "Too Many Requests")
UNAVAILABLE = Refusal(503, 20503, "Service Unavailable")

#: Recipients that always fail, as with Twilio's test credentials.
MAGIC = {
    "+15005550001": (21211, "Invalid 'To' Phone Number: {}"),
    "+15005550002": (21612, "The 'To' phone number: {}, is not currently reachable using the 'From' phone number"),
    "+15005550003": (21408, "Permission to send an SMS has not been enabled for the region of {}"),
    "+15005550004": (21610, "Attempt to send to unsubscribed recipient {}"),
    "+15005550009": (21614, "To number: {}, is not a mobile number"),
}


def not_found(path: str) -> Refusal:
    """Return the error of a resource that is not there."""
    return Refusal(404, 20404, f"The requested resource {path} was not found")


def invalid_recipient(to: str) -> Refusal:
    """Return the error of a number that cannot exist. Twilio repeats the number; a client must not log it."""
    return Refusal(400, 21211, f"Invalid 'To' Phone Number: {to}")


def refusal(fields: Mapping[str, str]) -> Refusal | None:
    """Return what is wrong with the parameters of a new message, ``None`` where nothing is."""
    missing = _missing(fields)
    if missing is not None:
        return missing
    to = fields["To"]
    if not _E164.fullmatch(to):
        return invalid_recipient(to)
    if to in MAGIC:
        code, message = MAGIC[to]
        return Refusal(400, code, message.format(to))
    if len(fields["Body"].encode("utf-16-le", "surrogatepass")) > 2 * MAX_BODY:
        return Refusal(400, 21617, f"The concatenated message body exceeds the {MAX_BODY} character limit")
    return _refused_validity(fields.get("ValidityPeriod"))


def _missing(fields: Mapping[str, str]) -> Refusal | None:
    if not fields.get("To"):
        return Refusal(400, 21604, "A 'To' phone number is required.")
    if not fields.get("From") and not fields.get("MessagingServiceSid"):
        return Refusal(400, 21603, "A 'From' phone number is required.")
    if not fields.get("Body"):
        return Refusal(400, 21602, "Message body is required.")
    return None


def _refused_validity(value: str | None) -> Refusal | None:
    if value is None or (value.isdecimal() and len(value) <= 5 and int(value) in VALIDITY):
        return None
    return Refusal(400, 21624, "Invalid validity period value")
