"""The database: whether it is there, whole and up to date, and whether our keys open it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from channels.findings import CLOCK, CLOCK_CLOSE, Finding, fault, ok, warning
from gateway.config import DatabaseSettings, SealingKey
from gateway.diagnosis import postgresql_store, sqlite_store
from gateway.diagnosis.seen import Area, Seen, seen
from gateway.diagnosis.sqlite_store import Looked
from gateway.storage import migrations, secret
from gateway.storage.sealing import Sealer


async def examine(database: DatabaseSettings, ring: Sequence[SealingKey], now: Callable[[], float]) -> list[Seen]:
    """Return what there is to say of the database, its clock, and the ring's keys in it."""
    looked = await _look(database, now)
    found = seen(Area.DATABASE, [item for item in looked.findings if item.subject != CLOCK])
    if looked.opened:
        found += seen(Area.DATABASE, [of_revision(looked.revision)])
    # The clock's findings are named by whose clock it is.
    clocks = [item for item in looked.findings if item.subject == CLOCK]
    found += [Seen(Area.CLOCK, "database", item.verdict, item.told) for item in clocks]
    if looked.sealed is not None and ring:
        found += seen(Area.KEYS, [of_keys(ring, looked.sealed)])
    return found


async def _look(database: DatabaseSettings, now: Callable[[], float]) -> Looked:
    if database.path is None:
        return await postgresql_store.look(database.url, now)
    looked = await asyncio.to_thread(sqlite_store.look, database.path)
    looked.findings.append(of_node_time(now(), looked.node_time))
    return looked


def of_node_time(now: float, node_time: float | None) -> Finding:
    """Return what it means that a node on a SQLite file lives at another time than this machine does now."""
    if node_time is None:
        return ok(CLOCK, "SQLite has this machine's own")
    ahead = now - node_time
    if abs(ahead) <= CLOCK_CLOSE:
        return ok(CLOCK, f"the running node's is within {CLOCK_CLOSE:.0f} s of this machine's")
    told = f"this machine's was set {'forward' if ahead > 0 else 'back'} by {abs(ahead):.0f} s since the node's start"
    return warning(CLOCK, f"{told}; restart the node, else the times it tells are off by as much")


def of_revision(revision: str | None) -> Finding:
    """Return what the schema's revision means for this version of the gateway."""
    if revision is None:
        return ok("schema", "no tables yet: the first serve makes them")
    if migrations.serves(revision):
        return ok("schema", f"revision {revision}, which this version works with")
    told = (
        f"revision {revision}, and this version works with {migrations.head()}; serve or migrate brings it up to date"
    )
    return warning("schema", told)


def of_keys(ring: Sequence[SealingKey], sealed: bytes) -> Finding:
    """Return whether a ring opens the database that ``sealed`` is of."""
    subject, why = "sealing ring and database", secret.unopened(Sealer(ring), sealed)
    if why is not None:
        return fault(subject, why)
    return ok(subject, "the keys open this database")
