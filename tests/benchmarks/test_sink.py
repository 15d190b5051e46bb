from __future__ import annotations

import asyncio

import aiosmtplib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.mail_sinks import counted
from benchmarks.sink import Arrivals, SmtpSession

MAIL = b"Subject: x\r\n\r\nhello\r\n.stuffed\r\n"
DIALOGUE = (
    b"EHLO a\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
    + MAIL.replace(b"\r\n.", b"\r\n..")
    + b".\r\nQUIT\r\n"
)


class Wire:
    """What a session writes."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True


def talk(*pieces: bytes) -> tuple[Wire, Arrivals]:
    wire, arrivals = Wire(), Arrivals()
    session = SmtpSession(arrivals)
    session.connection_made(wire)  # type: ignore[arg-type]
    for piece in pieces:
        session.data_received(piece)
    return wire, arrivals


def codes(wire: Wire) -> list[bytes]:
    return [line[:3] for line in wire.written.splitlines() if line[3:4] == b" "]


def test_a_transaction_is_answered_step_by_step_and_counted():
    wire, arrivals = talk(DIALOGUE)
    assert (codes(wire), arrivals.count, wire.closed) == (
        [b"220", b"250", b"250", b"250", b"354", b"250", b"221"],
        1,
        True,
    )


@given(st.integers(0, len(DIALOGUE)), st.integers(0, len(DIALOGUE)))
def test_it_does_not_matter_how_the_network_cuts_it(first, second):
    low, high = sorted((first, second))
    wire, arrivals = talk(DIALOGUE[:low], DIALOGUE[low:high], DIALOGUE[high:])
    whole, _ = talk(DIALOGUE)
    assert (wire.written, arrivals.count) == (whole.written, 1)


def test_an_empty_mail_is_a_mail():
    _, arrivals = talk(b"DATA\r\n", b".\r\n")
    assert arrivals.count == 1


async def test_who_waits_is_told_when_enough_have_come():
    arrivals = Arrivals()
    waiting = asyncio.create_task(arrivals.wait(2))
    await asyncio.sleep(0)
    arrivals.add(b"")
    assert not waiting.done()
    arrivals.add(b"")
    assert await waiting == arrivals.latest_at


async def test_what_has_come_before_is_not_waited_for():
    arrivals = Arrivals()
    arrivals.add(b"")
    assert await arrivals.wait(1) == arrivals.latest_at


async def test_a_client_can_send_over_one_connection_again_and_again():
    arrivals = Arrivals()
    server = await asyncio.get_running_loop().create_server(lambda: SmtpSession(arrivals), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, local_hostname="a") as client:
            for _ in range(3):
                await client.sendmail("a@example.org", ["b@example.org"], MAIL)
    assert (arrivals.count, arrivals.latest.replace(b"\r\n..", b"\r\n.")) == (3, MAIL)


@pytest.mark.parametrize(
    ("output", "expected"),
    [("", 0), ("sess=0 quit=0 mesg=1\n", 1), ("mesg=9\nsess=2 quit=1 mesg=10\nsess=3 quit=2 mesg=12\n", 12)],
)
def test_the_latest_count_of_smtp_sink_is_read(output, expected):
    assert counted(output) == expected
