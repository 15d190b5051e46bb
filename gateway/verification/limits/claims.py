"""What one send claims: a place in the recipient's windows, in its block of numbers, in its visitor's hour.

A claim is a value. Made into guards of a move, it is written whole or leaves no trace; ``refusals`` then says of the
same claim what was in its way.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import ClassVar, Final

from channels.base import Address
from gateway.config import LimitSettings
from gateway.storage.ids import least_id
from gateway.storage.sealing import Hasher
from gateway.storage.statement import Row
from gateway.storage.unit import Guard, Record, Write
from gateway.value import Value
from gateway.verification import statements as rows
from gateway.verification.limits import statements as sql
from gateway.verification.limits.windows import MOST_WRONG, OFF

#: Seconds before a claim from which on verifications are looked at: they live for 600, and nodes' clocks may differ.
LOOK_BACK: Final = 660.0
#: What a recipient's windows are compared with where nothing is refused.
_UNLIMITED: Final = (OFF,) * 6
#: Bits of an IPv6 address that stand for one visitor: providers give a customer a /64 at least (RFC 6177).
IPV6_BITS: Final = 64
#: What a translator puts before an IPv4 address (RFC 6052, 2.1).
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class Claim(Value, frozen=True):
    """What one send claims of the limits. Times are seconds since the Unix epoch."""

    hidden: ClassVar[frozenset[str]] = frozenset({"hash", "code", "block", "visitor", "context"})

    verification_id: str
    service: str
    purpose: str
    #: Keyed hash of the recipient's address.
    hash: bytes
    at: float
    limits: LimitSettings
    #: Checks it holds back, beyond those that are held back for this recipient already.
    need: int
    #: Whether it starts a verification: some limits are asked only then.
    starts: bool = False
    #: Seconds of the cooldown that begins with it; ``None``: it neither asks for nor begins one.
    cooldown: float | None = None
    #: Keyed hash of the code, where that is a new one.
    code: bytes | None = None
    #: Keyed hash of the block of numbers, where the address is sent to as it is.
    block: bytes | None = None
    #: Keyed hash of who asks, where that is known.
    visitor: bytes | None = None
    #: The trusted context whose budget of guesses is asked; ``""``: everybody else's.
    context: str = ""
    #: Checks it takes over from pending verifications, by their ids.
    takes: Sequence[tuple[str, int]] = ()

    @property
    def adds(self) -> int:
        """How many more checks are held back with it: what it needs less what it takes over."""
        return self.need - sum(checks for _, checks in self.takes)

    @property
    def observes(self) -> bool:
        """Whether too much is only told of."""
        return self.limits.mode == "observe"

    @property
    def brings_checks(self) -> bool:
        """Whether there are more guesses at the recipient with it: it starts a verification, or turns one to them."""
        return self.starts or self.need > 0

    @property
    def cools(self) -> bool:
        """Whether it begins a cooldown. One of no length is a row to wait for, where guesses are to be compared."""
        if self.cooldown is None or self.cooldown > 0:
            return self.cooldown is not None
        return self.guesses_per_hour < OFF or self.guesses_per_day < OFF or self.limits.lockout is not None

    @property
    def guesses_per_hour(self) -> int:
        """Wrong codes an hour, of whoever's budget it is."""
        return (self.limits.context_per_hour if self.context else self.limits.guesses_per_hour) or OFF

    @property
    def guesses_per_day(self) -> int:
        """Wrong codes a day; a trusted context has no such limit."""
        return OFF if self.context else self.limits.guesses_per_day or OFF

    @property
    def since(self) -> str:
        """What the ids of all verifications that may be pending are above."""
        return _since(int(self.at))


@lru_cache(maxsize=4)
def _since(second: int) -> str:
    # To the second: a claim looks a little further back, and most are of a second that another one was of (0.7 µs).
    return least_id("ver", second - LOOK_BACK)


def guards(claim: Claim) -> tuple[list[Guard], Write]:
    """Return what is asked first, and last, for a claim to be written.

    The cooldown's row goes first: of two claims for one service and recipient the second waits for it, and then sees
    what the first has committed. Checks are taken over before the recipient is asked, who counts those held back. The
    recipient goes last: nothing is asked after it, so it is never undone.
    """
    limits, observes = claim.limits, claim.observes
    first = [_cooldown(claim, observes=observes)] if claim.cools else []
    if claim.visitor is not None and claim.starts and limits.ip_per_hour:
        first.append(visitor_guard(claim.visitor, claim.at, OFF if observes else limits.ip_per_hour))
    if claim.block is not None and limits.prefix_per_hour:
        first.append(block_guard(claim, claim.block))
    if claim.takes:
        first += [Guard(sql.TAKE_CHECKS, taken, (sql.RETURN_CHECKS, taken)) for taken in claim.takes]
    return first, (sql.CLAIM_RECIPIENT, _recipient(claim, observes=observes))


def visitor_guard(visitor: bytes, at: float, most: int) -> Guard:
    """Return the guard that counts a request of a visitor's, of at most so many in an hour."""
    return Guard(sql.CLAIM_VISITOR, (visitor, at, most), (sql.VISITOR_BACK, (visitor, at)))


def block_guard(claim: Claim, block: bytes) -> Guard:
    """Return the guard that counts a send to a block of numbers."""
    counted: Write = (sql.CLAIM_BLOCK, (block, claim.at, claim.limits.prefix_per_hour))
    if claim.observes:
        counted = (sql.FORCE_BLOCK, (block, claim.at))
    return Guard(*counted, (sql.BLOCK_BACK, (block, claim.at)))


def _cooldown(claim: Claim, *, observes: bool) -> Guard:
    service, address_hash, at, seconds = claim.service, claim.hash, claim.at, claim.cooldown
    undo = (sql.UNCLAIM_COOLDOWN, (service, address_hash, claim.verification_id))
    if not seconds:
        # It has been over since ever: with an end of now, a node whose clock is behind would be refused.
        return Guard(sql.KEEP_COOLDOWN, (service, address_hash, at, 0.0, claim.verification_id), undo)
    row = (service, address_hash, at, at + seconds, claim.verification_id)
    return Guard(sql.FORCE_COOLDOWN if observes else rows.CLAIM_COOLDOWN, row, undo)


def _recipient(claim: Claim, *, observes: bool) -> Row:
    limits = claim.limits
    if observes:
        known = claim.hash, claim.service, claim.purpose, claim.context, claim.at, claim.since, claim.code, claim.need
        return known + _UNLIMITED
    return (
        claim.hash,
        claim.service,
        claim.purpose,
        claim.context,
        claim.at,
        claim.since,
        claim.code,
        claim.need,
        limits.sends_per_10m or OFF,
        limits.sends_per_hour or OFF,
        limits.sends_per_day or OFF,
        MOST_WRONG if claim.brings_checks else OFF,
        claim.guesses_per_hour,
        claim.guesses_per_day,
    )


def sends_left(limits: LimitSettings, counted: Record | None) -> int | None:
    """Return the least that remains of a recipient's windows; ``None`` where none is limited.

    ``counted`` has what they count now: ``ten_minutes``, ``hour``, ``day``; without it nothing was sent.
    """
    least = OFF
    for name, most in (
        ("ten_minutes", limits.sends_per_10m),
        ("hour", limits.sends_per_hour),
        ("day", limits.sends_per_day),
    ):
        left = most if counted is None else most - counted[name]
        if most and left < least:
            least = left
    return None if least == OFF else max(0, least)


def code_hash(hasher: Hasher, service: str, recipient: bytes, code: str) -> bytes:
    """Return what a service's code of a recipient is remembered by.

    Each service's differ: one that brings its own codes would else be told, by a refusal, which are another's.
    """
    return hasher.hash("code", f"{service}/{recipient.hex()}/{code}")


def block_hash(hasher: Hasher, address: Address) -> bytes | None:
    """Return the keyed hash of the block of numbers an address is in, ``None`` where its kind has none."""
    return None if address.block is None else hasher.hash("block", address.block)


def visitor_of(ip: str) -> str:
    """Return who an IP address stands for: itself, or its /64 where that is IPv6. Raises ``ValueError``."""
    address = ipaddress.ip_address(ip)
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if address in _NAT64:
        return str(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return str(ipaddress.IPv6Network((int(address), IPV6_BITS), strict=False))


def visitor_hash(hasher: Hasher, service: str, ip: str | None) -> bytes | None:
    """Return the keyed hash of a service's visitor, ``None`` where nobody says who asks.

    By service, for the address is only claimed: one could lock it out at the others otherwise, and read how often they were
    asked from there.
    """
    return None if ip is None else hasher.hash("visitor", f"{service}\0{visitor_of(ip)}")


#: Makes another code where the first was one of the recipient's latest; ``None``: the service brought its own.
Another = Callable[[], str] | None
