"""Erasing from what the bots know: nothing that names anybody stays, and what they forbade is obeyed."""

from __future__ import annotations

import pytest

from channels.chat import Reply
from channels.kinds import KINDS
from gateway.conversation import chats, erasing
from gateway.conversation.erasing import Forgetting
from gateway.delivery.person import Whom
from gateway.errors import RecipientRefused
from gateway.storage import models
from gateway.storage.sealing import Sealer
from gateway.storage.unit import Move
from gateway.verification.addressee import read
from tests.conversation.conftest import CHAT, OTHER_CHAT
from tests.rows import put, row
from tests.world import PHONE


def named(talk, to: str, service: str | None = "shop") -> Whom:
    return read(KINDS, to, {"telegram"}).whom(talk.world.hasher, service)


@pytest.fixture
def forget(talk):
    """Erase whoever is called so by the shop."""
    forgetting = Forgetting(
        database=talk.world.database,
        sealer=talk.world.sealer,
        hasher=talk.world.hasher,
        replies=talk.replies,
    )

    async def forget(to: str, service: str | None = "shop"):
        return await forgetting.forget(named(talk, to, service), talk.world.clock.now())

    return forget


async def prove(talk, phone=PHONE, chat=CHAT):
    await talk.turned(lambda turn: chats.prove(turn, KINDS["phone"](phone)), chat)


async def test_a_reference_goes_with_its_link_and_its_chat(talk, forget):
    linked = await talk.link()
    leaving = await forget("user-42")
    assert ({linked.id}, 1) == (leaving.subscribers, len(leaving.chats))
    assert [await talk.rows("subscriber"), await talk.rows("chat")] == [[], []]
    assert (await talk.events())[-1] == ("subscriber.unlinked", "shop", None)


async def test_what_is_known_of_somebody_is_counted_before_anything_of_it_goes(talk):
    linked = await talk.link()
    await prove(talk)
    forgetting = Forgetting(
        database=talk.world.database, sealer=talk.world.sealer, hasher=talk.world.hasher, replies=talk.replies
    )
    before = await talk.rows("chat")
    leaving = await forgetting.known(named(talk, "user-42"))
    assert (leaving.subscribers, leaving.services) == (frozenset({linked.id}), frozenset({"shop"}))
    assert len(leaving.chats) == 1
    assert leaving.chats == (await forgetting.known(named(talk, PHONE))).chats
    assert await talk.rows("chat") == before


async def test_another_services_person_of_the_same_reference_stays(talk, forget):
    await talk.link()
    other = await talk.link(OTHER_CHAT, service="bank")
    await forget("user-42")
    assert [other.id] == [row["id"] for row in await talk.rows("subscriber")]
    assert len(await talk.rows("chat")) == 1
    await forget("user-42", None)
    assert await talk.rows("subscriber") == []


async def test_a_chat_that_somebody_else_is_reached_in_stays(talk, forget):
    await talk.link()
    await talk.link(reference="user-43")
    await forget("user-42")
    assert len(await talk.rows("chat")) == 1
    assert (await talk.subscribers.resolve("shop", KINDS["telegram"]("user-43"))).chat == CHAT


async def test_a_proved_number_is_taken_out_of_a_chat_that_stays(talk, forget):
    await talk.link()
    await prove(talk)
    await forget(PHONE)
    [row] = await talk.rows("chat")
    assert [row[name] for name in ("phone_hash", "phone_sealed", "phone_masked", "proved_at")] == [None] * 4
    assert (await talk.subscribers.resolve("shop", KINDS["phone"](PHONE))).chat is None


async def test_whom_a_service_told_the_number_of_goes_with_it(talk, forget):
    for number in range(erasing.PAGE + 1):
        await talk.invite(f"somebody-{number}")
    await talk.invite("user-42", PHONE)
    await talk.invite("user-43", "+4915112345679")
    assert len((await forget(PHONE)).subscribers) == 1
    assert len(await talk.rows("subscriber")) == erasing.PAGE + 2


async def test_a_subscriber_nobody_can_open_is_nobodys(talk, forget, ring):
    await talk.invite("user-42", PHONE)
    other = Sealer([type(ring[0])("k9", bytes(reversed(range(32))))])
    foreign = other.seal(b"{}", "subscriber.person/x")
    await talk.world.database.run(
        lambda connection: connection.fetch("UPDATE subscriber SET person_sealed = :blob RETURNING id", blob=foreign)
    )
    assert (await forget(PHONE)).subscribers == frozenset()


async def test_a_mute_is_kept_and_obeyed_when_the_chat_is_linked_again(talk, forget):
    await talk.link()
    await talk.turned(lambda turn: chats.mute(turn, "shop"))
    await forget("user-42")
    assert [row["service"] for row in await talk.rows("mute")] == ["shop"]
    await talk.link()
    assert (await talk.subscribers.resolve("shop", KINDS["telegram"]("user-42"))).muted
    with pytest.raises(RecipientRefused):
        await talk.verify()


async def test_a_lock_is_obeyed_until_its_time_is_over(talk, forget, clock):
    await talk.link()
    await prove(talk)
    until = clock.now() + 3600
    await talk.turned(lambda turn: chats.lock(turn, until))
    for to in ("user-42", PHONE):
        await forget(to)
    assert [
        (bytes(row["chat_sealed"]), row["phone_sealed"], row["phone_masked"]) for row in await talk.rows("chat")
    ] == [(b"", None, None), (b"", None, None)]
    for kind, to in (("telegram", "user-42"), ("phone", PHONE)):
        reach = await talk.subscribers.resolve("shop", KINDS[kind](to))
        assert (until, None, None) == (reach.locked_until, reach.chat, reach.blocked)
        with pytest.raises(RecipientRefused, match="locked"):
            await talk.world.start({kind: to}, channels=["bot"])
    assert (await talk.subscribers.resolve("bank", KINDS["telegram"]("user-42"))).locked_until is None
    clock.advance(3599)
    assert await erasing.forget_locks(talk.world.database, clock.now()) == 0
    clock.advance(1)
    assert await erasing.forget_locks(talk.world.database, clock.now()) == 2
    assert await talk.rows("chat") == []


async def test_a_number_that_is_locked_and_erased_can_be_proved_anew(talk, forget, clock):
    await prove(talk)
    await talk.turned(lambda turn: chats.lock(turn, clock.now() + 3600))
    await forget(PHONE)
    await forget(PHONE)
    # Nobody is told that the number has moved: who had it is not known any more.
    assert await talk.turned(lambda turn: chats.prove(turn, KINDS["phone"](PHONE)), OTHER_CHAT) is None
    assert (await talk.subscribers.resolve("shop", KINDS["phone"](PHONE))).chat == OTHER_CHAT


async def test_answers_on_their_way_to_the_chat_go_and_others_stay(talk, forget, clock):
    await talk.link()
    for chat in (CHAT, OTHER_CHAT):
        _, write = talk.replies.write("bot", chat, Reply("Hello"), clock.now())
        await talk.world.database.write(Move(None, [write]))
    broken = row(models.OutgoingReply, id="rep_1", channel="bot", sealed=b"nothing that opens")
    await put(talk.world.database, models.OutgoingReply, broken)
    await forget("user-42")
    assert len(await talk.rows("reply")) == 2
