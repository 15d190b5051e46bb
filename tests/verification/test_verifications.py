"""Starting and resending, on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from channels.base import Address, Reason
from gateway.config import CodeSettings, LimitSettings, ServiceSettings
from gateway.delivery.person import Invitation, Reach
from gateway.errors import Cooldown, Gone, InvalidRequest, NotFound, RateLimited, RecipientRefused
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.statement import insert_into
from gateway.storage.unit import Move, Record
from gateway.verification.request import Asked
from tests.world import EMAIL, PHONE, Scripted, World, refused, two_channels, unwritten

BOTH = {"phone": PHONE, "email": EMAIL}


@pytest.fixture
def make_world(database, clock, sealer, hasher):
    def make(**settings: Any) -> World:
        code = settings.pop("code", CodeSettings())
        limits = settings.pop("limits", LimitSettings(cooldown=30))
        service = ServiceSettings(name="Shop", channels=("sms", "email"), code=code, limits=limits, **settings)
        return World(database, clock, sealer, hasher, two_channels(), service=service)

    return make


@pytest.fixture
def world(make_world: Callable[[], World]) -> World:
    return make_world()


async def test_a_started_verification_shows_masked_addresses_and_its_route(world, clock):
    view = await world.start(BOTH, purpose="login", locale="de-AT")
    assert view.status == "pending"
    assert view.to == {"phone": "+49••••••••678", "email": view.to["email"]}
    assert EMAIL not in repr(view)
    assert (view.channel, list(view.next_channels)) == ("sms", ["email"])
    assert view.expires_at == clock.now() + 300
    assert view.resend_at == clock.now() + 30
    assert view.checks_left == 5


async def test_what_is_read_back_is_what_was_answered(world):
    view = await world.start(BOTH)
    again = await world.look(view)
    for name in (
        "id",
        "status",
        "to",
        "channel",
        "next_channels",
        "created_at",
        "expires_at",
        "resend_at",
        "checks_left",
    ):
        assert getattr(again, name) == getattr(view, name), name


async def test_channels_without_an_address_are_skipped(world):
    view = await world.start({"email": EMAIL})
    assert (view.channel, list(view.next_channels)) == ("email", [])


async def test_a_request_may_choose_its_route(world):
    view = await world.start(BOTH, channels=["email", "sms"])
    assert (view.channel, list(view.next_channels)) == ("email", ["sms"])


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"to": {}}, "/to"),
        ({"to": {"fax": "1"}}, "/to/fax"),
        ({"to": {"phone": "12345"}}, "/to/phone"),
        ({"to": {"telegram": "user-1"}}, "/to"),
        ({"to": BOTH, "channels": ["pigeon"]}, "/channels/0"),
        ({"to": BOTH, "ttl": 301}, "/ttl"),
        ({"to": BOTH, "ttl": 4}, "/ttl"),
        ({"to": BOTH, "length": 5}, "/code/length"),
        ({"to": BOTH, "length": 11}, "/code/length"),
        ({"to": BOTH, "alphabet": "letters"}, "/code/alphabet"),
        ({"to": BOTH, "value": "123456"}, "/code/value"),
    ],
)
async def test_a_request_that_loosens_or_misses_something_is_refused_by_pointer(world, asked, pointer):
    with pytest.raises(InvalidRequest) as caught:
        await world.verifications.prepare("shop", Asked(**asked))
    assert [error.pointer for error in caught.value.errors] == [pointer]


async def test_a_request_may_tighten_its_policy(world, clock):
    view = await world.start(ttl=60, length=8)
    await world.attempt()
    assert view.expires_at == clock.now() + 60
    assert len(world.code) == 8


async def test_a_service_may_bring_its_own_code_where_its_policy_says_so(make_world):
    world = make_world(code=CodeSettings(custom=True))
    view = await world.start(value="012345")
    await world.attempt()
    assert world.code == "012345"
    await world.checking.check("shop", view.id, "012345")
    with pytest.raises(InvalidRequest):
        await world.verifications.prepare("shop", Asked(to=BOTH, value="12345"))
    with pytest.raises(InvalidRequest):
        await world.verifications.prepare("shop", Asked(to=BOTH, value="12345x"))


@pytest.mark.parametrize("phone", ["+15005550006", "+881612345678"])
async def test_costly_numbers_are_refused_unless_the_policy_names_them(make_world, phone):
    with pytest.raises(RecipientRefused):
        await make_world().start({"phone": phone})


async def test_countries_outside_the_policy_are_refused(make_world):
    world = make_world(countries=("FR",))
    with pytest.raises(RecipientRefused):
        await world.start({"phone": PHONE})


async def test_the_sandbox_takes_providers_test_numbers(make_world):
    world = make_world()
    world.verifications._sandbox = True
    assert (await world.start({"phone": "+15005550006"})).status == "pending"


async def test_a_recipient_is_not_sent_to_again_within_the_cooldown(world, clock):
    first = await world.start()
    clock.advance(29)
    with pytest.raises(Cooldown) as caught:
        await world.start()
    assert caught.value.extra["verification"] == first.id
    assert caught.value.headers["Retry-After"] == "1"
    clock.advance(int(caught.value.headers["Retry-After"]))
    assert (await world.start()).id != first.id


async def test_of_parallel_requests_for_one_recipient_one_is_sent(world):
    outcomes = await asyncio.gather(*(world.start() for _ in range(10)), return_exceptions=True)
    refusals = [outcome for outcome in outcomes if isinstance(outcome, Cooldown)]
    [started] = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert len(refusals) == 9
    assert {refusal.extra["verification"] for refusal in refusals} == {started.id}
    assert len(world.handed_over) == 1


async def test_an_approval_ends_the_cooldown(world):
    view = await world.start()
    await world.attempt()
    await world.checking.check("shop", view.id, world.code)
    assert (await world.start()).status == "pending"


async def test_a_failed_route_ends_the_cooldown(world):
    world.channels["sms"].script = [refused(Reason.BLOCKED)]
    view = await world.start()
    await world.attempt()
    assert (await world.look(view)).status == "failed"
    assert (await world.start()).status == "pending"


async def test_a_cancel_does_not_end_the_cooldown(world):
    view = await world.start()
    await world.checking.cancel("shop", view.id)
    with pytest.raises(Cooldown):
        await world.start()


async def test_without_a_cooldown_nothing_is_refused(make_world):
    world = make_world(limits=LimitSettings(cooldown=0, prefix_per_hour=0))
    assert len({(await world.start()).id for _ in range(3)}) == 3


async def test_a_resend_carries_the_same_code_and_does_not_move_the_expiry(world, clock):
    view = await world.start(BOTH)
    await world.attempt()
    clock.advance(30)
    await world.verifications.resend("shop", view.id, None)
    await world.attempt()
    again = await world.look(view)
    first, second = world.channels["sms"].sent
    assert first.code == second.code
    assert again.expires_at == view.expires_at
    assert again.resend_at == clock.now() + 60


async def test_a_resend_keeps_the_count_of_failed_checks(world, clock):
    from gateway.errors import WrongCode

    view = await world.start()
    await world.attempt()
    with pytest.raises(WrongCode):
        await world.checking.check("shop", view.id, f"{(int(world.code) + 1) % 10**6:06}")
    clock.advance(30)
    await world.verifications.resend("shop", view.id, None)
    assert (await world.look(view)).checks_left == 4


async def test_the_cooldown_grows_with_each_send_up_to_four_times(make_world, clock):
    world = make_world(code=CodeSettings(ttl=600), limits=LimitSettings(cooldown=10))
    view = await world.start()
    waits = []
    for _ in range(5):
        clock.advance((await world.look(view)).resend_at - clock.now())
        await world.verifications.resend("shop", view.id, None)
        waits.append(round((await world.look(view)).resend_at - clock.now()))
    assert waits == [20, 30, 40, 40, 40]
    with pytest.raises(Cooldown) as caught:
        await world.verifications.resend("shop", view.id, None)
    # A caller who plans by the base alone would be refused three times more.
    assert (caught.value.headers["RateLimit-Policy"], caught.value.headers["RateLimit"]) == (
        '"cooldown";q=1;w=40',
        '"cooldown";r=0;t=40',
    )


async def test_a_resend_before_its_time_is_refused_and_obeying_it_works(world, clock):
    view = await world.start()
    clock.advance(10.5)
    with pytest.raises(Cooldown) as caught:
        await world.verifications.resend("shop", view.id, None)
    clock.advance(int(caught.value.headers["Retry-After"]))
    await world.verifications.resend("shop", view.id, None)
    assert (await world.look(view)).status == "pending"


async def test_who_resends_too_soon_is_told_to_wait_for_the_limit_that_is_longest(make_world, clock):
    """Told of the cooldown alone, they would return to the next refusal."""
    world = make_world(limits=LimitSettings(cooldown=3, sends_per_10m=2))
    view = await world.start()
    await world.attempt()
    clock.advance(3)
    await world.verifications.resend("shop", view.id, None)
    with pytest.raises(RateLimited) as caught:
        await world.verifications.resend("shop", view.id, None)
    assert (caught.value.extra["limit"], caught.value.headers["Retry-After"]) == ("sends_per_10m", "597")
    with pytest.raises(InvalidRequest, match="/channel"):
        await world.verifications.resend("shop", view.id, "fax")


async def test_of_parallel_resends_one_is_sent(world, clock):
    view = await world.start()
    clock.advance(30)
    outcomes = await asyncio.gather(
        *(world.verifications.resend("shop", view.id, None) for _ in range(8)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes].count(Cooldown) == 7


async def test_a_resend_by_another_channel_of_the_route(world, clock):
    view = await world.start(BOTH)
    await world.attempt()
    clock.advance(30)
    await world.verifications.resend("shop", view.id, "email")
    await world.attempt()
    assert await world.statuses(view) == [("sms", "sent"), ("email", "sent")]
    clock.advance(60)
    with pytest.raises(InvalidRequest):
        await world.verifications.resend("shop", view.id, "pigeon")


async def test_a_resend_keeps_to_the_channels_that_are_still_configured(world, clock):
    view = await world.start(BOTH)
    clock.advance(30)
    del world.verifications._channels["sms"]
    with pytest.raises(InvalidRequest):
        await world.verifications.resend("shop", view.id, "sms")
    await world.verifications.resend("shop", view.id, None)
    assert (await world.look(view)).channel == "email"
    clock.advance(60)
    del world.verifications._channels["email"]
    with pytest.raises(InvalidRequest):
        await world.verifications.resend("shop", view.id, None)


async def test_a_resend_takes_the_place_of_what_is_still_queued(world, clock):
    view = await world.start()
    clock.advance(30)
    await world.verifications.resend("shop", view.id, None)
    await world.attempt()
    await world.attempt()
    assert await world.statuses(view) == [("sms", "canceled"), ("sms", "sent")]
    assert len(world.channels["sms"].sent) == 1


async def test_with_new_codes_only_the_latest_works(make_world, clock):
    world = make_world(code=CodeSettings(resend="new"))
    view = await world.start()
    await world.attempt()
    old = world.code
    clock.advance(30)
    world.verifications._drafting._random_below = lambda _: (int(old) + 1) % 10**6
    await world.verifications.resend("shop", view.id, None)
    await world.attempt()
    from gateway.errors import WrongCode

    with pytest.raises(WrongCode):
        await world.checking.check("shop", view.id, old)
    await world.checking.check("shop", view.id, world.channels["sms"].sent[-1].code)


async def test_an_ended_verification_is_not_sent_again(world, clock):
    view = await world.start()
    await world.checking.cancel("shop", view.id)
    clock.advance(30)
    with pytest.raises(Gone) as caught:
        await world.verifications.resend("shop", view.id, None)
    assert caught.value.code == "canceled"


async def test_another_services_verification_is_not_there(world, clock):
    view = await world.start()
    clock.advance(30)
    with pytest.raises(NotFound):
        await world.verifications.resend("other", view.id, None)
    with pytest.raises(NotFound):
        await world.reading.one("other", view.id)


async def test_a_page_lists_a_services_own_newest_first(world):
    views = [await world.start({"phone": f"+491511234567{n}"}) for n in range(5)]
    first = await world.reading.page("shop", limit=3)
    assert [item.id for item in first.items] == [view.id for view in reversed(views)][:3]
    second = await world.reading.page("shop", limit=3, cursor=first.next_cursor or "")
    assert [item.id for item in second.items] == [view.id for view in reversed(views)][3:]
    assert second.next_cursor is None
    assert (await world.reading.page("other")).items == []


async def test_a_page_can_be_asked_for_a_status_or_an_address(world, hasher, clock):
    ann, bob = await world.start({"email": "Ann+shop@example.org"}), await world.start({"phone": PHONE})
    anns, bobs = hasher.hash("email", "ann@example.org"), hasher.hash("phone", PHONE)
    found = await world.reading.page("shop", to=[anns])
    assert [item.id for item in found.items] == [ann.id]
    found = await world.reading.page("shop", to=[hasher.hash("telegram", PHONE), anns, bobs])
    assert [item.id for item in found.items] == [bob.id, ann.id]
    assert (await world.reading.page("shop", to=[])).items == []
    await world.checking.cancel("shop", bob.id)
    assert [item.id for item in (await world.reading.page("shop", status="canceled")).items] == [bob.id]
    clock.advance(301)
    assert [item.id for item in (await world.reading.page("shop", status="expired")).items] == [ann.id]


async def test_nothing_in_the_database_can_be_read_without_the_keys(world, database):
    await world.start(BOTH, params={"name": "Ann Example"}, bind={"session": "Own Session", "payee": "Fine Books"})
    await world.attempt()
    secrets = [world.code.encode(), PHONE.encode(), EMAIL.encode(), b"Ann Example", b"Own Session", b"Fine Books"]
    for table in ("verification", "message", "attempt", "event", "address", "cooldown"):
        for record in await database.fetch(f"SELECT * FROM {table}"):
            stored = repr(dict(record)).encode()
            assert [secret for secret in secrets if secret in stored] == []


async def test_a_request_that_is_too_soon_invites_nobody_again(database, clock, sealer, hasher):
    written: list[str] = []

    async def invite(service: str, reference: Address) -> Invitation:
        async def write(_: object) -> None:
            written.append(reference.value)

        return Invitation("https://t.me/bot?start=token", unwritten, write)

    bot = {"chat": Scripted("chat", ["telegram"], needs_subscriber=True)}
    service = ServiceSettings(name="Shop", channels=("chat",), limits=LimitSettings(cooldown=30))
    world = World(database, clock, sealer, hasher, bot, service=service, invite=invite)
    first = await world.start({"telegram": "user-42"})
    assert first.link == "https://t.me/bot?start=token"
    with pytest.raises(Cooldown) as caught:
        await world.start({"telegram": "user-42"})
    assert caught.value.extra["verification"] == first.id
    assert written == ["user-42"]
    clock.advance(30)
    assert (await world.start({"telegram": "user-42"})).id != first.id
    assert written == ["user-42"] * 2


# People who opened a bot


def chats() -> dict[str, Scripted]:
    return {"bot": Scripted("bot", ["telegram", "phone"], needs_subscriber=True), **two_channels()}


@pytest.fixture
def with_bot(database, clock, sealer, hasher):
    """Builds a world with a bot on the route; ``reaches`` tells, by kind, whom it reaches."""

    def make(reaches: dict[str, Reach] | None = None, **settings: Any) -> World:
        async def resolve(service: str, address: Address) -> Reach:
            assert service == "shop"
            return (reaches or {}).get(address.kind, Reach())

        service = ServiceSettings(name="Shop", channels=("bot", "sms", "email"), locale="en")
        return World(database, clock, sealer, hasher, chats(), service=service, resolve=resolve, **settings)

    return make


async def test_a_proved_phone_is_reached_by_the_bot_first(with_bot):
    world = with_bot({"phone": Reach("4242")})
    view = await world.start()
    assert (view.channel, list(view.next_channels), view.to) == ("bot", ["sms"], {"phone": "+49••••••••678"})
    await world.attempt()
    assert [envelope.address for envelope in world.channels["bot"].sent] == ["4242"]


async def test_an_unproved_phone_is_sent_to_by_other_channels_and_invites_nobody(with_bot):
    view = await with_bot().start()
    assert (view.channel, view.link) == ("sms", None)
    with pytest.raises(InvalidRequest) as caught:
        await with_bot().start(channels=["bot"])
    assert [fault.pointer for fault in caught.value.errors] == ["/to"]


async def test_who_has_not_opened_the_bot_is_invited_only_where_nothing_else_is_there(with_bot):
    view = await with_bot().start({"telegram": "user-42", "email": EMAIL})
    assert (view.channel, view.link) == ("email", None)
    view = await with_bot().start({"telegram": "user-43"})
    assert (view.channel, view.link) == ("bot", "https://bot.test/?start=token")


async def test_a_persons_language_goes_before_the_one_asked_for_where_they_chose_it(with_bot):
    world = with_bot({"phone": Reach("4242", locale="de")})
    world.channels["bot"].script = [refused(Reason.BLOCKED)]
    view = await world.start(locale="fr")
    await world.attempt()
    assert [envelope.locale for envelope in world.channels["bot"].sent] == ["de"]
    assert (view.locale, (await world.look(view)).locale) == ("fr", "fr")


async def test_a_resend_keeps_to_the_persons_language(with_bot, clock):
    world = with_bot({"phone": Reach("4242", locale="de")})
    view = await world.start(locale="fr")
    clock.advance(30)
    await world.verifications.resend("shop", view.id, None)
    assert [message.locale for message in world.handed_over] == ["de", "de"]
    clock.advance(60)
    await world.verifications.resend("shop", view.id, "sms")
    assert world.handed_over[-1].locale == "fr"


@pytest.mark.parametrize("to", [{"phone": PHONE}, {"telegram": "user-42", "email": EMAIL}])
@pytest.mark.parametrize("route", [None, ["sms", "email"]])
async def test_who_has_locked_codes_gets_none_by_any_channel(with_bot, clock, to, route):
    locked = Reach("4242", locked_until=clock.now() + 3600)
    world = with_bot({"phone": locked, "telegram": locked})
    with pytest.raises(RecipientRefused) as caught:
        await world.start(to, channels=route)
    assert caught.value.detail == "the person has locked codes until 2026-05-04T11:40:00.000Z"


async def test_a_lock_ends_at_its_time(with_bot, clock):
    world = with_bot({"phone": Reach("4242", locked_until=clock.now())})
    assert (await world.start()).channel == "bot"


async def test_a_muted_service_is_skipped_by_the_bot_only(with_bot):
    world = with_bot({"phone": Reach("4242", muted=True)})
    assert (await world.start()).channel == "sms"
    with pytest.raises(RecipientRefused) as caught:
        await world.start(channels=["bot"])
    assert caught.value.detail == "the person has muted this service"


async def test_a_mute_is_not_blamed_for_a_route_without_the_bot(with_bot):
    world = with_bot({"telegram": Reach("4242", muted=True)})
    with pytest.raises(InvalidRequest):
        await world.start({"telegram": "user-42"}, channels=["sms"])


async def test_a_resend_asks_for_the_lock_of_every_address_of_the_route(with_bot, clock, hasher):
    asked: list[tuple[object, ...]] = []

    async def locked(_, hashes, now, service):
        asked.append((sorted(hashes), now, service))
        return len(asked) == 1

    world = with_bot({"phone": Reach("4242")}, locked=locked)
    view = await world.start(BOTH)
    clock.advance(30)
    with pytest.raises(RecipientRefused) as caught:
        await world.verifications.resend("shop", view.id, "email")
    assert caught.value.detail == "the person has locked codes"
    hashes = [hasher.hash("phone", PHONE), hasher.hash("email", EMAIL)]
    assert asked == [(sorted(hashes), clock.now(), "shop")]
    await world.verifications.resend("shop", view.id, "email")
    assert (await world.look(view)).channel == "email"


async def test_a_resend_into_a_chat_that_muted_the_service_is_refused(with_bot, clock, hasher, database):
    world = with_bot({"phone": Reach("4242")})
    view = await world.start()
    row = (hasher.hash("chat", "4242"), "shop", clock.now())
    await database.write(Move(None, [(insert_into(models.Mute), row)]))
    clock.advance(30)
    with pytest.raises(RecipientRefused) as caught:
        await world.verifications.resend("shop", view.id, None)
    assert caught.value.detail == "the person has muted this service"
    await world.verifications.resend("shop", view.id, "sms")
    assert (await world.look(view)).channel == "sms"


async def test_a_resend_into_a_chat_that_is_no_longer_the_persons_is_refused(with_bot, clock, hasher):
    asked: list[tuple[object, ...]] = []

    async def is_theirs(_, *what):
        asked.append(what)
        return False

    world = with_bot({"phone": Reach("4242")}, is_theirs=is_theirs)
    view = await world.start()
    clock.advance(30)
    with pytest.raises(RecipientRefused) as caught:
        await world.verifications.resend("shop", view.id, None)
    assert caught.value.detail == "the person has left that chat; start a new verification"
    assert asked == [(hasher.hash("chat", "4242"), hasher.hash("phone", PHONE), "shop")]
    await world.verifications.resend("shop", view.id, "sms")
    assert (await world.look(view)).channel == "sms"


async def test_who_blocked_the_bot_is_sent_to_by_other_channels_and_never_invited(with_bot):
    async def invite(*_: object) -> Invitation:
        raise AssertionError("whoever opened that link would take the person's place")

    world = with_bot({"telegram": Reach("4242", blocked="bot")}, invite=invite)
    assert (await world.start({"telegram": "user-42", "email": EMAIL})).channel == "email"
    with pytest.raises(RecipientRefused) as caught:
        await world.start({"telegram": "user-42"})
    assert caught.value.detail == "the person has blocked the bot"


async def test_what_waits_for_a_link_may_be_sent_again(with_bot, clock):
    world = with_bot()
    view = await world.start({"telegram": "user-42"})
    clock.advance(30)
    await world.verifications.resend("shop", view.id, None)
    assert await world.statuses(view) == [("bot", "canceled"), ("bot", "waiting")]


async def test_what_waited_is_sent_in_the_language_of_who_linked(with_bot, clock, hasher, database):
    world = with_bot()
    view = await world.start({"telegram": "user-42"}, locale="fr")
    hashed = hasher.hash("telegram", "user-42")
    channels = await database.run(
        lambda connection: world.verifications.on_link(connection, "shop", hashed, "4242", "de", clock.now())
    )
    assert channels == {"bot"}
    assert await world.claim("bot") == 1
    assert (world.handed_over[0].address, world.handed_over[0].locale) == ("4242", "de")
    assert (await world.look(view)).locale == "fr"


async def test_without_a_bot_nobody_is_looked_up(make_engine, clock, sealer, hasher):
    class Counted(Database):
        reads = 0

        async def fetch(self, sql: str, /, **values: Any) -> list[Record]:
            self.reads += 1
            return await super().fetch(sql, **values)

    async def unexpected(*_: object) -> Any:
        raise AssertionError("nobody can have opened a bot")

    async with Counted(make_engine()) as database:
        world = World(database, clock, sealer, hasher, two_channels(), resolve=unexpected, locked=unexpected)
        view = await world.start(BOTH)
        assert (view.channel, database.reads) == ("sms", 0)
        clock.advance(30)
        await world.verifications.resend("shop", view.id, None)
        assert database.reads == 0
