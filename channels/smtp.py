"""A mail transaction over a connected SMTP session: MAIL, RCPT, DATA and the content (RFC 5321 3.3).

aiosmtplib connects, begins TLS and logs in; then its transport is given the protocol below. aiosmtplib's own one reads
a single answer per write, so that every command costs a round trip; here MAIL, RCPT and DATA are one write where the
server offers PIPELINING (RFC 2920).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Final, NoReturn, cast

import aiosmtplib

from channels.base import PermanentError, Reason
from channels.wire import keep_alive


class Phase(StrEnum):
    """How far one attempt came; decides what a failure means."""

    #: Connecting, TLS, AUTH and MAIL: about us, the same for every recipient.
    OURS = "ours"
    #: RCPT: about the recipient.
    RECIPIENT = "recipient"
    #: The answer to DATA: about the content, none of which is sent before it.
    DATA = "data"
    #: From the content's first byte on: about the content, and a lost answer is ambiguous.
    CONTENT = "content"


@dataclass(slots=True)
class Letter:
    """One message on its way."""

    recipient: str = field(repr=False)
    #: Every line ends with CRLF, the last one too.
    content: bytes = field(repr=False)
    phase: Phase = Phase.OURS
    #: Where it bounces to, if not to the connection's sender.
    sender: str | None = field(default=None, repr=False)
    #: What the server is to call it in its reports (RFC 3461 4.4), without spaces; ``None`` asks for none.
    envelope_id: str | None = field(default=None, repr=False)


#: An answer: its code, and its lines without it.
_Answer = tuple[int, bytes]
#: How a connection ended, as an error.
_End = Callable[[], aiosmtplib.SMTPException]

#: What MAIL, RCPT and DATA are about, and the first digit of the answer that lets the transaction go on.
_OPENING: Final = ((Phase.OURS, 2), (Phase.RECIPIENT, 2), (Phase.DATA, 3))
#: Those digits by the number of commands: one more where RSET comes first.
_OPENINGS: Final = {3: [2, 2, 3], 4: [2, 2, 2, 3]}
_RESET: Final = b"RSET\r\n"
#: The codes that mean something after a command (RFC 5321 4.2.1).
_CODES: Final = {b"%d" % code: code for code in range(200, 600)}
#: The answer of a server that closes the connection, whatever it was asked (RFC 5321 3.8).
LEAVING: Final = 421
#: Stands for the code of an answer that is not SMTP's.
MALFORMED: Final = int(aiosmtplib.SMTPStatus.invalid_response)
#: Bytes of one line, sixteen times what RFC 5321 4.5.3.1.5 allows, and of all the answers to one write.
_MAX_LINE, _MAX_ANSWERS = 8_192, 65_536


def dot_stuffed(content: bytes) -> bytes:
    """Return content with the dot doubled where a line begins with one (RFC 5321 4.5.2)."""
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    return b"." + stuffed if stuffed.startswith(b".") else stuffed


class Connection(asyncio.Protocol):
    """A session that aiosmtplib connected, used by one delivery at a time."""

    def __init__(self, client: aiosmtplib.SMTP, sender: str) -> None:
        """Take over the client's transport. Raises ``SMTPServerDisconnected`` where the server has gone already."""
        if client.transport is None:
            raise _lost()
        #: Monotonic seconds since when it waits.
        self.idle_since = 0.0
        #: Transactions begun.
        self.mails = 0
        self._sender = sender
        self._pipelining = client.supports_extension("pipelining")
        self._smtputf8 = client.supports_extension("smtputf8")
        self._dsn = client.supports_extension("dsn")
        # Whether the server awaits the beginning of a transaction, and whether RSET must come first.
        self._settled, self._reset_needed = True, False
        # Why there will be no more answers. Made when raised: kept, it would keep the letter through its traceback.
        self._end: _End | None = None
        # Answers yet to come, those that came, and who waits for them.
        self._owed = 0
        self._answers: list[_Answer] = []
        self._waiter: asyncio.Future[list[_Answer]] | None = None
        # What is handed over once the server asks for it, and the first digits of the answers that do.
        self._letter: Letter | None = None
        self._opening: Sequence[int] = ()
        # When whoever waits is told that the time is up, now and once the content is handed over, and what tells that.
        self._until = self._end_by = inf
        self._timer: asyncio.TimerHandle | None = None
        # The beginning of a line, the earlier lines of an answer, and the bytes of all lines since the last write.
        self._partial = b""
        self._lines: list[bytes] = []
        self._size = 0
        self._loop = asyncio.get_running_loop()
        # uvloop's transports are none by class, only by what they do.
        self._transport = cast("asyncio.Transport", client.transport)
        self._transport.set_protocol(self)
        # Else the client, its protocol and the transport hold each other until the garbage collector looks at all that
        # lives, which it does rarely: 2 KiB a connection.
        client.transport = client.protocol = None
        if (connected := self._transport.get_extra_info("socket")) is not None:
            keep_alive(connected)

    @property
    def ready(self) -> bool:
        """Whether a transaction may begin: still connected, and the one before came to its end."""
        return self._settled and self._end is None

    # -- a transaction

    async def submit(self, letter: Letter, *, begin_by: float = inf, end_by: float = inf) -> aiosmtplib.SMTPResponse:
        """Run one mail transaction and return the server's last answer, an acceptance.

        The server has until ``begin_by`` to ask for the content and until ``end_by`` to take it, in the loop's seconds.
        Nothing is accepted before ``letter.phase`` is ``CONTENT``.

        Raises ``SMTPResponseException`` with the first answer that is a refusal, which ``letter.phase`` says what it is
        about, or with the code ``MALFORMED``; ``SMTPServerDisconnected`` where the connection was lost;
        ``TimeoutError``; ``PermanentError`` where the server cannot be told the address; ``ValueError`` where an address
        has line breaks.
        """
        self.mails += 1
        commands = self._commands(letter)
        letter.phase = Phase.OURS
        self._settled = False
        reset, self._reset_needed = self._reset_needed, True
        if reset:
            commands.insert(0, _RESET)
        self._until, self._end_by = begin_by, end_by
        if self._pipelining:
            answers = await self._pipelined(letter, commands)
        else:
            answers = await self._one_by_one(letter, commands)
        if letter.phase is not Phase.CONTENT:
            await self._refused(letter, answers, reset=reset)
        if not answers:
            self._check()
        code, text = answers[0]
        # Whoever asks for more after the end of the content is out of step.
        self._settled = code // 100 != 3
        if code // 100 != 2:
            raise _response_error(code, text)
        self._reset_needed = False
        return aiosmtplib.SMTPResponse(code, text.decode(errors="replace"))

    def _commands(self, letter: Letter) -> list[bytes]:
        mail = f"MAIL FROM:<{letter.sender or self._sender}>"
        recipient = f"RCPT TO:<{letter.recipient}>"
        if not letter.recipient.isascii():
            if not self._smtputf8:
                raise PermanentError(Reason.INVALID_RECIPIENT)
            # RFC 6531 3.4 and 3.6.
            mail += " SMTPUTF8 BODY=8BITMIME"
        if letter.envelope_id is not None and self._dsn:
            # Headers alone come back, without the code (RFC 3461 4.3). Nobody asks for delays: a code is dead by then.
            mail += f" RET=HDRS ENVID={letter.envelope_id}"
            recipient += " NOTIFY=SUCCESS,FAILURE"
        said = mail + recipient
        if "\r" in said or "\n" in said:
            raise ValueError("an address holds line breaks")
        return [f"{mail}\r\n".encode(), f"{recipient}\r\n".encode(), b"DATA\r\n"]

    def _pipelined(self, letter: Letter, commands: list[bytes]) -> asyncio.Future[list[_Answer]]:
        """Say everything before the content in one write, and hand that over as soon as the server asks for it.

        Returns the answer to the content, or where it was not handed over those to the commands.
        """
        answers = self._ask(b"".join(commands), len(commands))
        self._letter, self._opening = letter, _OPENINGS[len(commands)]
        return answers

    async def _one_by_one(self, letter: Letter, commands: list[bytes]) -> list[_Answer]:
        """Do the same with each command after the answer to the one before; none follows a refusal."""
        answers: list[_Answer] = []
        for command, expected in zip(commands, _OPENINGS[len(commands)], strict=True):
            answers += await self._ask(command, 1)
            if self._end is not None or answers[-1][0] // 100 != expected:
                return answers
        return await self._ask(self._content(letter), 1)

    def _content(self, letter: Letter) -> bytes:
        # From here on the server may take the mail, whatever becomes of its answer.
        letter.phase = Phase.CONTENT
        self._until = self._end_by
        return dot_stuffed(letter.content) + b".\r\n"

    async def _refused(self, letter: Letter, answers: list[_Answer], *, reset: bool) -> NoReturn:
        """Raise what the answers to the commands before the content mean, which the server did not ask for."""
        if reset and (not answers or answers.pop(0)[0] // 100 != 2):
            # RSET cannot be refused (RFC 5321 4.1.1.5): something is wrong with the connection, not with this message.
            raise _lost()
        for (phase, expected), (code, text) in zip(_OPENING, answers, strict=False):
            if code // 100 != expected:
                letter.phase = phase
                if code // 100 in {4, 5}:
                    await self._settle(answers)
                raise _response_error(code, text)
        # An answer is missing, or there was one too many.
        raise _lost() if self._end is None else self._end()

    async def _settle(self, answers: list[_Answer]) -> None:
        """After a refusal, get the server to await the next transaction, where that can be done."""
        digits = [code // 100 for code, _ in answers]
        if self._end is None and digits[1:] in ([4, 3], [5, 3]):
            # It wants content although it refused the recipient: it is given none (RFC 2920 3.1). Not where only the
            # sender was refused: the recipient would get an empty mail.
            await self._ask(b".\r\n", 1)
            self._settled = True
        else:
            self._settled = digits[-1] in {4, 5}

    def quit(self, within: float) -> asyncio.Future[None]:
        """Say goodbye (RFC 5321 4.1.1.10) and close once it is answered, in at most ``within`` seconds.

        Returns what is done then; nobody need wait for it.
        """
        left = self._loop.create_future()

        def leave(goodbye: asyncio.Future[list[_Answer]]) -> None:
            if goodbye.exception() is None:
                self._transport.close()
            else:
                # Goodbye is a courtesy, and this server does not answer it.
                self.discard()
            if not left.done():
                left.set_result(None)

        if self.ready:
            self._settled, self._until = False, self._loop.time() + within
            self._ask(b"QUIT\r\n", 1).add_done_callback(leave)
        else:
            self._transport.close()
            left.set_result(None)
        return left

    def discard(self) -> None:
        """Close without a word: whatever was under way, nothing can follow it on this connection."""
        self._finish(_lost)
        self._transport.abort()

    # -- questions and answers

    def _ask(self, question: bytes, answers: int) -> asyncio.Future[list[_Answer]]:
        """Write and return the answers to come: so many, or fewer where the connection ends before."""
        self._check()
        self._owed, self._answers, self._size = answers, [], 0
        self._waiter = self._loop.create_future()
        self._transport.write(question)
        self._watch()
        return self._waiter

    def data_received(self, data: bytes) -> None:
        """Take answers as far as they are complete. What nobody asked for, or is no answer, ends the connection."""
        lines = (self._partial + data).split(b"\n")
        self._partial = lines.pop()
        for line in lines:
            if not self._owed:
                # A notice that it closes, most often. Taken for an answer, it would be one to another question.
                self._break(_lost)
            elif not self._hear(line):
                self._break(_malformed)
        if self._partial and not self._owed:
            self._break(_lost)
        elif len(self._partial) > _MAX_LINE or self._size + len(self._partial) > _MAX_ANSWERS:
            self._break(_malformed)
        if self._letter is not None and not self._owed:
            self._go_on()

    def _go_on(self) -> None:
        """Hand over the content if every answer lets the transaction go on; else it is over."""
        letter, self._letter = self._letter, None
        assert letter is not None
        assert self._waiter is not None
        # Here and not in the waiting task: a turn of the loop and a future less for each mail.
        if (
            self._end is None
            and not self._waiter.done()
            and self._opening == [code // 100 for code, _ in self._answers]
        ):
            self._owed, self._answers, self._size = 1, [], 0
            self._transport.write(self._content(letter))
            self._watch()
        else:
            self._wake()

    def _hear(self, line: bytes) -> bool:
        """Take one line of an answer; tell whether it is one."""
        code, mark = _CODES.get(line[:3]), line[3:4]
        self._size += len(line) + 1
        if code is None or mark not in b" -\r" or len(line) > _MAX_LINE or self._size > _MAX_ANSWERS:
            return False
        text = line[4:].strip()
        if mark == b"-":
            self._lines.append(text)
            return True
        if self._lines:
            text = b"\n".join((*self._lines, text))
            self._lines.clear()
        self._answers.append((code, text))
        self._owed -= 1
        if code == LEAVING:
            # What was said along with this will not be answered.
            self._break(_lost)
        elif not self._owed and self._letter is None:
            self._wake()
        return True

    def _watch(self) -> None:
        """See to it that a timer ends the waiting in time. A later one is set when it comes: most are never needed."""
        at = self._until
        if at < (inf if self._timer is None else self._timer.when()):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(at, self._time_up)

    def _time_up(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._until:
            self._watch()
        else:
            self._waiter.set_exception(TimeoutError())

    def _wake(self) -> None:
        # A canceled delivery waits no more.
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self._answers)

    def _finish(self, end: _End) -> None:
        if self._end is None:
            self._end, self._owed, self._letter = end, 0, None
            self._wake()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _break(self, end: _End) -> None:
        self._finish(end)
        self._transport.abort()

    def _check(self) -> None:
        """Raise where the connection has ended."""
        if self._end is not None:
            raise self._end()

    def eof_received(self) -> None:
        """Give up waiting; the transport closes."""
        self._finish(_lost)

    def connection_lost(self, _: Exception | None) -> None:
        """Give up waiting."""
        self._finish(_lost)


def _lost() -> aiosmtplib.SMTPException:
    return aiosmtplib.SMTPServerDisconnected("the connection is lost")


def _malformed() -> aiosmtplib.SMTPException:
    return aiosmtplib.SMTPResponseException(MALFORMED, "not an answer of SMTP's")


def _response_error(code: int, text: bytes) -> aiosmtplib.SMTPException:
    return aiosmtplib.SMTPResponseException(code, text.decode(errors="replace"))
