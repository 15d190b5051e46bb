"""Mails that came back: what several servers write, and what anybody may send to the address they come back to."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.base import Reason, Report, ReportedStatus
from channels.dsn import MAX_LOCAL_PART, MAX_RECIPIENTS, bounce_address, checked_token, read

TOKEN = "9f2c4b7a18e05d369f2c4b7a18e05d36"
BOUNCES = "bounces@shop.example"
ADDRESS = "ann@people.example"

#: As Postfix writes it: the mail that came back in its last part, with RET=HDRS its headers alone.
POSTFIX = f"""\
Return-Path: <>
X-Original-To: bounces+{TOKEN}@shop.example
Delivered-To: bounces@shop.example
Date: Sat, 22 Nov 2025 05:00:00 +0000 (UTC)
From: MAILER-DAEMON@mail.shop.example (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: bounces+{TOKEN}@shop.example
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="4FZk1Q2xyz.1763787600/mail.shop.example"
Content-Transfer-Encoding: 7bit

This is a MIME-encapsulated message.

--4FZk1Q2xyz.1763787600/mail.shop.example
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mail.shop.example.

--4FZk1Q2xyz.1763787600/mail.shop.example
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.shop.example
Original-Envelope-Id: {TOKEN}
X-Postfix-Queue-ID: 4FZk1Q2xyz
Arrival-Date: Sat, 22 Nov 2025 05:00:00 +0000 (UTC)

Final-Recipient: rfc822; {ADDRESS}
Original-Recipient: rfc822;{ADDRESS}
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.people.example
Diagnostic-Code: smtp; 550 5.1.1 <{ADDRESS}>: Recipient address rejected:
    User unknown

--4FZk1Q2xyz.1763787600/mail.shop.example
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers

Subject: Your code

--4FZk1Q2xyz.1763787600/mail.shop.example--
"""
#: As Exchange writes it: no envelope id, another order, capitals.
EXCHANGE = f"""\
From: <postmaster@people.example>
To: <bounces+{TOKEN}@shop.example>
MIME-Version: 1.0
Content-Type: MULTIPART/Report; boundary=b1;
 report-type=delivery-status
Subject: Undeliverable: Your code

--b1
Content-Type: multipart/alternative; boundary=b2

--b2
Content-Type: text/plain

--b2--
--b1
content-type: Message/Delivery-Status

Reporting-MTA: dns;mx.people.example
Received-From-MTA: dns;mail.shop.example

Final-recipient: RFC822;{ADDRESS}
ACTION: Failed
STATUS: 5.2.2 (mailbox full)
Diagnostic-code: smtp;552 5.2.2 mailbox full

--b1--
"""


def a_report(*recipients: str, of_mail: str = f"Original-Envelope-Id: {TOKEN}", headers: str = "") -> bytes:
    """Return a report with these per-recipient fields."""
    blocks = "\r\n\r\n".join((f"Reporting-MTA: dns; x\r\n{of_mail}".strip(), *recipients))
    return (
        f"{headers}Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        f"--b\r\nContent-Type: message/delivery-status\r\n\r\n{blocks}\r\n\r\n--b--\r\n"
    ).encode()


def fields(action: str, status: str = "5.0.0") -> str:
    return f"Final-Recipient: rfc822; {ADDRESS}\r\nAction: {action}\r\nStatus: {status}"


def undelivered(code: str | None, reason: Reason) -> Report:
    return Report(TOKEN, ReportedStatus.UNDELIVERED, None, code, reason)


# --- Asking ------------------------------------------------------------------------------------------------------


def test_an_attempts_mail_bounces_to_an_address_of_its_own() -> None:
    assert bounce_address(BOUNCES, TOKEN) == f"bounces+{TOKEN}@shop.example"


@pytest.mark.parametrize("token", ["", "a b", "a\r\nRSET", "a>", "ä", "a+b", "x" * 65])
def test_a_token_that_could_break_a_command_is_not_said(token: str) -> None:
    for say in (checked_token, lambda given: bounce_address(BOUNCES, given)):
        with pytest.raises(ValueError, match="cannot be said") as caught:
            say(token)
        assert not token or token not in str(caught.value)


def test_the_longest_local_part_with_a_token_keeps_to_what_mail_allows() -> None:
    assert MAX_LOCAL_PART + len("+") + len(TOKEN) == 64


# --- Reading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_report_of_postfix_is_read(ends: str) -> None:
    mail = POSTFIX.replace("\n", ends).encode()
    assert read(mail, None) == undelivered("5.1.1", Reason.INVALID_RECIPIENT)


def test_a_report_without_an_envelope_id_is_known_by_where_it_came_back_to() -> None:
    assert read(EXCHANGE.encode(), BOUNCES) == undelivered("5.2.2", Reason.UNREACHABLE)
    assert read(EXCHANGE.encode(), None) is None
    assert read(EXCHANGE.encode(), "other@shop.example") is None


@pytest.mark.parametrize("header", ["To", "X-Original-To", "Delivered-To"])
@pytest.mark.parametrize(
    ("value", "known"),
    [
        (f"bounces+{TOKEN}@shop.example", True),
        (f"Mail <bounces+{TOKEN}@SHOP.example>", True),
        (f"x@y.example, bounces+{TOKEN}@shop.example", True),
        (f"bounces+{TOKEN}@shop.example.evil.example", False),
        (f"evil.bounces+{TOKEN}@shop.example", False),
        (f"bounces+{TOKEN}x!@shop.example", False),
        (f"bounces+{'t' * 65}@shop.example", False),
        ("bounces+@shop.example", False),
        ("bounces@shop.example", False),
        ("x" * 2_000 + f" bounces+{TOKEN}@shop.example", False),
    ],
)
def test_the_address_is_read_from_the_headers_mail_servers_write_it_to(header: str, value: str, known: bool) -> None:
    mail = a_report(fields("failed"), of_mail="", headers=f"{header}: {value}\r\n")
    report = read(mail, BOUNCES)
    assert (report is not None and report.attempt_token == TOKEN) == known


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ("delivered", ReportedStatus.DELIVERED),
        ("Delivered", ReportedStatus.DELIVERED),
        ("failed", ReportedStatus.UNDELIVERED),
        ("relayed", ReportedStatus.SENT),
        ("expanded", ReportedStatus.SENT),
        ("delayed", None),
        ("", None),
        ("gone", None),
    ],
)
def test_an_action_says_what_became_of_the_mail(action: str, status: ReportedStatus | None) -> None:
    report = read(a_report(fields(action, "2.0.0")), None)
    assert (report.status if report else None) == status
    assert report is None or (report.provider_code, report.provider_id) == ("2.0.0", None)


def test_where_one_mailbox_behind_an_alias_has_it_the_person_does() -> None:
    several = [fields("delayed", "4.4.1"), fields("failed", "5.1.1"), fields("relayed", "2.0.0")]
    assert read(a_report(*several), None) == undelivered("5.1.1", Reason.INVALID_RECIPIENT)
    better = read(a_report(*several, fields("delivered", "2.1.5")), None)
    assert better == Report(TOKEN, ReportedStatus.DELIVERED, None, "2.1.5")


@pytest.mark.parametrize("status", ["", "later", "5", "5.1", "9.1.1", "5.1.1234"])
def test_a_status_that_is_none_leaves_the_reason_open(status: str) -> None:
    assert read(a_report(fields("failed", status)), None) == undelivered(None, Reason.UNKNOWN)


def test_a_report_that_is_cut_off_is_read_as_far_as_it_goes() -> None:
    assert read(a_report(fields("failed", "5.1.1")).partition(b"\r\n\r\n--b--")[0], None) is not None


def test_a_report_for_addresses_beyond_ascii_is_read() -> None:
    mail = a_report(fields("failed", "5.1.1")).replace(b"message/delivery", b"message/global-delivery")
    assert read(mail.replace(b"rfc822; ann", "utf-8; jürgen".encode()), None) is not None


@pytest.mark.parametrize(
    "mail",
    [
        b"",
        b"\n\n",
        b"Subject: Out of office\n\nI am away.",
        b"Content-Type: multipart/report\n\n--b\n",
        b"Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: text/plain\n\nx\n--b--\n",
        a_report(),
        a_report(fields("failed"), of_mail=""),
        a_report(fields("failed"), of_mail="Original-Envelope-Id: not our token!"),
        a_report(fields("failed")).replace(b"multipart/report", b"multipart/mixed"),
        a_report(fields("failed")).replace(b"boundary=b", b"boundary=" + b"b" * 2_000),
        a_report(fields("failed")).replace(b"boundary=b", b"boundary*=nonsense''%ff"),
        a_report(fields("failed")).replace(b"boundary=b", b"boundary=\xff"),
    ],
)
def test_any_other_mail_says_nothing_of_an_attempt(mail: bytes) -> None:
    assert read(mail, BOUNCES) is None


def test_a_status_within_a_part_that_came_back_is_not_believed() -> None:
    """What the person, or anybody, wrote may look like a report."""
    inner = a_report(fields("delivered", "2.0.0")).decode()
    mail = f"Content-Type: multipart/report; boundary=out\n\n--out\nContent-Type: message/rfc822\n\n{inner}\n--out--\n"
    assert read(mail.encode(), None) is None


@pytest.mark.parametrize(
    "mail",
    [
        b"Content-Type: message/rfc822\n\n" * 2_000,
        b"Content-Type: multipart/report; boundary=b\n\n" + b"--b\n" * 16_000,
        b"Content-Type: multipart/report; boundary=b\n\n"
        + b"--b\nContent-Type: multipart/mixed; boundary=b\n\n" * 1_500,
        b"Content-Type: multipart/report; " + b"a;" * 30_000,
        b"Content-Type: multipart/report; boundary=" + b'"' * 60_000,
        b"To: " + b"bounces+" * 8_000 + b"\n\n",
        a_report(*[fields("later")] * 1_000)[:65_536],
        a_report("\n \n" * 20_000),
        a_report(" " * 60_000),
    ],
    ids=[
        "nested mails",
        "empty parts",
        "nested parts",
        "parameters",
        "quotes",
        "address",
        "recipients",
        "blanks",
        "space",
    ],
)
def test_a_hostile_mail_costs_no_more_than_its_length(mail: bytes) -> None:
    """Counted in calls, which a parser that nests or looks back makes millions of."""
    assert len(mail) <= 80_000
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        read(mail, BOUNCES)
    finally:
        sys.setprofile(None)
    assert calls < 40_000


def test_recipients_beyond_the_bound_are_not_looked_at() -> None:
    assert read(a_report(*[fields("delayed")] * MAX_RECIPIENTS, fields("failed")), None) is None


@given(st.binary(max_size=400))
def test_no_mail_raises(mail: bytes) -> None:
    read(mail, BOUNCES)


_LINES = st.sampled_from(
    [
        *POSTFIX.encode().split(b"\n"),
        *EXCHANGE.encode().split(b"\n"),
        b"",
        b"--b",
        b"--b--",
        b"\xff: \xfe",
        b"Action: delivered",
    ]
)


@settings(deadline=None)
@given(st.lists(_LINES, max_size=60), st.booleans())
def test_whatever_lines_a_mail_is_made_of_its_report_is_one_of_the_token(lines: list[bytes], begun: bool) -> None:
    start = POSTFIX.encode().partition(b"\n\n")[0] + b"\n\n" if begun else b""
    report = read(start + b"\n".join(lines), BOUNCES)
    assert report is None or report.attempt_token == TOKEN


@given(
    st.sampled_from(["failed", "delivered", "relayed"]), st.from_regex(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", fullmatch=True)
)
def test_a_whole_report_is_always_read(action: str, status: str) -> None:
    report = read(a_report(fields(action, status)), None)
    assert report is not None
    assert (report.attempt_token, report.provider_code) == (TOKEN, status)
    assert (report.reason is None) == (action != "failed")


@pytest.mark.parametrize("odd", [b"idna''secret%ff", b"unicode-escape''secret%5cud800", b"punycode''secret%ff-%ff"])
def test_what_cannot_be_read_is_logged_without_a_word_of_it(odd: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert read(a_report(fields("failed")).replace(b"boundary=b", b"boundary*=" + odd), BOUNCES) is None
    assert "a bounced mail cannot be read and is skipped: Unicode" in caplog.text
    assert "secret" not in caplog.text
