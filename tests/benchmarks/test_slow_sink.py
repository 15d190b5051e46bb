from __future__ import annotations

import asyncio

import aiosmtplib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.slow_sink import SlowSession, Times, recipient, slow_sink

DIALOGUE = b"EHLO a\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n%b\r\n.\r\n"
MAIL = b"From: a@example.org\r\nTo: <b@example.org>\r\n\r\nTo: nobody@example.org\r\n"


@given(
    st.sampled_from(["To", "TO", "to"]),
    st.sampled_from(["{}", " {}", " <{}>"]),
    st.from_regex(r"[a-z]+@[a-z]+", fullmatch=True),
)
def test_the_recipient_is_the_address_of_to(name, form, address):
    content = f"Subject: x\r\n{name}:{form.format(address)}\r\n\r\nTo: nobody\r\n".encode()
    assert recipient(content) == address


def test_a_mail_that_names_nobody_is_refused():
    with pytest.raises(ValueError, match="without a recipient"):
        recipient(b"Subject: x\r\n\r\nTo: b@example.org\r\n")


def test_the_first_mail_to_an_address_counts():
    times = Times()
    times.add(MAIL)
    first = dict(times.at)
    times.add(MAIL)
    assert (times.at, list(first), times.count) == (first, ["b@example.org"], 2)


class Wire:
    """What a session writes."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


async def test_a_mail_is_not_taken_while_the_time_runs():
    wire, times = Wire(), Times()
    session = SlowSession(times, 0.0)
    session.connection_made(wire)  # type: ignore[arg-type]
    session.data_received(DIALOGUE % MAIL.rstrip())
    assert (times.at, wire.written.splitlines()[-1][:4]) == ({}, b"354 ")
    # The time is over with the loop's next turn.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (list(times.at), wire.written.splitlines()[-1][:4]) == (["b@example.org"], b"250 ")


async def test_the_program_tells_its_parent_who_got_what(tmp_path):
    with slow_sink(tmp_path, 0.0) as end:
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=end.port, start_tls=False, local_hostname="a") as client:
            await client.sendmail("a@example.org", ["b@example.org"], MAIL)
        assert list(end.told()) == ["b@example.org"]
