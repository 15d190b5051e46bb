"""The queue of updates of one bot, taken by long polling or pushed to a webhook.

https://core.telegram.org/bots/api#getting-updates
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import aiohttp

from gateway.sandbox.inbox import CAPACITY

Json = dict[str, Any]

#: Seconds a webhook may take, and the pause before a failed push is tried again.
PUSH_TIMEOUT = 5.0
PUSH_RETRY = 0.2

_ENDED_BY = {
    "getUpdates": "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
    "setWebhook": "Conflict: terminated by setWebhook request",
}


class ConflictError(Exception):
    """A poll that another request ended; the text is Telegram's own."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where updates are pushed."""

    url: str
    secret_token: str = ""


class Updates:
    """What happened and the bot has not yet confirmed."""

    def __init__(self) -> None:
        #: Kinds that are queued; ``None`` for all.
        self.allowed: frozenset[str] | None = None
        self.webhook: Webhook | None = None
        #: Why the last push failed, and when (seconds since the Unix epoch).
        self.last_error: tuple[str, int] | None = None
        self._pending: deque[Json] = deque(maxlen=CAPACITY)
        self._last_id = 0
        self._poll: asyncio.Future[str | None] | None = None
        self._added = asyncio.Event()

    def __len__(self) -> int:
        return len(self._pending)

    def allow(self, kinds: Collection[str]) -> None:
        """Queue only these kinds from now on; none named means all."""
        self.allowed = frozenset(kinds) or None

    def add(self, kind: str, content: Json) -> None:
        """Queue an update, unless the bot did not ask for its kind."""
        if self.allowed is not None and kind not in self.allowed:
            return
        self._last_id += 1
        self._pending.append({"update_id": self._last_id, kind: content})
        self._added.set()
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(None)

    def clear(self) -> None:
        """Forget what waits."""
        self._pending.clear()

    def confirm(self, offset: int) -> None:
        """Forget the updates before ``offset``; a negative one counts from the end."""
        if offset < 0:
            offset = self._last_id + 1 + offset
        while self._pending and self._pending[0]["update_id"] < offset:
            self._pending.popleft()

    async def poll(self, *, offset: int, limit: int, timeout: float) -> list[Json]:  # noqa: ASYNC109 - Telegram's word
        """Return what waits, after at most ``timeout`` seconds. Raises ``ConflictError`` when another poll begins."""
        self.end_poll("getUpdates")
        self.confirm(offset)
        if not self._pending and timeout > 0:
            self._poll = poll = asyncio.get_running_loop().create_future()
            await asyncio.wait([poll], timeout=timeout)
            ended_by = poll.result() if poll.done() else None
            if ended_by is not None:
                raise ConflictError(ended_by)
        return list(self._pending)[:limit]

    def end_poll(self, method: str) -> None:
        """End the poll under way, if there is one, because ``method`` was called."""
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(_ENDED_BY[method])
        self._poll = None

    async def push(self, client: aiohttp.ClientSession) -> None:
        """Push to the webhook while there is one, in order, until canceled."""
        while True:
            self._added.clear()
            if self.webhook is None or not self._pending:
                await self._added.wait()
            elif await self._pushed(client, self.webhook, self._pending[0]):
                self.last_error = None
            else:
                await asyncio.sleep(PUSH_RETRY)

    def wake(self) -> None:
        """Let ``push`` see a new webhook."""
        self._added.set()

    async def _pushed(self, client: aiohttp.ClientSession, webhook: Webhook, update: Json) -> bool:
        headers = {"X-Telegram-Bot-Api-Secret-Token": webhook.secret_token} if webhook.secret_token else None
        try:
            async with client.post(webhook.url, json=update, headers=headers, allow_redirects=False) as answer:
                if answer.status // 100 == 2:
                    self.confirm(update["update_id"] + 1)
                    return True
                reason = f"Wrong response from the webhook: {answer.status}"
        except (aiohttp.ClientError, TimeoutError):
            reason = "Connection failed"
        self.last_error = reason, int(time.time())
        return False
