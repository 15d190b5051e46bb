from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.mail_text import html_text, plain_text, subject

LINES = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\u2028\u2029\x85"), max_size=200)


def mail(text: str, html: str | None = None, *, cte: str | None = None) -> bytes:
    message = EmailMessage(policy.SMTP)
    message["Subject"] = "Ihr Code für Example"
    message.set_content(text, cte=cte)
    if html is not None:
        message.add_alternative(html, subtype="html")
    return message.as_bytes()


@pytest.mark.parametrize("cte", ["8bit", "base64", "quoted-printable"])
def test_each_transfer_encoding_is_undone(cte):
    assert plain_text(mail("Gültig: 123456\nEnde", cte=cte)) == "Gültig: 123456\nEnde\n"


def test_the_text_part_of_an_alternative_is_found():
    assert plain_text(mail("Code 123456", "<p>Code</p>")) == "Code 123456\n"


def test_the_html_of_a_mail_is_found_where_it_has_one():
    assert html_text(mail("Code", "<p>für Sie</p>")) == "<p>für Sie</p>\n"
    assert html_text(mail("Code")) == ""


def test_a_part_within_a_part_is_found():
    message = EmailMessage(policy.SMTP)
    message.set_content("inner text")
    message.add_alternative("<p>inner</p>", subtype="html")
    message.add_attachment(b"\x00", maintype="application", subtype="octet-stream")
    assert plain_text(message.as_bytes()) == "inner text\n"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", ""),
        (b"no headers at all", ""),
        (b"\r\nonly a body\r\n", "only a body\n"),
        (b"Content-Type: text/html\r\n\r\n<p>", ""),
        (b"Content-Type: text/plain; charset=no-such\r\n\r\n\xc3\xbc", "ü"),
        (b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xfc", "ü"),
        (
            b"Content-Type: multipart/mixed; boundary=a\r\n\r\npreamble\r\n--a\r\n\r\nlast part is not ended",
            "last part is not ended",
        ),
        (
            b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: text/html\r\n\r\nx\r\n--a--\r\nafter",
            "",
        ),
        (b"Content-Type: multipart/mixed; boundary=a\r\n\r\nno part", ""),
        (b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\n--ab\r\nstill\r\n--a--", "--ab\nstill"),
    ],
)
def test_odd_mails_are_read_as_far_as_they_go(raw, text):
    assert plain_text(raw) == text


def test_parts_nested_without_end_are_not_followed():
    raw = b"Content-Type: text/plain\r\n\r\ndeep"
    for level in range(20):
        raw = b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n%s\r\n--b%d--" % (level, level, raw, level)
    assert plain_text(raw) == ""


@given(text=LINES, html=LINES)
def test_the_standard_library_reads_the_same(text, html):
    raw = mail(text, html)
    body = message_from_bytes(raw, policy=policy.default).get_body(("plain",))
    assert body is not None
    assert plain_text(raw) == body.get_content().replace("\r\n", "\n")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(raw):
    assert isinstance(plain_text(raw), str)
    assert isinstance(html_text(raw), str)
    assert isinstance(subject(raw), str)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (mail("x"), "Ihr Code für Example"),
        (b"From: a@b.c\r\n\r\n", ""),
        (b"Subject: =?no-such-charset?q?abc?=\r\n\r\n", "=?no-such-charset?q?abc?="),
        (b"Subject: =?utf-8?b?a?=\r\n\r\n", "=?utf-8?b?a?="),
    ],
)
def test_the_subject_is_decoded_where_it_can_be(raw, expected):
    assert subject(raw) == expected
