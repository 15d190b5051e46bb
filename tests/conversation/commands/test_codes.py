"""The last codes of a person: what, when, from where; never of somebody else."""

from __future__ import annotations

import pytest

from gateway.conversation.commands.codes import SHOWN
from tests.conversation.writing import OTHER_CHAT, PHONE

NONE = "No code has been asked for"


async def test_there_may_be_none(people):
    await people.link()
    [reply] = await people.command("codes")
    assert NONE in reply.text
    await people.share(chat=OTHER_CHAT)
    [reply] = await people.command("codes", chat=OTHER_CHAT)
    assert NONE in reply.text


async def test_where_nothing_is_connected_that_is_said(people):
    [reply] = await people.command("codes")
    assert "No service is connected" in reply.text


async def test_a_code_is_shown_with_its_service_time_place_and_end(people):
    await people.link()
    await people.asked("telegram", "user-42", client_reference="Ann's phone", client_ip="203.0.113.9")
    [reply] = await people.command("codes")
    assert reply.text.splitlines()[-2:] == [
        "2026-05-04 10:40 UTC · <b>Shop &lt;b&gt;&amp;&#34;</b>",
        "<code>Ann&#39;s phone</code> · used",
    ]


@pytest.mark.parametrize(
    ("columns", "place"),
    [
        ({"client_reference": None, "client_ip": "203.0.113.9"}, "<code>203.0.113.9</code>"),
        ({"client_reference": "", "client_ip": None}, "unknown place"),
        ({"client_reference": "<a>\nb"}, "<code>&lt;a&gt; b</code>"),
    ],
)
async def test_the_place_is_the_reference_else_the_address_of_the_network(people, columns, place):
    await people.link()
    await people.asked("telegram", "user-42", **columns)
    [reply] = await people.command("codes")
    assert reply.text.splitlines()[-1] == f"{place} · used"


@pytest.mark.parametrize(
    ("status", "english", "german"),
    [
        ("approved", "used", "benutzt"),
        ("canceled", "canceled", "zurückgezogen"),
        ("expired", "expired", "abgelaufen"),
        ("failed", "not delivered", "nicht zugestellt"),
        ("max_attempts_reached", "too many wrong tries", "zu oft falsch eingegeben"),
        ("pending", "still open", "noch offen"),
    ],
)
async def test_every_end_has_words(people, status, english, german):
    await people.link()
    await people.asked("telegram", "user-42", status=status)
    for language, words in (("en", english), ("de", german)):
        [reply] = await people.command("codes", language=language)
        assert reply.text.endswith(f" · {words}")


async def test_a_pending_one_whose_time_is_over_has_expired(people, clock):
    await people.link()
    await people.asked("telegram", "user-42", status="pending")
    clock.advance(300)
    [reply] = await people.command("codes")
    assert reply.text.endswith(" · expired")


async def test_the_last_five_are_shown_the_latest_first(people, clock):
    await people.link()
    for number in range(SHOWN + 2):
        clock.advance(60)
        await people.asked("telegram", "user-42", client_reference=f"place {number}")
    [reply] = await people.command("codes")
    shown = [line.partition(" · ")[0] for line in reply.text.splitlines() if line.startswith("<code>")]
    assert shown == [f"<code>place {number}</code>" for number in (6, 5, 4, 3, 2)]


async def test_codes_to_a_proved_number_are_shown_whatever_the_service(people):
    await people.asked("phone", PHONE, service="bank")
    await people.share()
    await people.asked("phone", PHONE, service="shop")
    [reply] = await people.command("codes")
    assert [line.rpartition("<b>")[2] for line in reply.text.splitlines() if "UTC" in line] == [
        "Shop &lt;b&gt;&amp;&#34;</b>".rpartition("<b>")[2],
        "Bank</b>",
    ]


async def test_one_that_went_to_both_is_shown_once(people):
    await people.link()
    await people.share()
    await people.asked("telegram", "user-42")
    [reply] = await people.command("codes")
    assert reply.text.count("UTC") == 1


async def test_what_is_older_than_the_link_or_the_proof_may_be_another_persons(people, clock):
    await people.asked("telegram", "user-42")
    await people.asked("phone", PHONE)
    clock.advance(601)
    await people.link()
    await people.share()
    [reply] = await people.command("codes")
    assert NONE in reply.text


async def test_what_caused_the_link_or_the_proof_is_shown(people, clock):
    await people.asked("telegram", "user-42")
    await people.asked("phone", PHONE)
    clock.advance(599)
    await people.link()
    await people.share()
    [reply] = await people.command("codes")
    assert reply.text.count("UTC") == 2


async def test_a_reference_means_somebody_else_elsewhere(people):
    await people.link("shop")
    await people.asked("telegram", "user-42", service="bank")
    [reply] = await people.command("codes")
    assert NONE in reply.text


async def test_other_chats_see_nothing_of_it(people):
    await people.link()
    await people.share()
    await people.asked("telegram", "user-42")
    await people.asked("phone", PHONE)
    await people.link("bank", chat=OTHER_CHAT)
    [reply] = await people.command("codes", chat=OTHER_CHAT)
    assert NONE in reply.text


async def test_after_a_stop_nothing_is_shown(people):
    await people.link()
    await people.asked("telegram", "user-42")
    await people.press("stop:yes")
    [reply] = await people.command("codes")
    assert "No service is connected" in reply.text


async def test_what_a_service_asks_for_is_shown_while_it_is_open_and_after(talk):
    await talk.link()
    view = await talk.verify()
    [reply] = await talk.say(command="codes")
    assert reply.text.endswith("Shop &amp; Söhne</b>\nunknown place · still open")
    await talk.world.checking.cancel("shop", view.id)
    [reply] = await talk.say(command="codes")
    assert reply.text.endswith("unknown place · canceled")
