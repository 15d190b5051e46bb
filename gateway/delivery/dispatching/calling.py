"""Calling a channel once: rendered at the last moment, within its time, and what came of it put into words."""

from __future__ import annotations

from channels.base import Channel, Envelope, Reason, Receipt, TransientError
from gateway.clock import Clock
from gateway.delivery.dispatching.cutoff import Cutoff
from gateway.delivery.dispatching.outcome import Accepted, Failed, failed
from gateway.delivery.message import LEASE, Message
from gateway.delivery.retry import CHANNEL_SHARE, attempt_time
from gateway.delivery.writing.rendering import Render, Rendered

#: Seconds after a channel's own timeout before it is cut off. A canceled adapter cannot tell what had left; one that
#: bounds itself by that timeout can, and says so in this time.
VERDICT_TIME = 0.25
#: The part of its timeout that a channel must have had for its silence to say something of it.
FAIR = 0.5


class Lost(Exception):  # noqa: N818 - no fault: it says where a message went
    """This node stood still for so long that the message may be another's by now. Nothing was sent."""


class Caller:
    """Calls channels. ``render`` writes what a message says there."""

    def __init__(self, render: Render, clock: Clock) -> None:
        self._render = render
        self._clock = clock
        #: Those that nobody uses now: as many in all as there were calls at once.
        self._cutoffs: list[Cutoff] = []

    async def call(self, channel: Channel, message: Message, token: str, begun: float) -> Accepted | Failed:
        """Send one message; ``begun`` is when its attempt was asked for, in monotonic seconds.

        Raises ``Lost`` instead of sending what this node may not hold any longer; nothing else but a cancel.
        """
        started, limit, called = self._clock.monotonic(), 0.0, False
        timeout = channel.settings.timeout + VERDICT_TIME
        try:
            rendered = self._render(message, channel, message.expires_at - self._clock.now())
            # Rendering takes its time: what is left is asked for last.
            now = self._clock.now()
            limit = self._limit(message, timeout, begun, now)
            envelope = _envelope(message, rendered, token, limit - VERDICT_TIME, now)
            called = True
            receipt = await self._bounded(channel, envelope, limit)
        except Lost:
            raise
        except Exception as error:  # noqa: BLE001 - an adapter may fail in any way; every one is settled
            heard = called and not (isinstance(error, TimeoutError) and limit < timeout * FAIR)
            return failed(error, (self._clock.monotonic() - started) * 1000, called=heard, asked=called)
        return Accepted(receipt, (self._clock.monotonic() - started) * 1000)

    async def _bounded(self, channel: Channel, envelope: Envelope, limit: float) -> Receipt:
        cutoff = self._cutoffs.pop() if self._cutoffs else Cutoff()
        try:
            with cutoff.after(limit):
                return await channel.deliver(envelope)
        finally:
            self._cutoffs.append(cutoff)

    def _limit(self, message: Message, timeout: float, begun: float, now: float) -> float:
        """Return the seconds the call may take. Raises ``TransientError`` where there are none, and ``Lost``."""
        limit = attempt_time(
            timeout=timeout, now=now, expires_at=message.expires_at, share_ends_at=share_ends_at(message)
        )
        if limit <= 0:
            # A timeout of nothing would still let the call write its request.
            raise TransientError(Reason.EXPIRED if message.expires_at <= now else Reason.TIMEOUT)
        if self._clock.monotonic() - begun > LEASE - min(timeout, LEASE / 2):
            # A process may be stopped and go on minutes later, here as anywhere.
            raise Lost
        return limit


def _envelope(message: Message, rendered: Rendered, token: str, deadline: float, now: float) -> Envelope:
    return Envelope(
        message_id=message.id,
        attempt_token=token,
        address=message.address,
        parts=rendered.parts,
        code=message.code,
        brand=rendered.brand,
        locale=message.locale,
        lifetime=message.expires_at - now,
        report=rendered.report,
        deadline=deadline,
    )


def share_ends_at(message: Message) -> float | None:
    """Return when a message's time on its channel ends; ``None`` where no channel follows or it has not begun."""
    if not message.another_follows or message.started_at is None:
        return None
    return message.started_at + CHANNEL_SHARE
