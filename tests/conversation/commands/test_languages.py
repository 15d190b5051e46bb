"""The language a person chooses holds for every answer, until they choose another."""

from __future__ import annotations

import pytest

from tests.conversation.writing import OTHER_CHAT, data, labels


async def test_every_language_is_offered_in_its_own_words(people):
    [reply] = await people.command("lang")
    assert list(zip(labels(reply), data(reply), strict=True)) == [
        ("Deutsch", "lang:de"),
        ("English", "lang:en"),
        ("Same as my messenger", "lang:auto"),
    ]
    assert all(len(row) == 1 for row in reply.buttons)


async def test_the_question_is_asked_in_the_language_that_is_spoken(people):
    [reply] = await people.command("lang", language="de-AT")
    assert labels(reply)[-1] == "Wie in meinem Messenger"


async def test_a_pressed_language_is_kept_and_answered_in_it(people):
    [reply] = await people.press("lang:de")
    assert reply.text == "Ich schreibe Ihnen jetzt auf <b>Deutsch</b>, auch Codes."
    assert reply.replaces == "m1"
    assert (await people.known())["language"] == "de"
    [help_text] = await people.command("help")
    assert help_text.text.startswith("Ich bringe Ihnen")


@pytest.mark.parametrize("named", ["de", "DE", "de ", "deutsch", "Deutsch"])
@pytest.mark.parametrize("command", ["lang", "language"])
async def test_a_language_can_be_named(people, command, named):
    [reply] = await people.command(command, named)
    assert "<b>Deutsch</b>" in reply.text
    assert reply.replaces is None


async def test_automatic_follows_the_client_again(people):
    await people.command("lang", "de")
    [reply] = await people.command("lang", "auto", language="en-GB")
    assert "<b>English</b>" in reply.text
    assert (await people.known())["language"] is None


@pytest.mark.parametrize("named", ["fr", "klingon", "d", "🤷"])
async def test_an_unknown_language_is_asked_for(people, named):
    [reply] = await people.command("lang", named)
    assert len(reply.buttons) == 3


@pytest.mark.parametrize("forged", ["lang:", "lang:fr", "lang:DE", "lang:de\0", "lang"])
async def test_forged_presses_change_nothing(people, forged):
    [reply] = await people.press(forged)
    assert "I do not understand" in reply.text
    assert await people.known() is None


async def test_it_is_the_chats_own(people):
    await people.command("lang", "de")
    [reply] = await people.command("help", chat=OTHER_CHAT)
    assert reply.text.startswith("I bring you")
