"""Revising: one loop a channel that puts right what people see of messages whose code is over.

It has time: while codes wait for the channel, it waits. A code that is over and stays in a chat is untidy; a code that
comes late is a person who cannot sign in.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from channels.base import DeliveryError, PermanentError, Reason, TransientError
from channels.chat import Reply, Revising
from gateway.clock import Clock
from gateway.delivery.dispatching.outcome import where
from gateway.delivery.dispatching.pacing import Pacer
from gateway.delivery.revisions import HOLD, Revision, Revisions, Step, decide, outcome
from gateway.errors import loudness
from gateway.events.event import EventName
from gateway.storage.unit import StorageError

#: Renders what a message says once its code is over: service, locale, outcome, verification's id.
Ended = Callable[[str, str, str, str], Reply]

_log = logging.getLogger(__name__)

#: Seconds between looks for what is due.
LOOK: Final = 1.0
#: Messages of one channel taken at once, and under way at once.
CLAIM: Final = 20
AT_ONCE: Final = 2
#: Seconds one message may take, and seconds of its hold that must be left to begin it: no other node takes it meanwhile.
TIME: Final = HOLD / 2
#: Tries at a message before it is left as it is.
MAX_TRIES: Final = 8
#: Seconds since its send after which a failure is the last: Telegram deletes nothing older than 48 hours
#: (core.telegram.org/bots/api#deletemessage).
MAX_AGE: Final = 47 * 3600.0
#: Seconds between two tries at most.
BACKOFF_CAP: Final = 300.0
#: Seconds it waits in memory for a chat's turn; a later one it waits for in the database.
TURN_WAIT: Final = 2.0
#: Seconds the channel rests at least where the provider asks for fewer requests and does not say for how long.
LEAST_REST: Final = 1.0


class Reviser:
    """Edits messages, or deletes them where that fails.

    ``busy`` tells whether codes wait for a channel; ``paces`` are the channels' pacers, which codes share.
    """

    def __init__(
        self,
        revisions: Revisions,
        channels: Mapping[str, Revising],
        ended: Ended,
        busy: Callable[[str], bool],
        clock: Clock,
        *,
        paces: Mapping[str, Pacer] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        timeout: float = TIME,
    ) -> None:
        """``timeout`` is in seconds, for one message."""
        self._revisions = revisions
        self._channels = channels
        self._ended = ended
        self._busy = busy
        self._clock = clock
        self._sleep = sleep
        self._timeout = timeout
        self._paces = paces or {name: Pacer(name, 0.0, 0.0, clock, sleep) for name in channels}

    async def run(self, channel: str) -> None:
        """Look again and again, until canceled."""
        while True:
            begun = 0
            try:
                begun = await self.look_once(channel)
            except Exception as error:  # noqa: BLE001 - the loop outlives any fault: nothing would be put right without it
                _log.log(
                    loudness(error),
                    "looking for what to put right failed: %s",
                    where(error),
                    extra={"channel": channel},
                )
            if begun < CLAIM:
                await self._sleep(LOOK)

    async def look_once(self, channel: str) -> int:
        """Put right what is due of one channel; return how many messages were begun.

        None is begun while codes wait, nor in a round in which one failed that may succeed later: the rest is due
        again at once. Raises ``StorageError`` where nothing could be claimed.
        """
        if self._must_wait(channel):
            return 0
        waiting = deque(await self._revisions.claim(channel, CLAIM))
        begun = sum(await asyncio.gather(*(self._work(channel, waiting) for _ in range(AT_ONCE))))
        now = self._clock.now()
        await asyncio.gather(*(self._revisions.wait(revision, now, tried=False) for revision in waiting))
        return begun

    def _must_wait(self, channel: str) -> bool:
        return self._busy(channel) or self._paces[channel].paused_for > 0

    async def _work(self, channel: str, waiting: deque[Revision]) -> int:
        begun, goes_on = 0, True
        while goes_on and waiting and not self._must_wait(channel) and self._clock.now() + TIME <= waiting[0].held:
            begun += 1
            goes_on = await self._revised(waiting.popleft())
        return begun

    async def _revised(self, revision: Revision) -> bool:
        """Put one message right; return whether it is done with, and the next may follow."""
        try:
            return await self._tried(revision)
        except StorageError as error:
            # What was done is done again once the hold lapses, which changes nothing in the chat.
            _log.log(loudness(error), "a message was not settled: %s", error, extra={"message_id": revision.message_id})
            return False

    async def _tried(self, revision: Revision) -> bool:
        step = decide(revision, self._clock.now())
        if step is Step.WAIT:
            await self._revisions.wait(revision, revision.expires_at, tried=False)
            return True
        wait = await self._turn(revision)
        if wait is not None:
            await self._revisions.wait(revision, self._clock.now() + wait, tried=False)
            return True
        try:
            async with asyncio.timeout(self._timeout):
                name = await self._changed(revision, step)
        except PermanentError as error:
            await self._revisions.settle(revision, EventName.MESSAGE_LEFT, error.reason)
            return True
        except Exception as error:  # noqa: BLE001 - an adapter may fail in any way; every one is settled
            await self._put_off(revision, error)
            return False
        await self._revisions.settle(revision, name)
        return True

    async def _turn(self, revision: Revision) -> float | None:
        """Wait for a start and for the chat's turn; return in how many seconds to come back where that is too late."""
        pacer = self._paces[revision.channel]
        wait = pacer.rests_for(revision.address)
        if not wait:
            wait = await pacer.turn(revision.address)
            if wait > TURN_WAIT:
                pacer.put_off(revision.address, wait)
        if wait > TURN_WAIT:
            return wait
        if not (wait or pacer.limited):
            return None
        await self._sleep(wait)
        await pacer.wait()
        late = self._must_wait(revision.channel) or self._clock.now() + TIME > revision.held
        return 0.0 if late else None

    async def _changed(self, revision: Revision, step: Step) -> EventName:
        """Edit a message, or delete it: where it is in the way, or cannot be edited. Raises what the channel raises."""
        channel = self._channels[revision.channel]
        if step is Step.EDIT:
            reply = self._ended(revision.service, revision.locale, outcome(revision), revision.verification_id)
            try:
                await channel.revise(revision.address, revision.provider_id, reply)
            except PermanentError as error:
                if error.reason is Reason.BLOCKED:
                    # Nothing can be done in a chat that is closed to the bot.
                    raise
            else:
                return EventName.MESSAGE_EDITED
        await channel.remove(revision.address, revision.provider_id)
        return EventName.MESSAGE_DELETED

    async def _put_off(self, revision: Revision, error: Exception) -> None:
        """Try again later, unless that was the last try."""
        if not isinstance(error, DeliveryError | TimeoutError):
            # By its type and place alone: its text may hold a value.
            _log.error("an adapter failed: %s", where(error), extra={"message_id": revision.message_id})
        now = self._clock.now()
        asked = (error.retry_after or 0.0) if isinstance(error, TransientError) else 0.0
        if isinstance(error, TransientError) and error.whole_channel:
            await self._paces[revision.channel].pause(max(asked, LEAST_REST))
        elif asked and isinstance(error, TransientError) and error.reason is Reason.RATE_LIMITED:
            await self._paces[revision.channel].pause_recipient(revision.address, asked)
        if revision.revisions >= MAX_TRIES or now - revision.sent_at >= MAX_AGE:
            await self._revisions.settle(revision, EventName.MESSAGE_LEFT, _reason(error))
        else:
            await self._revisions.wait(revision, now + max(asked, min(2.0**revision.revisions, BACKOFF_CAP)))


def _reason(error: Exception) -> Reason:
    if isinstance(error, DeliveryError):
        return error.reason
    return Reason.TIMEOUT if isinstance(error, TimeoutError) else Reason.UNKNOWN
