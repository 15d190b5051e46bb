"""The database: whether it is there, whole and up to date, and whether our keys open it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from channels.findings import CLOCK, Finding, fault, ok, warning
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
    looked.findings.append(ok(CLOCK, "SQLite has this machine's own"))
    return looked


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
        return fault(subject, f"these keys do not open this database ({why}); give it the keys it was made with")
    return ok(subject, "the keys open this database")
