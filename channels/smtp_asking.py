"""What a mail server says up to MAIL, asked for ``otp-gateway doctor``: TLS, the login, the sender. Nothing is sent."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal

import aiosmtplib

from channels.base import is_loopback
from channels.findings import Finding, Verdict, fault, ok, warning
from channels.smtp import MALFORMED
from channels.smtp_answers import answer_code
from channels.wire import unproved

#: Days before a certificate ends from which that is worth a warning: those renewed by ACME have thirty left by then.
CERTIFICATE_SOON: Final = 14
#: Bytes of the longest mail this project's own templates make, several times over.
SMALLEST_SIZE: Final = 65_536
_DAY: Final = 86_400.0

_CONNECTION, _CERTIFICATE, _LOGIN, _SENDER, _EXTENSIONS = "connection", "certificate", "login", "sender", "extensions"


@dataclass(frozen=True, slots=True)
class Question:
    """A server, and what it is to be asked."""

    host: str
    port: int
    tls: Literal["starttls", "tls", "none"]
    #: What the server's certificate is checked by; ``None`` where there is no TLS.
    context: ssl.SSLContext | None = field(repr=False)
    #: User name and password, where there is a login.
    login: tuple[str, str] | None = field(repr=False)
    #: The envelope's sender.
    sender: str = field(repr=False)
    #: Extensions that the settings count on, by their names in EHLO, and what becomes of it without.
    wanted: dict[str, str]
    #: Seconds one command may take.
    timeout: float


async def examine(question: Question, now: Callable[[], float]) -> list[Finding]:
    """Return what the server says. ``now`` gives seconds since the Unix epoch."""
    client = aiosmtplib.SMTP(
        hostname=question.host,
        port=question.port,
        local_hostname=question.sender.rpartition("@")[2],
        timeout=question.timeout,
        use_tls=question.tls == "tls",
        start_tls=False,
        tls_context=question.context,
    )
    findings: list[Finding] = []
    try:
        for step in (_connect, _secure, _greet, _log_in, _name_sender):
            findings += await step(client, question, now)
            if findings and findings[-1].verdict is Verdict.FAULT:
                return findings
        # How the server takes its leave says nothing any more.
        with suppress(aiosmtplib.SMTPException, OSError):
            await client.quit()
    finally:
        client.close()
    return findings


async def _connect(client: aiosmtplib.SMTP, question: Question, _: Callable[[], float]) -> list[Finding]:
    try:
        await client.connect()
    except aiosmtplib.SMTPResponseException as error:
        if error.code == MALFORMED:
            return [fault(_CONNECTION, "what answers there is no mail server; check host and port")]
        code = answer_code(error.code, error.message)
        return [fault(_CONNECTION, f"the server turns this machine away ({code}); ask its operator")]
    except (aiosmtplib.SMTPException, OSError) as error:
        return [_unconnected(error, question)]
    return []


def _unconnected(error: Exception, question: Question) -> Finding:
    if unproved(error):
        return fault(_CERTIFICATE, _unproved(error, question))
    if isinstance(error, TimeoutError):
        return fault(_CONNECTION, "no connection in time; check host, port, tls and a firewall between")
    return fault(_CONNECTION, "no connection; check host, port, this machine's DNS and its network")


def _unproved(error: BaseException, question: Question) -> str:
    """Say why TLS cannot be had. The reason is OpenSSL's own word for it, without a name in it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return f'no TLS to be had on port {question.port}; check that tls = "{question.tls}" is what this port speaks'
    if "expired" in cause.verify_message:
        return "it has expired; nothing is sent until the server has a new one"
    if cause.verify_code in _OTHER_NAME:
        return "it is another host's; set host to the name it was made for"
    return "nobody this machine trusts has signed it; set ca_certificates to who did, or have the server show the chain"


#: OpenSSL's codes for a certificate of another host's name or address (x509_vfy.h).
_OTHER_NAME: Final = frozenset({62, 64})


async def _secure(client: aiosmtplib.SMTP, question: Question, now: Callable[[], float]) -> list[Finding]:
    if question.tls == "none":
        here = is_loopback(question.host)
        told = "plain text, within this machine" if here else "plain text: who is on the way reads every code; set tls"
        return [ok(_CONNECTION, told) if here else warning(_CONNECTION, told)]
    if question.tls == "starttls":
        try:
            await client.starttls()
        except aiosmtplib.SMTPResponseException as error:
            return [
                fault(
                    _CONNECTION, f"STARTTLS is refused ({answer_code(error.code, error.message)}); check port and tls"
                )
            ]
        except (aiosmtplib.SMTPException, OSError) as error:
            if type(error) is aiosmtplib.SMTPException and not unproved(error):
                return [fault(_CONNECTION, 'STARTTLS is not offered; check port, and whether it wants tls = "tls"')]
            return [_unconnected(error, question)]
    version = client.get_transport_info("ssl_object").version()
    return [ok(_CONNECTION, f"{version}"), _of_certificate(client.get_transport_info("peercert"), now())]


def _of_certificate(certificate: dict[str, str], now: float) -> Finding:
    days = int((ssl.cert_time_to_seconds(certificate["notAfter"]) - now) // _DAY)
    if days < CERTIFICATE_SOON:
        return warning(_CERTIFICATE, f"it is good for {days} more days; see that the server gets a new one in time")
    return ok(_CERTIFICATE, f"it is the host's, and good for {days} more days")


async def _greet(client: aiosmtplib.SMTP, question: Question, _: Callable[[], float]) -> list[Finding]:
    try:
        await client.ehlo()
    except (aiosmtplib.SMTPException, OSError) as error:
        return [_broken(_CONNECTION, "EHLO", error, "ask the server's operator")]
    missing = [
        f"no {name}: {without}" for name, without in question.wanted.items() if not client.supports_extension(name)
    ]
    found = [warning(_EXTENSIONS, told) for told in missing]
    size = client.esmtp_extensions.get("size", "")
    if size.isdecimal() and 0 < int(size) < SMALLEST_SIZE:
        found.append(warning(_EXTENSIONS, f"mails over {size} bytes are refused; see that yours are smaller"))
    offered = [name.upper() for name in ("size", "pipelining", "dsn", "smtputf8") if client.supports_extension(name)]
    return found or [ok(_EXTENSIONS, ", ".join(offered) or "none that matter, and none is needed")]


async def _log_in(client: aiosmtplib.SMTP, question: Question, _: Callable[[], float]) -> list[Finding]:
    if question.login is None:
        return [ok(_LOGIN, "none, as configured")]
    if not client.supported_auth_methods:
        return [fault(_LOGIN, "no AUTH is offered; check port and tls, or take username and password out")]
    try:
        await client.login(*question.login)
    except (aiosmtplib.SMTPException, OSError) as error:
        return [_broken(_LOGIN, "AUTH", error, "check username and password")]
    return [ok(_LOGIN, "user name and password are taken")]


async def _name_sender(client: aiosmtplib.SMTP, question: Question, _: Callable[[], float]) -> list[Finding]:
    try:
        await client.mail(question.sender)
        await client.rset()
    except (aiosmtplib.SMTPException, OSError) as error:
        remedy = "check that this login may send as it" if question.login else "a login may be missing: set username"
        return [_broken(_SENDER, "MAIL", error, remedy)]
    return [ok(_SENDER, "the server takes mail from it")]


def _broken(subject: str, command: str, error: Exception, remedy: str) -> Finding:
    """Return what it means that a command failed. Not the server's own text: it may repeat an address."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        told = f"{command} is refused ({answer_code(error.code, error.message)}); {remedy}"
        # 4yz: it may be taken another time (RFC 5321 4.2.1).
        return warning(subject, told) if error.code // 100 == 4 else fault(subject, told)
    if isinstance(error, TimeoutError):
        return fault(subject, f"no answer to {command} in time; ask again later")
    return fault(subject, f"the server hung up at {command}; {remedy}")
