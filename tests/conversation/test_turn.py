"""A turn answers in the person's language, else in the service's."""

from __future__ import annotations

from typing import Any, cast

import pytest

from channels.chat import Button, Inbound
from channels.kinds import KINDS
from gateway.conversation.turn import Tools, Turn
from gateway.storage.unit import Connection


async def nothing(*_: Any) -> Any:
    """Stand for a function that is not called here."""


@pytest.fixture
def make_turn(sealer, hasher, texts):
    tools = Tools(
        sealer=sealer,
        hasher=hasher,
        brands={"shop": "Shop & Söhne"},
        locales={"shop": "de-AT"},
        texts=texts,
        phone=KINDS["phone"],
        on_link=nothing,
        open_question=nothing,
        opened_questions=nothing,
        answer_question=nothing,
        decline_question=nothing,
        report=nothing,
    )

    def make(language: str | None = None, known: dict[str, Any] | None = None) -> Turn:
        inbound = Inbound(1, "7001", None, "", "Ann", language, private=True, press="p1", message_id="55")
        return Turn(tools, cast("Connection", None), "bot", inbound, b"hash", known, "", 0.0)

    return make


@pytest.mark.parametrize(
    ("told", "known", "language", "about_shop"),
    [
        (None, None, "en", "de"),
        ("de", None, "de", "de"),
        ("en-GB", None, "en", "en"),
        ("en", {"language": "de", "told_language": "en"}, "de", "de"),
        (None, {"language": None, "told_language": "en"}, "en", "en"),
        ("fr", {"language": None, "told_language": "fr"}, "en", "de"),
    ],
)
def test_the_chosen_language_goes_before_the_clients_and_that_before_the_services(
    make_turn, told, known, language, about_shop
):
    turn = make_turn(told, known)
    assert (turn.language, turn.in_language("shop"), turn.in_language("gone")) == (language, about_shop, language)


def test_an_answer_about_a_service_has_its_brand_and_its_language(make_turn):
    said = make_turn().say("unlinked", service="shop")
    assert said.chat is None
    assert "Shop &amp; Söhne" in said.reply.text
    assert said.reply.text == make_turn("de").say("unlinked", service="shop").reply.text
    assert said.reply.text != make_turn("en").say("unlinked", service="shop").reply.text
    assert "gone" in make_turn().say("unlinked", service="gone").reply.text
    assert "Other" in make_turn().say("unlinked", service="shop", brand="Other").reply.text


def test_an_answer_may_take_the_place_of_the_pressed_message(make_turn):
    buttons = ((Button("Yes", "yes:1"),),)
    assert make_turn().say("start").reply.replaces is None
    reply = make_turn().say("start", buttons=buttons, replaces=True).reply
    assert (reply.replaces, reply.buttons) == ("55", buttons)


def test_a_label_is_in_the_language_of_its_message(make_turn):
    assert make_turn("en").label("report", "button.txt") != make_turn("de").label("report", "button.txt")
    assert make_turn().label("report", "button.txt", service="shop") == make_turn("de").label("report", "button.txt")
