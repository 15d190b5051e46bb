"""Messages as bytes: what was given arrives, and nothing given becomes a header."""

from __future__ import annotations

import email
import email.policy
import time
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from channels.base import Envelope, PermanentError, Reason
from channels.mime import Skeleton, _date, encoded, inspect, split_mailbox
from tests.channels.contract import CODE

HEADERS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "MIME-Version",
    "Content-Type",
    "Content-Language",
]
SKELETON = Skeleton("codes@shop.example", None)


def an_envelope(
    subject: str = "Your code",
    text: str = f"Your code is {CODE}.\n",
    html: str = f"<p>{CODE}</p>\n",
    **changes: str,
) -> Envelope:
    fields: dict[str, Any] = {
        "message_id": "msg_01",
        "address": "ann@people.example",
        "brand": "Shop",
        "locale": "de-AT",
    }
    return Envelope(
        attempt_token="t",
        parts={"subject.txt": subject, "body.txt": text, "body.html": html},
        code=CODE,
        lifetime=300.0,
        **(fields | changes),
    )


def parsed(content: bytes) -> EmailMessage:
    return email.message_from_bytes(content, policy=email.policy.default)


def sender(content: bytes) -> list[tuple[str, str]]:
    """Names and addresses in From. The new parser leaves a space between two encoded words of a name."""
    written = email.message_from_bytes(content, policy=email.policy.compat32).get_all("From", [])
    found = getaddresses(["".join(line.splitlines()) for line in written])
    return [(str(make_header(decode_header(name))), address) for name, address in found]


def bodies(message: EmailMessage) -> list[str]:
    return [part.get_content().replace("\r\n", "\n") for part in message.iter_parts()]


def lines(text: str) -> str:
    """What a body becomes: every kind of line break one, the end of the last line one as well."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n") + "\n"


def test_a_message_has_these_headers_and_no_others():
    message = parsed(SKELETON.fill(an_envelope()))
    assert message.keys() == HEADERS
    assert message["From"] == "Shop <codes@shop.example>"
    assert message["To"] == "ann@people.example"
    assert message["Message-ID"] == "<msg_01@shop.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Content-Language"] == "de-AT"
    assert message["Date"].datetime is not None
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert message.get_content_type() == "multipart/alternative"


def test_every_attempt_at_a_message_has_the_same_message_id():
    first, second = (parsed(SKELETON.fill(an_envelope()))["Message-ID"] for _ in range(2))
    assert first == second


def test_replies_go_where_the_settings_say():
    message = parsed(Skeleton("Codes <codes@shop.example>", "Hilfe für alle <help@shop.example>").fill(an_envelope()))
    assert (message["Reply-To"], message["From"]) == (
        "Hilfe für alle <help@shop.example>",
        "Codes <codes@shop.example>",
    )


def test_a_message_from_nobody_in_particular_shows_the_address():
    assert parsed(SKELETON.fill(an_envelope(brand="")))["From"] == "codes@shop.example"


_PRINTABLE = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
#: What breaks headers, boundaries, quoting, folding and the end of DATA.
_NASTY = st.sampled_from(
    [
        "Bcc: x@y.example",
        "=?utf-8?q?x?=",
        "=?utf-8?b?eA==?=",
        '"',
        "\\",
        "<x@y.example>",
        ",",
        ";",
        "%",
        "%(to)b",
        "--=_",
        "\n.\n",
        "\n--=_x--\n",
        "gap-text",
        "\u00ad",
        "🔑",
        "é" * 50,
        "x" * 200,
    ]
)
_TEXT = st.lists(st.text(_PRINTABLE, max_size=20) | _NASTY, max_size=6).map("".join)
_LINE = _TEXT.map(lambda text: " ".join(text.split()))
_BODY = st.lists(_TEXT | st.sampled_from(["\n", "\r\n", "\r", " \n", "\t", "\x00", "\x0b", "."]), max_size=8).map(
    "".join
)


@settings(deadline=None)
@given(_LINE, _LINE, _BODY, _BODY)
@example("=?utf-8?q?Bcc:_x?=", '" <x@y.example>, "', ".\n..\n.", "\r\n.\r\n")
@example("Your code", "Example", "a\n\n\n", "")
def test_whatever_is_given_comes_back_and_adds_no_header(subject: str, brand: str, text: str, html: str):
    content = SKELETON.fill(an_envelope(subject, text, html, brand=brand))
    message = parsed(content)
    assert message.keys() == HEADERS
    assert message["Subject"] == subject
    assert sender(content) == [(brand, "codes@shop.example")]
    assert bodies(message) == [lines(text), lines(html)]


@settings(deadline=None)
@given(_LINE, _LINE, _BODY)
def test_a_message_is_ascii_in_lines_every_server_takes_ended_by_crlf(subject: str, brand: str, text: str):
    content = SKELETON.fill(an_envelope(subject, text, text, brand=brand))
    assert content.isascii()
    # The channel writes it as it is: a line end of another kind could end the mail early and begin another one.
    assert content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r")
    assert content.endswith(b"\r\n")
    # RFC 5322 2.1.1: 998 at most. Headers, and what is not plain ASCII, stay near the 78 it recommends.
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert max(map(len, content.partition(b"\r\n\r\n")[0].split(b"\r\n"))) <= 90


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Your code is 492039.\n.\n", "7bit"),
        ("x" * 998, "7bit"),
        ("x" * 999, "quoted-printable"),
        ("Gültig für 5 Minuten", "quoted-printable"),
        ("a\x0bb", "quoted-printable"),
    ],
)
def test_plain_ascii_goes_as_it_is_and_the_rest_in_quoted_printable(text: str, encoding: str):
    message = parsed(SKELETON.fill(an_envelope("Your code", text, "<p>x</p>")))
    plain, html = message.iter_parts()
    assert (plain["Content-Transfer-Encoding"], html["Content-Transfer-Encoding"]) == (encoding, "7bit")
    assert plain.get_content().splitlines() == text.splitlines() or encoding == "quoted-printable"


@settings(deadline=None)
@given(
    st.lists(
        st.builds(str.__mul__, st.sampled_from(["x", "\t", "~", "é", "\x7f", "\x00"]), st.integers(0, 30))
        | st.builds(str.__mul__, st.just("x"), st.sampled_from([400, 996, 997, 998, 999, 1_000, 3_000])),
        max_size=12,
    )
)
def test_a_body_goes_as_it_is_where_each_line_can(body: list[str]):
    encoding, content = encoded("\n".join(body))
    plain = all(len(line) <= 998 and set(line) <= {"x", "\t", "~"} for line in lines("\n".join(body)).split("\n"))
    assert encoding == (b"7bit" if plain else b"quoted-printable")
    assert (content == lines("\n".join(body)).replace("\n", "\r\n").encode()) or not plain


def test_the_date_is_the_second_in_which_a_message_is_made():
    before = int(time.time())
    made = parsed(SKELETON.fill(an_envelope()))["Date"].datetime
    assert before <= made.timestamp() <= time.time()
    assert [_date(second) for second in (0, 1)] == [
        b"Thu, 01 Jan 1970 00:00:00 -0000",
        b"Thu, 01 Jan 1970 00:00:01 -0000",
    ]


@pytest.mark.parametrize(
    "control", ["\r\nBcc: x@y.example", "\n", "\r", "\x00", "\x1b[2J", "\x7f", "\x85", "\u2028"], ids=ascii
)
@pytest.mark.parametrize("field", ["subject", "brand", "address", "message_id", "locale"])
def test_a_control_character_in_a_header_is_refused(field: str, control: str):
    before = {"address": "ann@people.example", "message_id": "msg_01", "locale": "de"}.get(field, "Shop")
    with pytest.raises(PermanentError) as caught:
        SKELETON.fill(an_envelope(**{field: f"{before}{control}x"}))
    assert caught.value.reason is Reason.REJECTED


_MAILBOX = st.lists(
    st.sampled_from([*'ab.@,;:<>()"\\[]=?_%! \r\n\t', "=?utf-8?q?", "?=", "=40", "@c.example"]), max_size=12
)


@settings(deadline=None, max_examples=150)
@given(_MAILBOX.map("".join), st.sampled_from(["", "@people.example", "@a.example,b@b.example"]))
@example("=?utf-8?q?bob=40b.example=3e?=", "@people.example")
def test_whoever_a_mail_is_for_it_is_for_one(local: str, domain: str):
    """The channel's own last look, whatever made the address."""
    address = local + domain
    try:
        message = parsed(SKELETON.fill(an_envelope(address=address)))
    except PermanentError as refused:
        assert refused.reason is Reason.REJECTED  # noqa: PT017 - most are refused
        return
    assert message.keys() == HEADERS
    assert getaddresses([str(message["To"])]) == [("", address)]
    assert [(mailbox.display_name, mailbox.addr_spec) for mailbox in message["To"].addresses] == [("", address)]


@pytest.mark.parametrize("field", ["subject", "text", "html", "brand"])
def test_half_a_character_is_refused_without_repeating_it(field: str):
    with pytest.raises(PermanentError) as caught:
        SKELETON.fill(an_envelope(**{field: f"{CODE}\ud800"}))
    assert (caught.value.reason, caught.value.__cause__) == (Reason.REJECTED, None)


def test_a_subject_with_the_code_is_not_kept_in_memory():
    from channels import mime

    mime._kept_header_text.cache_clear()
    SKELETON.fill(an_envelope(f"{CODE} is your code"))
    SKELETON.fill(an_envelope("Your code"))
    assert mime._kept_header_text.cache_info().currsize == 1


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("a@b.example", ("", "a@b.example")),
        ("  Shop <a@B.example> ", ("Shop", "a@b.example")),
        ('"Shop, Inc." <a@b.example>', ("Shop, Inc.", "a@b.example")),
        ("<a@b.example>", ("", "a@b.example")),
        ("Bücher <a@bücher.example>", ("Bücher", "a@xn--bcher-kva.example")),
    ],
)
def test_a_mailbox_is_a_name_and_an_address(written: str, expected: tuple[str, str]):
    assert split_mailbox(written) == expected


GOOD = {"subject.txt": "Your code\n", "body.txt": "Your code is 0\n", "body.html": "<p>Your code is 0</p>"}


def test_an_inspection_without_faults():
    found = inspect(
        {**GOOD, "body.html": '<a href="https://shop.example">Shop</a> <img src="data:image/png;base64,x">'}
    )
    assert (found.faults, "subject of 9 characters" in found.summary) == ((), True)


@pytest.mark.parametrize(
    ("part", "text", "fault"),
    [
        ("subject.txt", " \n", "subject is empty"),
        ("subject.txt", "Your\ncode", "line breaks"),
        ("body.html", '<img src="https://t.example/x.png">', "remote content"),
        ("body.html", "<img SRC = //t.example/x.png>", "remote content"),
        ("body.html", "<td background='http://t.example/x'>", "remote content"),
        ("body.html", "<p style=\"background:url('https://t.example/x')\">", "remote content"),
        ("body.html", '<link rel="stylesheet" href="/x.css">', "remote content"),
        ("body.html", "<script>1</script>", "remote content"),
        ("body.html", "<style>@import 'x'</style>", "remote content"),
        ("body.txt", "x" * 100_000, "cut off"),
    ],
)
def test_an_inspection_finds(part: str, text: str, fault: str):
    faults = inspect({**GOOD, part: text}).faults
    assert [fault in found for found in faults] == [True]
