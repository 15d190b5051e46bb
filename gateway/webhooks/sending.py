"""The lane of webhooks: takes what is due, sends it, settles it. It shares nothing with the channels but the database.

Places are few and go to the receivers in turn, so a dead one costs the others nothing: it holds one place for as long
as a try may take. What is under way when the process dies is due again once its lease ends; receivers know a
repetition by its id.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from gateway.clock import Clock
from gateway.errors import loudness
from gateway.events.event import Event, EventName, event
from gateway.storage.unit import StorageError
from gateway.webhooks.connecting import AT_ONCE, TOTAL, Answer, Client, Fault, SendError
from gateway.webhooks.endpoints import Endpoint, Endpoints
from gateway.webhooks.pace import Pace, shares
from gateway.webhooks.rows import BITE, Result, Webhook, Webhooks
from gateway.webhooks.schedule import next_try
from gateway.webhooks.signing import headers

_log = logging.getLogger(__name__)

#: Seconds between two looks for what is due, at most.
POLL: Final = 1.0
#: Seconds what is under way may still take when the node stops.
GRACE: Final = 5.0
#: Seconds before another try to settle, where the database is away.
SETTLE_PAUSES: Final = (0.2, 1.0, 4.0)
#: Answers that say the receiver, or what stands before it, has too much (Standard Webhooks 1.0.0).
THROTTLING: Final = frozenset({429, 502, 504})
_GONE: Final = 410
#: What the operator must mend: it is told louder.
_MISCONFIGURED: Final = frozenset({Fault.ADDRESS, Fault.TLS})


class WebhookLane:
    """One node's lane. ``endpoints`` are the receivers by service.

    ``jitter`` returns 0 … 1; ``grace`` is in seconds, for what is under way when the lane is stopped. ``observe`` hears
    of a service and what became of a webhook: ``delivered``, ``retried``, ``dropped``; what fails for good is an event.
    """

    def __init__(
        self,
        webhooks: Webhooks,
        receivers: Endpoints,
        endpoints: Mapping[str, Endpoint],
        client: Client,
        clock: Clock,
        *,
        jitter: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        grace: float = GRACE,
        observe: Callable[[str, str], None] = lambda _service, _outcome: None,
    ) -> None:
        self._webhooks = webhooks
        self._receivers = receivers
        self._endpoints = endpoints
        self._client = client
        self._clock = clock
        self._jitter = jitter
        self._sleep = sleep
        self._grace = grace
        self._observe = observe
        self._paces = {service: Pace() for service in endpoints}
        self._under_way: dict[str, tuple[asyncio.Task[None], Webhook]] = {}
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look again at once: webhooks were committed."""
        self._woken.set()

    async def run(self) -> None:
        """Send what is due until canceled; then end what is under way, or give it back."""
        if not self._endpoints:
            return
        async with self._client:
            looking = self._begin_look()
            try:
                while True:
                    await self._rest(await asyncio.shield(looking))
                    looking = self._begin_look()
            finally:
                # What it is about to claim would be nobody's until its lease ends.
                await looking
                await self._stop()

    async def look_once(self) -> float:
        """Begin what is due and has a place; return the seconds until the next look. Raises ``StorageError``."""
        waiting, now = await self._webhooks.waiting(), self._clock.now()
        due = [service for service in sorted(waiting, key=waiting.__getitem__) if waiting[service] <= now]
        due = [service for service in due if service in self._endpoints]
        if due:
            disabled = await self._receivers.disabled()
            dropped = [await self._drop(service) for service in due if service in disabled]
            await self._begin([service for service in due if service not in disabled])
            if BITE in dropped:
                return 0.0
        return min([POLL, *self._times_until(waiting, now)])

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            await asyncio.wait([work for work, _ in self._under_way.values()])

    def _begin_look(self) -> asyncio.Task[float]:
        return asyncio.create_task(self._looked(), name="webhooks")

    async def _looked(self) -> float:
        try:
            return await self.look_once()
        except Exception as error:  # noqa: BLE001 - the lane outlives any fault: nothing would be told without it
            _log.log(loudness(error), "webhooks could not be looked for: %s", _told(error))
            return POLL

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()

    def _times_until(self, waiting: Mapping[str, float], now: float) -> list[float]:
        """Return the seconds until something is due, or a receiver has rested. What has no place waits for an end."""
        monotonic = self._clock.monotonic()
        rests = [rest for pace in self._paces.values() if (rest := pace.rest(monotonic))]
        return [*rests, *(due_at - now for due_at in waiting.values() if due_at > now)]

    async def _begin(self, services: list[str]) -> None:
        paces = {service: self._paces[service] for service in services}
        rooms = shares(AT_ONCE - len(self._under_way), paces, self._clock.monotonic())
        if not rooms:
            return
        for webhook in await self._webhooks.claim(rooms):
            # One whose lease lapsed here, on a machine that slept, is under way still and is settled by that.
            if webhook.id not in self._under_way:
                self._paces[webhook.service].begin()
                work = asyncio.create_task(self._work(webhook), name=f"webhook:{webhook.service}")
                self._under_way[webhook.id] = (work, webhook)
                work.add_done_callback(lambda _, webhook=webhook: self._ended(webhook))  # type: ignore[misc]

    def _ended(self, webhook: Webhook) -> None:
        del self._under_way[webhook.id]
        self._paces[webhook.service].end()
        # There is a place again.
        self._woken.set()

    async def _work(self, webhook: Webhook) -> None:
        try:
            await self._try(webhook, self._endpoints[webhook.service])
        except Exception as error:  # noqa: BLE001 - whatever fails, the others go on; this one lapses and is due again
            _log.log(loudness(error), "a webhook was not settled: %s", _told(error), extra=_place(webhook))

    async def _try(self, webhook: Webhook, endpoint: Endpoint) -> None:
        now = self._clock.now()
        if now + TOTAL > webhook.due_at:
            # Its lease would end meanwhile, and another node send it as well.
            await self._webhooks.release(webhook)
            return
        body = webhook.body.encode()
        signed = headers(endpoint.secrets, webhook.id, int(self._clock.world()), body)
        try:
            answer = await self._client.post(endpoint.url, signed, body, now=self._clock.world())
        except SendError as error:
            await self._failed(webhook, endpoint, None, error.fault)
            return
        fault = _fault(answer.status)
        if fault is None:
            self._paces[webhook.service].well()
            await self._settle(lambda: self._webhooks.deliver(webhook, Result(answer.status)))
            self._observe(webhook.service, "delivered")
        else:
            await self._failed(webhook, endpoint, answer, fault)

    async def _failed(self, webhook: Webhook, endpoint: Endpoint, answer: Answer | None, fault: Fault) -> None:
        now, pace = self._clock.now(), self._paces[webhook.service]
        status, asked = (answer.status, answer.retry_after) if answer else (None, None)
        result = Result(status, fault.value)
        if status in THROTTLING:
            pace.throttled(self._clock.monotonic(), asked)
        else:
            pace.failed()
        due_at = next_try(webhook.tries + 1, now, retry_after=asked, jitter=self._jitter())
        if fault is Fault.GONE:
            await self._give_up(webhook, endpoint, result, now)
        elif due_at is None:
            await self._settle(lambda: self._webhooks.fail(webhook, result, (_failure(webhook, result, now),)))
        else:
            level = logging.WARNING if fault in _MISCONFIGURED else logging.INFO
            _log.log(level, "a webhook was not taken: %s", fault.value, extra=_place(webhook))
            await self._settle(lambda: self._webhooks.again(webhook, due_at, result))
            self._observe(webhook.service, "retried")

    async def _give_up(self, webhook: Webhook, endpoint: Endpoint, result: Result, now: float) -> None:
        """The receiver wants no more: neither this one nor any other."""
        await self._settle(lambda: self._receivers.disable(endpoint, Fault.GONE.value, now))
        await self._settle(lambda: self._webhooks.fail(webhook, result, (_failure(webhook, result, now),)))
        while await self._drop(webhook.service):
            pass

    async def _drop(self, service: str) -> int:
        number = await self._webhooks.drop(service)
        for _ in range(number):
            self._observe(service, "dropped")
        return number

    async def _settle(self, write: Callable[[], Awaitable[bool]]) -> None:
        """Write what became of a try, and try that again where the database is away. Raises ``StorageError``."""
        for pause in SETTLE_PAUSES:
            try:
                await write()
            except StorageError:
                await self._sleep(pause)
            else:
                return
        await write()

    async def _stop(self) -> None:
        """Let what is under way end, and give back what does not."""
        held = list(self._under_way.values())
        if not held:
            return
        _, late = await asyncio.wait([work for work, _ in held], timeout=self._grace)
        for work in late:
            work.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        for work, webhook in held:
            if work in late:
                try:
                    await self._webhooks.release(webhook)
                except StorageError as error:
                    _log.log(
                        loudness(error),
                        "a webhook was not given back: %s; it lapses by itself",
                        error,
                        extra=_place(webhook),
                    )


def _fault(status: int) -> Fault | None:
    """Return what is wrong with an answer's status; ``None`` for 2xx."""
    if status == _GONE:
        return Fault.GONE
    if 300 <= status < 400:
        return Fault.REDIRECT
    return None if 200 <= status < 300 else Fault.REFUSED


def _failure(webhook: Webhook, result: Result, now: float) -> Event:
    return event(
        EventName.WEBHOOK_FAILED,
        now,
        webhook.service,
        verification_id=webhook.verification_id,
        attempt=webhook.tries + 1,
        reason=result.reason,
        provider_code=None if result.answer is None else str(result.answer),
    )


def _place(webhook: Webhook) -> dict[str, str]:
    return {"webhook": webhook.id, "service": webhook.service}


def _told(error: Exception) -> str:
    """Return what may be logged of an error: the texts of storage hold no values, those of others may."""
    return str(error) if isinstance(error, StorageError) else type(error).__name__
