"""One verification of the log, as it goes under the policy that is tried on it."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.config import LimitSettings, ServiceSettings
from gateway.verification.limits.past import Cause, Past, Place, Send

#: A service, a purpose and the keyed hash of an address.
Guessed = tuple[str, str, bytes]


@dataclass(slots=True, eq=False)
class Run:
    """A verification as it goes under the policy that is tried."""

    past: Past
    #: What holds for its purpose, and the limits of its service.
    policy: ServiceSettings
    allowed: LimitSettings
    #: Wrong codes it stands.
    max_checks: int
    #: Whether it does not exist, for its creation was refused.
    absent: bool = False
    #: Whether nothing is sent until somebody asks again, for a resend was refused.
    held_up: bool = False
    ended: bool = False
    checks: int = 0
    #: Sends asked for; a fallback is not one.
    sends: int = 0
    #: The trusted context it was asked for from, else ``""``; and whose guesses it is counted with at each it was sent to.
    context: str = ""
    budgets: dict[bytes, str] = field(default_factory=dict)
    #: What it takes over of others' checks, once it is claimed.
    takes: list[tuple[Run, int]] = field(default_factory=list)
    #: What counts as sent, and what does in its block of numbers alone.
    claimed: list[Send] = field(default_factory=list)
    in_block: list[Send] = field(default_factory=list)
    #: Whom it was sent to, counted or not, by the hash.
    places: dict[bytes, Place] = field(default_factory=dict)
    #: The latest that counts as sent, and what took over from it in its place, so far as it may have left.
    one: list[Send] = field(default_factory=list)
    #: The keys of the limits that refused some of it, with what they refused.
    blamed: list[tuple[str, Send]] = field(default_factory=list)

    @property
    def limits(self) -> LimitSettings:
        """The limits that hold for its purpose."""
        return self.policy.limits

    @property
    def reserved(self) -> int:
        """The checks it may still take."""
        return 0 if self.ended else max(0, self.max_checks - self.checks)

    def brings_checks(self, send: Send) -> bool:
        """Whether there are more guesses at the recipient with a send."""
        return send.cause is Cause.CREATE or send.place.hash not in self.places

    def counts(self, send: Send) -> bool:
        """Whether a send counts: a fallback to the person before it does not, unless one went to the very same address."""
        if send.cause is not Cause.FALLBACK or not self.one:
            return True
        return self.one[-1].place.hash != send.place.hash or send.place in [before.place for before in self.one]

    def took_back(self, send: Send) -> None:
        """Note that a send never left: what takes over from one that counts does so in its place."""
        if send in self.one:
            self.one = [] if send == self.one[0] else [other for other in self.one if other != send]

    def counts_in_block(self, send: Send) -> bool:
        """Whether a send that does not count is the first to the number itself, after one to the person's chat."""
        return not self.counts(send) and self.one[-1].place.block is None

    def guessed(self, place: Place) -> Guessed:
        """Return the key by which guesses at it are counted."""
        return self.past.service, self.past.purpose, place.hash
