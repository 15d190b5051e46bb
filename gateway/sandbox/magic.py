"""Addresses that always meet the same end, so that an application's tests need no switch: ``+49…902`` is never reached.

The last three digits decide: of a phone number, of a mail's local part, of a chat's number. In a chat that is so for
messages with a button that copies a code; what the bot says otherwise arrives, so that its person can link.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from gateway.sandbox.fault import Fault, Planned

_Endings = Mapping[str, Planned]

#: Accepted, and where something is reported at all, reported as delivered.
DELIVERED = "901"
#: Never reached: an SMS is reported undelivered later, a mailbox and a chat refuse at once.
UNDELIVERED = "902"
#: Taken and never answered.
TIMEOUT = "903"
#: Too many requests; to be tried again after a second.
LIMITED = "904"
#: Accepted after three seconds.
SLOW = "905"

_COMMON: _Endings = {
    DELIVERED: Planned(),
    UNDELIVERED: Planned(Fault.REFUSE),
    TIMEOUT: Planned(Fault.STALL),
    LIMITED: Planned(Fault.LIMIT, retry_after=1),
    SLOW: Planned(Fault.SLOW),
}
#: What SMS endings mean: a carrier tells afterwards what a mail server or a chat says at once.
SMS: _Endings = {**_COMMON, UNDELIVERED: Planned(Fault.LOSE)}
#: What the endings of mailboxes mean.
MAIL: _Endings = _COMMON
#: What the endings of chats mean.
CHAT: _Endings = _COMMON

_LAST = re.compile(r"[0-9]{3}\Z")


def by_ending(endings: _Endings) -> Callable[[str], Planned | None]:
    """Return what tells, by ``endings``, what an address meets; ``None`` for every other address."""

    def planned(address: str) -> Planned | None:
        found = _LAST.search(address.partition("@")[0])
        return endings.get(found[0]) if found else None

    return planned
