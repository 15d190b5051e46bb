"""Mail server, Twilio API and Telegram Bot API on loopback: what ``otp-gateway demo`` and the tests talk to.

``inbox`` keeps what arrives, ``fault`` makes a server misbehave, ``smtp``, ``twilio`` and ``telegram`` speak
the protocols. Nothing here needs an account, and nothing here listens on or posts to another machine.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Self

from gateway.sandbox.inbox import Inbox
from gateway.sandbox.smtp import SmtpSandbox
from gateway.sandbox.telegram import TelegramSandbox
from gateway.sandbox.twilio import TwilioSandbox


class Sandbox:
    """All three servers with one inbox. Open it with ``async with``; the ports are then known."""

    def __init__(self, *, callbacks: bool = True) -> None:
        self.inbox = Inbox()
        self.smtp = SmtpSandbox(self.inbox)
        self.twilio = TwilioSandbox(self.inbox, callbacks=callbacks)
        self.telegram = TelegramSandbox(self.inbox)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opened:
            await opened.enter_async_context(self.smtp)
            await opened.enter_async_context(self.twilio)
            await opened.enter_async_context(self.telegram)
            self._opened = opened.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()
