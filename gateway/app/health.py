"""How the gateway is, for whoever starts, stops and balances nodes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from gateway.api import Health
from gateway.storage import migrations
from gateway.storage.database import Database
from gateway.storage.unit import StorageError

_log = logging.getLogger(__name__)


async def health(database: Database, channels: Mapping[str, str], draining: asyncio.Event) -> Health:
    """Ask the database; ``channels`` are words about each channel, which decide nothing."""
    reachable = migrated = False
    try:
        await database.run(lambda connection: connection.fetch("SELECT 1"))
        reachable = True
        found = await database.fetch("SELECT version_num FROM alembic_version")
        migrated = bool(found) and migrations.serves(found[0]["version_num"])
    except StorageError as error:
        _log.warning("not ready: %s", error)
    return Health(database=reachable, migrations=migrated, draining=draining.is_set(), channels=channels)
