"""A service's allowances: requests per second, spending per day, messages that wait; asked before a code is made.

A request asks memory alone. What this node counted is written down once a second, and what the others did is read then
(``tallies``), so several nodes together may go over an allowance by what one second brings. What was spent today outlives
a restart. All three are the service's own: a purpose cannot set them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Final

from gateway.clock import Clock
from gateway.config import ServiceSettings
from gateway.delivery.message import Message
from gateway.delivery.payload import Stop
from gateway.errors import RateLimited
from gateway.verification.limits.account import ROUNDING, Account
from gateway.verification.limits.tallies import FRESH, Own, Tallies

_log = logging.getLogger(__name__)

#: The keys of ``[services.<name>.limits]`` that are asked here, in this order.
QUEUE_DEPTH: Final = "queue_depth"
SPEND: Final = "spend_per_day"
REQUESTS: Final = "requests_per_second"

#: Seconds of a day, which begins at midnight UTC, as the Unix epoch did.
DAY: Final = 86_400.0


def midnight(now: float) -> float:
    """Return when the UTC day of a time began, in seconds since the Unix epoch."""
    return now // DAY * DAY


class Allowances:
    """Every service's. ``tallies`` keeps them beyond this process and shares them with other nodes.

    ``price`` returns what a message by a channel to an address costs.
    """

    def __init__(
        self,
        services: Mapping[str, ServiceSettings],
        clock: Clock,
        tallies: Tallies,
        price: Callable[[str, str], float],
    ) -> None:
        self._clock = clock
        self._tallies = tallies
        self._price = price
        now = clock.monotonic()
        self._accounts = {name: Account(service.limits, now) for name, service in services.items()}

    def cost(self, service: str, channel: str, address: str) -> float:
        """Return what a message would cost its service; 0 where nobody adds that up, for a country is dear to find."""
        # What was queued for a service may outlive it in the configuration.
        account = self._accounts.get(service)
        return 0.0 if account is None or not account.limits.spend_per_day else self._price(channel, address)

    def check(self, service: str, price: float) -> str | None:
        """Ask whether a service may have one more code sent, for ``price``, and count the request.

        Returns the key of a limit that would have refused, where the service only observes. Raises ``RateLimited``.
        """
        account = self._accounts[service]
        found = self._refusal(account, price)
        if found is None:
            return None
        limit = str(found.extra["limit"])
        if self.observes(service):
            return limit
        _log.info("an allowance refused a request", extra={"service": service, "limit": limit})
        raise found

    def asked_for(self, message: Message, first: Stop) -> bool:
        """Whether the create of a message was asked for money: it was where the ``first`` stop of its route costs something.

        Then it goes on being sent, to the same address, though the day is spent meanwhile.
        """
        return self.cost(message.service, first.channel, first.address or "") > 0

    def observes(self, service: str) -> bool:
        """Whether too much is only told of. An allowance is the service's, whatever the mode of a purpose's limits is."""
        account = self._accounts.get(service)
        return account is not None and account.limits.mode == "observe"

    def afford(self, message: Message) -> RateLimited | None:
        """Return what refuses a message that is to be paid for and that no create was asked for; ``None`` where nothing does.

        Whoever has it sent is to ``reckon`` with it.
        """
        price = self.cost(message.service, message.channel, message.address)
        return self._overspent(self._accounts[message.service], price) if price else None

    def give_back(self, service: str, message: Message | None = None) -> None:
        """Take back the request that ``check`` counted, and its message: it was refused for another reason."""
        account = self._accounts[service]
        if message is not None:
            self.drop(service, message.id)
            account.queued.dropped(message.id)
        if account.bucket is not None:
            account.bucket.give_back()

    def hold(self, message: Message) -> None:
        """Reckon with a message that is about to be written: with its place, and with its price as long as its code would live.

        Else the many that are prepared before the first of them is written would all find the same money.
        """
        account = self._accounts[message.service]
        if account.limits.queue_depth:
            account.queued.prepared(message.id)
        self.reckon(message)

    def reckon(self, message: Message) -> None:
        """Reckon with the price of a message until it is accepted, at the latest until its code dies."""
        if price := self.cost(message.service, message.channel, message.address):
            self._accounts[message.service].held.add(message.id, price, message.expires_at)

    def drop(self, service: str, message_id: str) -> None:
        """Reckon no longer with the price of a message that was not written after all."""
        self._accounts[service].held.drop(message_id)

    def made(self, message: Message) -> None:
        """Note that a message was made on this node and is to be sent."""
        self._accounts[message.service].queued.made(message.id)
        self.reckon(message)

    def sent(self, message: Message) -> None:
        """Note that a provider accepted a message, whichever node made it."""
        account = self._accounts.get(message.service)
        if account is None:
            return
        account.queued.left()
        if account.limits.spend_per_day:
            price = self._price(message.channel, message.address)
            # Whoever made the first of a route reckons with it; what follows on it nobody does.
            if not account.held.drop(message.id) and not message.step:
                account.lent.add(message.id, price, message.expires_at)
            account.turn(midnight(self._clock.now()))
            account.spent += price

    def spent(self) -> dict[str, float]:
        """Return what each service that has an allowance spent today, on all nodes, as far as this one knows."""
        day = midnight(self._clock.now())
        return {
            name: account.spent + account.others if account.day == day else 0.0
            for name, account in self._accounts.items()
            if account.limits.spend_per_day
        }

    async def tally(self) -> None:
        """Write down what was counted here and read what the others did: a duty, every ``LOOK`` seconds.

        Raises ``StorageError``; then the last numbers stay.
        """
        now, lately = self._clock.now(), self._clock.monotonic() - FRESH
        for account in self._accounts.values():
            account.turn(midnight(now))
            account.forget(now)
        mine = {
            name: Own(
                account.spent if account.limits.spend_per_day else None,
                account.held.sum,
                account.held.ends[1],
                account.lent.sum,
                account.lent.ends[0],
                # A node that no request comes to takes nothing from those they come to.
                shares=account.bucket is not None and account.asked_at > lately,
            )
            for name, account in self._accounts.items()
            if account.limits.spend_per_day or account.bucket is not None
        }
        if mine:
            await self._share(mine, now)
        await self._count()

    async def forget(self) -> int:
        """Delete tallies that count for nothing any more and return how many there were. Raises ``StorageError``."""
        return await self._tallies.forget(self._clock.now())

    async def _share(self, mine: Mapping[str, Own], now: float) -> None:
        day = midnight(now)
        for service, theirs in (await self._tallies.exchange(mine, day, now)).items():
            account = self._accounts[service]
            account.held_elsewhere = theirs.held
            if account.day == day:
                account.others = theirs.spent
            if account.bucket is not None:
                rate = account.limits.requests_per_second / (theirs.nodes + 1)
                account.bucket.share(rate, self._clock.monotonic())

    async def _count(self) -> None:
        """Count the queues of the services that were asked for since the last look."""
        now = self._clock.monotonic()
        due = {
            name: account.limits.queue_depth
            for name, account in self._accounts.items()
            if account.queued.asked and account.queued.look_at <= now
        }
        if due:
            for service, number in (await self._tallies.queued(due)).items():
                self._accounts[service].queued.count(number, now)

    def _refusal(self, account: Account, price: float) -> RateLimited | None:
        limits, queued = account.limits, account.queued
        if most := limits.queue_depth:
            queued.asked = True
            if queued.depth >= most:
                return refusal(QUEUE_DEPTH, most, None, queued.wait(most))
        if (overspent := self._overspent(account, price)) is not None:
            return overspent
        if account.bucket is not None:
            account.asked_at = self._clock.monotonic()
            if wait := account.bucket.take(account.asked_at):
                return refusal(REQUESTS, limits.requests_per_second, 1.0, wait)
        return None

    def _overspent(self, account: Account, price: float) -> RateLimited | None:
        now, most = self._clock.now(), account.limits.spend_per_day
        account.turn(midnight(now))
        if not price or not most or account.committed + price <= most + ROUNDING:
            return None
        return refusal(SPEND, most, DAY, account.day + DAY - now)


def refusal(key: str, limit: float, window: float | None, wait: float) -> RateLimited:
    """Return the refusal by an allowance of ``limit`` in ``window`` seconds (``None``: at any time), open again after ``wait`` seconds."""
    if limit < 1 and window is not None:
        # The headers know whole numbers only: half a request a second is one in two seconds.
        limit, window = 1, window / limit
    seconds = max(1, math.ceil(wait))
    headers = {
        "RateLimit-Policy": f'"{key}";q={int(limit)}' + ("" if window is None else f";w={math.ceil(window)}"),
        "RateLimit": f'"{key}";r=0;t={seconds}',
    }
    return RateLimited(
        f"the service's {key} is used up; again in {seconds} s", retry_after=wait, headers=headers, limit=key
    )
