"""How letters, chats and events are shown."""

from __future__ import annotations

import json
from email import policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.events.event import EventName, event
from gateway.sandbox.inbox import Inbox, Letter
from gateway.sandbox.shapes import CHAT_MESSAGES, chat_item, code_of, event_item, letter_item, whole_letter
from gateway.sandbox.telegram import TelegramSandbox


def mail() -> Letter:
    message = EmailMessage(policy.SMTP)
    message["From"] = "Example Shop <codes@example.com>"
    message.set_content("Your code: 123456")
    message.add_alternative("<p>123456</p>", subtype="html")
    fields = {"mail_from": "bounces@example.com", "subject": "Your code"}
    return Letter("smtp", "ann@example.org", "Your code: 123456\n", message.as_bytes(), fields, 1.5, "A1")


def sms(text: str) -> Letter:
    return Letter("twilio", "+4915112345678", text, b"To=x", {"From": "+15005550006"}, 2.5, "SM1")


def bots(text: str, markup: object = None) -> Letter:
    return Letter("telegram", "4242", text, b"", {"reply_markup": json.dumps(markup)} if markup else {}, 3.5, "7")


def test_a_mail_is_listed_with_its_sender_and_subject():
    assert letter_item(mail()) == {
        "id": "A1",
        "protocol": "smtp",
        "to": "ann@example.org",
        "from": "Example Shop <codes@example.com>",
        "subject": "Your code",
        "text": "Your code: 123456\n",
        "html": True,
        "segments": 1,
        "code": "123456",
        "at": 1.5,
    }


def sender(head: bytes) -> object:
    raw = head + b"\r\nSubject: Code\r\n\r\nFrom: the.body@example.com"
    return letter_item(Letter("smtp", "ann@example.org", "", raw, {"mail_from": "bounces@example.com"}, 1.5, "A1"))[
        "from"
    ]


@pytest.mark.parametrize(
    ("head", "shown"),
    [
        (b"From: codes@example.com", "codes@example.com"),
        (b"from: <codes@example.com>", "codes@example.com"),
        (b'From: "Shop, Inc." <codes@example.com>', "Shop, Inc. <codes@example.com>"),
        (b"From: =?utf-8?q?Caf=C3=A9?= <codes@example.com>", "Café <codes@example.com>"),
        (
            b"From: =?utf-8?b?Q2Fmw6k=?=\r\n =?utf-8?q?_Mitte?=\r\n <codes@example.com>",
            "Café Mitte <codes@example.com>",
        ),
        ("From: Café <codes@bücher.example>".encode(), "Café <codes@bücher.example>"),
        (
            b"From: =?utf-8?q?a=40b=2Eexample_=3Ca=40b=3E=2C?= <codes@example.com>",
            "a@b.example <a@b>, <codes@example.com>",
        ),
        (b"From: =?utf-8?q?a=0D=0Ab?= <codes@example.com>", "a b <codes@example.com>"),
        (b"From: =?no-such?q?a?= <codes@example.com>", "=?no-such?q?a?= <codes@example.com>"),
        (b"From: nobody in particular", "nobody in particular"),
        (b"From: \xff <codes@example.com>", "\N{REPLACEMENT CHARACTER} <codes@example.com>"),
        (b"From: ", "bounces@example.com"),
        (b"To: ann@example.org", "bounces@example.com"),
    ],
)
def test_a_mails_sender_is_its_from_as_a_mail_program_shows_it(head, shown):
    assert sender(head) == shown


@given(st.binary() | st.text(alphabet='=?utf-8qbQB_<>@"(),:;\\ \r\naé').map(str.encode))
def test_any_from_is_shown_on_one_line(written):
    shown = sender(b"From: " + written)
    assert isinstance(shown, str)
    assert "\n" not in shown


def test_an_sms_is_listed_with_what_it_costs():
    item = letter_item(sms("ü" * 161))
    assert (item["from"], item["segments"], item["html"], item["subject"]) == ("+15005550006", 2, False, "")


def test_a_program_reads_the_whole_letter():
    assert whole_letter(mail()) == {
        "id": "A1",
        "protocol": "smtp",
        "to": "ann@example.org",
        "subject": "Your code",
        "text": "Your code: 123456\n",
        "html": "<p>123456</p>\n",
        "code": "123456",
        "buttons": [],
        "keyboard": None,
        "received_at": 1.5,
    }
    assert whole_letter(sms("hello"))["html"] is None


def test_a_program_reads_what_a_persons_chat_lets_them_press():
    rows = [[{"text": "Yes", "callback_data": "yes:sub_1"}], [{"text": "Copy", "copy_text": {"text": "492039"}}]]
    asked = whole_letter(bots("Was it you?", {"inline_keyboard": rows}))
    assert asked["buttons"] == [[{"label": "Yes", "data": "yes:sub_1"}], [{"label": "Copy", "copy": "492039"}]]
    assert (asked["code"], asked["keyboard"]) == ("492039", None)
    shares = whole_letter(bots("Your number?", {"keyboard": [[{"text": "Share", "request_contact": True}]]}))
    assert (shares["buttons"], shares["keyboard"]) == ([], {"label": "Share", "contact": True})
    assert whole_letter(bots("Hi", {"keyboard": [["Plain"]]}))["keyboard"] == {"label": "Plain", "contact": False}
    for markup in (None, {"remove_keyboard": True}):
        assert whole_letter(bots("Thanks", markup))["keyboard"] is None


def test_only_what_a_bot_wrote_has_buttons():
    fields = {"From": "+15005550006", "reply_markup": "not of ours"}
    letter = whole_letter(Letter("twilio", "+4915112345678", "hello", b"", fields, 1.0, "SM1"))
    assert (letter["buttons"], letter["keyboard"]) == ([], None)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Shop: your code is 492039. Valid for 5 minutes.", "492039"),
        ("Ihr Code 0042 gilt", "0042"),
        ("Call +4915112345678 now", None),
        ("Your code: 7KQ2MX", "7KQ2MX"),
        ("Your order 12-34567 is ready", None),
        ("@shop.example #492039", "492039"),
        ("Shop: your code is CFGH-JMPQ. Valid", "CFGH-JMPQ"),
        ("Your code: 7HQ-2MX", "7HQ-2MX"),
        ("nothing here", None),
        ("SHOP GREETS", None),
    ],
)
def test_the_code_is_the_word_that_looks_like_one(text, code):
    assert code_of(sms(text)) == code


def test_the_code_of_a_chat_is_what_its_button_copies():
    rows = [[{"text": "Copy", "copy_text": {"text": "ABC-DEF"}}], [{"text": "Not me", "callback_data": "not:ver_1"}]]
    assert code_of(bots("Valid for 5 minutes until 1230", {"inline_keyboard": rows})) == "ABC-DEF"
    assert code_of(bots("Was it you?", {"inline_keyboard": rows[1:]})) is None
    assert code_of(bots("Codes of 2026: none")) is None
    assert code_of(Letter("telegram", "4242", "", b"", {"reply_markup": "null"}, 1.0, "1")) is None
    assert code_of(bots("Your number?", {"keyboard": [[{"text": "Share"}]]})) is None


@pytest.fixture
def server() -> TelegramSandbox:
    return TelegramSandbox(Inbox())


def test_a_chat_shows_what_each_side_wrote_and_what_can_be_pressed(server):
    ann = server.person(4242, "Ann", "de")
    ann.write("hi")
    ann.share_contact("+4915112345678", user_id=7)
    ann.share_contact("4915112345678", forwarded=True)
    bot = {"id": 1, "is_bot": True}
    rows = [
        [{"text": "Copy", "copy_text": {"text": "492039"}}, {"text": "Site", "url": "https://example.org"}],
        [{"text": "Not me", "callback_data": "not:ver_1"}, {"text": "Pay", "web_app": {}}],
    ]
    sent = server._world.post(
        ann,
        bot,
        {
            "text": "Code",
            "entities": [{"type": "bold", "offset": 0, "length": 4}],
            "has_protected_content": True,
            "edit_date": 9,
            "reply_markup": {"inline_keyboard": rows},
        },
    )
    shown = chat_item(ann)
    assert (shown["person"], shown["name"], shown["language"], shown["blocked"]) == (4242, "Ann", "de", False)
    wrote, others, forwarded, code = shown["messages"]
    assert (wrote["mine"], wrote["text"], wrote["contact"], wrote["forwarded"]) == (True, "hi", None, False)
    assert others["contact"] == {"phone": "+4915112345678", "own": False}
    assert (forwarded["contact"], forwarded["forwarded"]) == ({"phone": "+4915112345678", "own": True}, True)
    assert code == {
        "id": sent["message_id"],
        "mine": False,
        "text": "Code",
        "entities": [{"type": "bold", "offset": 0, "length": 4}],
        "buttons": [
            [{"label": "Copy", "copy": "492039"}, {"label": "Site", "url": "https://example.org"}],
            [{"label": "Not me", "data": "not:ver_1"}, {"label": "Pay"}],
        ],
        "contact": None,
        "forwarded": False,
        "edited": True,
        "protected": True,
        "at": sent["date"],
    }


def test_a_chat_shows_its_newest_messages_and_the_keyboard(server):
    ann = server.person(4242, "Ann")
    numbers = [ann.write(str(number)) for number in range(CHAT_MESSAGES + 1)]
    assert [message["id"] for message in chat_item(ann)["messages"]] == numbers[1:]
    assert chat_item(ann)["keyboard"] is None
    ann.keyboard = {"keyboard": [[{"text": "Share", "request_contact": True}]]}
    assert chat_item(ann)["keyboard"] == {"label": "Share", "contact": True}


def test_an_event_is_shown_with_what_is_known_of_it():
    told = event(
        EventName.MESSAGE_RETRIED, 1.0, "shop", channel="sms", reason="rate_limited", recipient="+49•••678", attempt=2
    )
    assert event_item(told) == {
        "at": 1.0,
        "name": "message.retried",
        "channel": "sms",
        "verification": None,
        "attempt": 2,
        "outcome": None,
        "reason": "rate_limited",
        "provider_code": None,
        "recipient": "+49•••678",
        "milliseconds": None,
    }
    assert event_item(event(EventName.MESSAGE_SENT, 1.0, "shop", milliseconds=12.3456))["milliseconds"] == 12.3
