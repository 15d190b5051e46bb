"""Following one verification until its code is sent, or cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from gateway.clock import Clock
from gateway.delivery.lifecycle import MessageStatus, VerificationStatus
from gateway.verification.view import VerificationView

Sleep = Callable[[float], Awaitable[object]]

#: Seconds between looks.
LOOK: Final = 0.25
#: Seconds without an attempt after which the operator is told why.
PATIENCE: Final = 5.0

_SENT: Final = frozenset({MessageStatus.SENT.value, MessageStatus.DELIVERED.value})
_LIVES: Final = frozenset({VerificationStatus.PENDING.value, VerificationStatus.APPROVED.value})
_UNTOUCHED: Final = frozenset({MessageStatus.QUEUED.value})


class Looks(Protocol):
    """What knows how a verification stands."""

    async def look(self, service: str, verification_id: str) -> VerificationView:
        """Return it as it is now. Raises ``StorageError``."""
        ...

    async def node_runs(self) -> bool:
        """Whether a node works on this database. Raises ``StorageError``."""
        ...


class Follow:
    """Looks at a verification again and again; ``tell`` is given what changes."""

    def __init__(
        self, looks: Looks, clock: Clock, *, tell: Callable[[str], None], sleep: Sleep = asyncio.sleep
    ) -> None:
        self._looks = looks
        self._clock = clock
        self._tell = tell
        self._sleep = sleep
        self._told: dict[str, str] = {}

    async def until_sent(self, service: str, verification_id: str, seconds: float) -> tuple[VerificationView, bool]:
        """Return the verification once a message of it was sent, none will be, or the seconds are over; and which it is."""
        begun, warned = self._clock.monotonic(), False
        while True:
            view = await self._looks.look(service, verification_id)
            self._tell_changes(view)
            statuses = {message.status for message in view.messages}
            if statuses & _SENT or view.status not in _LIVES:
                return view, bool(statuses & _SENT)
            waited = self._clock.monotonic() - begun
            if waited >= seconds:
                self._tell(f"not sent within {seconds:g} s; it goes on without being watched")
                return view, False
            if waited >= PATIENCE and not warned and statuses <= _UNTOUCHED:
                warned = True
                await self._warn()
            await self._sleep(min(LOOK, seconds - waited))

    def _tell_changes(self, view: VerificationView) -> None:
        for message in view.messages:
            if self._told.get(message.id) != message.status:
                self._told[message.id] = message.status
                self._tell(f"{message.channel} {message.status}")

    async def _warn(self) -> None:
        if await self._looks.node_runs():
            self._tell("still queued: the channel is busy, or rests after a fault; `otp-gateway stats` shows the queue")
        else:
            self._tell("no node sends what is queued in this database: start `otp-gateway serve`")
