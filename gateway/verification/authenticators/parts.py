"""Everything about authenticators, put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.storage.database import Database
from gateway.storage.sealing import Hasher, Sealer
from gateway.verification.authenticators.checking import Checking
from gateway.verification.authenticators.enrolling import Enrolling
from gateway.verification.authenticators.recovery import Recovery


@dataclass(frozen=True, slots=True)
class Authenticators:
    """What the API and the house-keeper call."""

    enrolling: Enrolling
    recovery: Recovery
    checking: Checking


def built(
    database: Database, sealer: Sealer, hasher: Hasher, clock: Clock, brands: Mapping[str, str]
) -> Authenticators:
    """Put them together. ``brands`` are the services' names as people know them."""
    return Authenticators(
        Enrolling(database=database, sealer=sealer, hasher=hasher, clock=clock, brands=brands),
        Recovery(database=database, sealer=sealer, hasher=hasher, clock=clock),
        Checking(database=database, sealer=sealer, hasher=hasher, clock=clock),
    )
