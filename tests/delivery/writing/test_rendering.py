"""A message has its service's words and a way to report it; an answer has a person's language."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from channels.base import load
from channels.chat import Button
from gateway.config import ServiceSettings, shipped
from gateway.config.services import PurposeSettings
from gateway.delivery.message import Message
from gateway.delivery.writing.linting import Severity, lint
from gateway.delivery.writing.rendering import ReplyTexts, code_renderer, ended_renderer
from gateway.delivery.writing.templating import Templates
from gateway.errors import TemplateError
from tests.world import Scripted, Talker

SERVICES = {"shop": ServiceSettings(name="Shop & Söhne", channels=("sms",))}


@pytest.fixture(scope="module")
def templates() -> Templates:
    return Templates([shipped("templates")])


@pytest.fixture(scope="module")
def texts(templates) -> ReplyTexts:
    return ReplyTexts(templates)


@pytest.fixture
def render(templates, texts):
    return code_renderer(SERVICES, {"shop": templates}, texts)


def a_message(service: str = "shop", locale: str = "de-AT") -> Message:
    return Message(
        id="msg_1",
        verification_id="ver_1",
        service=service,
        channel="sms",
        step=0,
        steps=1,
        purpose="login",
        locale=locale,
        generation=1,
        attempts=0,
        skipped=0,
        created_at=0.0,
        expires_at=300.0,
        started_at=None,
        ttl=300.0,
        recipient="+49•••••••678",
        address="+4915112345678",
        code="492039",
        params={},
    )


def test_a_message_shows_what_its_code_is_bound_to(tmp_path, texts):
    """As the documentation shows it: amount and payee, each in one line, with the code (dynamic linking)."""
    text = (Path(__file__).parents[3] / "docs" / "templates.md").read_text("utf-8")
    [source] = re.findall(r"^```jinja\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    (tmp_path / "sms" / "payment").mkdir(parents=True)
    (tmp_path / "sms" / "payment" / "body.txt").write_text(source)
    templates = Templates([tmp_path, shipped("templates")])
    render = code_renderer(SERVICES, {"shop": templates}, texts)
    for bind, words in (
        ({"amount": "12.00 EUR", "payee": "Books\n492040"}, "492039 approves 12.00 EUR to Books 492040. Shop & Söhne"),
        ({"amount": "99.00 EUR", "payee": "Books"}, "492039 approves 99.00 EUR to Books. Shop & Söhne"),
        ({}, "492039 is your code for Shop & Söhne."),
    ):
        message = replace(a_message(), purpose="payment", bind=bind)
        assert render(message, Scripted("sms", ["phone"]), 300.0).parts["body.txt"].startswith(words)
    faults = [item for item in lint(templates, {"sms": ("sms", load("sms"))}) if item.severity is Severity.ERROR]
    assert faults == []


def test_a_message_does_not_show_what_it_is_bound_to_where_it_is_logged():
    assert "Books" not in repr(replace(a_message(), bind={"payee": "Books"}))


def test_a_message_has_the_code_and_the_brand(render):
    rendered = render(a_message(), Scripted("sms", ["phone"]), 300.0)
    assert rendered.brand == "Shop & Söhne"
    assert "492039" in rendered.parts["body.txt"]
    assert "Minuten" in rendered.parts["body.txt"]


def test_in_a_chat_a_purposes_language_goes_before_its_services(templates, texts):
    login = PurposeSettings(channels=("bot",), locale="de")
    service = ServiceSettings(channels=("bot",), locale="en", purposes={"login": login})
    render = code_renderer({"shop": service}, {"shop": templates}, texts)
    rendered = render(a_message(locale="fr"), Talker("sms", ["phone"]), 300.0)
    assert "Minuten" in rendered.parts["body.txt"]
    assert rendered.report == not_me(texts, "de")


def not_me(texts: ReplyTexts, locale: str) -> Button:
    return Button(texts("report", locale, ("button.txt",), {})["button.txt"], "not:ver_1")


def test_only_where_presses_are_heard_a_message_can_be_reported(render, texts):
    assert render(a_message(), Scripted("sms", ["phone"]), 300.0).report is None
    assert render(a_message(), Talker("sms", ["phone"]), 300.0).report == not_me(texts, "de")
    assert render(a_message(locale="fr"), Talker("sms", ["phone"]), 300.0).report == not_me(texts, "en")


@pytest.mark.parametrize(
    ("locale", "word"), [("fr", "Minuten"), ("de-AT", "Minuten"), ("en", "minutes"), ("en-GB", "minutes")]
)
def test_in_a_chat_a_language_that_nobody_wrote_for_gives_way_to_the_services(templates, texts, locale, word):
    render = code_renderer({"shop": ServiceSettings(channels=["bot"], locale="de")}, {"shop": templates}, texts)
    in_chat = render(a_message(locale=locale), Talker("sms", ["phone"]), 300.0)
    assert word in in_chat.parts["body.txt"]
    assert in_chat.report == not_me(texts, "de" if word == "Minuten" else "en")


def test_elsewhere_a_locale_falls_back_to_the_plain_files(templates, texts):
    render = code_renderer({"shop": ServiceSettings(channels=["sms"], locale="de")}, {"shop": templates}, texts)
    assert "minutes" in render(a_message(locale="fr"), Scripted("sms", ["phone"]), 300.0).parts["body.txt"]


def test_a_service_that_is_gone_has_no_words(render):
    with pytest.raises(TemplateError, match="bank is not configured any more"):
        render(a_message("bank"), Scripted("sms", ["phone"]), 300.0)


def test_both_languages_are_shipped_whole(texts):
    assert texts.languages == ("de", "en")


def test_a_language_without_every_part_is_not_offered(tmp_path):
    (tmp_path / "conversation" / "start").mkdir(parents=True)
    (tmp_path / "conversation" / "start" / "reply.fr.html").write_text("Bonjour")
    assert ReplyTexts(Templates([tmp_path, shipped("templates")])).languages == ("de", "en")


@pytest.mark.parametrize(
    ("wanted", "language"),
    [
        ((), "en"),
        ((None, None), "en"),
        (("de-AT", "en"), "de"),
        ((None, "de_CH"), "de"),
        (("fr", "de"), "de"),
        (("fr",), "en"),
        (("en-GB", "de"), "en"),
        (("not a language", "de"), "de"),
    ],
)
def test_the_first_wanted_language_that_is_shipped_is_picked(texts, wanted, language):
    assert texts.pick(*wanted) == language


def test_values_of_a_reply_are_one_line_and_escaped(texts):
    parts = texts("unlinked", "en", ("reply.html",), {"brand": "A\n<b>"})
    assert "A &lt;b&gt;" in parts["reply.html"]


def test_a_used_code_can_still_be_reported(texts):
    ended = ended_renderer(SERVICES, texts)
    reply = ended("shop", "en", "approved", "ver_1")
    assert reply.buttons == ((not_me(texts, "en"),),)
    assert "Shop &amp; Söhne" in reply.text


@pytest.mark.parametrize("outcome", ["canceled", "expired", "failed", "max_attempts_reached"])
def test_a_code_that_nobody_used_has_no_button(texts, outcome):
    assert ended_renderer(SERVICES, texts)("shop", "de", outcome, "ver_1").buttons == ()


def test_the_end_of_a_code_is_told_for_a_service_that_is_gone(texts):
    assert "bank" in ended_renderer(SERVICES, texts)("bank", "en", "expired", "ver_1").text
