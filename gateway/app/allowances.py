"""What services may use, put together: the allowances of every service, shared by the nodes of one database."""

from __future__ import annotations

from collections.abc import Mapping

from channels.base import Channel
from gateway.app.store import Store, several_nodes
from gateway.config import Settings
from gateway.verification.limits.allowances import Allowances
from gateway.verification.limits.prices import Prices
from gateway.verification.limits.tallies import Tallies


def built_allowances(settings: Settings, store: Store, channels: Mapping[str, Channel], node: str) -> Allowances:
    """Put the allowances together, as ``node`` sees them."""
    tallies = Tallies(store.database, node, channels, alone=not several_nodes(settings))
    return Allowances(settings.services, store.clock, tallies, Prices(channels).of)
