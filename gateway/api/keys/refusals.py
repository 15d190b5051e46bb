"""Refused API keys, told in the log and counted, without a way to fill the disk by guessing.

Of each kind of refusal (why, which key, from which network) the first is a line at once; what follows within the minute
is one more line with its number. So many kinds of a reason have lines of their own, and the rest is told as a number: who
has no key can be refused for being unknown alone, and so hides no key that was stolen.
"""

from __future__ import annotations

import ipaddress
import logging
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from gateway.clock import Clock
from gateway.errors import Unauthorized

_log = logging.getLogger(__name__)

#: Seconds whose refusals of one kind are told by one number, and between two looks whether they are over.
MINUTE: Final = 60.0
LOOK: Final = 5.0
#: Kinds of one reason with lines of their own: of five reasons 205 lines a minute at most, some 60 MB a day.
MOST: Final = 20
#: Bits of an address that name a caller's network, for IPv4 and IPv6.
_BITS: Final = {4: 24, 6: 48}


class Reason(StrEnum):
    """Why a key was refused."""

    #: There is no key, none of ours, or the key of a service that is not configured.
    UNKNOWN = "unknown"
    #: Its time was over.
    ENDED = "ended"
    #: An operator ended it.
    REVOKED = "revoked"
    #: It was used from where it may not be.
    NETWORK = "network"
    #: It may not do what it was used for.
    SCOPE = "scope"


class KeyRefusal(Unauthorized):
    """The one answer to every key that opens nothing here and now; why, and whose id it has, is for the log alone."""

    def __init__(self, reason: Reason, key_id: str | None) -> None:
        super().__init__(
            "send a key of your service as 'Authorization: Bearer otpg_…'", headers={"WWW-Authenticate": "Bearer"}
        )
        self.reason = reason
        #: Of a key there is; what a stranger made up is not known by it.
        self.key_id = key_id


def uncounted(_: str) -> None:
    """Count nothing."""


class Refusals:
    """Tells of refusals. ``count`` is given the reason of each."""

    def __init__(self, clock: Clock, count: Callable[[str], None] = uncounted) -> None:
        self._clock = clock
        self._count = count
        #: What has had its line: how often it has happened since.
        self._since: dict[_Kind, int] = {}
        #: How often what has none has happened, by reason.
        self._others: Counter[Reason] = Counter()
        #: When that is told, in monotonic seconds.
        self._due = clock.monotonic() + MINUTE

    def note(self, reason: Reason, key_id: str | None, host: str | None) -> None:
        """Note that a key was refused; ``host`` is the caller's address."""
        self._count(reason.value)
        self._tell_if_due()
        kind = (reason, key_id, network_of(host))
        if kind in self._since:
            self._since[kind] += 1
        elif sum(known is reason for known, _, _ in self._since) < MOST:
            self._since[kind] = 0
            _log.warning("a key was refused", extra=_fields(kind))
        else:
            self._others[reason] += 1

    async def tell(self) -> None:
        """Tell what a minute brought, once it is over: to be asked again and again, for maybe nothing more comes."""
        self._tell_if_due()

    def _tell_if_due(self) -> None:
        now = self._clock.monotonic()
        if now < self._due:
            return
        self._due = now + MINUTE
        for kind, number in self._since.items():
            if number:
                _log.warning("a key was refused again", extra={**_fields(kind), "times": number})
        for reason, number in self._others.items():
            _log.warning("further keys were refused", extra={"reason": reason.value, "times": number})
        # What goes on needs no new line of its own; what has stopped makes room.
        self._since = {kind: 0 for kind, number in self._since.items() if number}
        self._others.clear()


#: Why, the key's id, the caller's network.
_Kind = tuple[Reason, str | None, str | None]


def network_of(host: str | None) -> str | None:
    """Return the network of a caller's address, a /24 or /48; ``None`` where there is no address (a Unix socket)."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return None
    # A socket for both families tells an IPv4 caller as ::ffff:192.0.2.1.
    address = getattr(address, "ipv4_mapped", None) or address
    # By its bytes: as text a link-local one may name a zone, which a network has none of.
    return str(ipaddress.ip_network((address.packed, _BITS[address.version]), strict=False))


def _fields(kind: _Kind) -> dict[str, str]:
    reason, key_id, network = kind
    found = {"reason": reason.value, "key": key_id, "network": network}
    return {name: value for name, value in found.items() if value is not None}
