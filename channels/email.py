"""The e-mail channel: one SMTP transaction per message over kept, exclusively held connections.

Until the content is sent nothing can have been accepted; from then on a lost answer is ambiguous (RFC 1047). What
becomes of a mail later is told by delivery status notifications, which the mail server of the bounces' address posts here.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal, Self

import aiosmtplib
from pydantic import Field, FilePath, SecretStr, field_validator, model_validator

from channels.base import (
    AmbiguousError,
    CallbackRequest,
    Channel,
    ChannelSettings,
    DeliveryError,
    Envelope,
    ForgedCallbackError,
    Inspection,
    Normalize,
    PermanentError,
    Reason,
    Receipt,
    Report,
    TransientError,
    is_loopback,
)
from channels.dsn import MAX_LOCAL_PART, bounce_address, checked_token, read
from channels.findings import Finding
from channels.kinds import email as email_address
from channels.kinds import email_utf8
from channels.mime import Skeleton, inspect, split_mailbox
from channels.smtp import LEAVING, MALFORMED, Connection, Letter, Phase
from channels.smtp_answers import answer_code, refusal
from channels.smtp_asking import Question, examine
from channels.wire import client_tls, unproved


class EmailSettings(ChannelSettings):
    """The keys of ``[channels.<name>] adapter = "email"``. The server's certificate is always verified."""

    host: str = Field(min_length=1, pattern=r"^[A-Za-z0-9.:_-]+$")
    port: int = Field(default=587, ge=1, le=65535)
    #: ``starttls``: upgraded or nothing is sent; ``tls``: from the first byte; ``none``: never with a password,
    #: except to this machine.
    tls: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: SecretStr | None = None
    #: ``codes@example.org`` or ``Example <codes@example.org>``; without a name the service's brand is shown.
    from_address: str = Field(alias="from")
    reply_to: str | None = None
    #: Accept local parts beyond ASCII; the server must speak SMTPUTF8 (RFC 6531).
    smtputf8: bool = False
    #: Seconds a connection is kept unused. Servers wait 5 minutes (RFC 5321 4.5.3.2.7), many of them less.
    max_idle: float = Field(default=60.0, ge=0, le=280)
    #: Mails after which a connection is closed; many servers allow 100.
    max_mails_per_connection: int = Field(default=100, ge=1)
    #: Whether the server is asked to report what became of each mail, where it offers that (RFC 3461).
    dsn: bool = False
    #: The address mails bounce to, as ``bounces+<token>@…``: the envelope's sender. Without it, the one in ``from``.
    bounces: str | None = None
    #: What bounced mails are posted with to ``/callbacks/<name>``; without it every one is refused.
    bounce_token: SecretStr | None = Field(default=None, min_length=16)
    #: PEM file of the certificate authorities to trust instead of the system's.
    ca_certificates: FilePath | None = None

    @field_validator("from_address", "reply_to")
    @classmethod
    def _is_mailbox(cls, value: str | None) -> str | None:
        if value is not None:
            split_mailbox(value)
        return value

    @field_validator("host")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        try:
            value.encode("idna")
        except UnicodeError:
            # An empty label, or one over 63 characters: the resolver would refuse it with an error of its own.
            raise ValueError("is no host name") from None
        return value

    @field_validator("bounces")
    @classmethod
    def _takes_a_token(cls, value: str | None) -> str | None:
        if value is None:
            return None
        address = email_address(value).value
        if len(address.rpartition("@")[0]) > MAX_LOCAL_PART:
            raise ValueError(f"has more than {MAX_LOCAL_PART} characters before its @")
        return address

    @field_validator("ca_certificates")
    @classmethod
    def _holds_certificates(cls, value: FilePath | None) -> FilePath | None:
        try:
            ssl.create_default_context(cafile=value)
        except ssl.SSLError:
            raise ValueError("holds no PEM certificates") from None
        return value

    @model_validator(mode="after")
    def _keeps_the_password_private(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if self.username is not None and self.tls == "none" and not is_loopback(self.host):
            raise ValueError('a password over plain text is refused: set tls to "starttls" or "tls"')
        return self


# --- What a failure means ------------------------------------------------------------------------------------


def _breakdown(letter: Letter, error: Exception) -> DeliveryError:
    """Return what it means that a connection failed or could not be made."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return refusal(letter.phase, error.code, error.message, ascii_only=letter.recipient.isascii())
    reason = Reason.TIMEOUT if isinstance(error, TimeoutError) else Reason.UNAVAILABLE
    if letter.phase is Phase.CONTENT:
        return AmbiguousError(reason)
    # The bare class: STARTTLS or AUTH asked for and not offered.
    if unproved(error) or type(error) is aiosmtplib.SMTPException:
        return PermanentError(Reason.MISCONFIGURED)
    return TransientError(reason)


def _is_answer(error: Exception) -> bool:
    """Tell whether an error is the server's word on what it was asked, and not the end of the connection."""
    return isinstance(error, aiosmtplib.SMTPResponseException) and error.code not in {LEAVING, MALFORMED}


def _is_sessions_end(letter: Letter, error: Exception) -> bool:
    """Tell whether a refusal may be this connection's alone: its login has lapsed, or it has carried enough mails.

    Said over a new connection as well, it is the channel's, and stops that.
    """
    return letter.phase is Phase.OURS and isinstance(error, aiosmtplib.SMTPResponseException) and error.code >= 500


# --- Connections ---------------------------------------------------------------------------------------------


class _Pool:
    """The connections of one open channel: as many as deliveries under way, the last one used first."""

    def __init__(self, settings: EmailSettings, sender: str, tls: ssl.SSLContext | None) -> None:
        self._settings = settings
        self._sender = sender
        self._tls = tls
        self._max_idle, self._max_mails = settings.max_idle, settings.max_mails_per_connection
        self._idle: list[Connection] = []
        # Those that say goodbye; each is done soon.
        self._leaving: set[asyncio.Future[None]] = set()
        self._closed = False
        self._most, self._under_way = settings.concurrency, 0
        self._slots = asyncio.Semaphore(settings.concurrency)

    async def submit(self, letter: Letter, seconds: float) -> aiosmtplib.SMTPResponse:
        """Hand one message to the server within so many seconds, over a kept connection where there is one.

        Raises aiosmtplib's or the system's errors for what ``_breakdown`` reads, ``DeliveryError`` for what is clear.
        """
        now = asyncio.get_running_loop().time()
        ends_at = now + seconds
        if self._slots.locked():
            async with asyncio.timeout_at(ends_at):
                await self._slots.acquire()
        else:
            # Returns at once: the deadline, which costs more than all of this, need not be watched.
            await self._slots.acquire()
        self._under_way += 1
        try:
            return await self._submit(letter, now, seconds)
        finally:
            self._under_way -= 1
            self._slots.release()

    async def _submit(self, letter: Letter, now: float, seconds: float) -> aiosmtplib.SMTPResponse:
        ends_at = now + seconds
        kept = self._take(now)
        if kept is not None:
            try:
                # One that answers nothing may be dead without a word: it gets half of the time, a new one the other.
                return await self._use(kept, letter, now + seconds / 2, ends_at)
            except (aiosmtplib.SMTPException, OSError) as error:
                # Where that says nothing of this message it is asked again, once, on a new one.
                if letter.phase is Phase.CONTENT or (_is_answer(error) and not _is_sessions_end(letter, error)):
                    raise
        letter.phase = Phase.OURS
        async with asyncio.timeout_at(ends_at):
            while self._leaving and self._under_way + len(self._leaving) > self._most:
                # To the server they are there until they have said goodbye, and it may let in no more than that.
                await asyncio.wait(self._leaving, return_when=asyncio.FIRST_COMPLETED)
            connection = await self._connect()
        return await self._use(connection, letter, ends_at, ends_at)

    async def _use(
        self, connection: Connection, letter: Letter, begin_by: float, end_by: float
    ) -> aiosmtplib.SMTPResponse:
        try:
            return await connection.submit(letter, begin_by=begin_by, end_by=end_by)
        except aiosmtplib.SMTPException as error:
            if _is_sessions_end(letter, error):
                connection.discard()
            raise
        finally:
            # A canceled or broken transaction leaves an answer under way that the next one would take for its own.
            if connection.ready:
                self._keep(connection)
            else:
                connection.discard()

    async def _connect(self) -> Connection:
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            username=settings.username,
            password=settings.password.get_secret_value() if settings.password else None,
            # Else aiosmtplib asks the resolver for this machine's name and tells it to the server.
            local_hostname=self._sender.rpartition("@")[2],
            # deliver() bounds the whole attempt; a limit per command would allow several times as much.
            timeout=None,
            use_tls=settings.tls == "tls",
            start_tls=settings.tls == "starttls",
            tls_context=self._tls,
        )
        await client.connect()
        try:
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
            return Connection(client, self._sender)
        except BaseException:
            client.close()
            raise

    def _take(self, now: float) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.ready and now - connection.idle_since < self._max_idle:
                return connection
            self._leave(connection)
        return None

    def _keep(self, connection: Connection) -> None:
        now = asyncio.get_running_loop().time()
        while self._idle and now - self._idle[0].idle_since >= self._max_idle:
            self._leave(self._idle.pop(0))
        if self._closed or connection.mails >= self._max_mails:
            self._leave(connection)
        else:
            connection.idle_since = now
            self._idle.append(connection)

    async def close(self) -> None:
        """Close what waits, politely; what is under way closes when it is done."""
        self._closed = True
        while self._idle:
            self._leave(self._idle.pop())
        await asyncio.gather(*self._leaving)

    def _leave(self, connection: Connection) -> None:
        left = connection.quit(_GOODBYE)
        self._leaving.add(left)
        left.add_done_callback(self._leaving.discard)


#: Seconds servers are given to answer QUIT.
_GOODBYE: Final = 1.0
#: How servers name a message they took: Postfix and Exim, then Amazon SES.
_QUEUE_ID: Final = re.compile(r"(?i)(?:.*\b(?:queued as|id=) ?|(?:\d\.\d\.\d )?ok )(?P<id>[0-9a-z][0-9a-z._-]{5,79})\b")


class EmailChannel(Channel):
    """Sends codes through one SMTP server, which may be any provider's."""

    Settings: ClassVar[type[ChannelSettings]] = EmailSettings
    kinds: ClassVar[Mapping[str, Normalize]] = {"email": email_address}
    parts: ClassVar[tuple[str, ...]] = ("subject.txt", "body.txt", "body.html")

    def __init__(self, name: str, settings: ChannelSettings, *, callback_url: str | None = None) -> None:
        super().__init__(name, settings, callback_url=callback_url)
        assert isinstance(settings, EmailSettings)
        self._settings = settings
        self._sender = split_mailbox(settings.from_address)[1]
        self._skeleton = Skeleton(settings.from_address, settings.reply_to)
        self._pool: _Pool | None = None
        if settings.smtputf8:
            # A class variable in the port; this instance reaches more addresses than its class.
            object.__setattr__(self, "kinds", {"email": email_utf8})

    async def __aenter__(self) -> Self:
        self._pool = _Pool(self._settings, self._sender, await self._tls())
        return self

    async def _tls(self) -> ssl.SSLContext | None:
        if self._settings.tls == "none":
            return None
        return await asyncio.to_thread(client_tls, self._settings.ca_certificates)

    async def __aexit__(self, *_: object) -> None:
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    async def deliver(self, envelope: Envelope) -> Receipt:
        """Send one mail in one SMTP transaction. Raises ``DeliveryError``."""
        pool = self._pool
        if pool is None:
            raise RuntimeError("the channel is not open")
        letter, seconds = self._letter(envelope), self.time_for(envelope)
        try:
            response = await pool.submit(letter, seconds)
        except (aiosmtplib.SMTPException, OSError) as error:
            # Without its cause: aiosmtplib's errors repeat the server's text, and servers repeat the address.
            raise _breakdown(letter, error) from None
        return _receipt(response)

    def _letter(self, envelope: Envelope) -> Letter:
        letter = Letter(envelope.address, self._skeleton.fill(envelope))
        if self._settings.dsn:
            letter.envelope_id = checked_token(envelope.attempt_token)
        if self._settings.bounces is not None:
            letter.sender = bounce_address(self._settings.bounces, envelope.attempt_token)
        return letter

    async def examine(self) -> Sequence[Finding]:
        """Ask the mail server up to MAIL, over a connection of its own."""
        chosen = self._settings
        wanted = {"dsn": "reports come by bounces alone, if at all; take dsn out"} if chosen.dsn else {}
        if chosen.smtputf8:
            wanted["smtputf8"] = "addresses beyond ASCII are refused; take smtputf8 out"
        password = chosen.password.get_secret_value() if chosen.password else ""
        question = Question(
            host=chosen.host,
            port=chosen.port,
            tls=chosen.tls,
            context=await self._tls(),
            login=None if chosen.username is None else (chosen.username, password),
            sender=self._sender if chosen.bounces is None else bounce_address(chosen.bounces, "doctor"),
            wanted=wanted,
            timeout=chosen.timeout,
        )
        return await examine(question, time.time)

    @property
    def mail_domains(self) -> Sequence[str]:
        """The sender's domain, which DMARC asks, and the bounces', which SPF does."""
        mailboxes = (self._sender, self._settings.bounces or self._sender)
        return tuple(dict.fromkeys(mailbox.rpartition("@")[2].lower() for mailbox in mailboxes))

    @property
    def reports(self) -> bool:
        """Whether reports are asked for, and can prove where they come from."""
        asked_for = self._settings.dsn or self._settings.bounces is not None
        return asked_for and self._settings.bounce_token is not None

    def report(self, request: CallbackRequest) -> Report | None:
        """Read a mail that came back, as its mail server posts it: the mail is the body, ``bounce_token`` the bearer's.

        ``None`` for a mail that says nothing of an attempt. Raises ``ForgedCallbackError``.
        """
        token = self._settings.bounce_token
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if token is None or request.method != "POST" or scheme.lower() != "bearer":
            raise ForgedCallbackError
        if not hmac.compare_digest(given.encode(errors="replace"), token.get_secret_value().encode()):
            raise ForgedCallbackError
        return read(request.body, self._settings.bounces)

    @classmethod
    def inspect(cls, parts: Mapping[str, str]) -> Inspection:
        """Measure rendered parts; a subject over several lines and remote content are faults."""
        return inspect(parts)


def _receipt(response: aiosmtplib.SMTPResponse) -> Receipt:
    matched = _QUEUE_ID.match(response.message)
    code = answer_code(response.code, response.message)
    return Receipt(provider_id=matched["id"] if matched else None, provider_code=code)
