"""The table: what is offered is answered, in every language, and rubbish is answered too."""

from __future__ import annotations

import pytest

from gateway.conversation import commands
from gateway.conversation.commands import COMMANDS, MENU, PRESSES, _merged, menu
from gateway.delivery.person import Question
from gateway.delivery.writing.reply_parts import REPLIES
from tests.conversation.writing import PHONE, data

KNOWN = ("linked", "unknown")
#: One of these is in every German answer, and in no English one.
GERMAN = ("Sie", "Ihre", "Welche", "Wessen", "kein")


def test_every_command_that_is_offered_is_answered():
    assert set(MENU) <= set(COMMANDS)
    assert len(MENU) == len(set(MENU))


def test_the_menu_is_in_every_language(texts):
    shown = menu(texts)
    assert set(shown) == {"", "de"}
    assert [name for name, _ in shown[""]] == [name for name, _ in shown["de"]] == list(MENU)
    # Telegram: names of 1-32 of a-z, 0-9 and _, descriptions of 1-256 characters (core.telegram.org/bots/api#botcommand).
    assert all(name.isidentifier() and 1 <= len(text) <= 256 for part in shown.values() for name, text in part)
    assert dict(shown[""])["codes"] == "Your last codes"
    assert dict(shown["de"])["codes"] == "Ihre letzten Codes"


def test_one_command_has_one_answer():
    with pytest.raises(AssertionError, match="two modules"):
        _merged({"a": commands.TYPED}, {"a": commands.CONTACT})


@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize("name", COMMANDS)
async def test_every_command_answers_every_chat_in_its_language(people, name, known):
    if known == "linked":
        await people.link()
        await people.share()
    for language in ("en", "de"):
        [reply] = await people.command(name, language=language)
        assert any(word in reply.text for word in GERMAN) == (language == "de")


@pytest.mark.parametrize("verb", PRESSES)
async def test_a_forged_press_is_answered_and_changes_nothing(people, verb):
    for argument in ("x", "\0", "\ud800", "' OR 1=1 --", "phone" * 20):
        [reply] = await people.press(f"{verb}:{argument}")
        assert data(reply) == []
    assert await people.database.fetch("SELECT * FROM event") == []


async def test_a_typed_challenge_asks_its_question(people):
    people.core.challenges["7cfg-hjmp"] = Question("ver_1", "shop", "+49•••678", needs_phone=False)
    [reply] = await people.type("7cfg-hjmp")
    assert data(reply) == ["in:ver_1", "out:ver_1"]


@pytest.mark.parametrize("typed", ["7CFG-HJMP", "7cfg hjmp", "CFGHJMPQ"])
async def test_a_challenge_that_is_over_is_told_so(people, typed):
    [reply] = await people.type(typed)
    assert "does not work" in reply.text


@pytest.mark.parametrize("typed", ["", "hello", "492039", "23456789", "2345-6789", "password", "x" * 5000])
async def test_other_texts_get_help(people, typed):
    [reply] = await people.type(typed)
    assert "/help" in reply.text
    assert "I bring you one-time codes" in reply.text


@pytest.mark.parametrize("text", ["x" * 65, "ü", "\ud800"])
async def test_what_can_be_no_challenge_is_not_looked_up(people, text):
    await people.type(text)
    assert people.core.asked == []


async def test_an_own_contact_is_proved_and_what_waited_for_it_is_asked(people):
    people.core.challenges["token"] = Question("ver_1", "shop", "+49•••678", needs_phone=True)
    [wanted] = await people.command("start", "token")
    assert wanted.asks_contact == "Share my phone number"
    [proved, question] = await people.share(PHONE)
    assert proved.clears_keyboard
    assert data(question) == ["in:ver_1", "out:ver_1"]


async def test_a_contact_that_proves_nothing_asks_nothing_else(people):
    people.core.challenges["token"] = Question("ver_1", "shop", "+49•••678", needs_phone=True)
    await people.command("start", "token")
    [refused] = await people.share(own=False)
    assert "does not prove" in refused.text
    assert data(refused) == []


def test_every_reply_has_words_for_whatever_it_is_given(texts):
    hostile = '<b>&"\n{{ brand }}'
    for name, reply in REPLIES.items():
        for language in texts.languages:
            parts = texts(name, language, reply.parts, dict.fromkeys(reply.values, hostile))
            assert set(parts) == set(reply.parts)
            assert all(parts.values())
            assert all(hostile.partition("\n")[0] not in text for text in parts.values())


def test_buttons_are_named_alike_in_what_is_said_about_them(texts):
    for language in texts.languages:
        for name, part in (("confirm", "decline.txt"), ("question", "decline.txt"), ("contact_foreign", None)):
            text = texts(name, language, ("reply.html",), {"brand": "b", "account": "a"})["reply.html"]
            label = (
                texts(name, language, (part,), {})[part]
                if part
                else texts("link", language, ("share.txt",), {})["share.txt"]
            )
            assert label in text
