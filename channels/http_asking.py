"""Questions of an examination over HTTP: an answer's JSON, the provider's clock, and why there was no answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from channels.findings import Finding, clock_finding, fault
from channels.http import AnswerLostError, ConnectError, HttpClient, HttpError, WrongServerError, http_date

#: Where the time comes from: seconds since the Unix epoch.
Now = Callable[[], float]

#: Why there was no answer, and what to do. Matched by class, a time that was up on its own.
_WRONG_SERVER: Final = (
    "base_url leads to no server that proves to be the one meant; check base_url, a proxy between, and the certificate "
    "authorities this machine trusts"
)
_NO_TIME_TO_CONNECT: Final = "no connection in time; check base_url and a firewall between"
_NO_CONNECTION: Final = "no connection; check base_url, this machine's DNS and its network"
_NO_ANSWER: Final = "connected, and not answered in time; look at the provider's status page and ask again"
_BROKEN: Final = "connected, and the answer broke off; look at the provider's status page and ask again"


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer."""

    status: int
    #: The JSON object it holds; empty where it holds none.
    body: Mapping[str, Any] = field(repr=False)
    #: Seconds by which this machine's clock is ahead of the server's, ``None`` where that did not tell the time.
    ahead: float | None = None

    @property
    def limited(self) -> bool:
        """Whether it asks for fewer requests."""
        return self.status == 429

    @property
    def down(self) -> bool:
        """Whether it tells of a fault of the server's own."""
        return self.status >= 500


async def ask(http: HttpClient, url: str, *, headers: Mapping[str, str] | None, now: Now) -> Heard:
    """Send one GET and return its answer, whatever its status. Raises ``HttpError``."""
    before = now()
    answer = await http.request("GET", url, headers=headers)
    date = http_date(answer.headers.get("date", ""))
    # It says whole seconds, cut off: half of one is the best guess; so is the half of the time the call took.
    ahead = None if date is None else (before + now()) / 2 - (date + 0.5)
    return Heard(answer.status, _object(answer.body), ahead)


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def unheard(subject: str, error: HttpError) -> Finding:
    """Return what it means that there was no answer."""
    if isinstance(error, WrongServerError):
        return fault(subject, _WRONG_SERVER)
    if isinstance(error, ConnectError):
        return fault(subject, _NO_TIME_TO_CONNECT if error.timed_out else _NO_CONNECTION)
    timed_out = isinstance(error, AnswerLostError) and error.timed_out
    return fault(subject, _NO_ANSWER if timed_out else _BROKEN)


def clocks(answers: Iterable[Heard], other: str) -> list[Finding]:
    """Return what the first answer that told the time says of this machine's clock; nothing where none did."""
    ahead = next((heard.ahead for heard in answers if heard.ahead is not None), None)
    return [] if ahead is None else [clock_finding(ahead, other)]
