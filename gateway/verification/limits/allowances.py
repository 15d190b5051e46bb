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
from gateway.config import LimitSettings, ServiceSettings
from gateway.delivery.message import Message
from gateway.errors import RateLimited
from gateway.verification.limits.tallies import FRESH, Own, Tallies

_log = logging.getLogger(__name__)

#: The keys of ``[services.<name>.limits]`` that are asked here, in this order.
QUEUE_DEPTH: Final = "queue_depth"
SPEND: Final = "spend_per_day"
REQUESTS: Final = "requests_per_second"

#: Seconds of a day, which begins at midnight UTC, as the Unix epoch did.
DAY: Final = 86_400.0
#: Seconds between two tallies.
LOOK: Final = 1.0
#: Rows of the queue counted in a second at most: of a long queue, which says little new each second, there are fewer looks.
COUNTED_A_SECOND: Final = 20_000
#: Seconds after which a caller is told to return to a full queue, at most: by then more is known.
LONGEST_WAIT: Final = 60.0
#: Prices are sums of floats: so little more than the allowance is the allowance.
_ROUNDING: Final = 1e-9


def midnight(now: float) -> float:
    """Return when the UTC day of a time began, in seconds since the Unix epoch."""
    return now // DAY * DAY


class Bucket:
    """A token bucket: ``rate`` tokens come each second, up to one second's worth and never less than one.

    All times are monotonic seconds.
    """

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._tokens = self._most
        self._at = now

    def share(self, rate: float, now: float) -> None:
        """Go on with another rate."""
        self._fill(now)
        self._rate = rate
        self._tokens = min(self._tokens, self._most)

    def take(self, now: float) -> float:
        """Take a token and return 0, or return the seconds until there is one and take none."""
        self._fill(now)
        if self._tokens < 1 - _ROUNDING:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0

    def give_back(self) -> None:
        """Return a token that was taken for nothing."""
        self._tokens = min(self._tokens + 1, self._most)

    @property
    def _most(self) -> float:
        return max(1.0, self._rate)

    def _fill(self, now: float) -> None:
        self._tokens = min(self._most, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now


class Queued:
    """How many messages of a service wait: counted in the database now and then, and reckoned on from there."""

    def __init__(self) -> None:
        #: Whether anybody asked since the last look.
        self.asked = False
        #: When to look again, in monotonic seconds.
        self.look_at = 0.0
        self._counted = 0
        self._counted_at = 0.0
        #: Messages prepared and not written yet, by their ids: else the many of a chunk would all find the same room.
        self._prepared: set[str] = set()
        self._made = 0
        self._left = 0
        self._pace = 0.0

    @property
    def depth(self) -> int:
        """How many wait now, as far as this node knows."""
        return max(0, self._counted + self._made - self._left) + len(self._prepared)

    def prepared(self, message_id: str) -> None:
        """One more is about to wait."""
        self._prepared.add(message_id)

    def dropped(self, message_id: str) -> None:
        """It does not, after all."""
        self._prepared.discard(message_id)

    def made(self, message_id: str) -> None:
        """One more waits."""
        self._prepared.discard(message_id)
        self._made += 1

    def left(self) -> None:
        """One was sent by this node."""
        self._left += 1

    def count(self, number: int, now: float) -> None:
        """Begin anew from what a look found."""
        if self._counted_at:
            gone = self._counted + self._made - number
            self._pace = max(0.0, gone / max(now - self._counted_at, LOOK))
        self._counted, self._counted_at, self._made, self._left = number, now, 0, 0
        # What is prepared is written within the second, or its caller is gone.
        self._prepared.clear()
        self.asked, self.look_at = False, now + number / COUNTED_A_SECOND

    def wait(self, most: int) -> float:
        """Return the seconds after which fewer than ``most`` may wait, at the pace of late."""
        over = self.depth - most + 1
        return min(over / self._pace, LONGEST_WAIT) if self._pace > 0 else LONGEST_WAIT


class Reckoned:
    """Prices of messages, each until its code dies."""

    def __init__(self) -> None:
        self.sum = 0.0
        self._of: dict[str, tuple[float, float]] = {}

    def add(self, message_id: str, price: float, until: float) -> None:
        """Reckon with a message until then, in place of what was said of it before."""
        self.drop(message_id)
        self._of[message_id] = price, until
        self.sum += price

    def drop(self, message_id: str) -> bool:
        """Reckon with a message no longer; tell whether it was reckoned with."""
        price, until = self._of.pop(message_id, (0.0, 0.0))
        self.sum = self.sum - price if self._of else 0.0
        return until > 0

    def forget(self, now: float) -> None:
        """Let go of what is dead."""
        for message_id in [name for name, (_, until) in self._of.items() if until <= now]:
            self.drop(message_id)

    @property
    def ends(self) -> tuple[float, float]:
        """When the first of these codes dies, and the last."""
        untils = [until for _, until in self._of.values()]
        return min(untils, default=0.0), max(untils, default=0.0)


class Account:
    """What one service has used."""

    def __init__(self, limits: LimitSettings, now: float) -> None:
        self.limits = limits
        self.bucket = Bucket(limits.requests_per_second, now) if limits.requests_per_second else None
        #: When the service asked here last, in monotonic seconds.
        self.asked_at = float("-inf")
        self.queued = Queued()
        #: The day that ``spent`` and ``others`` are of.
        self.day = 0.0
        #: What this node's accepted sends of the day cost, and what the other nodes' did.
        self.spent = 0.0
        self.others = 0.0
        #: What was made here and is not accepted yet.
        self.held = Reckoned()
        #: What was accepted here and made elsewhere, where it is reckoned with still: it is to count once.
        self.lent = Reckoned()
        #: The same of the other nodes, together.
        self.held_elsewhere = 0.0

    def turn(self, day: float) -> None:
        """Begin a day, if it is another one."""
        if day != self.day:
            self.day, self.spent, self.others = day, 0.0, 0.0

    @property
    def committed(self) -> float:
        """What was spent, and what is about to be."""
        about = self.held.sum + self.held_elsewhere - self.lent.sum
        return self.spent + self.others + max(0.0, about)

    def forget(self, now: float) -> None:
        """Let go of what is dead: nobody reckons with it any more."""
        self.held.forget(now)
        self.lent.forget(now)


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
        return self._price(channel, address) if self._accounts[service].limits.spend_per_day else 0.0

    def check(self, service: str, price: float) -> str | None:
        """Ask whether a service may have one more code sent, for ``price``, and count the request.

        Returns the key of a limit that would have refused, where the service only observes. Raises ``RateLimited``.
        """
        account = self._accounts[service]
        found = self._refusal(account, price)
        if found is None:
            return None
        limit = str(found.extra["limit"])
        if account.limits.mode == "observe":
            return limit
        _log.info("an allowance refused a request", extra={"service": service, "limit": limit})
        raise found

    def afford(self, message: Message) -> RateLimited | None:
        """Return what refuses a message that is to be paid for and that no create was asked for; ``None`` where nothing does.

        Whoever has it sent is to ``reckon`` with it.
        """
        account = self._accounts[message.service]
        return self._overspent(account, self.cost(message.service, message.channel, message.address))

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
        account = self._accounts[message.service]
        if account.limits.spend_per_day and (price := self._price(message.channel, message.address)):
            account.held.add(message.id, price, message.expires_at)

    def drop(self, service: str, message_id: str) -> None:
        """Reckon no longer with the price of a message that was not written after all."""
        self._accounts[service].held.drop(message_id)

    def made(self, message: Message) -> None:
        """Note that a message was made on this node and is to be sent."""
        self._accounts[message.service].queued.made(message.id)
        self.reckon(message)

    def sent(self, message: Message) -> None:
        """Note that a provider accepted a message, whichever node made it."""
        # What was queued for a service may outlive it in the configuration.
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
                return refusal(QUEUE_DEPTH, most, LOOK, queued.wait(most))
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
        if not price or not most or account.committed + price <= most + _ROUNDING:
            return None
        return refusal(SPEND, most, DAY, account.day + DAY - now)


def refusal(key: str, limit: float, window: float, wait: float) -> RateLimited:
    """Return the refusal by an allowance of ``limit`` in ``window`` seconds, open again after ``wait`` seconds."""
    if limit < 1:
        # The headers know whole numbers only: half a request a second is one in two seconds.
        limit, window = 1, window / limit
    seconds = max(1, math.ceil(wait))
    headers = {
        "RateLimit-Policy": f'"{key}";q={int(limit)};w={math.ceil(window)}',
        "RateLimit": f'"{key}";r=0;t={seconds}',
    }
    return RateLimited(
        f"the service's {key} is used up; again in {seconds} s", retry_after=wait, headers=headers, limit=key
    )
