"""Where everything the sandbox accepts ends up, in the form a person would read it."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

#: Letters an inbox keeps; the oldest go first, so that a long benchmark does not fill the memory.
CAPACITY = 10_000


@dataclass(frozen=True, slots=True)
class Letter:
    """One accepted message to one address."""

    #: ``smtp``, ``twilio`` or ``telegram``.
    protocol: str
    #: The address: RCPT's, ``To`` or the chat's number, as the client wrote it.
    to: str = field(repr=False)
    #: The plain text a person reads.
    text: str = field(repr=False)
    #: SMTP: the message as received, without the dots of the protocol. HTTP: the request's body.
    raw: bytes = field(repr=False)
    #: HTTP: the request's parameters, nested ones as JSON. SMTP: ``mail_from`` and ``subject``.
    fields: Mapping[str, str] = field(repr=False)
    #: Seconds since the Unix epoch.
    received_at: float
    #: The id the client was given: a queue id, a Twilio SID, a Telegram message id.
    id: str


class Inbox:
    """The newest letters, in the order they came. It belongs to one event loop."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        #: Letters it keeps.
        self.capacity = capacity
        #: Called with each letter that came.
        self.on_letter: Callable[[Letter], None] = lambda _: None
        self._letters: deque[Letter] = deque(maxlen=capacity)
        self._waiting: defaultdict[str, list[asyncio.Future[None]]] = defaultdict(list)

    @property
    def letters(self) -> list[Letter]:
        """The letters, oldest first; a copy."""
        return list(self._letters)

    def add(self, letter: Letter) -> None:
        """Keep a letter and wake whoever waits for its address."""
        self._letters.append(letter)
        for waiter in self._waiting.pop(letter.to, ()):
            if not waiter.done():
                waiter.set_result(None)
        self.on_letter(letter)

    def to(self, address: str) -> list[Letter]:
        """Return the letters to ``address``, oldest first."""
        return [letter for letter in self._letters if letter.to == address]

    async def wait(self, to: str, *, timeout: float, count: int = 1) -> Letter:  # noqa: ASYNC109 - the interface
        """Return the ``count``-th letter to ``to``, waiting at most ``timeout`` seconds.

        Raises ``TimeoutError``.
        """
        async with asyncio.timeout(timeout):
            while len(found := self.to(to)) < count:
                await self._next(to)
        return found[count - 1]

    async def newest(self, to: str, *, after: str | None = None, timeout: float) -> Letter:  # noqa: ASYNC109 - as above
        """Return the newest letter to ``to``, or the first one that came ``after`` the letter with that id.

        An id that is forgotten by now came before every letter that is there. Waits at most ``timeout`` seconds for
        one. Raises ``TimeoutError``.
        """
        async with asyncio.timeout(timeout):
            while not (found := self._since(to, after)):
                await self._next(to)
        return found[-1 if after is None else 0]

    def _since(self, to: str, after: str | None) -> list[Letter]:
        found = self.to(to)
        places = [place for place, letter in enumerate(found) if letter.id == after]
        return found[places[-1] + 1 :] if places else found

    async def _next(self, to: str) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[to].append(waiter)
        await waiter

    def clear(self) -> None:
        """Forget every letter."""
        self._letters.clear()
