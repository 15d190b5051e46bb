"""The mail server as aiosmtplib sees it."""

from __future__ import annotations

import asyncio
import ssl
from email.message import EmailMessage

import aiosmtplib
import pytest
import trustme

from gateway.sandbox.fault import Fault
from gateway.sandbox.inbox import Inbox
from gateway.sandbox.smtp import SmtpSandbox

ANN = "ann@example.org"


def mail(to: str = ANN) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@example.org", to, "Ihr Code für Example"
    message.set_content("Code: 123456\n.\n..two dots\nEnde ü")
    message.add_alternative("<p>123456</p>", subtype="html")
    return message


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_context(authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def client_context(authority) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
async def server(inbox):
    async with SmtpSandbox(inbox) as opened:
        yield opened


def client(server: SmtpSandbox, **options) -> aiosmtplib.SMTP:
    options = {"start_tls": False, "timeout": 10} | options
    return aiosmtplib.SMTP(hostname=server.host, port=server.port, **options)


async def test_a_mail_arrives_as_a_person_reads_it(server, inbox):
    async with client(server) as connection:
        _, answer = await connection.send_message(mail())
    [letter] = inbox.letters
    assert letter.text == "Code: 123456\n.\n..two dots\nEnde ü\n"
    assert (letter.protocol, letter.to) == ("smtp", ANN)
    assert letter.fields == {"mail_from": "shop@example.org", "subject": "Ihr Code für Example"}
    assert answer.endswith(letter.id)
    assert b"\r\n..two dots" in letter.raw
    assert b"\r\n...two dots" not in letter.raw


async def test_each_recipient_gets_a_letter(server, inbox):
    async with client(server) as connection:
        await connection.sendmail("a@example.org", [ANN, "bob@example.org"], b"\r\nhello")
    assert [letter.to for letter in inbox.letters] == [ANN, "bob@example.org"]


async def test_one_connection_carries_many_mails_and_both_are_counted(server, inbox):
    async with client(server) as connection:
        for _ in range(3):
            await connection.send_message(mail())
    assert (server.connections, server.deliveries, len(inbox.letters)) == (1, 3, 3)


async def test_an_international_address_needs_smtputf8_and_gets_through(server, inbox):
    async with client(server) as connection:
        await connection.sendmail("a@example.org", ["jürgen@example.org"], b"\r\nhello", mail_options=["SMTPUTF8"])
        assert inbox.letters[0].to == "jürgen@example.org"


async def test_starttls_and_credentials_are_asked_for_and_taken(inbox, server_context, client_context):
    async with SmtpSandbox(inbox, tls_context=server_context, require_auth=("user", "secret")) as server:
        options = {"start_tls": True, "tls_context": client_context, "username": "user", "password": "secret"}
        async with client(server, **options) as connection:
            assert connection.supports_extension("auth")
            assert not connection.supports_extension("starttls")
            await connection.send_message(mail())
    assert len(inbox.letters) == 1


async def test_implicit_tls_comes_before_the_greeting(inbox, server_context, client_context):
    options = {"start_tls": None, "use_tls": True, "tls_context": client_context}
    async with (
        SmtpSandbox(inbox, tls_context=server_context, implicit_tls=True) as server,
        client(server, **options) as connection,
    ):
        await connection.send_message(mail())
    assert len(inbox.letters) == 1


async def test_implicit_tls_without_a_context_is_refused(inbox):
    with pytest.raises(ValueError, match="needs a tls_context"):
        SmtpSandbox(inbox, implicit_tls=True)


async def test_a_client_that_distrusts_the_certificate_does_not_hold_the_shutdown(inbox, server_context):
    async with SmtpSandbox(inbox, tls_context=server_context) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            await client(server, start_tls=True, tls_context=ssl.create_default_context()).connect()


async def test_a_client_that_distrusts_the_certificate_is_forgotten(inbox, server_context):
    async with SmtpSandbox(inbox, tls_context=server_context) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            await client(server, start_tls=True, tls_context=ssl.create_default_context()).connect()
        async with asyncio.timeout(10):
            while server._sessions:  # noqa: ASYNC110 - the server has no event to wait for
                await asyncio.sleep(0)


async def test_a_client_that_distrusts_implicit_tls_is_forgotten(inbox, server_context, client_context):
    async with SmtpSandbox(inbox, tls_context=server_context, implicit_tls=True) as server:
        with pytest.raises(aiosmtplib.SMTPConnectError):
            await client(server, use_tls=True, start_tls=None, tls_context=ssl.create_default_context()).connect()
        options = {"start_tls": None, "use_tls": True, "tls_context": client_context}
        async with client(server, **options) as connection:
            await connection.send_message(mail())
    assert (server.connections, len(inbox.letters)) == (2, 1)


async def test_a_client_that_never_begins_tls_does_not_hold_the_shutdown(inbox, server_context):
    async with SmtpSandbox(inbox, tls_context=server_context, implicit_tls=True) as server:
        _, writer = await asyncio.open_connection(server.host, server.port)
        while not server.connections:  # noqa: ASYNC110 - the server has no event to wait for
            await asyncio.sleep(0)
        await server.drop_connections()
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    assert server.connections == 1


async def test_wrong_credentials_are_refused(inbox):
    async with SmtpSandbox(inbox, require_auth=("user", "secret")) as server:
        with pytest.raises(aiosmtplib.SMTPAuthenticationError) as refused:
            await client(server, username="user", password="wrong").connect()
        assert refused.value.code == 535


async def test_nobody_sends_without_required_credentials(inbox):
    async with SmtpSandbox(inbox, require_auth=("user", "secret")) as server, client(server) as connection:
        with pytest.raises(aiosmtplib.SMTPSenderRefused) as refused:
            await connection.send_message(mail())
        assert refused.value.code == 530
    assert inbox.letters == []


async def test_any_credentials_do_where_none_are_required(server):
    async with client(server, username="any", password="thing") as connection:
        assert connection.is_connected


@pytest.mark.parametrize(
    ("fault", "code", "enhanced"),
    [(Fault.REFUSE, 550, "5.1.1"), (Fault.DEFER, 451, "4.3.0"), (Fault.LIMIT, 450, "4.2.1")],
)
async def test_a_fault_at_the_recipient_is_told_in_its_code(server, inbox, fault, code, enhanced):
    server.faults.set(fault)
    async with client(server) as connection:
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refused:
            await connection.send_message(mail())
    answer = refused.value.recipients[0]
    assert (answer.code, answer.message.partition(" ")[0]) == (code, enhanced)
    assert inbox.letters == []


async def test_a_fault_of_one_recipient_leaves_the_others_alone(server, inbox):
    server.faults.set(Fault.REFUSE, recipient=ANN)
    async with client(server) as connection:
        refused, _ = await connection.sendmail("a@example.org", [ANN, "bob@example.org"], b"\r\nhello")
    assert list(refused) == [ANN]
    assert [letter.to for letter in inbox.letters] == ["bob@example.org"]


async def test_a_garbled_answer_is_not_smtp(server, inbox):
    server.faults.set(Fault.GARBLE)
    connection = client(server)
    await connection.connect()
    with pytest.raises(aiosmtplib.SMTPException):
        await connection.send_message(mail())
    connection.close()
    assert (server.deliveries, inbox.letters) == (1, [])


async def test_a_reset_comes_after_the_whole_mail(server, inbox):
    server.faults.set(Fault.RESET, times=1)
    connection = client(server)
    await connection.connect()
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await connection.send_message(mail())
    assert (server.deliveries, inbox.letters) == (1, [])
    async with client(server) as again:
        await again.send_message(mail())
    assert len(inbox.letters) == 1


async def test_a_stalled_mail_is_never_answered(server, inbox):
    server.faults.set(Fault.STALL)
    connection = client(server, timeout=0.5)
    await connection.connect()
    with pytest.raises(aiosmtplib.SMTPReadTimeoutError):
        await connection.send_message(mail())
    connection.close()
    assert (server.deliveries, inbox.letters) == (1, [])


async def test_unauthorized_refuses_good_credentials_at_auth(server):
    server.faults.set(Fault.UNAUTHORIZED)
    with pytest.raises(aiosmtplib.SMTPAuthenticationError) as refused:
        await client(server, username="any", password="thing").connect()
    assert refused.value.code == 535


async def test_unauthorized_refuses_an_open_connection_at_mail(server):
    async with client(server) as connection:
        server.faults.set(Fault.UNAUTHORIZED)
        with pytest.raises(aiosmtplib.SMTPSenderRefused) as refused:
            await connection.send_message(mail())
    assert refused.value.code == 530


async def test_unauthorized_for_one_recipient_is_told_at_the_recipient(server):
    server.faults.set(Fault.UNAUTHORIZED, recipient=ANN)
    async with client(server) as connection:
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refused:
            await connection.send_message(mail())
    assert refused.value.recipients[0].code == 530


async def test_a_client_that_comes_while_the_server_closes_is_cut_off(inbox):
    async with SmtpSandbox(inbox) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
    assert await reader.read() in {b"", b"220 sandbox.localhost ESMTP\r\n"}
    writer.close()
    await writer.wait_closed()


def test_the_server_speaks_on_uvloop_too(server_context, client_context):
    uvloop = pytest.importorskip("uvloop")

    async def sent(**options) -> list[str]:
        inbox = Inbox()
        async with SmtpSandbox(inbox, tls_context=server_context, implicit_tls="use_tls" in options) as server:
            async with client(server, tls_context=client_context, **options) as connection:
                await connection.send_message(mail())
            reader, writer = await asyncio.open_connection(server.host, server.port)
        assert await reader.read() in {b"", b"220 sandbox.localhost ESMTP\r\n"}
        writer.close()
        return [letter.to for letter in inbox.letters]

    assert uvloop.run(sent(start_tls=True)) == [ANN]
    assert uvloop.run(sent(start_tls=None, use_tls=True)) == [ANN]


async def test_dropped_connections_are_gone_for_the_client(server, inbox):
    connection = client(server)
    await connection.connect()
    await server.drop_connections()
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await connection.noop()
    await connection.connect()
    await connection.send_message(mail())
    await connection.quit()
    assert (server.connections, len(inbox.letters)) == (2, 1)


async def test_a_mail_under_way_survives_dropped_connections(server, inbox):
    async with client(server) as connection:
        await connection.mail("a@example.org")
        await server.drop_connections()
        await connection.rcpt(ANN)
        await connection.data(b"\r\nhello")
    assert inbox.letters[0].text == "hello\n"
