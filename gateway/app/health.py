"""How the gateway is, for whoever starts, stops and balances nodes."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Final

from gateway.api import Health
from gateway.clock import Clock
from gateway.storage import migrations
from gateway.storage.database import Database
from gateway.storage.unit import Connection, StorageError

_log = logging.getLogger(__name__)

#: Seconds for which what the database said is told again. Nobody needs a key to ask, and each answer is a commit.
FRESH: Final = 1.0


#: A row that nobody sees: a full disk, a read-only file system or server begins and ends what writes nothing.
_INSERT: Final = "INSERT INTO lease (name, node, until) VALUES (:name, '', 0) RETURNING name"
_DELETE: Final = "DELETE FROM lease WHERE name = :name RETURNING name"


async def _write(connection: Connection) -> None:
    # One of its own, so that no node waits for another.
    name = f"ready/{secrets.token_hex(8)}"
    await connection.fetch(_INSERT, name=name)
    await connection.fetch(_DELETE, name=name)


async def _begin(connection: Connection) -> None:
    await connection.fetch("SELECT 1")


class Readiness:
    """Tells whether a node is ready, and asks the database once a second at most, however many ask.

    ``states`` are words about each channel, which decide nothing.
    """

    def __init__(
        self, database: Database, states: Callable[[], Mapping[str, str]], draining: asyncio.Event, clock: Clock
    ) -> None:
        self._database = database
        self._states = states
        self._draining = draining
        self._clock = clock
        #: Whether it could be written to, and whether its tables are this version's; and when it said so.
        self._said = (False, False)
        self._said_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        #: What was in the way when it was last asked: told once, and not by every balancer's look.
        self._told: str | None = None

    async def health(self) -> Health:
        """Return how the gateway is."""
        if self._asking is None and self._clock.monotonic() - self._said_at >= FRESH:
            self._asking = asyncio.create_task(self._ask(), name="readiness")
        if self._asking is not None:
            # It is the others' answer too: who goes away takes it from nobody.
            await asyncio.shield(self._asking)
        reachable, migrated = self._said
        return Health(reachable, migrated, self._draining.is_set(), self._states())

    async def _ask(self) -> None:
        reachable = migrated = False
        problem = None
        try:
            found = await self._database.fetch("SELECT version_num FROM alembic_version")
            migrated = bool(found) and migrations.serves(found[0]["version_num"])
            # Tables of another version may be none that this one knows how to write.
            await self._database.run(_write if migrated else _begin)
            reachable = True
        except StorageError as error:
            problem = str(error)
        finally:
            self._said, self._said_at, self._asking = (reachable, migrated), self._clock.monotonic(), None
        self._tell(problem)

    def _tell(self, problem: str | None) -> None:
        if problem is not None and problem != self._told:
            _log.warning("not ready: %s", problem)
        elif problem is None and self._told is not None:
            _log.info("ready again")
        self._told = problem
