"""What a message costs, by the prices of its channel."""

from __future__ import annotations

from collections.abc import Mapping

from channels.base import Channel, InvalidAddressError


class Prices:
    """The prices of the configured channels."""

    def __init__(self, channels: Mapping[str, Channel]) -> None:
        self._channels = channels

    def of(self, channel: str, address: str) -> float:
        """Return what a message to an address costs, in the operator's currency; 0 by a channel nobody configured."""
        found = self._channels.get(channel)
        if found is None:
            return 0.0
        # To read a number takes some µs: only where its country matters.
        country = _country(found, address) if found.settings.prices else None
        return found.settings.price_in(country)


def _country(channel: Channel, address: str) -> str | None:
    for normalize in channel.kinds.values():
        try:
            return normalize(address).country
        except InvalidAddressError:
            continue
    return None
