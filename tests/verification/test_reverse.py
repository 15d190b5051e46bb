"""Reverse verification: nothing is sent, one chat opens, and only the address's person approves; on both engines."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from channels.base import Address
from channels.kinds import KINDS
from gateway.clock import rfc3339
from gateway.config import ServiceSettings
from gateway.delivery.person import Question, Reach, Reported, Unheard, Verdict
from gateway.errors import AlreadyApproved, Gone, InvalidRequest, RecipientRefused, Unavailable
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.statement import insert_into
from gateway.storage.unit import Move
from gateway.verification.request import Asked
from gateway.verification.reverse import MAX_MISSES, MOST_OPENED, Reverse
from tests.world import EMAIL, PHONE, Scripted, Talker, World

CHAT, OTHER = b"c" * 32, b"o" * 32
REFERENCE = {"telegram": "user-42"}


class Deaf(Talker):
    """A bot that only sends."""

    @property
    def listens(self) -> bool:
        return False


class Nameless(Talker):
    """A bot without a link."""

    async def link(self, token: str) -> str | None:
        return None


def channels(bot: type[Talker] = Talker) -> dict[str, Scripted]:
    return {"bot": bot("bot", ["telegram", "phone"]), "sms": Scripted("sms", ["phone"])}


@pytest.fixture
def service() -> ServiceSettings:
    return ServiceSettings(name="Shop", channels=("bot", "sms"))


async def someone(_service: str, address: Address) -> Reach:
    """The reference of these tests is linked, everybody else is a stranger."""
    return Reach(chat="4242") if address.value == REFERENCE["telegram"] else Reach()


@pytest.fixture
async def world(database, clock, sealer, hasher, service) -> World:
    world = World(database, clock, sealer, hasher, channels(), service=service, resolve=someone)
    await link_reference(world, CHAT)
    return world


@pytest.fixture
def phone_hash(hasher) -> bytes:
    return bytes(hasher.hash("phone", PHONE))


async def asked(world, to: Any = None, **more: Any):
    return await world.start(REFERENCE if to is None else to, mode="inbound", **more)


def token(view) -> str:
    return str(view.link).rpartition("=")[2]


def of(world, name, *values):
    async def work(connection):
        return await getattr(world.reverse, name)(connection, *values, world.clock.now())

    return world.database.run(work)


def opened(world, given, chat=CHAT, phone=None):
    return of(world, "open", given, chat, phone)


def declined(world, view, chat=CHAT, phone=None):
    return of(world, "decline", view.id, chat, phone)


def answered(world, view, chat=CHAT, phone=None):
    return of(world, "answer", view.id, chat, phone)


async def link_reference(world, chat_hash, status="linked"):
    """Link the reference to a chat, and to no other."""
    await unlink_reference(world)
    hashed = world.hasher.hash("telegram", "user-42")
    row = ("sub_1", "shop", hashed, b"", status, None, chat_hash, None, None, None, None, 0.0, None)
    await world.database.write(Move(None, [(insert_into(models.Subscriber), row)]))


async def unlink_reference(world):
    await world.database.run(lambda connection: connection.fetch("DELETE FROM subscriber RETURNING id"))


# Starting


async def test_nothing_is_sent_and_there_is_no_code(world, database, clock):
    view = await asked(world)
    assert (view.status, view.channel, list(view.next_channels), list(view.messages)) == ("pending", "bot", [], [])
    assert (view.checks_left, view.to) == (0, {"telegram": "u•••2"})
    assert (view.expires_at, view.resend_at) == (clock.now() + 300, clock.now() + 300)
    assert view.link == f"https://bot.test/?start={token(view)}"
    assert world.handed_over == []
    [record] = await database.fetch("SELECT code_sealed, params_sealed FROM verification")
    assert (record["code_sealed"], record["params_sealed"]) == (None, None)
    assert await database.fetch("SELECT 1 FROM message UNION SELECT 1 FROM cooldown") == []


async def test_what_is_read_back_shows_neither_challenge_nor_link(world):
    view = await asked(world, {"phone": PHONE, **REFERENCE}, purpose="login", locale="de")
    again = await world.look(view)
    assert (again.link, again.challenge) == (None, None)
    names = ("id", "status", "to", "channel", "next_channels", "expires_at", "resend_at", "checks_left", "locale")
    assert [getattr(again, name) for name in names] == [
        list(value) if name == "next_channels" else value for name in names for value in [getattr(view, name)]
    ]
    assert [event.name for event in again.events] == ["verification.created"]


async def test_neither_challenge_nor_token_can_be_read_from_the_database(world, database):
    view = await asked(world)
    secrets = [view.challenge.encode(), view.challenge.replace("-", "").encode(), token(view).encode()]
    for table in ("verification", "challenge", "event", "address"):
        for record in await database.fetch(f"SELECT * FROM {table}"):
            assert [secret for secret in secrets if secret in repr(dict(record)).encode()] == []
    assert not [secret for secret in secrets if secret.decode() in repr(view)]


async def test_a_person_may_be_asked_again_at_once(world):
    """Nothing was sent, so there is nothing to wait for."""
    assert (await asked(world)).id != (await asked(world)).id


async def test_its_life_may_be_shorter_and_no_longer(world, clock):
    assert (await asked(world, ttl=60)).expires_at == clock.now() + 60
    with pytest.raises(InvalidRequest):
        await asked(world, ttl=601)


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"length": 6}, "/code"),
        ({"alphabet": "digits"}, "/code"),
        ({"params": {"name": "Ann"}}, "/params"),
        ({"channels": ["sms"]}, "/mode"),
        ({"channels": ["pigeon"]}, "/channels/0"),
        ({"to": {**REFERENCE, "email": EMAIL}}, "/to/email"),
        ({"to": {}}, "/to"),
    ],
)
async def test_what_means_nothing_without_a_message_is_refused_by_name(world, more, pointer):
    with pytest.raises(InvalidRequest) as caught:
        await world.verifications.prepare("shop", Asked(**{"to": REFERENCE, "mode": "inbound", **more}))
    assert [fault.pointer for fault in caught.value.errors] == [pointer]


@pytest.mark.parametrize("bot", [Deaf, Nameless])
async def test_a_bot_that_hears_nobody_or_cannot_be_opened_is_refused(database, clock, sealer, hasher, service, bot):
    world = World(database, clock, sealer, hasher, channels(bot), service=service, resolve=someone)
    with pytest.raises(InvalidRequest) as caught:
        await asked(world)
    assert [fault.pointer for fault in caught.value.errors] == ["/mode"]


async def test_who_has_locked_codes_is_not_asked_either(database, clock, sealer, hasher, service):
    async def resolve(*_):
        return Reach("4242", locked_until=clock.now() + 60)

    world = World(database, clock, sealer, hasher, channels(), service=service, resolve=resolve)
    with pytest.raises(RecipientRefused) as caught:
        await asked(world)
    assert caught.value.detail == f"the person has locked codes until {rfc3339(clock.now() + 60)}"


async def test_a_challenge_that_somebody_has_is_not_given_to_another(database, clock, sealer, hasher, service):
    world = World(database, clock, sealer, hasher, channels(), service=service, resolve=someone)
    reverse = Reverse(
        database=database,
        sealer=sealer,
        hasher=hasher,
        queue=world.queue,
        clock=clock,
        channels=world.channels,
        services={"shop": service},
        random_below=lambda _: 7,
    )
    world.verifications._reverse = reverse
    first = await asked(world)
    with pytest.raises(Unavailable) as caught:
        await asked(world)
    assert caught.value.headers == {"Retry-After": "1"}
    assert (await opened(world, first.challenge)).verification_id == first.id
    assert len(await database.fetch("SELECT id FROM verification")) == 1


# Opening


@pytest.mark.parametrize("by", ["link", "challenge", "typed"])
async def test_a_chat_opens_it_by_the_link_or_by_typing(world, by):
    view = await asked(world)
    typed = f" {view.challenge.lower().replace('-', ' ')} "
    given = {"link": token(view), "challenge": view.challenge, "typed": typed}[by]
    assert await opened(world, given) == Question(view.id, "shop", "u•••2", needs_phone=False)


async def test_the_person_is_asked_for_what_it_is_bound_to_but_not_for_the_session(world):
    view = await asked(world, bind={"session": "s-91", "amount": "12.00 EUR", "payee": "Books"})
    question = await opened(world, token(view))
    assert question.details == (("amount", "12.00 EUR"), ("payee", "Books"))
    assert "Books" not in repr(question)
    assert await answered(world, view) is Verdict.APPROVED


async def test_nobody_is_asked_what_the_gateway_cannot_read_itself(world, database):
    view = await asked(world, bind={"amount": "12.00 EUR"})
    await opened(world, token(view))
    break_ = "UPDATE verification SET bind_sealed = :blob WHERE id = :id RETURNING id"
    await database.run(lambda connection: connection.fetch(break_, id=view.id, blob=b"\x01\x02k9" + bytes(40)))
    assert await opened(world, token(view)) is None
    assert await answered(world, view) is Verdict.GONE


async def test_no_more_is_bound_than_a_message_in_a_chat_can_show(world):
    long = {f"n{number}": "x" * 200 for number in range(5)}
    with pytest.raises(InvalidRequest) as caught:
        await asked(world, bind=long)
    assert [fault.pointer for fault in caught.value.errors] == ["/bind"]
    assert await asked(world, bind={**dict(list(long.items())[:4]), "session": "x" * 200})


async def test_opening_it_again_asks_again(world):
    view = await asked(world)
    assert await opened(world, token(view)) == await opened(world, view.challenge) != None  # noqa: E711 - all three


@pytest.mark.parametrize("first", ["link", "challenge"])
async def test_another_chat_opens_it_by_neither(world, first):
    view = await asked(world)
    ways = {"link": token(view), "challenge": view.challenge}
    assert await opened(world, ways[first])
    assert [await opened(world, given, OTHER) for given in ways.values()] == [None, None]
    assert await answered(world, view, OTHER) is Verdict.GONE


async def test_of_chats_at_once_one_opens_it(world, make_engine, clock, sealer, hasher):
    async with Database(make_engine()) as database:
        other = World(
            database, clock, sealer, hasher, channels(), node="node-b", service=world.service, resolve=someone
        )
        for _ in range(5):
            view = await asked(world)
            ways = (view.challenge, token(view))
            tries = [(side, given, bytes([n]) * 32) for n in range(8) for side in (world, other) for given in ways]
            questions = await asyncio.gather(*(opened(side, given, chat) for side, given, chat in tries))
            winners = {chat for question, (_, _, chat) in zip(questions, tries, strict=True) if question}
            assert len(winners) == 1


@pytest.mark.parametrize(
    "given", ["", "2345-CFGH", "x" * 22, "hello", "\ufb00345CFG", "not:ver_1", "\0", "\ud800", "x" * 65]
)
async def test_what_opens_nothing_opens_nothing(world, given):
    await asked(world)
    assert await opened(world, given) is None


async def test_what_has_ended_or_expired_cannot_be_opened(world, clock):
    ended, late = await asked(world), await asked(world)
    await world.checking.cancel("shop", ended.id)
    assert await opened(world, token(ended)) is None
    clock.advance(300)
    assert await opened(world, late.challenge) is None


async def test_a_chat_is_asked_for_its_phone_where_a_phone_is_to_be_proved(world, phone_hash, hasher):
    view = await asked(world, {**REFERENCE, "phone": PHONE})
    question = await opened(world, token(view))
    assert question == Question(view.id, "shop", KINDS["phone"](PHONE).masked, needs_phone=True)
    for proved in (phone_hash, hasher.hash("phone", "+4915112345679")):
        assert not (await opened(world, token(view), phone=proved)).needs_phone


async def test_a_chat_is_asked_anew_about_the_latest_it_has_opened_and_opens_any(world, clock, phone_hash):
    """Each is a message: whoever begins hundreds, and opens them, would have hundreds sent by sharing a contact."""
    views = []
    for _ in range(MOST_OPENED + 2):
        views.append(await asked(world, {"phone": PHONE}))
        clock.advance(1)
    for view in views[::-1]:
        assert (await opened(world, view.challenge)).verification_id == view.id
    listed = await of(world, "opened", CHAT, phone_hash)
    assert [question.verification_id for question in listed] == [view.id for view in views[-MOST_OPENED:]]


async def test_what_a_chat_has_opened_and_not_answered_is_listed_oldest_first(world, clock, phone_hash):
    views = [await asked(world, {"phone": PHONE}) for _ in range(4)]
    for view in reversed(views):
        await opened(world, view.challenge)
    await answered(world, views[1], phone=phone_hash)
    listed = await of(world, "opened", CHAT, phone_hash)
    assert [question.verification_id for question in listed] == [views[0].id, views[2].id, views[3].id]
    assert await of(world, "opened", OTHER, phone_hash) == []
    clock.advance(300)
    assert await of(world, "opened", CHAT, phone_hash) == []


async def test_a_chat_that_guesses_is_not_heard_for_an_hour_and_others_are(world, clock):
    view = await asked(world)
    guesses = await asyncio.gather(*(opened(world, "22222222") for _ in range(MAX_MISSES + 5)))
    assert guesses.count(Unheard.TOO_OFTEN) == 5
    assert guesses.count(None) == MAX_MISSES
    assert await opened(world, view.challenge) is Unheard.TOO_OFTEN
    assert (await opened(world, view.challenge, OTHER)).verification_id == view.id
    other = await asked(world)
    assert (await opened(world, token(other))).verification_id == other.id
    clock.advance(3600)
    later = await asked(world)
    assert (await opened(world, later.challenge)).verification_id == later.id


async def test_a_challenge_that_opens_counts_as_no_guess(world):
    view = await asked(world)
    for _ in range(MAX_MISSES - 1):
        await opened(world, "22222222")
    for _ in range(3):
        assert (await opened(world, view.challenge)).verification_id == view.id


# Answering


async def test_confirming_approves_once(world):
    view = await asked(world)
    await opened(world, token(view))
    assert [await answered(world, view) for _ in range(2)] == [Verdict.APPROVED, Verdict.GONE]
    shown = await world.look(view)
    assert (shown.status, list(shown.messages)) == ("approved", [])
    assert [event.name for event in shown.events] == ["verification.created", "verification.approved"]
    assert shown.events[-1].details == {"milliseconds": 0.0}


async def test_of_confirmations_at_once_one_approves(world):
    view = await asked(world)
    await opened(world, token(view))
    verdicts = await asyncio.gather(*(answered(world, view) for _ in range(8)))
    assert sorted(verdicts) == [Verdict.APPROVED, *[Verdict.GONE] * 7]


async def test_what_was_not_opened_cannot_be_confirmed(world):
    assert await answered(world, await asked(world)) is Verdict.GONE


@pytest.mark.parametrize("given", ["", "ver_1", f"ver_{'0' * 36}", "ver_\0", "\ud800"])
async def test_what_is_no_verification_cannot_be_answered(world, given):
    assert await of(world, "answer", given, CHAT, None) is Verdict.GONE
    assert await of(world, "decline", given, CHAT, None) is None


async def test_confirming_too_late_is_no_use(world, clock):
    view = await asked(world)
    await opened(world, token(view))
    clock.advance(300)
    assert await answered(world, view) is Verdict.GONE
    assert (await world.look(view)).status == "expired"


async def test_a_phone_is_approved_by_the_chat_that_proved_it(world, phone_hash, hasher):
    view = await asked(world, {"phone": PHONE})
    await opened(world, token(view))
    assert await answered(world, view) is Verdict.NEEDS_PHONE
    assert await answered(world, view, phone=hasher.hash("phone", "+4915112345679")) is Verdict.WRONG_PERSON
    assert (await world.look(view)).status == "pending"
    assert await answered(world, view, phone=phone_hash) is Verdict.APPROVED


async def test_a_phone_is_not_proved_by_a_reference_that_reads_like_it(world, hasher):
    view = await asked(world, {"telegram": PHONE, "phone": "+4915112345679"})
    await opened(world, token(view))
    assert await answered(world, view, phone=hasher.hash("phone", PHONE)) is Verdict.WRONG_PERSON


@pytest.mark.parametrize("status", ["linked", "blocked"])
async def test_a_reference_of_another_chat_is_not_approved(world, status):
    await link_reference(world, OTHER, status)
    view = await asked(world)
    await opened(world, token(view))
    assert await answered(world, view) is Verdict.WRONG_PERSON
    assert (await world.look(view)).status == "pending"


async def test_a_reference_of_this_chat_is_approved(world):
    view = await asked(world)
    await opened(world, token(view))
    assert await answered(world, view) is Verdict.APPROVED


async def test_a_reference_that_nobody_linked_is_not_asked_for_alone(world):
    """Whoever sees the link could approve it, and at a sign-in that is whoever asked for it."""
    with pytest.raises(InvalidRequest) as refused:
        await asked(world, {"telegram": "stranger"})
    assert [fault.pointer for fault in refused.value.errors] == ["/to/telegram"]


async def test_a_reference_whose_link_was_taken_back_meanwhile_is_nobodys(world):
    view = await asked(world)
    await opened(world, token(view))
    await unlink_reference(world)
    assert await answered(world, view) is Verdict.WRONG_PERSON
    assert (await world.look(view)).status == "pending"


async def test_beside_a_proved_phone_a_reference_may_be_unlinked_and_stays_so(world, database, phone_hash):
    await unlink_reference(world)
    view = await asked(world, {"telegram": "stranger", "phone": PHONE})
    await opened(world, token(view))
    assert await answered(world, view, phone=phone_hash) is Verdict.APPROVED
    assert await database.fetch("SELECT id FROM subscriber") == []


async def test_a_reference_and_a_phone_must_both_be_theirs(world, phone_hash):
    await link_reference(world, OTHER)
    view = await asked(world, {**REFERENCE, "phone": PHONE})
    await opened(world, token(view))
    assert await answered(world, view, phone=phone_hash) is Verdict.WRONG_PERSON


async def test_what_was_erased_is_nobodys(world, database):
    view = await asked(world)
    await opened(world, token(view))
    erase = "UPDATE verification SET route_sealed = NULL, to_masked = '{}' WHERE id = :id RETURNING id"
    await database.run(lambda connection: connection.fetch(erase, id=view.id))
    assert await opened(world, token(view)) == Question(view.id, "shop", "", needs_phone=False)
    assert await answered(world, view) is Verdict.WRONG_PERSON
    assert await declined(world, view) is None


@pytest.mark.parametrize("to", [REFERENCE, {"phone": PHONE}, {**REFERENCE, "phone": PHONE}], ids=str)
async def test_saying_no_cancels_and_tells_the_service(world, to, phone_hash):
    view = await asked(world, to)
    await opened(world, token(view))
    assert await declined(world, view, OTHER, phone_hash) is None
    for _ in range(2):
        assert await declined(world, view, CHAT, phone_hash) == Reported("shop", canceled=True)
    assert await answered(world, view) is Verdict.GONE
    assert await world.events(view) == ["verification.created", "verification.reported", "verification.canceled"]


@pytest.mark.parametrize("proved", [None, b"another number"])
async def test_whoever_opened_somebody_elses_cancels_it_and_reports_nothing_in_their_name(world, proved):
    view = await asked(world, {"phone": PHONE})
    await opened(world, token(view), phone=proved)
    for _ in range(2):
        assert await declined(world, view, phone=proved) == Reported("shop", canceled=True)
    assert await world.events(view) == ["verification.created", "verification.canceled"]


async def test_a_chat_that_a_reference_has_left_reports_nothing_of_it(world):
    view = await asked(world)
    await opened(world, token(view))
    await link_reference(world, OTHER)
    await declined(world, view)
    assert await world.events(view) == ["verification.created", "verification.canceled"]


# What does not apply


async def test_a_challenge_is_no_code_and_costs_no_check(world, database):
    view = await asked(world)
    for given in (view.challenge, view.challenge.replace("-", ""), "492039"):
        with pytest.raises(InvalidRequest) as caught:
            await world.checking.check("shop", view.id, given)
        assert given not in str(caught.value)
    [record] = await database.fetch("SELECT status, checks FROM verification")
    assert (record["status"], record["checks"]) == ("pending", 0)


async def test_there_is_nothing_to_send_again(world):
    view = await asked(world)
    with pytest.raises(InvalidRequest):
        await world.verifications.resend("shop", view.id, None)
    assert (await world.look(view)).status == "pending"


async def test_after_its_end_it_answers_like_any_other(world, clock):
    approved, canceled, late = [await asked(world) for _ in range(3)]
    await opened(world, token(approved))
    await answered(world, approved)
    await world.checking.cancel("shop", canceled.id)
    with pytest.raises(AlreadyApproved):
        await world.checking.check("shop", approved.id, "492039")
    with pytest.raises(Gone, match="canceled"):
        await world.verifications.resend("shop", canceled.id, None)
    clock.advance(300)
    with pytest.raises(Gone, match="expired"):
        await world.checking.check("shop", late.id, "492039")


async def test_challenges_are_forgotten_when_their_time_is_over(world, clock, database):
    await asked(world, ttl=60)
    await asked(world)
    assert await world.reverse.forget() == 0
    clock.advance(60)
    assert await world.reverse.forget() == 2
    assert len(await database.fetch("SELECT hash FROM challenge")) == 2
