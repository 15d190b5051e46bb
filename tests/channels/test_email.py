"""The e-mail adapter against a real SMTP conversation on this machine."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import ClassVar, Self

import pytest
import trustme
from aiohttp import web
from pydantic import ValidationError

from channels.base import (
    AmbiguousError,
    CallbackRequest,
    DeliveryError,
    Envelope,
    ForgedCallbackError,
    PermanentError,
    Reason,
    Receipt,
    Report,
    ReportedStatus,
    TransientError,
)
from channels.email import EmailChannel, EmailSettings
from gateway.sandbox.fault import Fault, Faults, Planned
from gateway.sandbox.inbox import Inbox
from gateway.sandbox.smtp import SmtpSandbox
from gateway.sandbox.smtp_reports import ReportsTo
from tests.channels.contract import CODE, ChannelContract, an_envelope, told

ADDRESS = "ann.smith@people.example"
SENDER = "codes@shop.example"
USER, PASSWORD = "mailer-user", "mailer-password-7f3a"
PARTS = {
    "subject.txt": "Your Example Shop code\n",
    "body.txt": f"Your code is {CODE}.\n",
    "body.html": f"<p>Your code is <b>{CODE}</b>.</p>\n",
}
#: base64 of what AUTH PLAIN sends, which is as secret as the password.
AUTH_PLAIN = "AG1haWxlci11c2VyAG1haWxlci1wYXNzd29yZC03ZjNh"


def settings(**changes: object) -> EmailSettings:
    keys = {"adapter": "email", "host": "127.0.0.1", "tls": "none", "from": SENDER, "timeout": 10.0}
    return EmailSettings.model_validate(keys | changes)


def an_email(address: str | None = None, *, message_id: str = "msg_contract", **parts: str) -> Envelope:
    return an_envelope(address or ADDRESS, {**PARTS, **parts}, message_id=message_id)


class _CountingFaults(Faults):
    """Counts RCPT commands: each asks for the faults of its recipient."""

    asked = 0

    def take(self, *recipients: str, only: Fault | None = None, by_address: bool = True) -> Planned:
        self.asked += bool(recipients)
        return super().take(*recipients, only=only, by_address=by_address)


class SmtpProvider:
    """A mail server as the contract wants to see one."""

    def __init__(self, server: SmtpSandbox) -> None:
        self.server = server
        self.counting = _CountingFaults()
        server.faults = self.counting

    async def accept(self) -> None:
        self.server.faults.clear()

    async def refuse(self) -> None:
        self.server.faults.set(Fault.REFUSE)

    async def defer(self) -> None:
        self.server.faults.set(Fault.DEFER)

    async def limit(self, retry_after: float) -> None:
        self.server.faults.set(Fault.LIMIT)

    async def stall(self) -> None:
        self.server.faults.set(Fault.STALL)

    async def reset(self) -> None:
        self.server.faults.set(Fault.RESET)

    async def garble(self) -> None:
        self.server.faults.set(Fault.GARBLE)

    async def unauthorized(self) -> None:
        self.server.faults.set(Fault.UNAUTHORIZED)

    async def drop_idle(self) -> None:
        await self.server.drop_connections()

    async def close(self) -> None:
        await self.server.__aexit__()

    def requests(self) -> int:
        return self.counting.asked

    def received(self) -> list[str]:
        return [letter.text for letter in self.server.inbox.letters]


@pytest.fixture
async def provider() -> AsyncIterator[SmtpProvider]:
    async with SmtpSandbox(Inbox(), require_auth=(USER, PASSWORD)) as server:
        yield SmtpProvider(server)


@pytest.fixture
async def channel(provider: SmtpProvider) -> AsyncIterator[EmailChannel]:
    chosen = settings(port=provider.server.port, username=USER, password=PASSWORD)
    async with EmailChannel("email", chosen) as opened:
        yield opened


@pytest.fixture
def envelope() -> Callable[..., Envelope]:
    return lambda *, address=None: an_email(address)


class TestEmailChannel(ChannelContract):
    adapter: ClassVar[str] = "email"
    credentials: ClassVar[tuple[str, ...]] = (PASSWORD, AUTH_PLAIN)
    # SMTP has no word for it: RFC 3463 knows "later", not "in so many seconds".
    retry_after: ClassVar[float | None] = None


# --- What answers mean: a server that says what it is told to say --------------------------------------------

#: What a script may do instead of answering; after SILENCE it answers nothing else either.
HANG_UP, SILENCE = "<hang up>", "<silence>"
PIPELINING = {"EHLO": "250-hi\r\n250 PIPELINING"}


class Scripted:
    """An SMTP server with fixed answers: by command, ``greeting`` and ``.`` (the end of the content)."""

    def __init__(self, **answers: str) -> None:
        self.answers = {"greeting": "220 hi", "EHLO": "250 hi", "DATA": "354 go", "QUIT": "221 bye"} | answers
        self.heard: list[str] = []
        self.connections = self.open = self.most = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            going = await self._answer("greeting", reader, writer)
            while going and (line := await reader.readline()):
                self.heard.append(line.decode().rstrip())
                verb = line.decode().split()[0]
                going = await self._answer(verb, reader, writer)
                if verb == "DATA" and going and self.answers["DATA"].startswith("354"):
                    while await reader.readline() not in {b".\r\n", b""}:
                        pass
                    going = await self._answer(".", reader, writer)
        except ConnectionError:
            pass  # the client went first, as it may
        finally:
            self.open -= 1
            writer.close()

    async def _answer(self, command: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        answer = self.answers.get(command, "250 ok")
        if answer == SILENCE:
            await reader.read()  # until the client goes
        elif answer != HANG_UP:
            writer.write(answer.encode() + b"\r\n")
            await writer.drain()
        return answer not in {HANG_UP, SILENCE}


async def failure(server: Scripted, envelope: Envelope | None = None, **changes: object) -> DeliveryError:
    async with EmailChannel("email", settings(port=server.port, **changes)) as channel:
        with pytest.raises(DeliveryError) as caught:
            await channel.deliver(envelope or an_email())
    assert ADDRESS not in told(caught.value)
    return caught.value


P, T, A = PermanentError, TransientError, AmbiguousError


@pytest.mark.parametrize(
    ("answers", "kind", "reason", "code"),
    [
        ({"RCPT": "550 5.1.1 no such user <ann.smith@people.example>"}, P, Reason.INVALID_RECIPIENT, "550 5.1.1"),
        ({"RCPT": "554 5.1.1 rejected by a map"}, P, Reason.INVALID_RECIPIENT, "554 5.1.1"),
        ({"RCPT": "556 5.1.10 null MX"}, P, Reason.INVALID_RECIPIENT, "556 5.1.10"),
        ({"RCPT": "550 5.2.1 disabled"}, P, Reason.INVALID_RECIPIENT, "550 5.2.1"),
        ({"RCPT": "550 5.4.1 access denied"}, P, Reason.INVALID_RECIPIENT, "550 5.4.1"),
        ({"RCPT": "550 no such user"}, P, Reason.INVALID_RECIPIENT, "550"),
        ({"RCPT": "552 5.2.2 full"}, P, Reason.UNREACHABLE, "552 5.2.2"),
        ({"RCPT": "552 full"}, P, Reason.UNREACHABLE, "552"),
        ({"RCPT": "550 5.7.1 not for you"}, P, Reason.BLOCKED, "550 5.7.1"),
        ({"RCPT": "554 no"}, P, Reason.REJECTED, "554"),
        ({"RCPT": "550 5.7.8 log in"}, P, Reason.MISCONFIGURED, "550 5.7.8"),
        ({"RCPT": "530 5.7.0 authentication required"}, P, Reason.MISCONFIGURED, "530 5.7.0"),
        ({"RCPT": "550 5.1.8 bad sender's domain"}, P, Reason.MISCONFIGURED, "550 5.1.8"),
        ({".": "550 5.4.5 daily quota"}, T, Reason.RATE_LIMITED, "550 5.4.5"),
        ({"MAIL": "550 5.4.5 daily quota"}, T, Reason.RATE_LIMITED, "550 5.4.5"),
        ({"RCPT": "550 5.7.23 SPF"}, P, Reason.MISCONFIGURED, "550 5.7.23"),
        ({"MAIL": "553 5.7.1 not your address"}, P, Reason.MISCONFIGURED, "553 5.7.1"),
        ({"EHLO": "550 go away", "HELO": "550 go away"}, P, Reason.MISCONFIGURED, "550"),
        ({"greeting": "554 5.7.1 your network is listed"}, P, Reason.MISCONFIGURED, "554 5.7.1"),
        ({"DATA": "554 5.5.1 no valid recipients"}, P, Reason.REJECTED, "554 5.5.1"),
        ({".": "550 spam"}, P, Reason.REJECTED, "550"),
        ({".": "550 5.7.1 spam"}, P, Reason.REJECTED, "550 5.7.1"),
        ({".": "550 5.7.26 DMARC"}, P, Reason.MISCONFIGURED, "550 5.7.26"),
        ({".": "550 5.1.1 no such user"}, P, Reason.INVALID_RECIPIENT, "550 5.1.1"),
        ({".": "552 5.2.2 full"}, P, Reason.UNREACHABLE, "552 5.2.2"),
        ({"RCPT": "454 sending too fast"}, T, Reason.RATE_LIMITED, "454"),
        ({".": "454 sending too fast"}, T, Reason.RATE_LIMITED, "454"),
        ({"RCPT": "451 4.7.500 busy"}, T, Reason.RATE_LIMITED, "451 4.7.500"),
        ({"RCPT": "452 4.2.2 full"}, T, Reason.UNREACHABLE, "452 4.2.2"),
        ({"RCPT": "450 busy"}, T, Reason.UNREACHABLE, "450"),
        ({"RCPT": "450 4.2.1 too quickly"}, T, Reason.RATE_LIMITED, "450 4.2.1"),
        ({"RCPT": "421 4.7.28 unusual rate"}, T, Reason.RATE_LIMITED, "421 4.7.28"),
        ({"RCPT": "451 4.3.0 later"}, T, Reason.UNAVAILABLE, "451 4.3.0"),
        ({"RCPT": "452 4.5.3 too many"}, T, Reason.UNAVAILABLE, "452 4.5.3"),
        ({"RCPT": "451 4.40404.1 odd"}, T, Reason.UNREACHABLE, "451"),
        ({"RCPT": "451 Temporary local problem - please try later"}, T, Reason.UNREACHABLE, "451"),
        ({".": "451 later"}, T, Reason.UNAVAILABLE, "451"),
        ({"MAIL": "421 closing"}, T, Reason.UNAVAILABLE, "421"),
        ({"greeting": "421 4.3.2 shutting down"}, T, Reason.UNAVAILABLE, "421 4.3.2"),
        ({"DATA": "421 closing"}, T, Reason.UNAVAILABLE, "421"),
        ({".": "451 4.3.0 later"}, T, Reason.UNAVAILABLE, "451 4.3.0"),
        ({".": "421 closing"}, T, Reason.UNAVAILABLE, "421"),
        ({"greeting": HANG_UP}, T, Reason.UNAVAILABLE, None),
        ({"EHLO": HANG_UP}, T, Reason.UNAVAILABLE, None),
        ({"MAIL": HANG_UP}, T, Reason.UNAVAILABLE, None),
        ({"RCPT": HANG_UP}, T, Reason.UNAVAILABLE, None),
        # No content is sent before this answer: whatever becomes of it, nothing was accepted.
        ({"DATA": HANG_UP}, T, Reason.UNAVAILABLE, None),
        ({"greeting": "hello there"}, T, Reason.UNAVAILABLE, None),
        ({"MAIL": "what?"}, T, Reason.UNAVAILABLE, None),
        ({"MAIL": "354 what?"}, T, Reason.UNAVAILABLE, None),
        ({"DATA": "what?"}, T, Reason.UNAVAILABLE, None),
        ({"DATA": "250 ok"}, T, Reason.UNAVAILABLE, None),
        ({"greeting": SILENCE}, T, Reason.TIMEOUT, None),
        ({"EHLO": SILENCE}, T, Reason.TIMEOUT, None),
        ({"RCPT": SILENCE}, T, Reason.TIMEOUT, None),
        ({"DATA": SILENCE}, T, Reason.TIMEOUT, None),
        ({".": HANG_UP}, A, Reason.UNAVAILABLE, None),
        ({".": SILENCE}, A, Reason.TIMEOUT, None),
        ({".": "what?"}, A, Reason.UNKNOWN, None),
        ({".": "354 what?"}, A, Reason.UNKNOWN, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("hello", [{}, PIPELINING], ids=["one by one", "pipelined"])
async def test_an_answer_means(
    answers: dict[str, str], kind: type[DeliveryError], reason: Reason, code: str | None, hello: dict[str, str]
):
    async with Scripted(**(hello | answers)) as server:
        error = await failure(server, timeout=0.5 if SILENCE in answers.values() else 10.0)
    assert (type(error), error.reason, error.provider_code) == (kind, reason, code)


@pytest.mark.parametrize("answer", ["451 4.7.1 greylisted, try again", "450 4.2.0 Greylisted", "452 4.2.2 full"])
async def test_what_takes_a_minute_at_the_least_asks_for_it(answer: str):
    """Longer than a route waits for one channel, so that the next one takes over."""
    async with Scripted(RCPT=answer) as server:
        error = await failure(server)
    assert isinstance(error, TransientError)
    assert (error.reason, error.retry_after, error.whole_channel) == (Reason.UNREACHABLE, 60.0, False)


async def test_a_used_up_quota_is_everybodys():
    async with Scripted(**{".": "550 5.4.5 Daily user sending limit exceeded"}) as server:
        error = await failure(server)
    assert isinstance(error, TransientError)
    assert (error.retry_after, error.whole_channel) == (3_600.0, True)


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        ("535 5.7.8 unknown", PermanentError, Reason.MISCONFIGURED),
        ("454 4.7.0 temporary authentication failure", TransientError, Reason.UNAVAILABLE),
    ],
)
async def test_a_failed_login_is_ours_unless_the_server_says_later(
    answer: str, kind: type[DeliveryError], reason: Reason
):
    async with Scripted(EHLO="250-hi\r\n250 AUTH PLAIN", AUTH=answer) as server:
        error = await failure(server, username=USER, password=PASSWORD)
    assert (type(error), error.reason) == (kind, reason)


async def test_a_server_without_auth_is_misconfigured():
    async with Scripted() as server:
        error = await failure(server, username=USER, password=PASSWORD)
    assert (type(error), error.reason) == (PermanentError, Reason.MISCONFIGURED)
    assert not [line for line in server.heard if PASSWORD in line or AUTH_PLAIN in line]


@pytest.mark.parametrize(
    ("answer", "queue_id"),
    [
        ("250 2.0.0 Ok: queued as 4FZk1Q2xyz", "4FZk1Q2xyz"),
        ("250 OK id=1tAbCd-0001-Xy", "1tAbCd-0001-Xy"),
        ("250 Ok 0100018f-aaaa-bbbb-000000", "0100018f-aaaa-bbbb-000000"),
        ("250 thanks", None),
    ],
)
async def test_a_receipt_names_what_the_server_calls_the_mail(answer: str, queue_id: str | None):
    async with (
        Scripted(**{".": answer}) as server,
        EmailChannel("email", settings(port=server.port)) as channel,
    ):
        receipt = await channel.deliver(an_email())
    code = "250 2.0.0" if "2.0.0" in answer else "250"
    assert receipt == Receipt(provider_id=queue_id, provider_code=code)


async def test_the_sender_s_domain_is_the_name_the_server_is_told():
    async with Scripted() as server, EmailChannel("email", settings(port=server.port)) as channel:
        await channel.deliver(an_email())
    assert server.heard == [
        "EHLO shop.example",
        f"MAIL FROM:<{SENDER}>",
        f"RCPT TO:<{ADDRESS}>",
        "DATA",
        "QUIT",
    ]


# --- Connections ---------------------------------------------------------------------------------------------


async def connections_after(deliveries: int, **changes: object) -> int:
    async with Scripted() as server, EmailChannel("email", settings(port=server.port, **changes)) as channel:
        for _ in range(deliveries):
            await channel.deliver(an_email())
    return server.connections


async def test_a_connection_is_kept():
    assert await connections_after(3) == 1


async def test_a_connection_is_not_kept_longer_than_allowed():
    assert await connections_after(3, max_idle=0) == 3


async def test_connections_that_waited_too_long_are_closed_when_another_is_kept(provider: SmtpProvider):
    chosen = settings(port=provider.server.port, username=USER, password=PASSWORD, max_idle=0)
    async with EmailChannel("email", chosen) as channel:
        await asyncio.gather(*(channel.deliver(an_email()) for _ in range(4)))
        assert len(channel._pool._idle if channel._pool else []) == 1


async def test_a_connection_is_closed_after_so_many_mails():
    assert await connections_after(5, max_mails_per_connection=2) == 3


async def test_no_more_connections_than_deliveries_allowed_at_once(provider: SmtpProvider):
    chosen = settings(port=provider.server.port, username=USER, password=PASSWORD, concurrency=3)
    async with EmailChannel("email", chosen) as channel:
        await asyncio.gather(*(channel.deliver(an_email()) for _ in range(12)))
    assert (len(provider.received()), provider.server.connections) == (12, 3)


@pytest.mark.parametrize("hello", [{}, PIPELINING], ids=["one by one", "pipelined"])
async def test_a_refused_recipient_costs_no_connection_and_the_next_mail_starts_clean(hello: dict[str, str]):
    async with (
        Scripted(RCPT="550 5.1.1 no", **hello) as server,
        EmailChannel("email", settings(port=server.port)) as channel,
    ):
        with pytest.raises(PermanentError):
            await channel.deliver(an_email())
        server.answers["RCPT"] = "250 ok"
        await channel.deliver(an_email())
    assert server.connections == 1
    assert server.heard[-5:-1] == ["RSET", f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{ADDRESS}>", "DATA"]


@pytest.mark.parametrize("hello", [{}, PIPELINING], ids=["one by one", "pipelined"])
@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("answer", [HANG_UP, "421 4.4.2 idle for too long", "what?"])
async def test_a_kept_connection_that_turns_out_dead_is_replaced_once(command: str, answer: str, hello: dict[str, str]):
    async with Scripted(**hello) as server, EmailChannel("email", settings(port=server.port)) as channel:
        await channel.deliver(an_email())
        server.answers[command] = answer
        with pytest.raises(TransientError):
            await channel.deliver(an_email())
        assert server.connections == 2
        server.answers[command] = "354 go" if command == "DATA" else "250 ok"
        assert isinstance(await channel.deliver(an_email()), Receipt)


@pytest.mark.parametrize("answer", ["550 5.1.1 no", "451 4.3.0 later", "354 what?"])
async def test_an_answer_over_a_kept_connection_is_not_asked_for_again(answer: str):
    async with Scripted() as server, EmailChannel("email", settings(port=server.port)) as channel:
        await channel.deliver(an_email())
        server.answers["RCPT"] = answer
        with pytest.raises(DeliveryError):
            await channel.deliver(an_email())
        assert (server.connections, len([line for line in server.heard if "RCPT" in line])) == (1, 2)


@pytest.mark.parametrize("answer", ["530 5.7.0 log in again", "554 5.7.0 too many mails in this session"])
async def test_a_refusal_that_may_be_a_kept_connections_alone_is_asked_for_again_on_a_new_one(answer: str):
    """It would stop the channel, for every mail of which a new connection would do."""
    async with Scripted() as server, EmailChannel("email", settings(port=server.port)) as channel:
        await channel.deliver(an_email())
        server.answers["MAIL"] = answer
        with pytest.raises(PermanentError) as caught:
            await channel.deliver(an_email())
        assert (caught.value.reason, server.connections) == (Reason.MISCONFIGURED, 2)
        with pytest.raises(PermanentError):
            await channel.deliver(an_email())
        assert (server.connections, len([line for line in server.heard if "MAIL" in line])) == (3, 4)


async def test_a_reset_that_is_refused_costs_the_connection_and_not_the_mail():
    async with (
        Scripted(RCPT="550 no", RSET="502 unknown") as server,
        EmailChannel("email", settings(port=server.port)) as channel,
    ):
        with pytest.raises(PermanentError):
            await channel.deliver(an_email())
        del server.answers["RCPT"]
        assert isinstance(await channel.deliver(an_email()), Receipt)
    assert server.connections == 2


async def test_a_connection_lost_after_the_content_is_never_tried_again():
    async with Scripted() as server, EmailChannel("email", settings(port=server.port)) as channel:
        await channel.deliver(an_email())
        server.answers["."] = HANG_UP
        with pytest.raises(AmbiguousError):
            await channel.deliver(an_email())
    assert (server.connections, server.heard.count("DATA")) == (1, 2)


async def test_an_attempt_takes_no_longer_than_its_timeout():
    """Every command may be slow; together they have one limit."""
    hasty = {"timeout": 0.2}
    async with Scripted(RCPT=SILENCE) as server, EmailChannel("email", settings(port=server.port, **hasty)) as channel:
        started = time.monotonic()
        with pytest.raises(TransientError):
            await channel.deliver(an_email())
    assert 0.15 < time.monotonic() - started < 5.0


async def test_an_attempt_takes_no_longer_than_its_deadline_whoever_uses_the_connections():
    """Waiting for a free connection counts, and nothing was sent meanwhile."""
    async with (
        Scripted(**{".": SILENCE}) as server,
        EmailChannel("email", settings(port=server.port, concurrency=1)) as channel,
    ):
        first = asyncio.create_task(channel.deliver(dataclasses.replace(an_email(), deadline=0.6)))
        while "DATA" not in server.heard:  # noqa: ASYNC110 - a server has no event to wait for
            await asyncio.sleep(0)
        with pytest.raises(TransientError) as waited:
            await channel.deliver(dataclasses.replace(an_email(), deadline=0.1))
        with pytest.raises(AmbiguousError) as sent:
            await first
    assert (waited.value.reason, sent.value.reason) == (Reason.TIMEOUT, Reason.TIMEOUT)
    assert server.heard.count("DATA") == 1


async def test_a_delivery_under_way_at_closing_leaves_no_connection_behind(provider: SmtpProvider):
    chosen = settings(port=provider.server.port, username=USER, password=PASSWORD)
    async with EmailChannel("email", chosen) as channel:
        under_way = asyncio.create_task(channel.deliver(an_email()))
        await asyncio.wait({under_way}, timeout=0.0)
    assert isinstance(await under_way, Receipt)
    # Returns once the server has seen every connection end, and would cut and wait for one that was left.
    await provider.close()


async def test_canceled_deliveries_leave_no_connection_behind():
    async with (
        Scripted(RCPT=SILENCE) as server,
        EmailChannel("email", settings(port=server.port, concurrency=3)) as channel,
    ):
        sending = [asyncio.create_task(channel.deliver(an_email())) for _ in range(3)]
        while len([line for line in server.heard if "RCPT" in line]) < 3:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0)
        for one in sending:
            one.cancel()
        await asyncio.wait(sending)
        async with asyncio.timeout(5.0):
            while server.open:  # noqa: ASYNC110 - the same
                await asyncio.sleep(0)
    assert [one.cancelled() for one in sending] == [True] * 3


async def test_a_server_that_ignores_quit_does_not_hold_up_closing():
    async with Scripted(QUIT=HANG_UP) as server, EmailChannel("email", settings(port=server.port)) as channel:
        await channel.deliver(an_email())
    assert server.heard[-1] == "QUIT"


@pytest.mark.parametrize("chosen", [{"max_mails_per_connection": 1}, {"max_idle": 0}])
async def test_goodbye_is_said_to_a_server_before_its_connection_is_renewed(chosen: dict[str, float]):
    async with (
        Scripted(QUIT="221 bye") as server,
        EmailChannel("email", settings(port=server.port, **chosen)) as channel,
    ):
        await channel.deliver(an_email())
        await channel.deliver(an_email())
        assert "QUIT" in server.heard
    assert (server.connections, server.heard.count("QUIT"), server.heard.count("DATA")) == (2, 2, 2)


async def test_connections_that_say_goodbye_count_until_they_are_gone():
    """To the server they are there, and one that lets in no more than were agreed on would refuse the next."""

    class Leisurely(Scripted):
        async def _answer(self, command: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            for _ in range(50 if command == "QUIT" else 0):
                await asyncio.sleep(0)
            return await super()._answer(command, reader, writer)

    chosen = {"concurrency": 2, "max_mails_per_connection": 1}
    async with (
        Leisurely(QUIT=HANG_UP) as server,
        EmailChannel("email", settings(port=server.port, **chosen)) as channel,
    ):
        await asyncio.gather(*(channel.deliver(an_email()) for _ in range(20)))
    assert (server.connections, server.most) == (20, 2)


async def test_a_server_that_ignores_goodbyes_holds_up_the_next_connection_for_a_second_at_most(monkeypatch):
    monkeypatch.setattr("channels.email._GOODBYE", 0.05)
    chosen = {"concurrency": 1, "max_mails_per_connection": 1}
    async with Scripted(QUIT=SILENCE) as server, EmailChannel("email", settings(port=server.port, **chosen)) as channel:
        for _ in range(3):
            assert isinstance(await channel.deliver(an_email()), Receipt)
    assert server.connections == 3


async def test_nothing_is_delivered_before_opening():
    with pytest.raises(RuntimeError):
        await EmailChannel("email", settings()).deliver(an_email())


# --- TLS -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_tls(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture
def ca_certificates(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


async def deliver_over_tls(server: SmtpSandbox, **changes: object) -> Receipt:
    chosen = settings(port=server.port, username=USER, password=PASSWORD, **changes)
    async with EmailChannel("email", chosen) as channel:
        return await channel.deliver(an_email())


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_mail_goes_over_verified_tls(authority: trustme.CA, ca_certificates: Path, tls: str):
    server = SmtpSandbox(Inbox(), tls_context=server_tls(authority), implicit_tls=tls == "tls")
    async with server:
        assert isinstance(await deliver_over_tls(server, tls=tls, ca_certificates=ca_certificates), Receipt)
        assert len(server.inbox.letters) == 1


@pytest.mark.parametrize("tls", ["starttls", "tls"])
@pytest.mark.parametrize("fault", ["unknown authority", "another host"])
async def test_an_unproved_server_gets_nothing(authority: trustme.CA, ca_certificates: Path, tls: str, fault: str):
    other = fault == "another host"
    context = server_tls(authority, "mail.example" if other else "127.0.0.1")
    async with SmtpSandbox(Inbox(), tls_context=context, implicit_tls=tls == "tls") as server:
        with pytest.raises(PermanentError) as caught:
            await deliver_over_tls(server, tls=tls, ca_certificates=ca_certificates if other else None)
        assert (caught.value.reason, server.deliveries) == (Reason.MISCONFIGURED, 0)


async def test_a_server_without_starttls_gets_nothing():
    async with SmtpSandbox(Inbox(), require_auth=(USER, PASSWORD)) as server:
        with pytest.raises(PermanentError) as caught:
            await deliver_over_tls(server, tls="starttls")
        assert (caught.value.reason, server.deliveries) == (Reason.MISCONFIGURED, 0)


async def test_a_server_that_leaves_during_the_handshake_is_worth_another_try():
    async with Scripted(greeting=HANG_UP) as server:
        error = await failure(server, tls="tls")
    assert (type(error), error.reason) == (TransientError, Reason.UNAVAILABLE)


# --- Addresses beyond ASCII ----------------------------------------------------------------------------------


async def test_smtputf8_reaches_other_alphabets_where_it_is_on(provider: SmtpProvider):
    chosen = settings(port=provider.server.port, username=USER, password=PASSWORD, smtputf8=True)
    async with EmailChannel("email", chosen) as channel:
        address = channel.kinds["email"]("jürgen@people.example").value
        await channel.deliver(an_email(address))
    letter = provider.server.inbox.letters[0]
    assert (letter.to, b"To: j\xc3\xbcrgen@people.example\r\n" in letter.raw) == ("jürgen@people.example", True)


@pytest.mark.parametrize("answer", ["553 5.6.7 no", "555 no"])
async def test_a_server_that_will_not_name_them_refuses_this_one_alone(answer: str):
    async with Scripted(EHLO="250-hi\r\n250 SMTPUTF8", MAIL=answer) as server:
        error = await failure(server, an_email("jürgen@people.example"), smtputf8=True)
        plain = await failure(server, smtputf8=True)
    assert (type(error), error.reason) == (PermanentError, Reason.INVALID_RECIPIENT)
    assert plain.reason is Reason.MISCONFIGURED


async def test_a_server_without_smtputf8_cannot_reach_them():
    async with Scripted() as server:
        error = await failure(server, an_email("jürgen@people.example"), smtputf8=True)
    assert (type(error), error.reason) == (PermanentError, Reason.INVALID_RECIPIENT)
    assert "DATA" not in server.heard


def test_other_alphabets_are_refused_where_it_is_off():
    with pytest.raises(ValueError, match="not an e-mail address"):
        EmailChannel("email", settings()).kinds["email"]("jürgen@people.example")


@pytest.mark.parametrize("address", ["x@y.example>\r\nRSET", "a b@y.example", "a@b@y.example", "<a@y.example>", "a"])
async def test_an_address_that_could_break_a_command_is_not_sent(address: str):
    async with Scripted() as server:
        error = await failure(server, an_email(address))
    assert (type(error), error.reason, server.heard) == (PermanentError, Reason.REJECTED, [])


# --- Reports -------------------------------------------------------------------------------------------------

BOUNCE_TOKEN = "bounce-token-51d7c0aa"
BOUNCES = "bounces@shop.example"
REPORT = (
    b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n"
    b"Content-Type: message/delivery-status\r\n\r\nOriginal-Envelope-Id: attempt-1\r\n\r\n"
    b"Final-Recipient: rfc822; ann.smith@people.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--b--\r\n"
)


def bounced(
    mail: bytes = REPORT, authorization: str | None = f"Bearer {BOUNCE_TOKEN}", method: str = "POST"
) -> CallbackRequest:
    headers = {} if authorization is None else {"authorization": authorization}
    return CallbackRequest(method, "/callbacks/email", headers, mail)


def receiver(**changes: object) -> EmailChannel:
    return EmailChannel("email", settings(**{"dsn": True, "bounce_token": BOUNCE_TOKEN, **changes}))


@pytest.mark.parametrize(
    ("changes", "mail", "recipient"),
    [
        ({}, f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{ADDRESS}>"),
        (
            {"dsn": True},
            f"MAIL FROM:<{SENDER}> RET=HDRS ENVID=attempt-token-1",
            f"RCPT TO:<{ADDRESS}> NOTIFY=SUCCESS,FAILURE",
        ),
        ({"bounces": BOUNCES}, "MAIL FROM:<bounces+attempt-token-1@shop.example>", f"RCPT TO:<{ADDRESS}>"),
        (
            {"dsn": True, "bounces": BOUNCES},
            "MAIL FROM:<bounces+attempt-token-1@shop.example> RET=HDRS ENVID=attempt-token-1",
            f"RCPT TO:<{ADDRESS}> NOTIFY=SUCCESS,FAILURE",
        ),
    ],
)
async def test_reports_are_asked_for_where_that_is_set(changes: dict[str, object], mail: str, recipient: str):
    async with (
        Scripted(EHLO="250-hi\r\n250 DSN") as server,
        EmailChannel("email", settings(port=server.port, **changes)) as channel,
    ):
        await channel.deliver(an_email())
    assert server.heard[1:3] == [mail, recipient]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"dsn": True}, False),
        ({"bounces": BOUNCES}, False),
        ({"bounce_token": BOUNCE_TOKEN}, False),
        ({"dsn": True, "bounce_token": BOUNCE_TOKEN}, True),
        ({"bounces": BOUNCES, "bounce_token": BOUNCE_TOKEN}, True),
    ],
)
def test_reports_are_expected_where_they_are_asked_for_and_can_be_proved(changes: dict[str, object], expected: bool):
    assert EmailChannel("email", settings(**changes)).reports is expected


def test_a_mail_that_came_back_is_a_report():
    expected = Report("attempt-1", ReportedStatus.UNDELIVERED, None, "5.1.1", Reason.INVALID_RECIPIENT)
    assert receiver().report(bounced()) == expected
    assert receiver().report(bounced(authorization=f"bearer {BOUNCE_TOKEN}")) == expected


def test_one_that_came_back_to_an_attempts_own_address_is_too():
    mail = b"To: bounces+attempt-2@shop.example\r\n" + REPORT.replace(b"Original-Envelope-Id: attempt-1", b"X: y")
    report = receiver(dsn=False, bounces=BOUNCES).report(bounced(mail))
    assert report is not None
    assert report.attempt_token == "attempt-2"


@pytest.mark.parametrize("mail", [b"", b"Subject: Out of office\r\n\r\nI am away."])
def test_any_other_mail_is_nothing_to_do(mail: bytes):
    assert receiver().report(bounced(mail)) is None


@pytest.mark.parametrize(
    "request_",
    [
        bounced(authorization=None),
        bounced(authorization=""),
        bounced(authorization="Bearer"),
        bounced(authorization="Bearer "),
        bounced(authorization=BOUNCE_TOKEN),
        bounced(authorization=f"Basic {BOUNCE_TOKEN}"),
        bounced(authorization=f"Bearer {BOUNCE_TOKEN}x"),
        bounced(authorization=f"Bearer  {BOUNCE_TOKEN}"),
        bounced(authorization=f"Bearer {BOUNCE_TOKEN}, Bearer {BOUNCE_TOKEN}"),
        bounced(authorization="Bearer ü\ud800"),
        bounced(method="GET"),
    ],
)
def test_what_does_not_bear_the_token_is_forged(request_: CallbackRequest):
    with pytest.raises(ForgedCallbackError):
        receiver().report(request_)


@pytest.mark.parametrize("authorization", [f"Bearer {BOUNCE_TOKEN}", "Bearer ", "Bearer None", None])
def test_without_a_token_every_report_is_forged(authorization: str | None):
    with pytest.raises(ForgedCallbackError):
        receiver(bounce_token=None).report(bounced(authorization=authorization))


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [(Fault.LOSE, ReportedStatus.UNDELIVERED, "5.1.1"), (Fault.NONE, ReportedStatus.DELIVERED, "2.0.0")],
)
@pytest.mark.parametrize("changes", [{"dsn": True}, {"dsn": True, "bounces": BOUNCES}])
async def test_the_sandbox_reports_what_became_of_a_mail(
    provider: SmtpProvider, fault: Fault, status: ReportedStatus, code: str, changes: dict[str, object]
):
    arrived: asyncio.Queue[CallbackRequest] = asyncio.Queue()

    async def receive(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        arrived.put_nowait(CallbackRequest(request.method, request.path_qs, headers, await request.read()))
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/callbacks/email", receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/callbacks/email"
    provider.server.reports_to = ReportsTo(url, BOUNCE_TOKEN)
    provider.server.faults.set(fault)
    keys = {"port": provider.server.port, "username": USER, "password": PASSWORD, "bounce_token": BOUNCE_TOKEN}
    async with EmailChannel("email", settings(**keys, **changes)) as channel, asyncio.timeout(10):
        await channel.deliver(an_email())
        report = channel.report(await arrived.get())
    await runner.cleanup()
    assert report is not None
    assert (report.attempt_token, report.status, report.provider_code) == ("attempt-token-1", status, code)
    assert len(provider.received()) == (fault is Fault.NONE)


# --- Settings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"host": "mail.example", "username": USER, "password": PASSWORD}, "over plain text"),
        ({"host": "192.0.2.1", "username": USER, "password": PASSWORD}, "over plain text"),
        ({"username": USER}, "go together"),
        ({"password": PASSWORD}, "go together"),
        ({"from": "nobody"}, "not an e-mail address"),
        ({"from": "Shop\nBcc: x@y.example <codes@shop.example>"}, "control characters"),
        ({"from": "Shop <codes@shop.example"}, "not an e-mail address"),
        ({"reply_to": "nobody"}, "not an e-mail address"),
        ({"ca_certificates": __file__}, "no PEM certificates"),
        ({"host": "mail example"}, "pattern"),
        ({"host": "mail..example"}, "no host name"),
        ({"host": "m" * 64 + ".example"}, "no host name"),
        ({"bounces": "nobody"}, "not an e-mail address"),
        ({"bounces": "Bounces <bounces@shop.example>"}, "not an e-mail address"),
        ({"bounces": "b" * 32 + "@shop.example"}, "more than 31 characters"),
        ({"bounce_token": "short-token"}, "at least 16"),
        ({"secret": "x"}, "secret"),
    ],
    ids=str,
)
def test_settings_are_refused(changes: dict[str, object], said: str):
    with pytest.raises(ValidationError) as caught:
        settings(**changes)
    assert said in str(caught.value)
    assert PASSWORD not in told(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_a_password_to_this_machine_may_go_in_plain_text(host: str):
    assert settings(host=host, username=USER, password=PASSWORD).tls == "none"


def test_mail_without_a_password_may_go_to_another_host_in_plain_text():
    assert settings(host="relay.example").username is None


def test_starttls_on_587_is_the_default():
    chosen = EmailSettings.model_validate({"adapter": "email", "host": "mail.example", "from": SENDER})
    assert (chosen.port, chosen.tls) == (587, "starttls")


def test_settings_do_not_show_the_password_nor_the_token():
    shown = repr(settings(username=USER, password=PASSWORD, bounce_token=BOUNCE_TOKEN))
    assert [secret for secret in (PASSWORD, BOUNCE_TOKEN) if secret in shown] == []
