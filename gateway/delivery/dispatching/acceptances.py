"""Acceptances: what a provider took is written down while its worker goes on with the next message.

So that the end of one message and the begin of the next are in the same batch: half the commits of a busy channel. What
could not be written because the database is away is written once that is back, however long that takes while the code
lives: forgotten, it would be sent again. Until then the lane holds the message, and so this node does not rescue it.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from gateway.clock import Clock
from gateway.delivery.dispatching.lane import Lane
from gateway.delivery.dispatching.outcome import Accepted, where
from gateway.delivery.dispatching.pacing import Sleep
from gateway.delivery.dispatching.patience import steadily
from gateway.delivery.message import Message
from gateway.delivery.queue import Queue
from gateway.errors import loudness
from gateway.storage.unit import StorageError, StorageUnavailableError

_log = logging.getLogger(__name__)


class Acceptances:
    """Those of one dispatcher."""

    def __init__(self, queue: Queue, clock: Clock, sleep: Sleep) -> None:
        self._queue = queue
        self._clock = clock
        self._sleep = sleep
        #: What is being written, by message.
        self.under_way: dict[str, asyncio.Future[bool]] = {}

    def write(self, lane: Lane, message: Message, accepted: Accepted) -> None:
        """Have an acceptance written down; the lane lets go of the message when it is."""
        now = self._clock.now()
        try:
            written = self._queue.accepting(message, accepted.receipt, accepted.milliseconds, now)
        except StorageUnavailableError:
            self._again(lane, message, accepted)
            return
        self.under_way[message.id] = written
        written.add_done_callback(partial(self._written, lane, message, accepted, now))

    async def stop(self, until: float) -> None:
        """Wait for what is being written, till then in the loop's seconds, and give up what is still tried anew.

        Whoever comes after this node sends that again.
        """
        loop = asyncio.get_running_loop()
        while self.under_way and (left := until - loop.time()) > 0:
            await asyncio.wait(self.under_way.values(), timeout=left)
        for item, trying in self.under_way.items():
            if isinstance(trying, asyncio.Task):
                _log.warning(
                    "an answer could not be written down: its code may be sent again", extra={"message_id": item}
                )
                trying.cancel()

    def _written(
        self, lane: Lane, message: Message, accepted: Accepted, now: float, written: asyncio.Future[bool]
    ) -> None:
        error = None if written.cancelled() else written.exception()
        if isinstance(error, StorageUnavailableError):
            self._again(lane, message, accepted)
            return
        del self.under_way[message.id]
        lane.done(message)
        if error is not None:
            undone("settled", message, error)
        elif not written.cancelled() and written.result():
            self._queue.accepted(message, now)
        else:
            self._late(message)

    def _again(self, lane: Lane, message: Message, accepted: Accepted) -> None:
        self.under_way[message.id] = asyncio.create_task(
            self._write_patiently(lane, message, accepted), name="acceptance"
        )

    async def _write_patiently(self, lane: Lane, message: Message, accepted: Accepted) -> bool:
        try:
            return await steadily(
                lambda: self._accept(message, accepted), self._sleep, lambda: self._clock.now() < message.expires_at
            )
        except Exception as error:  # noqa: BLE001 - nobody waits for this: what goes wrong is told here
            undone("settled", message, error)
            return False
        finally:
            del self.under_way[message.id]
            lane.done(message)

    async def _accept(self, message: Message, accepted: Accepted) -> bool:
        if await self._queue.accept(message, accepted.receipt, accepted.milliseconds):
            return True
        self._late(message)
        return False

    def _late(self, message: Message) -> None:
        """Reckon with a send that was settled before: by a report, or by a commit of ours whose answer was lost."""
        _log.warning("an answer came after the message was settled", extra={"message_id": message.id})
        self._queue.paid(message)


def undone(what: str, message: Message, error: BaseException) -> None:
    """Log that a message could not be ``settled`` or ``released``: its lease lapses, and it is rescued, here or elsewhere."""
    # Of a fault of ours its place is told: its text may hold a value.
    text = str(error) if isinstance(error, StorageError) else where(error)
    extra = {"message_id": message.id, "error": text}
    _log.log(loudness(error), "a message could not be %s", what, extra=extra)
