"""What the mail server reports of mails, to whom, and what it keeps to itself."""

from __future__ import annotations

import asyncio
import email
from collections.abc import AsyncIterator

import aiosmtplib
import pytest
from aiohttp import web

from gateway.sandbox.fault import Fault
from gateway.sandbox.inbox import Inbox
from gateway.sandbox.smtp import SmtpSandbox
from gateway.sandbox.smtp_mail import Transaction
from gateway.sandbox.smtp_reports import ReportsTo, notification

ANN, SENDER = "ann@example.org", "bounces@shop.example"
BOTH = frozenset({"SUCCESS", "FAILURE"})


def a_mail(**changes: object) -> Transaction:
    mail = Transaction(SENDER, utf8=False, recipients=[ANN], envelope_id="t-1", notify={ANN: BOTH})
    for name, value in changes.items():
        setattr(mail, name, value)
    return mail


@pytest.mark.parametrize(("lost", "action", "status"), [(True, "failed", "5.1.1"), (False, "delivered", "2.0.0")])
def test_a_report_is_as_the_rfc_has_it(lost: bool, action: str, status: str) -> None:
    raw = notification(a_mail(), ANN, lost=lost)
    assert raw is not None
    report = email.message_from_bytes(raw)
    assert (report.get_content_type(), report.get_param("report-type"), report["To"]) == (
        "multipart/report",
        "delivery-status",
        SENDER,
    )
    parts = report.get_payload()
    assert isinstance(parts, list)
    fields = parts[1].get_payload()  # type: ignore[union-attr]
    assert isinstance(fields, list)
    of_mail, of_recipient = fields
    assert of_mail["Original-Envelope-Id"] == "t-1"  # type: ignore[index]
    assert (of_recipient["Action"], of_recipient["Status"]) == (action, status)  # type: ignore[index]


def test_a_mail_without_an_envelope_id_has_none_in_its_report() -> None:
    assert b"Envelope" not in (notification(a_mail(envelope_id=None), ANN, lost=True) or b"Envelope")


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({"notify": {}}, True),
        ({"notify": {ANN: frozenset()}}, True),
        ({"notify": {ANN: frozenset({"SUCCESS"})}}, True),
        ({"notify": {ANN: frozenset({"FAILURE", "DELAY"})}}, False),
        ({"sender": ""}, True),
    ],
)
def test_what_nobody_asked_for_is_not_reported(changes: dict[str, object], lost: bool) -> None:
    assert notification(a_mail(**changes), ANN, lost=lost) is None


@pytest.mark.parametrize("url", ["http://192.0.2.1/callbacks/email", "https://shop.example/callbacks/email"])
def test_reports_go_to_this_machine_only(url: str) -> None:
    with pytest.raises(ValueError, match="loopback only"):
        ReportsTo(url, "token")


def test_the_token_is_not_shown() -> None:
    assert "s3cret" not in repr(ReportsTo("http://127.0.0.1:1", "s3cret"))


class Heard:
    """A gateway's callbacks."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[tuple[str, str, bytes]] = asyncio.Queue()
        self.url = ""

    async def hear(self, request: web.Request) -> web.Response:
        await self.requests.put((request.headers["Authorization"], request.content_type, await request.read()))
        return web.Response(status=204)


@pytest.fixture
async def heard() -> AsyncIterator[Heard]:
    made = Heard()
    app = web.Application()
    app.router.add_post("/callbacks/email", made.hear)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/callbacks/email"
    yield made
    await runner.cleanup()


@pytest.fixture
async def server() -> AsyncIterator[SmtpSandbox]:
    async with SmtpSandbox(Inbox()) as opened:
        yield opened


async def sent(server: SmtpSandbox, *, asking: bool = True) -> None:
    async with aiosmtplib.SMTP(hostname=server.host, port=server.port, start_tls=False, timeout=10) as connection:
        options = (["RET=HDRS", "ENVID=t-1"], ["NOTIFY=SUCCESS,FAILURE"]) if asking else ([], [])
        await connection.sendmail(SENDER, [ANN], b"\r\nhello", mail_options=options[0], rcpt_options=options[1])


@pytest.mark.parametrize(("fault", "action"), [(Fault.LOSE, b"failed"), (Fault.NONE, b"delivered")])
async def test_a_mail_is_reported_to_who_asked(server: SmtpSandbox, heard: Heard, fault: Fault, action: bytes) -> None:
    server.reports_to = ReportsTo(heard.url, "token")
    assert server.reports_to.url == heard.url
    server.faults.set(fault)
    await sent(server)
    async with asyncio.timeout(10):
        authorization, content_type, body = await heard.requests.get()
    assert (authorization, content_type) == ("Bearer token", "message/rfc822")
    assert b"Action: " + action in body
    assert len(server.inbox.letters) == (fault is Fault.NONE)


@pytest.mark.parametrize(("told", "asking"), [(False, True), (True, False)])
async def test_a_mail_that_is_to_be_lost_arrives_where_nobody_would_be_told(
    server: SmtpSandbox, heard: Heard, told: bool, asking: bool
) -> None:
    server.faults.set(Fault.LOSE)
    server.reports_to = ReportsTo(heard.url, "token") if told and asking else None
    await sent(server, asking=asking)
    assert len(server.inbox.letters) == 1
    assert heard.requests.empty()


async def test_nobody_at_the_callback_is_nobodys_trouble(server: SmtpSandbox) -> None:
    server.reports_to = ReportsTo("http://127.0.0.1:1/callbacks/email", "token")
    await sent(server)
    assert len(server.inbox.letters) == 1


async def test_a_report_under_way_does_not_hold_up_the_end(heard: Heard) -> None:
    asked = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    async with (
        asyncio.timeout(4.0),
        await asyncio.start_server(hang, "127.0.0.1", 0) as silent,
        SmtpSandbox(Inbox()) as server,
    ):
        server.reports_to = ReportsTo(f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}", "token")
        await sent(server)
        await asked.wait()
    assert heard.requests.empty()
