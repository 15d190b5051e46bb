"""A lock lasts an hour, says until when, and is prolonged by the next."""

from __future__ import annotations

import pytest

from gateway.conversation.commands.locking import LOCK


@pytest.mark.parametrize("ask", [lambda people: people.command("lock"), lambda people: people.press("lock:")])
async def test_a_lock_lasts_an_hour(people, clock, ask):
    await people.link("shop")
    [reply] = await ask(people)
    assert "Until <b>11:40 UTC</b>" in reply.text
    assert reply.replaces is None
    assert (await people.known())["locked_until"] == clock.now() + LOCK
    assert (await people.events())[-1] == "locked"


async def test_another_prolongs_it(people, clock):
    await people.link("shop")
    await people.command("lock")
    clock.advance(1200.5)
    [reply] = await people.command("lock")
    assert "Until <b>12:01 UTC</b>" in reply.text
    assert (await people.known())["locked_until"] == clock.now() + LOCK


async def test_who_proved_a_number_can_lock_it(people):
    await people.share()
    [reply] = await people.command("lock")
    assert "Until <b>" in reply.text


@pytest.mark.parametrize("ask", [lambda people: people.command("lock"), lambda people: people.press("lock:")])
async def test_where_nothing_is_connected_no_protection_is_promised(people, ask):
    [reply] = await ask(people)
    assert "No service is connected" in reply.text
    assert await people.known() is None


async def test_it_is_said_in_the_persons_language(people):
    await people.link("shop")
    [reply] = await people.command("lock", language="de")
    assert reply.text.startswith("Bis <b>11:40 UTC</b>")


@pytest.mark.parametrize("forged", ["lock:\0", "lock:999999"])
async def test_a_changed_client_locks_nothing_by_rubbish(people, forged):
    [reply] = await people.press(forged)
    assert "I do not understand" in reply.text
    assert await people.known() is None
