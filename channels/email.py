"""The e-mail channel: one SMTP transaction per message over kept, exclusively held connections.

What an answer means follows RFC 5321 (first digit) and RFC 3463 (enhanced code). Until the content is sent
nothing can have been accepted; from then on a lost answer is ambiguous (RFC 1047).
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping
from typing import ClassVar, Final, Literal, Self

import aiosmtplib
from pydantic import Field, FilePath, SecretStr, field_validator, model_validator

from channels.base import (
    AmbiguousError,
    Channel,
    ChannelSettings,
    DeliveryError,
    Envelope,
    Inspection,
    Normalize,
    PermanentError,
    Reason,
    Receipt,
    TransientError,
    is_loopback,
)
from channels.kinds import email as email_address
from channels.kinds import email_utf8
from channels.mime import Skeleton, inspect, split_mailbox
from channels.smtp import LEAVING, MALFORMED, Connection, Letter, Phase


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
    #: PEM file of the certificate authorities to trust instead of the system's.
    ca_certificates: FilePath | None = None

    @field_validator("from_address", "reply_to")
    @classmethod
    def _is_mailbox(cls, value: str | None) -> str | None:
        if value is not None:
            split_mailbox(value)
        return value

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


# --- What an answer means ------------------------------------------------------------------------------------

_ENHANCED: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?!\d)")
#: Our credentials (RFC 4954 6, RFC 4422), our sender (RFC 3463 X.1.7, X.1.8), our SPF, DKIM and DNS (RFC 7372,
#: RFC 7505): every mail of the channel would fail.
_OURS: Final = re.compile(r"(530|534|535|538)\b.*|\d+ 5\.(7\.(8|9|11|2[0-7])|1\.[78])")
#: The rest by basic and enhanced code, first match wins.
_PERMANENT: Final[tuple[tuple[re.Pattern[str], Reason], ...]] = (
    (re.compile(r"\d+ 5\.2\.2|552"), Reason.UNREACHABLE),  # mailbox full
    (re.compile(r"\d+ 5\.(1\.\d+|2\.[01]|4\.1)|55[013]"), Reason.INVALID_RECIPIENT),
    (re.compile(r"\d+ 5\.7\.\d+"), Reason.BLOCKED),
)
_TRANSIENT: Final[tuple[tuple[re.Pattern[str], Reason], ...]] = (
    # 4.2.1 is what large providers say when one mailbox is written to too often; 4.7.28 when one sender writes.
    (re.compile(r"\d+ 4\.(2\.1|7\.28)"), Reason.RATE_LIMITED),
    (re.compile(r"\d+ 4\.(2\.\d+|7\.1)|450"), Reason.UNREACHABLE),
)
#: Seconds a greylisting server wants to wait at the least (RFC 6647 5: one minute to 24 hours). Longer than a
#: route waits for one channel, so that another one takes over at once.
_GREYLISTED: Final = 60.0


def _refusal(phase: Phase, code: int, text: str) -> DeliveryError:
    """Return what the server's answer means. Only its codes are kept: its text may repeat the address."""
    enhanced = _ENHANCED.match(text)
    answer = f"{code} {enhanced[0]}" if enhanced else str(code)
    match code // 100:
        case 5:
            return PermanentError(_permanent_reason(phase, answer), provider_code=answer)
        case 4:
            wait = _GREYLISTED if answer.endswith(" 4.7.1") else None
            return TransientError(
                _reason(_TRANSIENT, answer, Reason.UNAVAILABLE), retry_after=wait, provider_code=answer
            )
        case _ if phase is Phase.CONTENT:
            return AmbiguousError(Reason.UNKNOWN)
        case _:
            return TransientError(Reason.UNAVAILABLE)


def _permanent_reason(phase: Phase, answer: str) -> Reason:
    if phase is Phase.OURS or _OURS.fullmatch(answer):
        return Reason.MISCONFIGURED
    if phase in {Phase.DATA, Phase.CONTENT} and " 5.1." not in answer and " 5.2." not in answer:
        return Reason.REJECTED
    return _reason(_PERMANENT, answer, Reason.REJECTED)


def _reason(table: tuple[tuple[re.Pattern[str], Reason], ...], answer: str, default: Reason) -> Reason:
    return next((reason for pattern, reason in table if pattern.fullmatch(answer)), default)


def _breakdown(phase: Phase, error: Exception) -> DeliveryError:
    """Return what it means that a connection failed or could not be made."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return _refusal(phase, error.code, error.message)
    reason = Reason.TIMEOUT if isinstance(error, TimeoutError) else Reason.UNAVAILABLE
    if phase is Phase.CONTENT:
        return AmbiguousError(reason)
    # aiosmtplib wraps what TLS says of a certificate in a connection error when TLS comes first.
    causes = (error, error.__cause__)
    tls = any(isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError) for cause in causes)
    # The bare class: STARTTLS or AUTH asked for and not offered.
    if tls or type(error) is aiosmtplib.SMTPException:
        return PermanentError(Reason.MISCONFIGURED)
    return TransientError(reason)


def _is_answer(error: Exception) -> bool:
    """Tell whether an error is the server's word on what it was asked, and not the end of the connection."""
    return isinstance(error, aiosmtplib.SMTPResponseException) and error.code not in {LEAVING, MALFORMED}


# --- Connections ---------------------------------------------------------------------------------------------


class _Pool:
    """The connections of one open channel: as many as deliveries under way, the last one used first."""

    def __init__(self, settings: EmailSettings, sender: str, tls: ssl.SSLContext | None) -> None:
        self._settings = settings
        self._sender = sender
        self._tls = tls
        self._idle: list[Connection] = []
        self._closed = False
        self.slots = asyncio.Semaphore(settings.concurrency)

    async def submit(self, letter: Letter) -> aiosmtplib.SMTPResponse:
        """Hand one message to the server, over a kept connection where there is one.

        Raises aiosmtplib's or the system's errors for what ``_breakdown`` reads, ``DeliveryError`` for what is clear.
        """
        kept = self._take()
        if kept is not None:
            try:
                return await self._use(kept, letter)
            except (aiosmtplib.SMTPException, OSError) as error:
                # The server had closed it, which says nothing of this message: asked again, once, on a new one.
                if letter.phase is Phase.CONTENT or _is_answer(error):
                    raise
        letter.phase = Phase.OURS
        return await self._use(await self._connect(), letter)

    async def _use(self, connection: Connection, letter: Letter) -> aiosmtplib.SMTPResponse:
        try:
            return await connection.submit(letter)
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

    def _take(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.ready and self._waited(connection) < self._settings.max_idle:
                return connection
            connection.discard()
        return None

    def _keep(self, connection: Connection) -> None:
        while self._idle and self._waited(self._idle[0]) >= self._settings.max_idle:
            self._idle.pop(0).discard()
        if self._closed or connection.mails >= self._settings.max_mails_per_connection:
            connection.discard()
        else:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)

    def _waited(self, connection: Connection) -> float:
        return asyncio.get_running_loop().time() - connection.idle_since

    async def close(self) -> None:
        """Close what waits, politely; what is under way closes when it is done."""
        self._closed = True
        await asyncio.gather(*(connection.quit(_GOODBYE) for connection in self._idle))
        self._idle.clear()


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
        tls = None
        if self._settings.tls != "none":
            # Reading the system's certificates takes some ten milliseconds.
            tls = await asyncio.to_thread(ssl.create_default_context, cafile=self._settings.ca_certificates)
            tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._pool = _Pool(self._settings, self._sender, tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    async def deliver(self, envelope: Envelope) -> Receipt:
        """Send one mail in one SMTP transaction. Raises ``DeliveryError``."""
        pool = self._pool
        if pool is None:
            raise RuntimeError("the channel is not open")
        letter = Letter(envelope.address, self._skeleton.fill(envelope))
        async with pool.slots:
            try:
                async with asyncio.timeout(self._settings.timeout):
                    response = await pool.submit(letter)
            except (aiosmtplib.SMTPException, OSError) as error:
                # Without its cause: aiosmtplib's errors repeat the server's text, and servers repeat the address.
                raise _breakdown(letter.phase, error) from None
        return _receipt(response)

    @classmethod
    def inspect(cls, parts: Mapping[str, str]) -> Inspection:
        """Measure rendered parts; a subject over several lines and remote content are faults."""
        return inspect(parts)


def _receipt(response: aiosmtplib.SMTPResponse) -> Receipt:
    matched = _QUEUE_ID.match(response.message)
    enhanced = _ENHANCED.match(response.message)
    code = f"{response.code} {enhanced[0]}" if enhanced else str(response.code)
    return Receipt(provider_id=matched["id"] if matched else None, provider_code=code)
