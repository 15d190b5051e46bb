"""What an examination finds: one thing that was looked at, how it is, and what to do where it is not well."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How the thing is that was looked at."""

    #: As it should be, as far as can be seen.
    OK = "ok"
    #: It works, and somebody should look at it; or it could not be seen.
    WARNING = "warning"
    #: It does not work, or what it promises does not hold.
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. It is shown to people and machines, so no text of it holds a secret or an address."""

    #: What was looked at, in a word or two: ``credentials``.
    subject: str
    verdict: Verdict
    #: One sentence: what was seen, and where that is not well what to do.
    told: str


#: The subject of a finding about this machine's clock, whoever made it.
CLOCK = "clock"


def ok(subject: str, told: str) -> Finding:
    """Return a finding of something that is well."""
    return Finding(subject, Verdict.OK, told)


def warning(subject: str, told: str) -> Finding:
    """Return a finding of something to look at."""
    return Finding(subject, Verdict.WARNING, told)


def fault(subject: str, told: str) -> Finding:
    """Return a finding of something that does not work."""
    return Finding(subject, Verdict.FAULT, told)


#: Seconds two clocks may differ: HTTP tells the time in whole seconds, and an answer may take one.
CLOCK_CLOSE = 5.0
#: Seconds from which an authenticator's code of the moment is another one than the server's (a time step, RFC 6238 5.2).
CLOCK_FAR = 30.0


def clock_finding(ahead: float, other: str) -> Finding:
    """Return what it means that this machine's clock is so many seconds ahead of ``other``'s."""
    if abs(ahead) <= CLOCK_CLOSE:
        return ok(CLOCK, f"within {CLOCK_CLOSE:.0f} s of {other}'s")
    told = (
        f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} {other}'s; have this machine set its clock by NTP"
    )
    return warning(CLOCK, told) if abs(ahead) < CLOCK_FAR else fault(CLOCK, told)
