from __future__ import annotations

import json
import smtplib
from email.message import EmailMessage

import pytest

from benchmarks.children import Child, program
from benchmarks.peers.codes import codes


def mail(to: str, text: str, page: str | None = None) -> bytes:
    message = EmailMessage()
    message["To"] = f"Somebody 999999 <{to}>"
    message["Message-ID"] = "<111111@example.org>"
    message.set_content(text)
    if page is not None:
        message.add_alternative(page, subtype="html")
    return message.as_bytes()


@pytest.mark.parametrize(
    ("text", "page"),
    [("271828", None), ("Your code: 271828.\nOrder 1234567, call 12345", None), ("Grüße: 271828", "<p>000000</p>")],
)
def test_the_code_of_a_mail_is_the_first_six_digits_that_stand_alone_in_its_text(text, page):
    assert codes([mail("a@example.org", text, page)]) == {"a@example.org": "271828"}


def test_of_two_codes_for_an_address_the_later_one_holds():
    mails = [mail("a@example.org", "111111"), mail("b@example.org", "222222"), mail("a@example.org", "333333")]
    assert codes(mails) == {"a@example.org": "333333", "b@example.org": "222222"}


@pytest.mark.parametrize("content", [mail("a@example.org", "no code"), b"Content-Type: image/png\r\n\r\n123456"])
def test_a_mail_without_a_code_is_refused(content):
    with pytest.raises(ValueError, match="without a"):
        codes([content])


def test_the_sink_gives_the_codes_it_was_sent(tmp_path):
    with Child("codes", program("peers.codes"), tmp_path) as child:
        with smtplib.SMTP("127.0.0.1", int(child.line(30.0)), local_hostname="localhost") as client:
            client.sendmail("codes@example.org", "a@example.org", mail("a@example.org", "271828"))
        child.tell("wait 1")
        child.line(30.0)
        child.tell("codes")
        assert json.loads(child.line(30.0)) == {"a@example.org": "271828"}
