"""What came of an examination: one line a thing that was looked at, by area."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from channels.findings import Finding, Verdict
from gateway.value import Value


class Area(StrEnum):
    """What can be asked for by ``--only``."""

    #: What config.toml and the environment say.
    CONFIGURATION = "configuration"
    #: Providers, credentials, senders.
    CHANNELS = "channels"
    #: The one place everything is kept.
    DATABASE = "database"
    #: This machine's clock against the database's and the providers'.
    CLOCK = "clock"
    #: What the sending domains publish, and the name of ``public_url``.
    DNS = "dns"
    #: Sealing keys, webhook secrets, tokens.
    KEYS = "keys"


class Seen(Value, frozen=True):
    """One thing that was looked at. It is printed, so nothing in it may be a secret or an address."""

    area: Area
    #: The thing: a channel and what of it, a domain, a key of the configuration.
    subject: str
    verdict: Verdict
    #: One sentence, with what to do where it is not well.
    told: str


def seen(area: Area, findings: Iterable[Finding]) -> list[Seen]:
    """Return findings as what was seen of one area."""
    return [Seen(area, finding.subject, finding.verdict, finding.told) for finding in findings]


def worst(found: Sequence[Seen]) -> Verdict:
    """Return the worst verdict of all; that all is well where nothing was looked at."""
    order = list(Verdict)
    return max((item.verdict for item in found), key=order.index, default=Verdict.OK)
