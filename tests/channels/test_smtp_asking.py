"""What a mail server is asked up to MAIL, and what each answer means."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiosmtplib
import pytest
import trustme

from channels.email import EmailChannel, EmailSettings
from channels.findings import Finding
from channels.smtp_asking import Question, _secure
from gateway.sandbox.inbox import Inbox
from gateway.sandbox.smtp import SmtpSandbox

SENDER, USER, PASSWORD = "codes@shop.example", "mailer-user", "mailer-password-7f3a"
LOGIN = {"username": USER, "password": PASSWORD}


async def found(port: int, **changes: object) -> list[Finding]:
    """Return what an examination finds; nothing of it may show a login or an address."""
    keys = {"adapter": "email", "host": "127.0.0.1", "port": port, "tls": "none", "from": SENDER, "timeout": 10.0}
    channel = EmailChannel("email", EmailSettings.model_validate(keys | changes))
    findings = list(await channel.examine())
    assert [item for item in findings for secret in (USER, PASSWORD, SENDER) if secret in repr(item)] == []
    return findings


def verdicts(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(item.subject, item.verdict) for item in findings]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusted(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


async def test_a_server_that_takes_our_mail_is_well_and_gets_none():
    async with SmtpSandbox(Inbox(), require_auth=(USER, PASSWORD)) as server:
        findings = await found(server.port, **LOGIN, dsn=True, smtputf8=True)
        assert (server.deliveries, server.connections) == (0, 1)
    assert verdicts(findings) == [("connection", "ok"), ("extensions", "ok"), ("login", "ok"), ("sender", "ok")]
    assert findings[1].told == "SIZE, PIPELINING, DSN, SMTPUTF8"


@pytest.mark.parametrize("way", ["starttls", "tls"])
async def test_over_tls_the_certificate_is_told(authority, trusted, way):
    context = serving(authority.issue_cert("127.0.0.1"))
    async with SmtpSandbox(Inbox(), tls_context=context, implicit_tls=way == "tls") as server:
        findings = await found(server.port, tls=way, ca_certificates=str(trusted), **LOGIN)
    assert verdicts(findings)[:2] == [("connection", "ok"), ("certificate", "ok")]
    assert findings[0].told == "TLSv1.3"
    assert (len(findings), {item.verdict for item in findings}) == (5, {"ok"})


async def test_a_certificate_that_ends_soon_is_told(authority, trusted):
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(days=9, hours=1)
    async with SmtpSandbox(Inbox(), tls_context=serving(authority.issue_cert("127.0.0.1", not_after=soon))) as server:
        certificate = (await found(server.port, tls="starttls", ca_certificates=str(trusted)))[1]
    assert (certificate.subject, certificate.verdict) == ("certificate", "warning")
    assert "for 9 more days" in certificate.told


EXPIRED = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
WRONG: dict[str, tuple[Callable[[trustme.CA], trustme.LeafCert], str]] = {
    "expired": (lambda ca: ca.issue_cert("127.0.0.1", not_after=EXPIRED), "expired"),
    "another's address": (lambda ca: ca.issue_cert("127.0.0.2"), "another host's"),
    "another's name": (lambda ca: ca.issue_cert("mail.example"), "another host's"),
    "nobody's": (lambda _: trustme.CA().issue_cert("127.0.0.1"), "nobody this machine trusts"),
}


@pytest.mark.parametrize("way", ["starttls", "tls"])
@pytest.mark.parametrize("name", WRONG)
async def test_a_certificate_that_proves_nothing_is_a_fault_by_its_reason(authority, trusted, name, way):
    make, word = WRONG[name]
    async with SmtpSandbox(Inbox(), tls_context=serving(make(authority)), implicit_tls=way == "tls") as server:
        findings = await found(server.port, tls=way, ca_certificates=str(trusted), **LOGIN)
    assert verdicts(findings) == [("certificate", "fault")]
    assert word in findings[0].told


async def test_the_wrong_way_to_tls_is_a_fault():
    async with SmtpSandbox(Inbox()) as server:
        [unasked] = await found(server.port, tls="starttls")
        [spoken] = await found(server.port, tls="tls")
    assert (unasked.verdict, "not offered" in unasked.told) == ("fault", True)
    assert (spoken.verdict, 'tls = "tls"' in spoken.told) == ("fault", True)


async def test_a_login_that_is_refused_or_missing_is_a_fault():
    async with SmtpSandbox(Inbox(), require_auth=(USER, PASSWORD)) as server:
        refused = await found(server.port, username=USER, password="another-password")
        missing = await found(server.port)
    assert verdicts(refused)[2:] == [("login", "fault")]
    assert "535 5.7.8" in refused[2].told
    assert verdicts(missing)[2:] == [("login", "ok"), ("sender", "fault")]
    assert "a login may be missing" in missing[3].told


async def test_a_sender_that_is_refused_is_a_fault():
    async with SmtpSandbox(Inbox()) as server:
        server.refused_senders = {SENDER}
        sender = (await found(server.port, **LOGIN))[3]
        assert (sender.subject, sender.verdict, "553 5.7.1" in sender.told) == ("sender", "fault", True)
        server.refused_senders = {"bounces+doctor@shop.example"}
        assert (await found(server.port, bounces="bounces@shop.example"))[3].verdict == "fault"


async def test_extensions_that_the_settings_count_on_are_missed():
    async with SmtpSandbox(Inbox()) as server:
        server.extensions = ("SIZE 1000",)
        findings = await found(server.port, dsn=True, smtputf8=True)
        server.extensions = ()
        assert (await found(server.port))[1].told == "none that matter, and none is needed"
    assert [item.told.partition(":")[0] for item in findings if item.subject == "extensions"] == [
        "no dsn",
        "no smtputf8",
        "mails over 1000 bytes are refused; see that yours are smaller",
    ]
    assert {item.verdict for item in findings if item.subject == "extensions"} == {"warning"}
    assert findings[-1].subject == "sender"


async def test_nobody_there_is_a_fault():
    async with SmtpSandbox(Inbox()) as server:
        port = server.port
    assert verdicts(await found(port)) == [("connection", "fault")]


# --- A server that says what it is told to ---------------------------------------------------------------------


@asynccontextmanager
async def saying(*answers: str) -> AsyncIterator[int]:
    """Serve connections that get these answers in turn, then silence, or their end where the last one is empty."""

    serving: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, answer in enumerate(answers):
            if number:
                await reader.readline()
            if not answer:
                break
            writer.write(answer.encode() + b"\r\n")
        else:
            await reader.read()
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*serving)


HELLO = "220 mail ESMTP"
AUTH = "250-mail\r\n250 AUTH PLAIN"


@pytest.mark.parametrize(
    ("answers", "changes", "expected", "word"),
    [
        (("554 5.7.1 go away",), {}, ("connection", "fault"), "554 5.7.1"),
        (("HTTP/1.1 400 Bad Request",), {}, ("connection", "fault"), "no mail server"),
        ((HELLO, "550 5.7.1 no"), {}, ("connection", "fault"), "EHLO is refused (550 5.7.1)"),
        ((HELLO, ""), {}, ("connection", "fault"), "hung up at EHLO"),
        ((HELLO,), {"timeout": 0.05}, ("connection", "fault"), "no answer to EHLO"),
        (("",), {}, ("connection", "fault"), "no connection; "),
        ((), {"timeout": 0.05}, ("connection", "fault"), "no connection in time"),
        ((HELLO, "250 mail"), LOGIN, ("login", "fault"), "no AUTH is offered"),
        ((HELLO, AUTH, "454 4.7.0 later", "221 bye"), LOGIN, ("login", "warning"), "454 4.7.0"),
        (
            (HELLO, "250-mail\r\n250 STARTTLS", "454 4.7.0 no"),
            {"tls": "starttls"},
            ("connection", "fault"),
            "454 4.7.0",
        ),
        ((HELLO, AUTH, "250 ok", "250 ok", ""), {}, ("sender", "ok"), "takes mail"),
    ],
)
async def test_what_else_a_server_may_say(answers, changes, expected, word):
    async with saying(*answers) as port:
        findings = await found(port, **changes)
    told = [item for item in findings if (item.subject, item.verdict) == expected]
    assert [word in item.told for item in told] == [True]


async def test_plain_text_to_another_machine_is_told():
    elsewhere = Question("mail.shop.example", 25, "none", None, None, SENDER, {}, 1.0)
    [finding] = await _secure(aiosmtplib.SMTP(), elsewhere, lambda: 0.0)
    assert (finding.verdict, "plain text" in finding.told) == ("warning", True)
    assert SENDER not in repr(elsewhere)


def test_the_domains_of_sender_and_bounces_are_asked_about():
    keys = {"adapter": "email", "host": "127.0.0.1", "from": "Shop <codes@Shop.Example>"}
    asked = [
        EmailChannel("email", EmailSettings.model_validate(keys | more)).mail_domains
        for more in ({}, {"bounces": "b@bounces.shop.example"})
    ]
    assert asked == [("shop.example",), ("shop.example", "bounces.shop.example")]
