"""What came of trying a policy on the log: counted by limit, service, block of numbers and recipient."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from gateway.verification.limits.past import Send

#: Blocks and recipients kept while counting; where there are more, those with the fewest refusals are forgotten.
KEPT: Final = 20_000
#: Digits of a number that its block does not show.
_HIDDEN: Final = "•" * 4


@dataclass(slots=True)
class Counts:
    """What was refused."""

    #: Creations and resends that were refused, and channels of a route that were passed over.
    requests: int = 0
    #: Of those, the ones whose verification was approved in the end: false alarms.
    approved: int = 0
    #: Messages that a provider took and that would not have been sent.
    sends: int = 0
    #: What those cost.
    cost: float = 0.0


@dataclass(slots=True)
class Sum:
    """What the log holds."""

    verifications: int = 0
    approved: int = 0
    #: Messages that a provider took.
    sends: int = 0
    cost: float = 0.0


class Most:
    """Counts by name, of which those with few requests are forgotten where there are too many."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._counts: dict[tuple[bytes | str, str], Counts] = {}

    def of(self, key: bytes | str, shown: str) -> Counts:
        """Return the counts of one, which is shown as ``shown``."""
        found = self._counts.get((key, shown))
        if found is None:
            if len(self._counts) >= 2 * self._kept:
                self._counts = dict(self._sorted()[: self._kept])
            found = self._counts[key, shown] = Counts()
        return found

    def top(self, number: int) -> list[tuple[str, Counts]]:
        """Return those with the most requests refused, the most first."""
        return [(shown, counts) for (_, shown), counts in self._sorted()[:number]]

    def _sorted(self) -> list[tuple[tuple[bytes | str, str], Counts]]:
        return sorted(self._counts.items(), key=lambda item: (-item[1].requests, item[0][1]))


@dataclass(slots=True)
class Report:
    """Everything that was counted."""

    log: Sum = field(default_factory=Sum)
    #: Every refusal once.
    refused: Counts = field(default_factory=Counts)
    limits: dict[str, Counts] = field(default_factory=dict)
    services: dict[str, Counts] = field(default_factory=dict)
    blocks: Most = field(default_factory=Most)
    recipients: Most = field(default_factory=Most)
    #: Verifications whose service, or its default, the policy does not have.
    unknown: int = 0

    def refuse(self, limit: str, service: str, send: Send) -> None:
        """Count a request that was refused."""
        for counts in self._blamed(limit, service, send):
            counts.requests += 1

    def save(self, limit: str, service: str, send: Send, cost: float) -> None:
        """Count a message that was not sent; ``cost`` is of all its attempts that a provider accepted."""
        for counts in self._blamed(limit, service, send):
            counts.sends += send.accepted > 0
            counts.cost += cost

    def regret(self, limit: str, service: str, send: Send) -> None:
        """Count a request that was refused and approved in the end."""
        for counts in self._blamed(limit, service, send):
            counts.approved += 1

    def _blamed(self, limit: str, service: str, send: Send) -> Iterable[Counts]:
        yield self.refused
        yield self.limits.setdefault(limit, Counts())
        yield self.services.setdefault(service, Counts())
        yield self.recipients.of(send.place.hash, send.place.masked)
        if send.place.block is not None:
            yield self.blocks.of(send.place.block, f"{send.place.block}{_HIDDEN}")
