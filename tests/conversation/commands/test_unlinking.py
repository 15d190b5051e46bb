"""The person's number, and the end of one connection."""

from __future__ import annotations

import pytest

from tests.conversation.writing import OTHER_CHAT, data, labels

OVER = "was answered before"


async def test_a_link_asks_for_the_contact_by_a_button_of_the_keyboard(people):
    [reply] = await people.command("link")
    assert (reply.asks_contact, reply.buttons) == ("Share my phone number", ())
    [german] = await people.command("link", language="de")
    assert german.asks_contact == "Meine Telefonnummer teilen"


async def test_there_may_be_nothing_to_unlink(people):
    [reply] = await people.command("unlink")
    assert "No service is connected" in reply.text


async def test_every_connection_has_a_button_and_the_number_too(people):
    shop, bank = await people.link("shop"), await people.link("bank")
    await people.share()
    [reply] = await people.command("unlink")
    assert list(zip(labels(reply), data(reply), strict=True)) == [
        ('Shop <b>&"', f"unlink:{shop}"),
        ("Bank", f"unlink:{bank}"),
        ("My phone number", "unlink:phone"),
    ]


async def test_two_connections_of_one_service_show_their_accounts(people):
    await people.link("bank", "ann-private")
    await people.link("bank", "ann-business")
    [reply] = await people.command("unlink")
    [one, two] = labels(reply)
    assert one != two
    assert one.startswith("Bank · ")
    assert "ann-private" not in one


async def test_a_pressed_connection_ends_and_no_other(people):
    shop, bank = await people.link("shop"), await people.link("bank")
    [reply] = await people.press(f"unlink:{shop}")
    assert "<b>Shop &lt;b&gt;&amp;&#34;</b> is not connected" in reply.text
    assert reply.replaces == "m1"
    assert (await people.subscribers.one("shop", shop)).status == "unlinked"
    assert (await people.subscribers.one("bank", bank)).status == "linked"
    assert (await people.events())[-1] == "unlinked"


async def test_a_second_press_says_so_beside_the_first_answer(people):
    shop = await people.link()
    await people.press(f"unlink:{shop}")
    [reply] = await people.press(f"unlink:{shop}")
    assert (OVER in reply.text, reply.replaces) == (True, None)


async def test_a_service_is_unlinked_by_name_with_all_its_connections(people):
    one, two = await people.link("shop", "user-1"), await people.link("shop", "user-2")
    await people.link("bank")
    [reply] = await people.command("unlink", "shop")
    assert "is not connected" in reply.text
    assert [(await people.subscribers.one("shop", id_)).status for id_ in (one, two)] == ["unlinked", "unlinked"]
    [left] = await people.command("unlink")
    assert labels(left) == ["Bank"]


async def test_a_name_that_is_not_linked_is_asked_about(people):
    await people.link()
    [reply] = await people.command("unlink", "Bank")
    assert len(reply.buttons) == 1


async def test_the_number_is_forgotten_by_its_button(people):
    await people.share()
    [reply] = await people.press("unlink:phone")
    assert "678</b> is not connected" in reply.text
    assert "+4915112345678" not in reply.text
    assert (await people.known())["phone_hash"] is None
    [again] = await people.press("unlink:phone")
    assert OVER in again.text


@pytest.mark.parametrize("forged", ["unlink:", "unlink:phone", "unlink:sub_none"])
async def test_forged_presses_change_nothing(people, forged):
    await people.link()
    [reply] = await people.press(forged)
    assert OVER in reply.text
    assert len((await people.command("unlink"))[0].buttons) == 1


async def test_another_chats_connection_cannot_be_ended(people):
    theirs = await people.link(chat=OTHER_CHAT)
    [reply] = await people.press(f"unlink:{theirs}")
    assert OVER in reply.text
    assert (await people.subscribers.one("shop", theirs)).status == "linked"


async def test_answers_are_in_the_persons_language(people):
    shop = await people.link()
    [asked] = await people.command("unlink", language="de")
    assert asked.text.startswith("Welche Verbindung")
    [done] = await people.press(f"unlink:{shop}", language="de")
    assert done.text.startswith("Fertig.")
