"""What is asked first: a greeting, a link, help."""

from __future__ import annotations

import pytest

from gateway.delivery.person import Question

INVALID = "does not work"


async def test_a_start_without_a_link_is_greeted(people):
    [reply] = await people.command("start")
    assert "<b>Hello!</b>" in reply.text


async def test_a_start_with_a_services_link_asks_to_connect(people):
    view = await people.subscribers.create(await people.subscribers.prepare("shop", "user-42", None))
    [reply] = await people.command("start", view.link.rpartition("=")[2])
    assert [button.data for button in reply.buttons[0]] == [f"yes:{view.id}", f"no:{view.id}"]
    assert people.core.asked == []


async def test_a_start_with_a_challenges_link_asks_the_question(people):
    people.core.challenges["token"] = Question("ver_1", "shop", "+49•••678", needs_phone=False)
    [reply] = await people.command("start", "token")
    assert [button.data for button in reply.buttons[0]] == ["in:ver_1", "out:ver_1"]


@pytest.mark.parametrize("token", ["forged", "x" * 5000, "ü", "\ud800", "\0"])
async def test_a_start_with_nothing_known_is_told_so(people, token):
    [reply] = await people.command("start", token)
    assert (INVALID in reply.text, reply.buttons) == (True, ())


@pytest.mark.parametrize("command", ["help", "settings", "privacy"])
async def test_help_names_every_command_that_does_something(people, command):
    [reply] = await people.command(command)
    for name in ("codes", "link", "unlink", "lang", "mute", "unmute", "lock", "stop"):
        assert f"/{name}" in reply.text


async def test_a_chat_that_only_asks_is_not_kept(people):
    await people.command("start")
    await people.command("help")
    await people.command("codes")
    assert await people.known() is None
