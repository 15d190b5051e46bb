"""One service's codes not in this chat, by a button or by name, and here again."""

from __future__ import annotations

import pytest

from tests.conversation.writing import OTHER_CHAT, PHONE, data, labels

UNKNOWN = "I do not understand"


async def muted(people):
    return [record["service"] for record in await people.database.fetch("SELECT service FROM mute ORDER BY service")]


async def test_nothing_can_be_muted_where_nothing_is_linked(people):
    [reply] = await people.command("mute")
    assert "No service is connected" in reply.text


async def test_every_linked_service_is_offered_once(people):
    await people.link("shop", "user-1")
    await people.link("shop", "user-2")
    await people.link("bank")
    [reply] = await people.command("mute")
    assert list(zip(labels(reply), data(reply), strict=True)) == [
        ("Bank", "mute:bank"),
        ('Shop <b>&"', "mute:shop"),
    ]


async def test_services_of_one_name_show_their_keys(people):
    await people.link("bank")
    await people.link("bank_eu")
    [reply] = await people.command("mute")
    assert labels(reply) == ["Bank (bank)", "Bank (bank_eu)"]


async def test_services_that_asked_for_the_proved_number_are_offered_too(people, clock):
    await people.asked("phone", PHONE, service="bank_eu")
    clock.advance(601)
    await people.share()
    await people.asked("phone", PHONE, service="bank")
    [reply] = await people.command("mute")
    assert data(reply) == ["mute:bank"]


async def test_a_pressed_service_is_muted_and_the_question_says_so(people):
    await people.link()
    [reply] = await people.press("mute:shop")
    assert "Codes of <b>Shop &lt;b&gt;&amp;&#34;</b> do not come" in reply.text
    assert reply.replaces == "m1"
    assert await muted(people) == ["shop"]
    assert (await people.events())[-1] == "muted"


@pytest.mark.parametrize("named", ["shop", "SHOP", ' shop <B>&" '])
async def test_a_service_is_muted_by_key_or_by_name(people, named):
    await people.link()
    await people.command("mute", named)
    assert await muted(people) == ["shop"]
    [reply] = await people.command("unmute", named)
    assert "come to this chat again" in reply.text
    assert await muted(people) == []
    assert (await people.events())[-2:] == ["muted", "unmuted"]


async def test_a_name_that_two_sign_with_is_asked_about_and_a_key_is_not(people):
    people.brands |= {"bank": "Savings", "bank_eu": "Savings"}
    await people.link("bank")
    await people.link("bank_eu")
    [reply] = await people.command("mute", "savings")
    assert data(reply) == ["mute:bank", "mute:bank_eu"]
    await people.command("mute", "bank_eu")
    assert await muted(people) == ["bank_eu"]


async def test_muting_twice_is_muting_once(people):
    await people.link()
    for _ in range(2):
        [reply] = await people.press("mute:shop")
        assert "do not come to this chat" in reply.text
    assert (await people.events()).count("muted") == 1


async def test_where_all_are_muted_the_way_back_is_offered(people):
    await people.link()
    await people.press("mute:shop")
    [reply] = await people.command("mute")
    assert data(reply) == ["unmute:shop"]


async def test_unmuting_offers_what_is_muted(people):
    [nothing] = await people.command("unmute")
    assert "muted no service" in nothing.text
    await people.link("shop")
    await people.link("bank")
    await people.press("mute:bank")
    [reply] = await people.command("unmute")
    assert data(reply) == ["unmute:bank"]
    for _ in range(2):
        [done] = await people.press("unmute:bank")
        assert "Codes of <b>Bank</b> come" in done.text
    assert await muted(people) == []


@pytest.mark.parametrize("forged", ["mute:bank", "mute:", "mute:none", "unmute:bank", "unmute:", "mute:shop\0", "mute"])
async def test_forged_presses_change_nothing(people, forged):
    await people.link("shop")
    await people.link("bank", chat=OTHER_CHAT)
    [reply] = await people.press(forged)
    assert UNKNOWN in reply.text
    assert await muted(people) == []


async def test_answers_are_in_the_persons_language(people):
    await people.link()
    [asked] = await people.command("mute", language="de")
    assert asked.text.startswith("Wessen Codes")
    [done] = await people.press("mute:shop", language="de")
    assert done.text.startswith("Codes von <b>Shop")
    [again] = await people.command("unmute", "shop", language="de")
    assert again.text.startswith("Codes von <b>Shop")
