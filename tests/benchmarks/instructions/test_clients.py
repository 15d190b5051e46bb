from __future__ import annotations

import asyncio

import pytest

from benchmarks.instructions.clients import Mailbox, Settled, code_in
from gateway.events.event import Event, EventName

MAIL = b"""\
To: person-7@example.org\r
Content-Type: text/plain; charset=utf-8\r
Content-Transfer-Encoding: quoted-printable\r
\r
Your code is 012=\r
345. It is good for 5 minutes.\r
"""


def test_a_code_is_found_in_the_text_of_a_mail():
    assert code_in(MAIL) == ("person-7@example.org", "012345")


@pytest.mark.parametrize("mail", [MAIL.replace(b"012=\r\n345", b"none"), b"Content-Type: image/png\r\n\r\n"])
def test_a_mail_without_one_is_refused(mail):
    with pytest.raises(ValueError, match="without a code"):
        code_in(mail)


@pytest.mark.parametrize(("wanted", "expected"), [(True, {"person-7@example.org": "012345"}), (False, {})])
def test_codes_are_kept_where_they_are_wanted(wanted, expected):
    mailbox = Mailbox(codes_wanted=wanted)
    mailbox.add(MAIL)
    assert (mailbox.count, mailbox.codes) == (1, expected)


def event(name: EventName) -> Event:
    return Event("evt_1", 0.0, name, "default")


async def test_who_waits_is_told_when_enough_messages_are_sent():
    settled = Settled()
    waiting = asyncio.create_task(settled.wait(2))
    await asyncio.sleep(0)
    settled.on_commit([event(EventName.MESSAGE_SENT), event(EventName.MESSAGE_SENDING), "a note"])
    assert not settled.enough.is_set()
    settled.on_commit([event(EventName.MESSAGE_SENT)])
    await waiting
    await settled.wait(2)
    assert settled.count == 2
