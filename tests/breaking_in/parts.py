"""Every part of the attack by its name, in the order they are played."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from tests.breaking_in.bombing import bombing
from tests.breaking_in.bystanders import bystanders
from tests.breaking_in.crosswise import crosswise
from tests.breaking_in.crowds import crowds
from tests.breaking_in.devices import devices
from tests.breaking_in.greedy import greedy
from tests.breaking_in.guessing import guessing
from tests.breaking_in.keys import keys
from tests.breaking_in.killing import killing
from tests.breaking_in.meanwhile import meanwhile
from tests.breaking_in.person import person
from tests.breaking_in.reading import reading
from tests.breaking_in.servers import servers
from tests.breaking_in.spending import spending
from tests.breaking_in.stranger import stranger
from tests.breaking_in.world import Stage

Part = Callable[[Stage], Awaitable[None]]

PARTS: Final[Mapping[str, Part]] = {
    "stranger": stranger,
    "greedy": greedy,
    "guessing": guessing,
    "devices": devices,
    "person": person,
    "bystanders": bystanders,
    "meanwhile": meanwhile,
    "crosswise": crosswise,
    "crowds": crowds,
    "servers": servers,
    "keys": keys,
    "bombing": bombing,
    "reading": reading,
    "spending": spending,
    "killing": killing,
}
