"""One recipient is erased, everywhere: what stays names nobody, what others have stays as it is."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import orjson
import pytest

from channels.base import Reason, Report, ReportedStatus
from channels.kinds import KINDS
from gateway.config import SealingKey
from gateway.conversation.erasing import Forgetting
from gateway.conversation.replies import Replies
from gateway.delivery.lifecycle import AttemptOutcome
from gateway.delivery.person import Leaving
from gateway.delivery.telling import Failure
from gateway.housekeeping.retention import Retention
from gateway.storage import models
from gateway.storage.answers import Answers, Source
from gateway.storage.database import Database
from gateway.storage.ids import new_id
from gateway.storage.resealing import Resealing
from gateway.storage.sealing import Sealer
from gateway.storage.statement import insert_into
from gateway.storage.unit import Move, StorageUnavailableError
from gateway.verification import erasing as module
from gateway.verification.authenticators.enrolling import Enrolling
from gateway.verification.authenticators.view import Wanted, person_of, sealed_person
from gateway.verification.erasing import Erased, Erasing, Held
from tests.rows import count, put, row
from tests.world import EMAIL, PHONE, World, two_channels

OTHER = "+4915112345679"
REFERENCE = "user-42"
#: Somebody waits for a row.
WAITS = """SELECT 1 FROM pg_locks WHERE NOT granted
    AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())"""


@pytest.fixture
def world(database, clock, sealer, hasher) -> World:
    return World(database, clock, sealer, hasher, two_channels())


@pytest.fixture
def make_erasing(world, database, clock, sealer, hasher):
    """Make what erases; ``asleep`` is called in place of waiting."""

    def make(asleep: Any = None, **parts: Any) -> Erasing:
        forgetting = Forgetting(
            database=database,
            sealer=sealer,
            hasher=hasher,
            replies=Replies(database, sealer, clock, "node-a"),
        )

        async def sleep(seconds: float) -> None:
            clock.advance(seconds)
            if asleep is not None:
                await asleep()

        async def empty_log() -> bool:
            """Leave the file alone."""
            return True

        known = {
            "answers": Answers(database, sealer, clock),
            "cancel": world.checking.cancel,
            "expire_overdue": world.checking.expire_overdue,
            "known": forgetting.known,
            "forget": forgetting.forget,
            "empty_log": empty_log,
        }
        return Erasing(
            database=database,
            sealer=sealer,
            hasher=hasher,
            clock=clock,
            kinds=KINDS,
            own_kinds={"telegram"},
            services=("shop",),
            sleep=sleep,
            **{**known, **parts},
        )

    return make


@pytest.fixture
def erase(make_erasing):
    """Erase whoever has an address."""

    async def erase(to: Any, service: str | None = None, by: str = "") -> Erased:
        erasing = make_erasing()
        gone: Erased = await erasing.erase(erasing.whom(to, service), by=by)
        return gone

    return erase


async def rows(database: Any, table: str) -> list[dict[str, Any]]:
    return [dict(found) for found in await database.fetch(f"SELECT * FROM {table}")]


async def test_a_verification_stays_and_names_nobody(world, database, erase, clock):
    view = await world.start({"phone": PHONE, "email": EMAIL}, client_ip="192.0.2.7", client_reference="device-7")
    await world.attempt()
    await world.checking.check("shop", view.id, world.code)
    before = (await world.look(view)).messages
    gone = await erase(PHONE)
    assert (gone.verifications, gone.canceled, gone.under_way) == (1, 0, 0)
    after = await world.look(view)
    assert ("approved", {}, view.created_at) == (after.status, after.to, after.created_at)
    assert [(each.channel, each.status) for each in before] == [(each.channel, each.status) for each in after.messages]
    assert all("recipient" not in event.details for event in after.events or ())
    [kept] = await rows(database, "verification")
    assert {name for name, value in kept.items() if value is not None} <= {
        *("id", "service", "status", "purpose", "locale", "to_masked", "route", "generation", "checks"),
        *("max_checks", "sends", "created_at", "expires_at", "resend_at", "ended_at", "alphabet"),
    }
    [message] = await rows(database, "message")
    assert tuple(message[name] for name in ("recipient", "recipient_hash", "block_hash", "provider_id")) == (
        "",
        None,
        None,
        None,
    )
    assert [attempt["provider_id"] for attempt in await rows(database, "attempt")] == [None]


async def test_an_erasure_of_many_weighs_as_much_as_each_bite_of_them(world, database, erase, clock, monkeypatch):
    """So the bites of many erasures that are asked for at once are never one transaction."""
    monkeypatch.setattr("gateway.verification.erasing.BITE", 4)
    for _ in range(6):
        await world.start({"phone": PHONE, "email": EMAIL})
        clock.advance(3600)
    weights, write = [], database.write

    async def weighed(move, *, weight=1):
        weights.append(weight)
        return await write(move, weight=weight)

    monkeypatch.setattr(database, "write", weighed)
    assert (await erase(PHONE)).verifications == 6
    # What is counted; the bites that are wiped and those that are found no more; the rest.
    assert [weight for weight in weights if weight > 1] == [6, 4, 2, 4, 2, 6]


async def test_what_it_is_found_by_goes_by_whichever_address(world, database, erase):
    await world.start({"phone": PHONE, "email": EMAIL})
    await world.start({"phone": OTHER})
    await erase(EMAIL)
    assert await count(database, models.Address) == 1
    assert (await erase(PHONE)).verifications == 0


async def test_what_it_is_found_by_goes_though_no_channel_leads_there(world, database, erase):
    await world.start({"phone": PHONE, "telegram": REFERENCE, "email": EMAIL}, channels=["sms"])
    await erase(EMAIL)
    assert await count(database, models.Address) == 0


async def test_a_report_that_comes_afterwards_brings_no_id_of_the_providers_back(world, database, erase):
    view = await world.start()
    await world.attempt()
    token = world.channels["sms"].sent[0].attempt_token
    await world.checking.check("shop", view.id, world.code)
    await erase(PHONE)
    assert await world.queue.report("sms", Report(token, ReportedStatus.DELIVERED, "SM-of-ann"))
    for table in ("message", "attempt"):
        assert [found["provider_id"] for found in await rows(database, table)] == [None]


async def test_what_is_pending_is_canceled_first(world, database, erase):
    view = await world.start()
    gone = await erase(PHONE)
    assert (gone.verifications, gone.canceled) == (1, 1)
    assert (await world.look(view)).status == "canceled"
    await world.attempt()
    assert world.channels["sms"].sent == []


async def test_what_is_overdue_and_not_yet_swept_up_is_erased_too(world, erase, clock, database):
    await world.start()
    clock.advance(601)
    gone = await erase(PHONE)
    assert (gone.verifications, gone.canceled) == (1, 0)
    assert [(kept["status"], kept["to_masked"]) for kept in await rows(database, "verification")] == [("expired", "{}")]


async def test_others_keep_everything(world, database, erase):
    view = await world.start({"phone": OTHER}, client_ip="192.0.2.7")
    before = {table: await rows(database, table) for table in ("verification", "message", "address", "cooldown")}
    gone = await erase(PHONE)
    assert not any(getattr(gone, name) for name in Erased.__struct_fields__)
    assert before == {table: await rows(database, table) for table in before}
    assert (await world.look(view)).to == {"phone": KINDS["phone"](OTHER).masked}


async def test_many_go_in_bites(world, database, erase, monkeypatch, clock):
    monkeypatch.setattr(module, "BITE", 2)
    for _ in range(5):
        await world.start()
        clock.advance(7200)
    assert (await erase(PHONE)).verifications == 5
    assert {"{}"} == {kept["to_masked"] for kept in await rows(database, "verification")}


async def counted(database: Any, hashed: bytes, service: str) -> None:
    """Put a row into every table that counts by an address."""
    await put(database, models.Recipient, row(models.Recipient, hash=hashed))
    for context in ("", "reference:device-7"):
        guess = row(models.Guess, service=service, purpose="login", hash=hashed, context=context)
        await put(database, models.Guess, guess)
        await put(database, models.Trusted, row(models.Trusted, service=service, hash=hashed, context=context))
    await put(database, models.Cooldown, row(models.Cooldown, service=service, hash=hashed))


COUNTS = (models.Recipient, models.Guess, models.Trusted, models.Cooldown)


async def test_what_is_counted_by_the_address_goes_and_the_rest_stays(database, erase, hasher):
    for phone in (PHONE, OTHER):
        await counted(database, hasher.hash("phone", phone), "shop")
        await put(database, models.Turn, row(models.Turn, channel="sms", hash=hasher.hash("turn", phone)))
    await erase(PHONE)
    assert [await count(database, model) for model in (*COUNTS, models.Turn)] == [1, 2, 2, 1, 1]


async def test_of_a_reference_only_its_services_counts_and_devices_go(database, erase, hasher):
    hashed = hasher.hash("telegram", REFERENCE)
    for service in ("shop", "bank"):
        await put(database, models.Trusted, row(models.Trusted, service=service, hash=hashed, context="ip:192.0.2.7"))
        device = f"auth_{service}"
        await put(
            database,
            models.Authenticator,
            row(models.Authenticator, id=device, service=service, reference_hash=hashed),
        )
        await put(
            database, models.RecoveryCode, row(models.RecoveryCode, hash=service.encode(), authenticator_id=device)
        )
        await put(database, models.Throttle, row(models.Throttle, service=service, reference_hash=hashed))
    tables = (models.Trusted, models.Authenticator, models.RecoveryCode, models.Throttle)
    assert (await erase(REFERENCE, "shop")).authenticators == 1
    assert [await count(database, model) for model in tables] == [1, 1, 1, 1]
    assert (await erase({"telegram": REFERENCE})).authenticators == 1
    assert [await count(database, model) for model in tables] == [0, 0, 0, 0]


async def test_recovery_codes_that_are_made_anew_meanwhile_go_too(database, erase, hasher, make_engine, engine_name):
    """By another node, which holds the authenticator's row while it writes them."""
    if engine_name == "sqlite":
        pytest.skip("SQLite has one writer")
    device = row(models.Authenticator, id="auth_1", service="shop", reference_hash=hasher.hash("telegram", REFERENCE))
    await put(database, models.Authenticator, device)
    wrote, go_on = asyncio.Event(), asyncio.Event()

    async def renewed(connection: Any) -> None:
        await connection.fetch("UPDATE authenticator SET counter = counter WHERE id = 'auth_1' RETURNING id")
        code = row(models.RecoveryCode, hash=b"new", authenticator_id="auth_1")
        await connection.apply(Move(None, [(insert_into(models.RecoveryCode), code)]))
        wrote.set()
        await go_on.wait()

    async with Database(make_engine()) as other:
        renewing = asyncio.create_task(other.run(renewed))
        await wrote.wait()
        erasing = asyncio.create_task(erase({"telegram": REFERENCE}))
        async with asyncio.timeout(20):
            while not await other.fetch(WAITS):
                assert not erasing.done()
        go_on.set()
        await renewing
        assert (await erasing).authenticators == 1
    assert [await count(database, model) for model in (models.Authenticator, models.RecoveryCode)] == [0, 0]


async def test_events_of_no_verification_lose_the_name(database, erase):
    masks = [KINDS["phone"](phone).masked for phone in (PHONE, OTHER)]
    for mask in masks:
        told = row(models.Event, id=new_id("evt", 1.0), name="subscriber.proved", recipient=mask)
        await put(database, models.Event, told)
    await erase(PHONE)
    assert [masks[1]] == [told["recipient"] for told in await rows(database, "event") if told["recipient"]]


async def test_webhooks_keep_everything_but_the_recipient(world, database, erase):
    view = await world.start()
    data = {"service": "shop", "verification": view.id, "recipient": "+49•••••••678", "status": "sent"}
    bodies = {
        "whk_1": {"type": "message.sent", "timestamp": "t", "data": data},
        "whk_2": {"type": "verification.approved", "timestamp": "t", "data": {"service": "shop"}},
    }
    for name, body in bodies.items():
        text = orjson.dumps(body).decode()
        await put(database, models.Webhook, row(models.Webhook, id=name, verification_id=view.id, body=text))
    assert (await erase(PHONE)).webhooks == 1
    data.pop("recipient")
    assert bodies == {told["id"]: orjson.loads(told["body"]) for told in await rows(database, "webhook")}


@pytest.mark.parametrize("is_there", [False, True])
async def test_webhooks_that_outlived_their_verification_lose_the_recipient_too(world, database, erase, is_there):
    if is_there:
        await world.start({"phone": OTHER})
    masks = [KINDS["phone"](phone).masked for phone in (PHONE, OTHER)]
    for number, mask in enumerate(masks * 3):
        body = orjson.dumps({"type": "message.sent", "data": {"service": "shop", "recipient": mask}}).decode()
        told = row(models.Webhook, id=f"whk_{number}", verification_id=f"ver_0{number // 4}", body=body)
        await put(database, models.Webhook, told)
    assert (await erase(PHONE)).webhooks == 3
    left = [orjson.loads(told["body"])["data"].get("recipient") for told in await rows(database, "webhook")]
    assert sorted(left, key=str) == sorted([None, masks[1]] * 3, key=str)


async def test_an_authenticators_account_goes_with_the_address_and_it_stays(database, erase, clock, sealer, hasher):
    enrolling = Enrolling(database=database, sealer=sealer, hasher=hasher, clock=clock, brands={"shop": "Shop"})
    wanted = [
        Wanted("totp", "user-1", "Ann@Example.org"),
        Wanted("totp", "user-2", "bob@example.org"),
        Wanted("totp", "user-3", "ann"),
    ]
    made = [await enrolling.create(enrolling.prepare("shop", each)) for each in wanted]
    erased = await erase("ann@example.org")
    assert (erased.accounts, erased.authenticators) == (1, 0)
    left = [(await enrolling.one("shop", view.id)) for view in made]
    assert [(view.reference, view.account) for view in left] == [
        *(("user-1", ""), ("user-2", "bob@example.org"), ("user-3", "ann"))
    ]
    assert (await erase("ann@example.org")).accounts == 0


async def test_an_account_that_is_sealed_anew_meanwhile_goes_too(database, make_erasing, clock, sealer, hasher):
    enrolling = Enrolling(database=database, sealer=sealer, hasher=hasher, clock=clock, brands={"shop": "Shop"})
    view = await enrolling.create(enrolling.prepare("shop", Wanted("totp", "user-1", EMAIL)))
    erasing, fetch = make_erasing(), database.fetch
    sealed_anew: list[bytes] = []

    async def slow(sql: str, **values: Any) -> Any:
        found = await fetch(sql, **values)
        if sql.startswith("SELECT person_sealed") and not sealed_anew:
            sealed_anew.append(sealed_person(sealer, view.id, person_of(sealer, view.id, found[0]["person_sealed"])))
            await database.run(
                lambda c: c.fetch("UPDATE authenticator SET person_sealed = :s RETURNING id", s=sealed_anew[0])
            )
        return found

    database.fetch = slow
    assert (await erasing.erase(erasing.whom(EMAIL, None))).accounts == 1
    assert (len(sealed_anew), (await enrolling.one("shop", view.id)).account) == (1, "")


@pytest.mark.parametrize("service", [None, "shop"])
async def test_what_retention_left_of_a_verification_goes_with_its_person(world, database, erase, clock, service):
    await world.start({"phone": PHONE})
    await world.start({"phone": OTHER, "telegram": REFERENCE})
    await world.attempt()
    clock.advance(31 * 86_400)
    await world.checking.expire_overdue()
    assert await Retention(database, clock, verifications=30).retire_verifications() == 2
    left = []
    for to in (PHONE, {"telegram": REFERENCE}, OTHER):
        left.append(await count(database, models.Address))
        await erase(to, service)
    # Of a reference there is one more, by what its service counts it by.
    assert [*left, await count(database, models.Address)] == [4, 3, 1, 0]


async def test_a_message_that_a_node_may_drop_is_waited_for_as_an_attempt_is(world, database, make_erasing, clock):
    await world.start()
    message, _ = await world.queue.begin(world.handed_over[0])
    held: list[Any] = []

    async def forget(*_: Any) -> Leaving:
        # Before anything is wiped its attempt fails, and another node takes the message, which is due again.
        assert await world.queue.retry(message, Failure(AttemptOutcome.TRANSIENT, Reason.UNAVAILABLE), clock.now())
        held.extend(await world.queue.claim("sms", {"shop": 1}))
        return Leaving(frozenset(), frozenset())

    erasing = make_erasing(forget=forget)
    assert (await erasing.erase(erasing.whom(PHONE, None))).under_way == 1
    assert await world.queue.begin(held[0]) is None
    await world.queue.drop(held[0], Reason.UNKNOWN, leased=True)
    erasing = make_erasing()
    assert (await erasing.erase(erasing.whom(PHONE, None))).under_way == 0
    assert [told["name"] for told in await rows(database, "event") if told["recipient"]] == []


async def test_a_stored_answer_is_told_again_without_the_person(world, database, clock, sealer, erase):
    answers = Answers(database, sealer, clock)
    view = await world.start()
    other = await world.start({"phone": OTHER})
    told: dict[str, Any] = {
        "items": [
            {"status": 201, "body": {"id": each.id, "to": dict(each.to), "link": "https://t.me/x", "status": "pending"}}
            for each in (view, other)
        ]
    }
    sources = [Source("POST", "/v1/verifications/batch", "key"), Source("POST", "/v1/verifications", "other")]
    plains = [orjson.dumps(told), b"no JSON: " + view.id.encode()]

    async def keep(source: Source, plain: bytes) -> bytes:
        async def create(_: Any) -> bytes:
            return plain

        return (await answers.once("shop", source, b"f" * 32, create))[0]

    for source, plain in zip(sources, plains, strict=True):
        await keep(source, plain)
    assert (await erase(PHONE)).answers == 1
    again = orjson.loads(await keep(sources[0], b"never made"))
    told["items"][0]["body"] |= {"to": {}, "link": None}
    assert told == again
    assert await keep(sources[1], b"never made") == plains[1]


async def test_an_answer_that_is_kept_while_others_are_looked_through_loses_the_person_too(
    world, database, make_erasing, clock, sealer
):
    answers, view = Answers(database, sealer, clock), await world.start()
    sources = []

    async def forget(*given: Any) -> Leaving:
        sources.append(await kept_answer(answers, id=view.id, to=dict(view.to)))
        return Leaving()

    erasing = make_erasing(forget=forget)
    assert (await erasing.erase(erasing.whom(PHONE, None))).answers == 1
    assert await answers.kept("shop", sources[0], b"f" * 32) == orjson.dumps({"id": view.id, "to": {}})


async def test_an_answer_about_what_was_deleted_before_loses_the_person_too(database, make_erasing, clock, sealer):
    """An application that closes an account deletes first, and erases then."""
    answers, gone = Answers(database, sealer, clock), f"auth_{'0' * 36}"
    source = await kept_answer(answers, id=gone, account=EMAIL.upper(), reference=REFERENCE, secret="GEZD")
    erasing = make_erasing()
    assert (await erasing.erase(erasing.whom(EMAIL, None))).answers == 1
    told = orjson.loads(await answers.kept("shop", source, b"f" * 32) or b"null")
    assert told == {"id": gone, "account": None, "reference": "", "secret": None}


async def test_an_answer_that_is_sealed_anew_meanwhile_loses_the_person_too(world, database, make_erasing, clock, ring):
    newer = Sealer((SealingKey("k2", bytes(range(1, 33))), *ring))
    view = await world.start()
    source = await kept_answer(Answers(database, Sealer(ring), clock), id=view.id, to=dict(view.to))
    answers, fetch = Answers(database, newer, clock), database.fetch

    async def sealed_anew_after(sql: str, **values: Any) -> Any:
        found = await fetch(sql, **values)
        if "FROM idempotent_answer" in sql:
            database.fetch = fetch

            async def rest() -> None:
                """Go on at once."""

            async for _ in Resealing(database, newer).run(rest):
                pass
        return found

    database.fetch = sealed_anew_after
    erasing = make_erasing(answers=answers)
    assert (await erasing.erase(erasing.whom(PHONE, None))).answers == 1
    assert await answers.kept("shop", source, b"f" * 32) == orjson.dumps({"id": view.id, "to": {}})


async def test_the_deed_is_told_without_the_name(database, erase):
    await erase(PHONE, by="shop")
    await erase(REFERENCE, "bank")
    told = [event for event in await rows(database, "event") if event["name"] == "recipient.erased"]
    assert [
        (event["service"], event["recipient"], event["verification_id"])
        for event in sorted(told, key=lambda e: e["id"])
    ] == [("shop", None, None), ("bank", None, None)]


async def test_an_attempt_under_way_is_waited_for_and_looked_for_once_more(world, database, make_erasing, clock):
    view = await world.start()
    message = world.handed_over[0]
    assert await world.queue.begin(message)

    async def ends() -> None:
        """Write its end as its node does, with the recipient it was made for."""
        late = row(models.Event, id=new_id("evt", 2.0), verification_id=view.id, recipient="+49•••••••678")
        await put(database, models.Event, late)
        await database.run(lambda c: c.fetch("UPDATE attempt SET outcome = 'sent' RETURNING number"))

    erasing = make_erasing(ends)
    gone = await erasing.erase(erasing.whom(PHONE, None))
    assert gone.under_way == 0
    assert [told for told in await rows(database, "event") if told["recipient"]] == []


async def test_an_attempt_that_does_not_end_is_told_of(world, database, make_erasing, clock):
    await world.start()
    assert await world.queue.begin(world.handed_over[0])
    began, erasing = clock.monotonic(), make_erasing()
    assert (await erasing.erase(erasing.whom(PHONE, None))).under_way == 1
    assert module.PATIENCE <= clock.monotonic() - began < module.PATIENCE + 1


async def kept_answer(answers: Answers, **body: Any) -> Source:
    """Keep an answer for its idempotency key, and return for which."""
    source = Source("POST", "/v1/anything", body["id"])

    async def create(_: Any) -> bytes:
        return orjson.dumps(body)

    await answers.once("shop", source, b"f" * 32, create)
    return source


async def test_what_an_attempt_told_after_the_erasure_goes_with_the_next(world, database, make_erasing):
    view = await world.start({"phone": PHONE, "email": EMAIL})
    assert await world.queue.begin(world.handed_over[0])
    erasing = make_erasing()
    assert (await erasing.erase(erasing.whom(PHONE, None))).under_way == 1
    late = row(models.Event, id=new_id("evt", 2.0), verification_id=view.id, recipient="+49•••••••678")
    await put(database, models.Event, late)
    await database.run(lambda c: c.fetch("UPDATE attempt SET outcome = 'sent', provider_id = 'SM1' RETURNING number"))
    again = await erasing.erase(erasing.whom(PHONE, None))
    assert (again.verifications, again.under_way) == (1, 0)
    assert [told for told in await rows(database, "event") if told["recipient"]] == []
    assert [attempt["provider_id"] for attempt in await rows(database, "attempt")] == [None]
    assert await count(database, models.Address) == 0


@pytest.mark.parametrize("cut", range(9))
async def test_an_erasure_that_is_cut_off_is_ended_by_the_next(world, database, make_erasing, clock, sealer, cut):
    answers = Answers(database, sealer, clock)
    view = await world.start({"phone": PHONE, "email": EMAIL}, client_ip="192.0.2.7")
    await world.attempt()
    source = await kept_answer(answers, id=view.id, to=dict(view.to))
    hashed = world.hasher.hash("telegram", PHONE)
    device = "auth_" + "0" * 36
    await put(
        database, models.Authenticator, row(models.Authenticator, id=device, service="shop", reference_hash=hashed)
    )
    enrolled = await kept_answer(answers, id=device, secret="JBSWY3DP", uri="otpauth://totp/x")
    erasing, commits = make_erasing(), 0
    whole = database._engine.commit

    async def fails(units: Any) -> Any:
        nonlocal commits
        commits += 1
        if commits > cut:
            raise StorageUnavailableError("the disk is full")
        return await whole(units)

    database._engine.commit = fails
    with suppress(StorageUnavailableError):
        await erasing.erase(erasing.whom(PHONE, "shop"))
    database._engine.commit = whole
    await erasing.erase(erasing.whom(PHONE, "shop"))
    assert await answers.kept("shop", source, b"f" * 32) == orjson.dumps({"id": view.id, "to": {}})
    told = await answers.kept("shop", enrolled, b"f" * 32)
    assert told == orjson.dumps({"id": device, "secret": None, "uri": None})
    assert [await count(database, model) for model in (models.Address, models.Authenticator, models.Recipient)] == [
        0
    ] * 3
    assert ((after := await world.look(view)).status, after.to) == ("canceled", {})
    assert [told for told in await rows(database, "event") if told["recipient"]] == []
    assert [attempt["provider_id"] for attempt in await rows(database, "attempt")] == [None]


@pytest.mark.parametrize("emptied", [True, False])
async def test_the_log_is_emptied_last_and_where_it_cannot_be_that_is_told(world, make_erasing, database, emptied):
    done: list[int] = []

    async def empty_log() -> bool:
        done.append(await count(database, models.Event))
        return bool(emptied)

    erasing = make_erasing(empty_log=empty_log)
    gone = await erasing.erase(erasing.whom(PHONE, None))
    assert (done, gone.still_readable) == ([1], not emptied)


async def test_a_route_nobody_can_open_is_erased_by_what_is_known(world, database, make_erasing):
    await world.start()
    await database.run(lambda c: c.fetch("UPDATE verification SET route_sealed = params_sealed RETURNING id"))
    erasing = make_erasing()
    assert (await erasing.held(erasing.whom(PHONE, None))).verifications == 1
    await erasing.erase(erasing.whom(PHONE, None))
    assert await count(database, models.Address) == 0


async def test_what_the_bots_knew_is_counted(make_erasing):
    leaving = Leaving(frozenset({"sub_1"}), frozenset({b"chat", b"other"}), frozenset({"shop"}))

    async def known(_: Any) -> Leaving:
        return leaving

    async def forget(*_: Any) -> Leaving:
        return leaving

    erasing = make_erasing(known=known, forget=forget)
    person = erasing.whom(PHONE, None)
    assert await erasing.held(person) == Held(0, 1, 2, 0, 0, ("shop",))
    gone = await erasing.erase(person)
    assert (gone.subscribers, gone.chats) == (1, 2)
