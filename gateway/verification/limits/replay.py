"""A policy tried on the log: who would have been refused, what that would have saved, and who of them was approved.

Pure: it is told what happened, in order, and counts by the rules of ``windows`` as the gateway would have. What a person
would have done after a refusal nobody knows: a verification whose creation is refused is taken not to have been, and the
rest of the log is taken as it was. What the policy of then refused is not in the log, so looser limits show nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from itertools import count
from typing import Final

from gateway.config import ServiceSettings
from gateway.verification.limits.account import Bucket
from gateway.verification.limits.allowances import DAY, REQUESTS, SPEND
from gateway.verification.limits.past import Cause, Past, Send
from gateway.verification.limits.replayed import Report
from gateway.verification.limits.run import Run
from gateway.verification.limits.shadow import Shadow
from gateway.verification.request import COSTLY

#: Returns what a message by a channel to a country costs.
Price = Callable[[str, str | None], float]

#: The keys of a policy that refuse addresses.
COUNTRIES: Final = "countries"
NUMBER_TYPES: Final = "number_types"

#: Verifications between two clearings of what counts no more: each looks through everything.
CLEARING: Final = 10_000
#: What happens at the same moment happens in this order: the last wrong code ends, and what ends makes room.
_WRONG, _END, _RETURN, _SEND = range(4)

#: Something that happened: when, in which order, and to what.
_Moment = tuple[float, int, int, Run, Send | None]


class Replay:
    """Tries ``services``, the policy, on what it is told of. ``price`` says what sends cost.

    It holds what is alive at a time, so its memory does not grow with the log.
    """

    def __init__(self, services: Mapping[str, ServiceSettings], price: Price, *, clearing: int = CLEARING) -> None:
        self._services = services
        self._price = price
        self._shadow = Shadow()
        self._moments: list[_Moment] = []
        self._number = count()
        self._taken = 0
        self._clearing = clearing
        self._buckets: dict[str, Bucket] = {}
        #: What each service spent, and of which day.
        self._spent: dict[str, tuple[float, float]] = {}
        self.report = Report()

    def take(self, past: Past) -> None:
        """Tell of a verification. They come in the order in which they were created."""
        self._until(past.created_at)
        settings = self._services.get(past.service) or self._services.get("default")
        if settings is None:
            self.report.unknown += 1
            return
        policy = settings.for_purpose(past.purpose)
        run = Run(past, policy, settings.limits, policy.code.max_checks)
        self._add(past)
        for send in past.sends:
            self._happens(send.at, _SEND, run, send)
            if send.returned_at is not None:
                self._happens(send.returned_at, _RETURN, run, send)
        for at in past.wrong:
            self._happens(at, _WRONG, run)
        if past.ended_at is not None:
            self._happens(past.ended_at, _END, run)
        self._taken += 1
        if self._taken % self._clearing == 0:
            self._shadow.clear(past.created_at)

    def finish(self) -> Report:
        """Return the report once all was told."""
        self._until(float("inf"))
        return self.report

    def _add(self, past: Past) -> None:
        log = self.report.log
        log.verifications += 1
        log.approved += past.approved
        log.sends += sum(send.accepted > 0 for send in past.sends)
        log.cost += sum(map(self._cost, past.sends))

    def _happens(self, at: float, what: int, run: Run, send: Send | None = None) -> None:
        heapq.heappush(self._moments, (at, what, next(self._number), run, send))

    def _until(self, at: float) -> None:
        """Let happen what happened before a time: what is still to be told of is later."""
        while self._moments and self._moments[0][0] < at:
            moment, what, _, run, send = heapq.heappop(self._moments)
            if what == _SEND and send is not None:
                self._send(run, send)
            elif what == _RETURN and send is not None:
                self._shadow.give_back(run, send)
            elif what == _WRONG and not run.absent and run.reserved:
                self._shadow.wrong(run, moment)
            elif what == _END:
                self._end(run, moment)

    def _send(self, run: Run, send: Send) -> None:
        if run.absent or (run.held_up and send.cause is Cause.FALLBACK):
            self.report.save(run.blamed[-1][0], run.past.service, send, self._cost(send))
            return
        limit = self._refusal(run, send)
        if limit is None:
            run.held_up = False
            if run.counts(send):
                self._shadow.claim(run, send)
                run.one.clear()
            elif run.counts_in_block(send):
                self._shadow.claim_in_block(run, send)
            run.one.append(send)
            self._spend(run.past.service, send)
            return
        run.absent, run.held_up = send.cause is Cause.CREATE, send.cause is Cause.RESEND
        run.blamed.append((limit, send))
        self.report.refuse(limit, run.past.service, send)
        self.report.save(limit, run.past.service, send, self._cost(send))

    def _end(self, run: Run, at: float) -> None:
        if run.past.approved:
            for limit, send in run.blamed:
                self.report.regret(limit, run.past.service, send)
        if not run.absent:
            self._shadow.end(run, at)

    def _refusal(self, run: Run, send: Send) -> str | None:
        """Return the key of what refuses a send, in the order in which the gateway asks."""
        if send.cause is Cause.CREATE:
            found = _place_refusal(run) or self._allowance_refusal(run, send)
            if found is not None:
                return found
        if run.counts(send):
            return self._shadow.refusal(run, send)
        return self._shadow.block_refusal(run, send) if run.counts_in_block(send) else None

    def _allowance_refusal(self, run: Run, send: Send) -> str | None:
        service, now, limits = run.past.service, send.at, run.allowed
        price = self._price(send.channel, send.place.country)
        day, spent = self._spent.get(service, (0.0, 0.0))
        if limits.spend_per_day and price and spent * (day == now // DAY) + price > limits.spend_per_day:
            return SPEND
        if limits.requests_per_second:
            bucket = self._buckets.setdefault(service, Bucket(limits.requests_per_second, now))
            if bucket.take(now):
                return REQUESTS
        return None

    def _spend(self, service: str, send: Send) -> None:
        if cost := self._cost(send):
            today = send.at // DAY
            day, spent = self._spent.get(service, (today, 0.0))
            self._spent[service] = today, (spent if day == today else 0.0) + cost

    def _cost(self, send: Send) -> float:
        return send.accepted * self._price(send.channel, send.place.country)


def _place_refusal(run: Run) -> str | None:
    """Return the key of the policy that refuses an address of a verification."""
    policy = run.policy
    for place in run.past.places:
        if place.country is None and place.number_type is None:
            continue
        if "*" not in policy.countries and place.country not in policy.countries:
            return COUNTRIES
        if place.number_type in COSTLY and place.number_type not in policy.number_types:
            return NUMBER_TYPES
    return None
