"""A channel that sends nothing and says that it was sent: what is left is the queue. For benchmarks alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from channels.base import Channel, Envelope, Normalize, Receipt
from channels.kinds import KINDS


class NothingChannel(Channel):
    """Takes every message at once."""

    kinds: ClassVar[Mapping[str, Normalize]] = KINDS
    parts: ClassVar[tuple[str, ...]] = ("body.txt",)

    async def deliver(self, envelope: Envelope) -> Receipt:  # noqa: ARG002 - the port's signature
        """Do nothing."""
        return Receipt()
