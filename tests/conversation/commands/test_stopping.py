"""A stop asks once, erases everything, and says what that was."""

from __future__ import annotations

import pytest

from tests.conversation.writing import OTHER_CHAT, data, labels

NOTHING = "nothing to stop"


async def test_it_is_asked_first_and_nothing_is_erased_by_asking(people):
    shop = await people.link()
    [reply] = await people.command("stop")
    assert list(zip(labels(reply), data(reply), strict=True)) == [
        ("Yes, erase everything", "stop:yes"),
        ("No, keep it", "stop:keep"),
    ]
    assert (await people.subscribers.one("shop", shop)).status == "linked"


async def test_everything_is_erased_and_named(people):
    await people.link("shop")
    await people.link("bank")
    await people.share()
    await people.press("mute:bank")
    await people.command("lang", "en")
    [reply] = await people.press("stop:yes")
    assert "Connections: <b>Bank, Shop &lt;b&gt;&amp;&#34;</b>\n" in reply.text
    assert "Phone number: <b>+49" in reply.text
    assert "Muted: <b>Bank</b>\n" in reply.text
    assert "their own record" in reply.text
    assert reply.replaces == "m1"
    assert await people.known() is None
    assert await people.database.fetch("SELECT * FROM mute") == []
    left = await people.database.fetch("SELECT * FROM subscriber WHERE chat_hash IS NOT NULL")
    assert left == []


async def test_only_what_was_there_is_named(people):
    await people.share()
    [reply] = await people.press("stop:yes")
    assert "Phone number" in reply.text
    assert "Connections" not in reply.text
    assert "Muted" not in reply.text
    assert "\n\n\n" not in reply.text


async def test_a_language_alone_is_erased_too(people):
    await people.command("lang", "de")
    [reply] = await people.press("stop:yes")
    assert reply.text.startswith("Dieser Chat ist getrennt")
    assert "\n\n\n" not in reply.text
    assert await people.known() is None


async def test_who_keeps_it_keeps_it(people):
    shop = await people.link()
    [reply] = await people.press("stop:keep")
    assert reply.replaces == "m1"
    assert (await people.subscribers.one("shop", shop)).status == "linked"


async def test_there_may_be_nothing_to_stop(people):
    [reply] = await people.command("stop")
    assert (NOTHING in reply.text, reply.buttons) == (True, ())


async def test_a_second_press_leaves_what_the_first_one_said(people):
    await people.link()
    await people.press("stop:yes")
    [reply] = await people.press("stop:yes")
    assert (NOTHING in reply.text, reply.replaces) == (True, None)


async def test_an_unanswered_link_ends_by_asking_where_nothing_else_is_there(people):
    view = await people.subscribers.create(await people.subscribers.prepare("shop", "user-42", None))
    [asked] = await people.command("start", view.link.rpartition("=")[2])
    await people.command("stop")
    [reply] = await people.press(asked.buttons[0][0].data)
    assert "does not work" in reply.text


async def test_other_chats_stay(people):
    theirs = await people.link("bank", chat=OTHER_CHAT)
    await people.link("shop")
    await people.press("stop:yes")
    assert (await people.subscribers.one("bank", theirs)).status == "linked"


@pytest.mark.parametrize("forged", ["stop:", "stop:YES", "stop:no", "stop:yes\n", "stop"])
async def test_forged_presses_change_nothing(people, forged):
    shop = await people.link()
    [reply] = await people.press(forged)
    assert "I do not understand" in reply.text
    assert (await people.subscribers.one("shop", shop)).status == "linked"


async def test_a_muted_service_alone_can_be_stopped(people):
    shop = await people.link()
    await people.press("mute:shop")
    await people.press(f"unlink:{shop}")
    [asked] = await people.command("stop", language="de")
    assert labels(asked) == ["Ja, alles löschen", "Nein, behalten"]
    [reply] = await people.press("stop:yes", language="de")
    assert "Stumm geschaltet" in reply.text
