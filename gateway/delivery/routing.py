"""Routes: which configured channels reach a person, in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from channels.base import Address, Channel
from gateway.delivery.person import Reach
from gateway.value import Value


class Step(Value, frozen=True):
    """One channel of a route and the address it is given; ``None`` until a subscriber links."""

    hidden: ClassVar[frozenset[str]] = frozenset({"address"})

    channel: str
    #: Masked address.
    recipient: str
    address: str | None
    kind: str
    #: The language of the person who is reached there, if known.
    locale: str | None = None


def plan(
    route: Sequence[str], channels: Mapping[str, Channel], to: Mapping[str, Address], reaches: Mapping[str, Reach]
) -> list[Step]:
    """Return the steps of ``route`` that ``to`` has an address for, in order; the others are skipped.

    ``reaches`` tells, by address kind, how a bot reaches the person. A bot is skipped where the person muted or blocked
    it, or where they have not proved an address of another kind than its own.
    """
    steps: list[Step] = []
    for name in route:
        channel = channels[name]
        if channel.needs_subscriber:
            steps += _in_chat(channel, to, reaches)
            continue
        for kind in channel.kinds:
            if kind in to:
                address = to[kind]
                steps.append(Step(name, address.masked, address.value, kind))
                break
    return steps


def muted(route: Sequence[str], channels: Mapping[str, Channel], reaches: Mapping[str, Reach]) -> bool:
    """Whether a bot of ``route`` is skipped because the person muted it."""
    return any(reach.muted for reach in _by_bots(route, channels, reaches))


def blocked(route: Sequence[str], channels: Mapping[str, Channel], reaches: Mapping[str, Reach]) -> bool:
    """Whether a bot of ``route`` is skipped because the person blocked it."""
    return any(reach.blocked in route for reach in _by_bots(route, channels, reaches))


def _by_bots(route: Sequence[str], channels: Mapping[str, Channel], reaches: Mapping[str, Reach]) -> Iterator[Reach]:
    bots = (channels[name] for name in route if channels[name].needs_subscriber)
    return (reaches[kind] for bot in bots for kind in bot.kinds if kind in reaches)


def _in_chat(channel: Channel, to: Mapping[str, Address], reaches: Mapping[str, Reach]) -> Iterator[Step]:
    """Yield the step to the person's chat, or else, to whom the bot's own kind names, the one that waits for it."""
    for kind in channel.kinds:
        reach = reaches.get(kind)
        if reach is not None and reach.chat is not None and not reach.muted and reach.blocked != channel.name:
            yield Step(channel.name, to[kind].masked, reach.chat, kind, reach.locale)
            return
    own = next(iter(channel.kinds))
    if own in to and reaches[own].chat is None:
        yield Step(channel.name, to[own].masked, None, own)
