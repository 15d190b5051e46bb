"""What services may use, put together: the allowances of every service, shared by the nodes of one database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from channels.base import Channel
from gateway.app.store import Store, several_nodes
from gateway.config import Settings
from gateway.errors import loudness
from gateway.storage.unit import StorageError
from gateway.verification.limits.allowances import Allowances
from gateway.verification.limits.prices import Prices
from gateway.verification.limits.tallies import Tallies

_log = logging.getLogger(__name__)

#: Seconds that the last tally may take.
FAREWELL: Final = 1.0


def built_allowances(settings: Settings, store: Store, channels: Mapping[str, Channel], node: str) -> Allowances:
    """Put the allowances together, as ``node`` sees them."""
    tallies = Tallies(store.database, node, channels, alone=not several_nodes(settings))
    return Allowances(settings.services, store.clock, tallies, Prices(channels).of)


async def last_tally(allowances: Allowances) -> None:
    """Write down, at the end, what is about to be spent: whoever takes codes on next is to reckon with it.

    A database that is away is not waited for; then the tally of a second before counts.
    """
    try:
        async with asyncio.timeout(FAREWELL):
            await allowances.tally()
    except (StorageError, TimeoutError) as error:
        _log.log(loudness(error), "what is about to be spent could not be told to others (%s)", type(error).__name__)
