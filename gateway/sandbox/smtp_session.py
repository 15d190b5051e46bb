"""One SMTP connection: RFC 5321 with the extensions a client of ours may use.

The server is also the sink of the benchmarks, so commands are answered without a coroutine or a future each.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import ClassVar, Protocol, cast

from gateway.sandbox.fault import Fault, Faults
from gateway.sandbox.smtp_auth import MECHANISMS, Dialog, MalformedAuthError, prompt
from gateway.sandbox.smtp_mail import MAX_MESSAGE, MAX_RECIPIENTS, Transaction, asked_reports, begin, read_path

#: Bytes of one line that is not part of a mail: the limit RFC 4954 section 4 sets for AUTH, the longest command.
MAX_LINE = 12_288

_OUTRIGHT = {
    # Real servers repeat the address in their refusals; a client that logs them must cope.
    Fault.REFUSE: "550 5.1.1 <{}>: Recipient address rejected: User unknown",
    Fault.DEFER: "451 4.3.0 <{}>: Temporary lookup failure",
    Fault.LIMIT: "450 4.2.1 <{}>: The mailbox is receiving mail too quickly",
    Fault.UNAUTHORIZED: "530 5.7.0 Authentication required",
}


class Server(Protocol):
    """What a session needs of its server."""

    tls_context: ssl.SSLContext | None
    require_auth: tuple[str, str] | None
    faults: Faults
    deliveries: int
    extensions: Sequence[str]
    refused_senders: Collection[str]

    def opened(self, session: Session) -> None:
        """Remember a session."""

    def closed(self, session: Session) -> None:
        """Forget a session."""

    def accepts(self, user: str, password: str) -> bool:
        """Tell whether these credentials may send."""

    def keep(self, mail: Transaction, raw: bytes) -> str:
        """Take a mail and return its queue id."""


class Session(asyncio.Protocol):
    """One connection: bytes in, commands answered in order, which is all PIPELINING (RFC 2920) asks for."""

    _transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self._server = server
        self._buffer = bytearray()
        self._searched = 0
        self._in_data = self._oversized = self._deaf = False
        self._secure = self._greeted = self._authenticated = False
        self._transaction: Transaction | None = None
        self._answer: Callable[[str], None] | None = None
        self._upgrading: asyncio.Task[None] | None = None
        self._late: asyncio.TimerHandle | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # -- the connection

    @property
    def idle(self) -> bool:
        """Whether nothing is under way: no mail, no stalled or slow answer, no TLS handshake."""
        return self._transaction is None and self._upgrading is None and self._late is None and not self._deaf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet; where TLS comes first, this comes after it."""
        # uvloop's transports are none by class, only by what they do.
        self._transport = cast("asyncio.Transport", transport)
        self._secure = transport.get_extra_info("sslcontext") is not None
        self._server.opened(self)
        self._say("220 sandbox.localhost ESMTP")

    def connection_lost(self, _: Exception | None) -> None:
        """Let the server forget this session, and the mail it was slow to take."""
        if self._late is not None:
            self._late.cancel()
        self._server.closed(self)
        if not self.ended.done():
            self.ended.set_result(None)

    def leave(self, farewell: str) -> None:
        """Say ``farewell`` and close."""
        self._say(farewell)
        self._deaf = True
        self._transport.close()

    def abort(self) -> None:
        """Cut the connection."""
        self._deaf = True
        if self._upgrading is not None:
            self._upgrading.cancel()
        self._transport.abort()

    async def _upgrade(self) -> None:
        context = self._server.tls_context
        assert context is not None
        loop, secured = asyncio.get_running_loop(), None
        try:
            # A client that refuses our certificate or goes away is its own business.
            with contextlib.suppress(OSError):
                secured = await loop.start_tls(self._transport, self, context, server_side=True)
        finally:
            if secured is None:
                # The loop reports no loss to a protocol whose handshake failed.
                self._transport.abort()
                self.connection_lost(None)
        if secured is not None:
            self._transport, self._secure, self._upgrading = secured, True, None
            self._work()

    def _say(self, line: str) -> None:
        self._transport.write(line.encode() + b"\r\n")

    # -- bytes to lines and mails

    def data_received(self, data: bytes) -> None:
        """Answer what has become whole with these bytes."""
        self._buffer += data
        # The first lines over TLS may come before the upgrade's end is known here; they wait for it.
        if self._upgrading is None:
            self._work()

    def _work(self) -> None:
        while self._listens() and (self._take_mail() if self._in_data else self._take_line()):
            pass
        if self._deaf:
            self._buffer.clear()

    def _listens(self) -> bool:
        return not self._deaf and self._upgrading is None and self._late is None

    def _take_line(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end > MAX_LINE or (end < 0 and len(self._buffer) > MAX_LINE):
            self.leave("500 5.5.2 Line too long")
            return False
        if end < 0:
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        self._hear(line)
        return True

    def _take_mail(self) -> bool:
        """Take the mail once its end is there. The buffer holds a line end of ours before its first byte."""
        end = self._buffer.find(b"\r\n.\r\n", self._searched)
        if end < 0:
            if len(self._buffer) > MAX_MESSAGE:
                self._oversized = True
                del self._buffer[:-4]
            self._searched = max(0, len(self._buffer) - 4)
            return False
        # RFC 5321 section 4.5.2: a dot at the start of a line was added on the way.
        raw = bytes(self._buffer[: end + 2]).replace(b"\r\n.", b"\r\n")[2:]
        del self._buffer[: end + 5]
        oversized, self._oversized = self._oversized or len(raw) > MAX_MESSAGE, False
        self._in_data = False
        self._finish(raw, oversized=oversized)
        return True

    def _finish(self, raw: bytes, *, oversized: bool) -> None:
        mail, self._transaction = self._transaction, None
        assert mail is not None
        match mail.planned.fault:
            case Fault.STALL:
                self._deaf = True
            case Fault.RESET:
                self.abort()
            case Fault.GARBLE:
                self._say("<html><h1>It works!</h1></html>")
            case _ if oversized:
                self._say("552 5.3.4 Message too big")
            case Fault.SLOW:
                loop = asyncio.get_running_loop()
                self._late = loop.call_later(mail.planned.delay, self._keep_late, mail, raw)
            case _:
                self._keep(mail, raw)

    def _keep_late(self, mail: Transaction, raw: bytes) -> None:
        self._late = None
        self._keep(mail, raw)
        self._work()

    def _keep(self, mail: Transaction, raw: bytes) -> None:
        self._say(f"250 2.0.0 Ok: queued as {self._server.keep(mail, raw)}")

    # -- commands

    def _hear(self, line: bytes) -> None:
        try:
            text = line.decode()
        except UnicodeDecodeError:
            self._say("500 5.5.2 Not UTF-8")
            return
        if self._answer is not None:
            answer, self._answer = self._answer, None
            answer(text)
            return
        verb, _, rest = text.partition(" ")
        command = self._COMMANDS.get(verb.upper())
        if command is None:
            self._say("500 5.5.2 Command unrecognized")
        else:
            command(self, rest.strip())

    def _ehlo(self, name: str) -> None:
        if not self._hello(name):
            return
        lines = ["sandbox.localhost", *self._server.extensions]
        if self._may_secure():
            lines.append("STARTTLS")
        else:
            lines.append("AUTH PLAIN LOGIN")
        self._transport.write("".join(f"250-{line}\r\n" for line in lines[:-1]).encode())
        self._say(f"250 {lines[-1]}")

    def _helo(self, name: str) -> None:
        if self._hello(name):
            self._say("250 sandbox.localhost")

    def _hello(self, name: str) -> bool:
        if not name:
            self._say("501 5.5.4 A name is required")
            return False
        self._greeted, self._transaction = True, None
        return True

    def _may_secure(self) -> bool:
        return self._server.tls_context is not None and not self._secure

    def _starttls(self, rest: str) -> None:
        if rest:
            self._say("501 5.5.4 No parameters allowed")
        elif not self._may_secure():
            self._say("503 5.5.1 TLS is not available")
        else:
            self._say("220 2.0.0 Ready to start TLS")
            # RFC 3207 section 4.2 forgets what was said before; commands sent along in plain text were not the client's.
            self._buffer.clear()
            self._greeted, self._transaction = False, None
            self._transport.pause_reading()
            self._upgrading = asyncio.get_running_loop().create_task(self._upgrade())

    def _mail(self, rest: str) -> None:
        path = read_path("FROM", rest)
        if not self._greeted:
            self._say("503 5.5.1 EHLO first")
        elif self._refused_credentials():
            self._say("530 5.7.0 Authentication required")
        elif self._transaction is not None:
            self._say("503 5.5.1 A mail is under way")
        elif path is None:
            self._say("501 5.5.4 Syntax: MAIL FROM:<address>")
        elif path[0] in self._server.refused_senders:
            self._say(f"553 5.7.1 <{path[0]}>: Sender address rejected: not owned by user")
        else:
            self._begin(*path)

    def _refused_credentials(self) -> bool:
        missing = self._server.require_auth is not None and not self._authenticated
        return missing or self._server.faults.take(only=Fault.UNAUTHORIZED).fault is Fault.UNAUTHORIZED

    def _begin(self, sender: str, parameters: str) -> None:
        begun = begin(sender, parameters)
        if isinstance(begun, Transaction):
            self._transaction = begun
        self._say(begun if isinstance(begun, str) else "250 2.1.0 Ok")

    def _rcpt(self, rest: str) -> None:
        path, mail = read_path("TO", rest), self._transaction
        if mail is None:
            self._say("503 5.5.1 MAIL first")
        elif path is None or not path[0]:
            self._say("501 5.5.4 Syntax: RCPT TO:<address>")
        elif isinstance(wishes := asked_reports(path[1]), str):
            self._say(wishes)
        elif not path[0].isascii() and not mail.utf8:
            self._say("553 5.6.7 SMTPUTF8 is required")
        elif len(mail.recipients) >= MAX_RECIPIENTS:
            self._say("452 4.5.3 Too many recipients")
        else:
            self._add_recipient(mail, path[0], wishes)

    def _add_recipient(self, mail: Transaction, address: str, wishes: frozenset[str]) -> None:
        planned = self._server.faults.take(address)
        refusal = _OUTRIGHT.get(planned.fault)
        if refusal is not None:
            self._say(refusal.format(address))
            return
        if planned.fault is not Fault.NONE:
            mail.planned = planned
        mail.recipients.append(address)
        mail.notify[address] = wishes
        self._say("250 2.1.5 Ok")

    def _data(self, rest: str) -> None:
        self._server.deliveries += 1
        if rest:
            self._say("501 5.5.4 No parameters allowed")
        elif self._transaction is None or not self._transaction.recipients:
            self._say("503 5.5.1 RCPT first")
        else:
            self._in_data, self._searched = True, 0
            self._buffer[:0] = b"\r\n"
            self._say("354 End data with <CR><LF>.<CR><LF>")

    def _rset(self, _: str) -> None:
        self._transaction = None
        self._say("250 2.0.0 Ok")

    def _noop(self, _: str) -> None:
        self._say("250 2.0.0 Ok")

    def _vrfy(self, _: str) -> None:
        self._say("252 2.0.0 Send some mail and see")

    def _quit(self, _: str) -> None:
        self.leave("221 2.0.0 Bye")

    # -- credentials

    def _auth(self, rest: str) -> None:
        name, _, initial = rest.partition(" ")
        mechanism = MECHANISMS.get(name.upper())
        if self._may_secure():
            self._say("538 5.7.11 Encryption required")
        elif self._authenticated or not self._greeted:
            self._say("503 5.5.1 Not now")
        elif mechanism is None:
            self._say("504 5.5.4 Mechanism unrecognized")
        else:
            dialog = mechanism(initial)
            self._converse(lambda: next(dialog), dialog)

    def _converse(self, step: Callable[[], str], dialog: Dialog) -> None:
        """Take one step of an AUTH dialog; the next line goes to the one after it."""
        try:
            asked = step()
        except StopIteration as end:
            self._admit(*end.value)
        except MalformedAuthError:
            self._say("501 5.5.2 Cannot be read")
        else:
            self._answer = lambda line: self._converse(lambda: dialog.send(line), dialog)
            self._say(prompt(asked))

    def _admit(self, user: str, password: str) -> None:
        refused = self._server.faults.take(only=Fault.UNAUTHORIZED).fault is Fault.UNAUTHORIZED
        if refused or not self._server.accepts(user, password):
            self._say("535 5.7.8 Authentication credentials invalid")
        else:
            self._authenticated = True
            self._say("235 2.7.0 Authentication successful")

    _COMMANDS: ClassVar[Mapping[str, Callable[[Session, str], None]]] = {
        "EHLO": _ehlo,
        "HELO": _helo,
        "STARTTLS": _starttls,
        "AUTH": _auth,
        "MAIL": _mail,
        "RCPT": _rcpt,
        "DATA": _data,
        "RSET": _rset,
        "NOOP": _noop,
        "VRFY": _vrfy,
        "QUIT": _quit,
    }
