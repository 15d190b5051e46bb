"""A careful application: it asks for codes at a fixed rate, and again, with the same Idempotency-Key, until it is told."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import aiohttp

from tests.faults.figures import Promise

#: Seconds before a request without an answer is made again.
PAUSE = 0.2
#: Seconds a request may take.
TIMEOUT = 15.0
#: Seconds after which a request that was never acknowledged is given up.
PATIENCE = 60.0
#: The recipient of the request with that number.
To = Callable[[int], str]


def mailbox(number: int) -> str:
    """Return an e-mail address."""
    return f"person{number}@example.org"


def mobile(number: int) -> str:
    """Return a German mobile number; 10,000 of them, ten in a block, for a block takes 20 sends an hour."""
    rest, block = divmod(number % 10_000, 1000)
    return f"+49151{1000 + block}{rest:04d}"


@dataclass(slots=True)
class Load:
    """The requests and what became of them. Open it with ``async with``.

    ``url`` is asked for with each request, so that a node may come back on another port; ``ttl`` is in seconds.
    """

    key: str
    url: Callable[[], str]
    ttl: int = 60
    to: To = mailbox
    name: str = "send"
    #: What was acknowledged, by recipient.
    promises: dict[str, Promise] = field(default_factory=dict)
    #: Answers by HTTP status.
    answers: Counter[int] = field(default_factory=Counter)
    #: Answers 429 and 503 without ``Retry-After``.
    unguided: int = 0
    #: Requests without an answer: refused, cut or timed out.
    unanswered: int = 0
    #: Answers that say that the gateway itself is at fault, or that no careful caller would expect.
    odd: list[tuple[int, Any]] = field(default_factory=list)
    #: Seconds each acknowledged request took, its last try alone.
    seconds: list[float] = field(default_factory=list)
    #: When each acknowledgement came, on the monotonic clock.
    acknowledged: list[float] = field(default_factory=list)
    #: The longest ``Retry-After`` that is obeyed to the end.
    obey: float = 5.0
    _session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # Shorter than the server keeps an unused connection: a request never meets its closing.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=2.0),
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=aiohttp.ClientTimeout(total=TIMEOUT),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def run(self, number: int, rate: float, first: int = 0, **more: Any) -> None:
        """Ask for ``number`` codes at ``rate`` per second; returns once each is acknowledged or given up."""
        began = time.monotonic()
        await asyncio.gather(*(self._paced(began + place / rate, first + place, more) for place in range(number)))

    async def ask(self, number: int, **more: Any) -> Promise | None:
        """Ask for the code with that number until it is acknowledged; ``None`` where it was given up or refused."""
        to, given_up = self.to(number), time.monotonic() + PATIENCE
        body = {"to": to, "ttl": self.ttl, **more}
        while time.monotonic() < given_up:
            wait = await self._try(to, body, f"{self.name}-{number}")
            if wait is None:
                return self.promises.get(to)
            await asyncio.sleep(wait)
        self.odd.append((0, "never acknowledged"))
        return None

    async def once(self, number: int) -> float | None:
        """Ask once for the code with that number, without a key; return the seconds to wait where there was none."""
        return await self._try(self.to(number), {"to": self.to(number), "ttl": self.ttl}, None)

    async def fetch(self, path: str) -> tuple[int, Any]:
        """Fetch a path; return the status and the body."""
        assert self._session is not None
        async with self._session.get(self.url() + path) as answer:
            return answer.status, await answer.json()

    async def post(self, path: str, body: object, **headers: str) -> tuple[int, Any]:
        """Post to a path; return the status and the body."""
        assert self._session is not None
        async with self._session.post(self.url() + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def absent(self) -> list[str]:
        """Return the ids of acknowledged verifications that the gateway knows nothing of; waits out a 503."""
        found = []
        for promise in self.promises.values():
            given_up = time.monotonic() + PATIENCE
            while (status := (await self.fetch(f"/v1/verifications/{promise.id}"))[0]) == 503:
                assert time.monotonic() < given_up, "reading never works again"
                await asyncio.sleep(PAUSE)
            if status != 200:
                found.append(promise.id)
        return found

    async def statuses(self, promise: Promise) -> list[tuple[str, str]]:
        """Return the channel and the status of each message of a verification, in their order."""
        _, told = await self.fetch(f"/v1/verifications/{promise.id}")
        return [(message["channel"], message["status"]) for message in told["messages"]]

    async def outcomes(self, promise: Promise) -> list[tuple[str, str | None, str | None]]:
        """Return the channel, the outcome and the reason of each attempt of a verification, in their order."""
        _, told = await self.fetch(f"/v1/verifications/{promise.id}")
        return [
            (message["channel"], attempt["outcome"], attempt["reason"])
            for message in told["messages"]
            for attempt in message["attempts"]
        ]

    async def _paced(self, at: float, number: int, more: dict[str, Any]) -> None:
        await asyncio.sleep(max(0.0, at - time.monotonic()))
        await self.ask(number, **more)

    async def _try(self, to: str, body: object, key: str | None) -> float | None:
        """Make the request once; return the seconds to wait before the next try, ``None`` where it is over."""
        assert self._session is not None
        began = time.monotonic()
        try:
            async with self._session.post(
                self.url() + "/v1/verifications", json=body, headers=None if key is None else {"Idempotency-Key": key}
            ) as answer:
                status, waits, told = answer.status, answer.headers.get("Retry-After"), await answer.json()
        except (aiohttp.ClientError, OSError, ValueError):
            self.unanswered += 1
            return PAUSE
        self.answers[status] += 1
        if status == 201:
            self._keep(to, told, began)
            return None
        if status in {429, 503}:
            self.unguided += waits is None
            return min(float(waits or PAUSE), self.obey)
        if status == 409 and told.get("code") == "idempotency_conflict":
            return PAUSE
        self.odd.append((status, told.get("code")))
        return None if status < 500 else PAUSE

    def _keep(self, to: str, told: Any, began: float) -> None:
        now = time.monotonic()
        self.seconds.append(now - began)
        self.acknowledged.append(now)
        expires_at = datetime.fromisoformat(told["expires_at"]).timestamp()
        self.promises[to] = Promise(to, told["id"], time.time(), expires_at)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie; 0 of none."""
    found = sorted(values)
    return found[min(len(found) - 1, int(share * len(found)))] if found else 0.0
