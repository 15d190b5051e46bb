"""A mail server that keeps what it is given, for the demo, the tests and as the sink of the benchmarks."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
import socket
import ssl
import time
from collections.abc import Collection, Sequence
from typing import Self

from gateway.sandbox.fault import Fault, Faults
from gateway.sandbox.inbox import Inbox, Letter
from gateway.sandbox.loopback import listen, listening_address
from gateway.sandbox.mail_text import plain_text, subject
from gateway.sandbox.smtp_mail import EXTENSIONS, Transaction
from gateway.sandbox.smtp_reports import Reporter, ReportsTo
from gateway.sandbox.smtp_session import Session

#: Seconds a client is given to notice that it is being disconnected.
GOODBYE = 0.2


class SmtpSandbox:
    """The mail server. Open it with ``async with``; ``host`` and ``port`` then say where it listens.

    ``tls_context`` offers STARTTLS, or TLS from the first byte with ``implicit_tls``. With ``require_auth``
    (user, password) nobody else may send; without it any credentials are accepted. Where STARTTLS is offered,
    AUTH is not before it. Raises ``ValueError`` for a host that is not loopback, unless with ``allow_remote``.
    """

    def __init__(
        self,
        inbox: Inbox,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls_context: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        require_auth: tuple[str, str] | None = None,
        allow_remote: bool = False,
    ) -> None:
        if implicit_tls and tls_context is None:
            raise ValueError("Implicit TLS needs a tls_context.")
        self.inbox = inbox
        self.host = listening_address(host, allow_remote=allow_remote)
        self.port = port
        self.tls_context = tls_context
        self.implicit_tls = implicit_tls
        self.require_auth = require_auth
        #: How the server is told to misbehave.
        self.faults = Faults()
        #: What EHLO offers; a server of other abilities has fewer.
        self.extensions: Sequence[str] = EXTENSIONS
        #: Senders that MAIL refuses, whoever logs in.
        self.refused_senders: Collection[str] = frozenset()
        #: Connections ever accepted.
        self.connections = 0
        #: DATA commands received, refused ones included.
        self.deliveries = 0
        self._reporter = Reporter()
        self._server: asyncio.Server | None = None
        self._closing = False
        self._accepting: set[asyncio.Task[None]] = set()
        self._sessions: set[Session] = set()

    async def __aenter__(self) -> Self:
        self._closing = False
        listening = listen(self.host, self.port)
        self.port = listening.getsockname()[1]
        if self.implicit_tls:
            self._accepting.add(asyncio.create_task(self._accept(listening)))
        else:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._session, sock=listening)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        if self._server is not None:
            self._server.close()
        for accepting in self._accepting:
            accepting.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        await self._end(self._sessions.copy(), timeout=0)
        await self._reporter.close()
        if self._server is not None:
            await self._server.wait_closed()

    def _session(self) -> Session:
        self.connections += 1
        return Session(self)

    async def _accept(self, listening: socket.socket) -> None:
        """Accept connections and begin TLS on each.

        A server of the loop's own would not know the connections whose handshake is under way when it is closed.
        """
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        with listening:
            while True:
                accepted, _ = await loop.sock_accept(listening)
                handshake = loop.create_task(self._begin_tls(accepted))
                self._accepting.add(handshake)
                handshake.add_done_callback(self._accepting.discard)

    async def _begin_tls(self, accepted: socket.socket) -> None:
        # A client that refuses our certificate or goes away is its own business.
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(self._session, accepted, ssl=self.tls_context)

    async def drop_connections(self) -> None:
        """Close every connection without a mail under way, with a 421, as servers do to idle clients."""
        idle = {session for session in self._sessions if session.idle}
        for session in idle:
            session.leave("421 4.4.2 Idle for too long, closing the connection")
        await self._end(idle, timeout=GOODBYE)

    async def _end(self, sessions: set[Session], *, timeout: float) -> None:  # noqa: ASYNC109 - how long to be polite
        """Wait for ``sessions`` to end and cut those that have not after ``timeout`` seconds."""
        ends = [session.ended for session in sessions]
        if ends and timeout:
            await asyncio.wait(ends, timeout=timeout)
        for session in sessions:
            session.abort()
        if ends:
            await asyncio.wait(ends)

    def opened(self, session: Session) -> None:
        """Remember a session; one that was accepted while the server closed ends at once."""
        self._sessions.add(session)
        if self._closing:
            session.abort()

    def closed(self, session: Session) -> None:
        """Forget a session."""
        self._sessions.discard(session)

    def accepts(self, user: str, password: str) -> bool:
        """Tell whether these credentials may send."""
        if self.require_auth is None:
            return True
        given = f"{user}\0{password}".encode()
        return hmac.compare_digest(given, "\0".join(self.require_auth).encode())

    @property
    def reports_to(self) -> ReportsTo | None:
        """Where is told what became of mails whose senders asked for that; ``None`` for nowhere."""
        return self._reporter.to

    @reports_to.setter
    def reports_to(self, to: ReportsTo | None) -> None:
        self._reporter.to = to

    def keep(self, mail: Transaction, raw: bytes) -> str:
        """Put a mail into the inbox, once for each recipient, and return its queue id.

        One that is to be lost is not put there, if its sender can be told so.
        """
        queue_id = secrets.token_hex(6).upper()
        text = plain_text(raw)
        fields = {"mail_from": mail.sender, "subject": subject(raw)}
        for recipient in mail.recipients:
            lost = mail.planned.fault is Fault.LOSE and self._reporter.reports(mail, recipient, lost=True)
            if not lost:
                self.inbox.add(Letter("smtp", recipient, text, raw, fields, time.time(), queue_id))
            self._reporter.tell(mail, recipient, lost=lost)
        return queue_id
