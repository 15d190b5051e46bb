"""What a mail server's answer means: a table over how far the transaction came, the basic and the enhanced code.

RFC 5321 gives the first digit its meaning, RFC 3463 the enhanced code. ``misconfigured`` stops the whole channel, so it is
said only of what every mail would meet: our login, our sender, this machine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from channels.base import AmbiguousError, DeliveryError, PermanentError, Reason, TransientError
from channels.smtp import Phase

_ENHANCED: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?!\d)", re.ASCII)

#: Seconds until a mail that a server will not take now may be tried again. Greylisting wants a minute at the least (RFC
#: 6647 5), and no mailbox empties sooner. Longer than a route waits for one channel: another one takes over at once.
LATER: Final = 60.0
#: Seconds until an account over its daily quota is asked again.
QUOTA: Final = 3_600.0

_ANYWHERE: Final = frozenset(Phase)
_OURS: Final = frozenset({Phase.OURS})
_CONTENT: Final = frozenset({Phase.DATA, Phase.CONTENT})


@dataclass(frozen=True, slots=True)
class _Row:
    """One row: the first whose phase and pattern fit decides."""

    phases: frozenset[Phase]
    #: Over ``550 5.1.1``, or ``550`` where the server gave no enhanced code.
    pattern: re.Pattern[str]
    kind: type[TransientError | PermanentError]
    reason: Reason
    #: Seconds to wait, and whether everybody waits.
    wait: float | None = None
    whole: bool = False

    def failure(self, answer: str) -> DeliveryError:
        if self.kind is TransientError:
            return TransientError(self.reason, retry_after=self.wait, whole_channel=self.whole, provider_code=answer)
        return PermanentError(self.reason, provider_code=answer)


def _transient(
    pattern: str,
    reason: Reason,
    wait: float | None = None,
    *,
    whole: bool = False,
    phases: frozenset[Phase] = _ANYWHERE,
) -> _Row:
    return _Row(phases, re.compile(pattern), TransientError, reason, wait, whole)


def _permanent(pattern: str, reason: Reason, phases: frozenset[Phase] = _ANYWHERE) -> _Row:
    return _Row(phases, re.compile(pattern), PermanentError, reason)


_TABLE: Final = (
    # An account's daily quota (Gmail's 550 5.4.5): a 5xx by its digit, and over by itself.
    _transient(r"5\d\d 5\.4\.5", Reason.RATE_LIMITED, QUOTA, whole=True),
    # Our credentials (RFC 4954 6, RFC 4422), our sender (RFC 3463 X.1.7, X.1.8), our SPF, DKIM and DNS (RFC 7372,
    # RFC 7505): every mail of the channel would fail.
    _permanent(r"(530|534|535|538)\b.*|5\d\d 5\.(7\.(8|9|11|2[0-7])|1\.[78])", Reason.MISCONFIGURED),
    # Connecting, logging in, MAIL: nobody has been named yet.
    _permanent(r"5.*", Reason.MISCONFIGURED, _OURS),
    _permanent(r"5\d\d 5\.2\.2", Reason.UNREACHABLE),
    _permanent(r"552", Reason.UNREACHABLE, frozenset({Phase.RECIPIENT})),
    _permanent(r"5\d\d 5\.(1\.\d+|2\.[01])", Reason.INVALID_RECIPIENT),
    _permanent(r"5.*", Reason.REJECTED, _CONTENT),
    # No such domain (5.4.4, Exchange's 5.4.310), or one that takes no mail (556, RFC 7504).
    _permanent(r"5\d\d 5\.4\.(1|4|310)|55[0136]", Reason.INVALID_RECIPIENT),
    _permanent(r"5\d\d 5\.7\.\d+", Reason.BLOCKED),
    _permanent(r"5.*", Reason.REJECTED),
    # 4.2.1 is what large providers say when one mailbox is written to too often, 4.7.28 and Exchange's 4.7.500 to 699
    # when one sender writes too often; Amazon's 454, after the login, that the account sends too fast.
    _transient(r"4\d\d 4\.(2\.1|7\.28|7\.[56]\d\d)", Reason.RATE_LIMITED),
    _transient(r"454", Reason.RATE_LIMITED, phases=_ANYWHERE - _OURS),
    # Greylisting: RFC 6647 5 says 4.7.1, Postgrey 4.2.0.
    _transient(r"4\d\d 4\.(7\.1|2\.0)", Reason.UNREACHABLE, LATER),
    # A full mailbox.
    _transient(r"4\d\d 4\.2\.2", Reason.UNREACHABLE, LATER),
    _transient(r"4\d\d 4\.2\.\d+|450", Reason.UNREACHABLE),
    # A domain whose name servers do not answer (Postfix's 450 4.1.2), an address that is yet to be verified (450 4.1.1),
    # a next server that is not reached (Exim says 451 and no more): whoever gives such addresses must not open the
    # channel's breaker for all others.
    _transient(r"4(?!21)\d\d 4\.[14]\.\d+|451", Reason.UNREACHABLE, phases=frozenset({Phase.RECIPIENT})),
    _transient(r"4.*", Reason.UNAVAILABLE),
)
#: What a server says at MAIL that cannot name a mailbox beyond ASCII (RFC 6531 3.5): about this recipient alone.
_ASCII_ONLY: Final = re.compile(r"5\d\d 5\.6\.7|501|504|553|555")


def answer_code(code: int, text: str) -> str:
    """Return the codes of an answer, ``550 5.1.1``; nothing else of it, for its text may repeat the address."""
    enhanced = _ENHANCED.match(text)
    return f"{code} {enhanced[0]}" if enhanced else str(code)


def refusal(phase: Phase, code: int, text: str, *, ascii_only: bool = True) -> DeliveryError:
    """Return what an answer other than an acceptance means.

    ``ascii_only`` is whether the recipient's address is plain ASCII.
    """
    answer = answer_code(code, text)
    if phase is Phase.OURS and not ascii_only and _ASCII_ONLY.fullmatch(answer):
        return PermanentError(Reason.INVALID_RECIPIENT, provider_code=answer)
    for row in _TABLE:
        if phase in row.phases and row.pattern.fullmatch(answer):
            return row.failure(answer)
    # No answer that may come here (RFC 5321 4.2.1): the server is out of step.
    return AmbiguousError(Reason.UNKNOWN) if phase is Phase.CONTENT else TransientError(Reason.UNAVAILABLE)


#: Why a mail was not delivered, by the status of a later report (RFC 3463); first match wins. Never ``misconfigured``:
#: one receiver's opinion of our sender is no reason to stop writing to the others.
_REPORTED: Final = (
    (re.compile(r"\d\.2\.2|\d\.4\.7|4\..*"), Reason.UNREACHABLE),
    (re.compile(r"5\.1\.[78]|5\.2\.3"), Reason.REJECTED),
    (re.compile(r"5\.(1\.\d+|2\.[01]|4\.(1|4|310))"), Reason.INVALID_RECIPIENT),
    (re.compile(r"5\.7\.\d+"), Reason.BLOCKED),
    (re.compile(r"5\.[1-6]\.\d+"), Reason.REJECTED),
)


def reported_reason(status: str) -> Reason:
    """Return why a mail was not delivered, by the enhanced status code of the report."""
    return next((reason for pattern, reason in _REPORTED if pattern.fullmatch(status)), Reason.UNKNOWN)
