"""One time for everything that works on a database, whatever the clocks of its machines are stepped to meanwhile.

Nodes on PostgreSQL follow its clock. With SQLite there is one node and one machine: the node tells how the clock it
carries stands to the seconds since the machine's boot, and commands that begin later take that over, for the machine's
own clock may have been stepped since.
"""

from __future__ import annotations

import logging
from typing import Final

from gateway.clock import STEP, SystemClock
from gateway.storage import told_clock
from gateway.storage.database import Database
from gateway.storage.unit import Connection

_log = logging.getLogger(__name__)

#: Seconds that a look at the database's clock may take: it is wrong by up to half of that, and nodes may differ by two.
SLOW: Final = 1.0
#: Looks at the start, if each is slow; the quickest counts.
_LOOKS: Final = 3
#: Seconds: no code lives longer (``[services] code.ttl``), and no lease.
_LONGEST: Final = 600.0
_NOW: Final = "SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision) AS now"
_CUT_SHORT: Final = (
    # First, by the index of what expires next: one of messages by that there is not.
    """UPDATE message SET expires_at = :now, due_at = :now WHERE status IN ('waiting', 'queued', 'sending')
        AND verification_id IN (SELECT id FROM verification WHERE status = 'pending' AND expires_at > :latest)
    RETURNING id""",
    "UPDATE verification SET expires_at = :now WHERE status = 'pending' AND expires_at > :latest RETURNING id",
    "DELETE FROM lease WHERE until > :latest RETURNING name",
)


async def begin_with(database: Database, clock: SystemClock) -> None:
    """Take over the clock of a database that nodes share, at the start. Raises ``StorageError``."""
    looks = []
    for _ in range(_LOOKS):
        took, now = await _look(database, clock)
        looks.append((took, now - clock.now()))
        if took <= SLOW:
            break
    clock.set(clock.now() + min(looks)[1])


async def follow(database: Database, clock: SystemClock) -> None:
    """Take over the database's clock again and tell where it was stepped. Raises ``StorageError``."""
    took, now = await _look(database, clock)
    if took > SLOW:
        # Nobody knows when within that time it was answered: the look waited for a reader, or for a server that stood.
        # What this clock has carried since the last look is nearer.
        return
    step = now - clock.now()
    clock.set(now)
    if abs(step) > STEP:
        # Every node follows, each at its own moment: leases and codes end early or late by as much.
        _log.warning("the database's clock was stepped by %+.1f s, and every node follows it", step)


async def _look(database: Database, clock: SystemClock) -> tuple[float, float]:
    """Return how many seconds a look took and what time it is now."""
    before = clock.monotonic()
    found = await database.fetch(_NOW)
    took = clock.monotonic() - before
    return took, found[0]["now"] + took / 2


async def tell(database: Database, clock: SystemClock) -> None:
    """Tell commands on this machine what time it is for this node. Raises ``StorageError``."""
    if boot := told_clock.boot():
        await database.run(lambda connection: connection.fetch(told_clock.TELL, boot=boot, offset=clock.offset))


async def cut_short(database: Database, clock: SystemClock) -> None:
    """End what was to live on for longer than anything does: it was begun by a clock that was ahead and is right now.

    For the one node that a SQLite file has, at its start. Raises ``StorageError``.
    """
    now = clock.now()

    async def work(connection: Connection) -> int:
        return sum([len(await connection.fetch(sql, now=now, latest=now + _LONGEST)) for sql in _CUT_SHORT])

    if ended := await database.run(work):
        _log.warning("%d codes, messages and leases are of a time that has not come; they end now", ended)


async def take_over(database: Database, clock: SystemClock) -> None:
    """Take over the time of the node that runs on this machine, if one does. Raises ``StorageError``."""
    if boot := told_clock.boot():
        for told in await database.fetch(told_clock.TOLD, boot=boot, elapsed=clock.monotonic()):
            clock.set(told["until"] + clock.monotonic())
