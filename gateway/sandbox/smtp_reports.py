"""Reports of what became of a mail: delivery status notifications (RFC 3464), posted as a mail server's pipe posts them.

A client's SMTP conversation names no URL, so the server is told one, as a mail server is configured.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from gateway.sandbox.loopback import is_loopback
from gateway.sandbox.smtp_mail import Transaction

#: Seconds a post may take.
PATIENCE: Final = 5.0

#: What NOTIFY asks for, the action it is told by, and the status and the answer of the server it was given to.
_DELIVERED: Final = ("SUCCESS", "delivered", "2.0.0", "250 2.0.0 Delivered")
_LOST: Final = ("FAILURE", "failed", "5.1.1", "550 5.1.1 <{}>: Recipient address rejected: User unknown")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReportsTo:
    """Where reports go. Raises ``ValueError`` for a URL that is not on loopback."""

    #: ``http://127.0.0.1:8080/callbacks/email``.
    url: str
    #: What they are posted with.
    token: str = field(repr=False)

    def __post_init__(self) -> None:
        if not is_loopback(urlsplit(self.url).hostname):
            raise ValueError("Reports go to loopback only.")


def notification(mail: Transaction, recipient: str, *, lost: bool) -> bytes | None:
    """Return the report of one recipient; ``None`` where it was not asked for."""
    wish, action, status, answer = _LOST if lost else _DELIVERED
    if mail.sender == "" or wish not in mail.notify.get(recipient, frozenset()):
        return None
    lines = [
        "From: MAILER-DAEMON@sandbox.localhost",
        f"To: {mail.sender}",
        "Subject: What became of your mail",
        f"Date: {formatdate()}",
        "MIME-Version: 1.0",
        'Content-Type: multipart/report; report-type=delivery-status; boundary="=_sandbox"',
        "",
        "--=_sandbox",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        f"Your mail was {action}.",
        "",
        "--=_sandbox",
        "Content-Type: message/delivery-status",
        "",
        *([f"Original-Envelope-Id: {mail.envelope_id}"] if mail.envelope_id else []),
        "Reporting-MTA: dns; sandbox.localhost",
        "",
        f"Final-Recipient: rfc822; {recipient}",
        f"Action: {action}",
        f"Status: {status}",
        f"Diagnostic-Code: smtp; {answer.format(recipient)}",
        "",
        "--=_sandbox--",
        "",
    ]
    return "\r\n".join(lines).encode()


class Reporter:
    """Posts reports, each in a task of its own."""

    def __init__(self) -> None:
        #: Where reports go; ``None`` sends none.
        self.to: ReportsTo | None = None
        self._posting: set[asyncio.Task[None]] = set()

    def reports(self, mail: Transaction, recipient: str, *, lost: bool) -> bool:
        """Whether ``tell`` would post anything."""
        return self.to is not None and notification(mail, recipient, lost=lost) is not None

    def tell(self, mail: Transaction, recipient: str, *, lost: bool) -> None:
        """Report on one recipient, if that was asked for and there is somebody to tell."""
        content = notification(mail, recipient, lost=lost)
        if self.to is not None and content is not None:
            posting = asyncio.create_task(_post(self.to, content))
            self._posting.add(posting)
            posting.add_done_callback(self._posting.discard)

    async def close(self) -> None:
        """Give up what is under way."""
        for posting in self._posting:
            posting.cancel()
        await asyncio.gather(*self._posting, return_exceptions=True)


async def _post(to: ReportsTo, content: bytes) -> None:
    headers = {"Authorization": f"Bearer {to.token}", "Content-Type": "message/rfc822"}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session,
            session.post(to.url, data=content, headers=headers, allow_redirects=False),
        ):
            pass
    except (aiohttp.ClientError, TimeoutError) as error:
        _log.debug("report not delivered: %s", type(error).__name__)
