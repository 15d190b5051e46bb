"""The console channel: writes every message to standard error, for a first try without any account."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import ClassVar

from channels.base import Channel, Envelope, Normalize, Receipt
from channels.findings import Finding, ok
from channels.kinds import KINDS


class ConsoleChannel(Channel):
    """Shows messages to whoever sits at the terminal; refused where ``public_url`` is not loopback."""

    kinds: ClassVar[Mapping[str, Normalize]] = KINDS
    parts: ClassVar[tuple[str, ...]] = ("body.txt",)
    loopback_only: ClassVar[bool] = True

    async def deliver(self, envelope: Envelope) -> Receipt:
        """Write the message to standard error, the code included: that is what this channel is for."""
        print(f"— to {envelope.address}\n{envelope.parts['body.txt'].rstrip()}\n", file=sys.stderr, flush=True)
        return Receipt(provider_id=None, delivered=True)

    async def examine(self) -> Sequence[Finding]:
        """Say that it works: there is nobody to ask."""
        return (ok("messages", "go to this machine's own terminal, codes included; nobody else is reached"),)
