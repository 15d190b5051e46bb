"""Every trial there is, by importing the modules that write them down."""

from __future__ import annotations

from tests.faults import (
    bots,
    clocks,
    copies,
    crashes,
    databases,
    disks,
    files,
    limits,
    networks,
    providers,
    routes,
    soak,
    telling,
    writers,
)
from tests.faults.trial import TRIALS, Trial

#: The modules, in the order of reading.
MODULES = (
    *(crashes, providers, routes, telling, networks, databases),
    *(disks, files, copies, limits, clocks, bots, writers, soak),
)

#: Faults that no script injects, and why.
ABSENT: dict[str, str] = {}

__all__ = ["ABSENT", "MODULES", "TRIALS", "Trial"]
