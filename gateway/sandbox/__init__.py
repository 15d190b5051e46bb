"""Mail server, Twilio API and Telegram Bot API on loopback: what ``otp-gateway demo`` and the tests talk to.

``inbox`` keeps what arrives, ``fault`` makes a server misbehave, ``magic`` does so by the address, ``smtp``, ``twilio``
and ``telegram`` speak the protocols; ``site`` is the page on which people see it all, ``scenes`` what they can do there.
Nothing here needs an account, nothing here posts to another machine, and nothing listens to one unless told to.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Self

from gateway.sandbox import magic
from gateway.sandbox.fault import Faults
from gateway.sandbox.inbox import Inbox
from gateway.sandbox.smtp import SmtpSandbox
from gateway.sandbox.telegram import TelegramSandbox
from gateway.sandbox.twilio import TwilioSandbox


class Sandbox:
    """All three servers with one inbox. Open it with ``async with``; the ports are then known.

    ``ports`` are the mail server's, Twilio's and the Bot API's; 0 is a free one. With ``magic_addresses`` how an
    address ends decides what becomes of a message (``magic``). Raises ``ValueError`` for a host that is not loopback,
    unless with ``allow_remote``: whoever reaches the servers sends and whoever reaches the page reads.
    """

    def __init__(
        self,
        *,
        callbacks: bool = True,
        magic_addresses: bool = False,
        host: str = "127.0.0.1",
        ports: tuple[int, int, int] = (0, 0, 0),
        allow_remote: bool = False,
    ) -> None:
        self.inbox = Inbox()
        self.smtp = SmtpSandbox(self.inbox, host=host, port=ports[0], allow_remote=allow_remote)
        self.twilio = TwilioSandbox(
            self.inbox, host=host, port=ports[1], callbacks=callbacks, allow_remote=allow_remote
        )
        self.telegram = TelegramSandbox(self.inbox, host=host, port=ports[2], allow_remote=allow_remote)
        if magic_addresses:
            self.smtp.faults.by_address = magic.by_ending(magic.MAIL)
            self.twilio.faults.by_address = magic.by_ending(magic.SMS)
            self.telegram.faults.by_address = magic.by_ending(magic.CHAT)

    @property
    def faults(self) -> Mapping[str, Faults]:
        """How each server is told to misbehave, by its name."""
        return {"smtp": self.smtp.faults, "twilio": self.twilio.faults, "telegram": self.telegram.faults}

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opened:
            await opened.enter_async_context(self.smtp)
            await opened.enter_async_context(self.twilio)
            await opened.enter_async_context(self.telegram)
            self._opened = opened.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()
