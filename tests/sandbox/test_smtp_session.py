"""The protocol itself, line by line."""

from __future__ import annotations

import asyncio
import base64
import ssl

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sandbox import smtp_session
from gateway.sandbox.fault import Fault
from gateway.sandbox.inbox import Inbox
from gateway.sandbox.smtp import SmtpSandbox
from gateway.sandbox.smtp_mail import MAX_MESSAGE


class Line:
    """A client that sees every byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> str:
        """Return the next reply, its lines joined."""
        lines = []
        async with asyncio.timeout(10):
            while True:
                lines.append((await self.reader.readline()).decode().rstrip("\r\n"))
                if lines[-1][3:4] != "-":
                    return "\n".join(lines)

    async def say(self, text: str | bytes) -> str:
        self.writer.write((text.encode() if isinstance(text, str) else text) + b"\r\n")
        return await self.answer()

    async def close(self) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


async def call(server: SmtpSandbox) -> Line:
    line = Line(*await asyncio.open_connection(server.host, server.port))
    assert (await line.answer()).startswith("220 ")
    return line


@pytest.fixture
async def server():
    async with SmtpSandbox(Inbox()) as opened:
        yield opened


@pytest.fixture
async def line(server):
    opened = await call(server)
    yield opened
    await opened.close()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def test_ehlo_announces_what_is_spoken(line):
    answer = await line.say("EHLO me")
    assert [part[4:] for part in answer.splitlines()[1:]] == [
        "PIPELINING",
        f"SIZE {25 * 1024 * 1024}",
        "8BITMIME",
        "ENHANCEDSTATUSCODES",
        "DSN",
        "SMTPUTF8",
        "AUTH PLAIN LOGIN",
    ]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (["HELO me"], "250 "),
        (["EHLO"], "501 "),
        (["HELO"], "501 "),
        (["noop"], "250 "),
        (["VRFY ann"], "252 "),
        (["RSET"], "250 "),
        (["QUIT"], "221 "),
        (["WHAT"], "500 "),
        ([""], "500 "),
        ([b"NOOP \xff"], "500 "),
        (["STARTTLS"], "503 "),
        (["STARTTLS now"], "501 "),
        (["MAIL FROM:<a@b.c>"], "503 "),
        (["RCPT TO:<a@b.c>"], "503 "),
        (["DATA"], "503 "),
        (["EHLO me", "MAIL a@b.c"], "501 "),
        (["EHLO me", "MAIL TO:<a@b.c>"], "501 "),
        (["EHLO me", "mail from: <>"], "250 "),
        (["EHLO me", "MAIL FROM:<a@b.c> SIZE=100 BODY=8BITMIME"], "250 "),
        (["EHLO me", "MAIL FROM:<a@b.c> SIZE=26214401"], "552 "),
        (["EHLO me", "MAIL FROM:<a@b.c> SIZE=x"], "501 "),
        (["EHLO me", f"MAIL FROM:<a@b.c> SIZE={'9' * 5000}"], "501 "),
        (["EHLO me", "MAIL FROM:<a@b.c> BODY=BINARYMIME"], "501 "),
        (["EHLO me", "MAIL FROM:<a@b.c> RET=FULL ENVID=QQ+2B1"], "250 "),
        (["EHLO me", "MAIL FROM:<a@b.c> RET=HALF"], "501 "),
        (["EHLO me", "MAIL FROM:<a@b.c> ENVID="], "250 "),
        (["EHLO me", "MAIL FROM:<a@b.c> ENVID=a+b"], "501 "),
        (["EHLO me", f"MAIL FROM:<a@b.c> ENVID={'a' * 101}"], "501 "),
        (["EHLO me", "MAIL FROM:<a@b.c> MT-PRIORITY=1"], "555 "),
        (["EHLO me", "MAIL FROM:<ä@b.c>"], "553 "),
        (["EHLO me", "MAIL FROM:<ä@b.c> SMTPUTF8"], "250 "),
        (["EHLO me", "MAIL FROM:<a@b.c>", "MAIL FROM:<a@b.c>"], "503 "),
        (["EHLO me", "MAIL FROM:<a@b.c>", "EHLO me", "DATA"], "503 "),
        (["EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<>"], "501 "),
        (["EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:a@b.c"], "501 "),
        (["EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<ä@b.c>"], "553 "),
        (["EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<a@b.c> NOTIFY=NEVER"], "250 "),
        (["EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<a@b.c> NOTIFY=success,DELAY ORCPT=rfc822;a@b.c"], "250 "),
        (["EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<a@b.c> NOTIFY=NEVER,DELAY"], "501 "),
        (["EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<a@b.c> NOTIFY"], "501 "),
        (["EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<a@b.c> BY=1;R"], "555 "),
        (["EHLO me", "MAIL FROM:<a@b.c>", "DATA"], "503 "),
        (["EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<a@b.c>", "DATA now"], "501 "),
        (["EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<a@b.c>", "DATA"], "354 "),
        (["EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<a@b.c>", "RSET", "DATA"], "503 "),
        (["EHLO me", "MAIL FROM:<a@b.c>", *["RCPT TO:<a@b.c>"] * 101], "452 "),
        (["AUTH PLAIN"], "503 "),
        (["EHLO me", "AUTH CRAM-MD5"], "504 "),
        (["EHLO me", "AUTH PLAIN"], "334 "),
        (["EHLO me", "AUTH PLAIN =", "NOOP"], "250 "),
        (["EHLO me", "AUTH PLAIN " + encoded("\0u\0p")], "235 "),
        (["EHLO me", "AUTH PLAIN", encoded("\0u\0p")], "235 "),
        (["EHLO me", "AUTH PLAIN", encoded("two\0fields")], "501 "),
        (["EHLO me", "AUTH PLAIN", "*"], "501 "),
        (["EHLO me", "AUTH LOGIN", encoded("u")], "334 "),
        (["EHLO me", "AUTH LOGIN", encoded("u"), encoded("p")], "235 "),
        (["EHLO me", "AUTH LOGIN " + encoded("u"), encoded("p")], "235 "),
        (["EHLO me", "AUTH LOGIN", encoded("u"), "//8="], "501 "),
        (["EHLO me", "AUTH PLAIN " + encoded("\0u\0p"), "AUTH PLAIN " + encoded("\0u\0p")], "503 "),
    ],
)
async def test_each_command_gets_its_reply(line, said, code):
    for text in said:
        answer = await line.say(text)
    assert answer[:4].replace("-", " ") == code


async def test_pipelined_commands_are_answered_in_order(server, line):
    line.writer.write(
        b"EHLO me\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n.\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n"
        b"\r\nhi\r\n.\r\nQUIT\r\n"
    )
    answers = [(await line.answer())[:3] for _ in range(9)]
    assert answers == ["250", "250", "250", "354", "250", "250", "250", "354", "250"]
    assert [letter.raw for letter in server.inbox.letters] == [b"", b"\r\nhi\r\n"]


async def test_a_line_without_end_is_cut_off(line):
    line.writer.write(b"x" * (smtp_session.MAX_LINE + 1))
    assert (await line.answer()).startswith("500 5.5.2 Line too long")
    assert await line.reader.read() == b""


async def test_a_line_that_is_too_long_is_cut_off(line):
    assert (await line.say("NOOP " + "x" * smtp_session.MAX_LINE)).startswith("500 5.5.2 Line too long")


async def test_a_mail_over_the_announced_size_is_refused_and_the_next_one_taken(server, line):
    for text, code in ((b"x" * (MAX_MESSAGE + 1_000_000), "552"), (b"x" * MAX_MESSAGE, "552"), (b"\r\nsmall", "250")):
        for command in ("EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<d@e.f>", "DATA"):
            await line.say(command)
        assert (await line.say(text + b"\r\n."))[:3] == code
    assert [letter.text for letter in server.inbox.letters] == ["small\n"]


async def test_a_dot_between_bare_line_feeds_does_not_end_a_mail(server, line):
    for command in ("EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<d@e.f>", "DATA"):
        await line.say(command)
    await line.say(b"\r\none\n.\nMAIL FROM:<evil@b.c>\r\n.")
    assert server.inbox.letters[0].raw == b"\r\none\n.\nMAIL FROM:<evil@b.c>\r\n"


async def test_before_starttls_there_is_no_auth_and_what_was_sent_along_is_forgotten():
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    async with SmtpSandbox(Inbox(), tls_context=context) as server:
        line = await call(server)
        assert (await line.say("EHLO me")).endswith("250 STARTTLS")
        assert (await line.say("AUTH PLAIN " + encoded("\0u\0p"))).startswith("538 ")
        assert (await line.say("STARTTLS\r\nNOOP injected")).startswith("220 ")
        await line.writer.start_tls(trusted, server_hostname="127.0.0.1")
        assert (await line.say("MAIL FROM:<a@b.c>")).startswith("503 5.5.1 EHLO")
        assert (await line.say("EHLO me")).endswith("250 AUTH PLAIN LOGIN")
        assert (await line.say("STARTTLS")).startswith("503 ")
        await line.close()


@settings(max_examples=25, deadline=None)
@given(
    body=st.lists(st.sampled_from([b".", b"..", b"\r\n", b"\n", b"\r", b"a", b"\xff", b"\r\n."]), max_size=40),
    cut=st.integers(1, 7),
)
def test_every_mail_arrives_byte_for_byte_however_it_is_cut(body, cut):
    sent = b"".join(body) + b"\r\n"
    stuffed = (b"\r\n" + sent).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"

    async def received() -> bytes:
        async with SmtpSandbox(Inbox()) as server:
            line = await call(server)
            for command in ("EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<d@e.f>", "DATA"):
                await line.say(command)
            for start in range(0, len(stuffed), cut):
                line.writer.write(stuffed[start : start + cut])
                await asyncio.sleep(0)
            await line.answer()
            await line.close()
            return server.inbox.letters[0].raw

    assert asyncio.run(received()) == sent


MAIL = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n"


async def begin(line: Line) -> None:
    """Say everything before a mail's text in one piece."""
    await line.say("EHLO client")
    line.writer.write(MAIL)
    assert [(await line.answer())[:3] for _ in range(3)] == ["250", "250", "354"]


async def test_a_slow_server_takes_the_mail_late_and_hears_what_was_said_meanwhile_afterwards(server, line):
    server.faults.set(Fault.SLOW, delay=0.05)
    await begin(line)
    line.writer.write(b"hello\r\n.\r\nNOOP\r\n")
    assert "queued as" in await line.answer()
    assert len(server.inbox.letters) == 1
    assert (await line.answer()).startswith("250 2.0.0")


async def test_a_slow_server_is_not_idle_and_takes_nothing_from_a_client_that_left(server, line):
    server.faults.set(Fault.SLOW, delay=0.2)
    await begin(line)
    line.writer.write(b"hello\r\n.\r\n")
    [session] = server._sessions
    while session._late is None:  # noqa: ASYNC110 - the session has no event for this
        await asyncio.sleep(0)
    assert not session.idle
    await line.close()
    await session.ended
    assert session._late.cancelled()
    assert server.inbox.letters == []


async def test_a_mail_is_lost_by_no_mail_server(server, line):
    server.faults.set(Fault.LOSE)
    await begin(line)
    assert "queued as" in await line.say("hello\r\n.")


async def test_a_server_may_offer_less_and_refuse_a_sender(server):
    server.extensions, server.refused_senders = ("SIZE 10",), {"codes@shop.example"}
    line = await call(server)
    assert await line.say("EHLO client") == "250-sandbox.localhost\n250-SIZE 10\n250 AUTH PLAIN LOGIN"
    assert (await line.say("MAIL FROM:<codes@shop.example>")).startswith("553 5.7.1 <codes@shop.example>")
    assert await line.say("MAIL FROM:<other@shop.example>") == "250 2.1.0 Ok"
    await line.close()
