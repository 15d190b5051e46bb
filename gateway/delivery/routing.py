"""Routes: which configured channels reach a person, in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from channels.base import Address, Channel
from gateway.value import Value


class Step(Value, frozen=True):
    """One channel of a route and the address it is given; ``None`` until a subscriber links."""

    hidden: ClassVar[frozenset[str]] = frozenset({"address"})

    channel: str
    #: Masked address.
    recipient: str
    address: str | None
    kind: str
    needs_subscriber: bool


def plan(route: Sequence[str], channels: Mapping[str, Channel], to: Mapping[str, Address]) -> list[Step]:
    """Return the steps of ``route`` that ``to`` has an address for, in order; the others are skipped."""
    steps = []
    for name in route:
        channel = channels[name]
        kind = next((kind for kind in channel.kinds if kind in to), None)
        if kind is not None:
            address = to[kind]
            value = None if channel.needs_subscriber else address.value
            steps.append(Step(name, address.masked, value, kind, channel.needs_subscriber))
    return steps
