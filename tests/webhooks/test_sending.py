"""The lane: what is committed reaches the receiver, once where it can and again where it must."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from email.utils import formatdate
from typing import Any

import pytest
from standardwebhooks import Webhook as Judge

from gateway.events.event import EventName, event, recorded
from gateway.storage.database import Database
from gateway.storage.engine import Engine
from gateway.storage.ids import new_id
from gateway.storage.unit import StorageUnavailableError
from gateway.webhooks.connecting import Client
from gateway.webhooks.endpoints import Endpoint, Endpoints
from gateway.webhooks.outbox import Outbox
from gateway.webhooks.rows import BITE, LEASE, TOPIC, Webhooks
from gateway.webhooks.schedule import DELAYS
from gateway.webhooks.sending import POLL, SETTLE_PAUSES, WebhookLane
from tests.conftest import START, HandClock
from tests.webhooks.receiver import Receiver, Request, answer, receiving

KEY = bytes(range(32))


class Flaky:
    """A database's engine that is away for as many commits, or reads, as it is told."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.lost_commits = 0
        self.lost_reads = 0
        #: Commits wait for it.
        self.may_commit = asyncio.Event()
        self.may_commit.set()
        self.committing = asyncio.Event()
        self.read_lost = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def splits(self, moves: int) -> bool:
        return False

    async def commit(self, units: Sequence[Any]) -> Any:
        if self.lost_commits:
            self.lost_commits -= 1
            raise StorageUnavailableError("away")
        self.committing.set()
        await self.may_commit.wait()
        return await self._engine.commit(units)

    async def fetch(self, sql: str, values: dict[str, Any]) -> Any:
        if self.lost_reads:
            self.lost_reads -= 1
            self.read_lost.set()
            raise StorageUnavailableError("away")
        return await self._engine.fetch(sql, values)


class World:
    """A database whose services have receivers, and lanes of as many nodes as are asked for."""

    def __init__(self, engine: Flaky, clock: HandClock, several_nodes: bool, stack: AsyncExitStack) -> None:
        self.engine, self.clock, self.several_nodes, self._stack = engine, clock, several_nodes, stack
        self.receivers: dict[str, Receiver] = {}
        self.committed: list[Any] = []
        self.observed: list[tuple[str, str]] = []
        #: Seconds that settling waited for the database.
        self.slept: list[float] = []

    async def open(self, *services: str) -> None:
        for service in services:
            self.receivers[service] = await self._stack.enter_async_context(receiving())
        outbox = Outbox(services)
        self.database = await self._stack.enter_async_context(
            Database(
                self.engine,
                on_commit=self.committed.extend,
                alongside=outbox.alongside,
                alongside_wakes=(TOPIC,),
            )
        )
        self.client = await self._stack.enter_async_context(Client(private=True))

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        return {service: Endpoint(service, receiver.url, (KEY,)) for service, receiver in self.receivers.items()}

    def lane(self, node: str = "one", client: Client | None = None, **options: Any) -> WebhookLane:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)

        webhooks = Webhooks(self.database, self.clock, node=node, several_nodes=self.several_nodes)
        receivers = Endpoints(self.database, self.endpoints)
        options = {"jitter": lambda: 0.0, "sleep": sleep, "observe": self.observe, **options}
        return WebhookLane(webhooks, receivers, self.endpoints, client or self.client, self.clock, **options)

    def observe(self, service: str, outcome: str) -> None:
        self.observed.append((service, outcome))

    async def tell(self, number: int = 1, service: str = "shop") -> None:
        now = self.clock.now()
        events = [
            event(EventName.VERIFICATION_APPROVED, now, service, verification_id=new_id("ver", now))
            for _ in range(number)
        ]
        await self.database.write(recorded(None, (), events))

    async def rows(self) -> list[Any]:
        return await self.database.fetch("SELECT * FROM webhook ORDER BY id")

    async def statuses(self) -> list[str]:
        return [row["status"] for row in await self.rows()]

    def told(self, name: EventName) -> list[Any]:
        return [item for item in self.committed if item.name == name]


async def look(lane: WebhookLane) -> float:
    """Look once and wait for what was begun."""
    pause = await lane.look_once()
    await lane.settled()
    return pause


@contextlib.asynccontextmanager
async def opened(make_engine: Callable[[], Engine], engine_name: str, clock: HandClock) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(Flaky(make_engine()), clock, engine_name == "postgresql", stack)


@pytest.fixture
async def bare(make_engine, engine_name, clock) -> AsyncIterator[World]:
    async with opened(make_engine, engine_name, clock) as world:
        yield world


@pytest.fixture
async def world(bare: World) -> World:
    await bare.open("shop")
    return bare


@pytest.fixture
def shop(world: World) -> Receiver:
    return world.receivers["shop"]


def scripted(*statuses: str) -> Callable[[Request], bytes]:
    """Answers in turn; the last for ever."""
    left = list(statuses)
    return lambda _: answer(*(left.pop(0) if len(left) > 1 else left[0]).split("\n"))


async def stopped(work: asyncio.Task[None]) -> None:
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work


# What is sent


async def test_an_application_is_told_and_the_official_library_believes_it(make_engine, engine_name):
    async with opened(make_engine, engine_name, HandClock(time.time())) as world:
        await world.open("shop")
        await world.tell()
        await look(world.lane())
        (request,) = world.receivers["shop"].requests
    secret = f"whsec_{base64.b64encode(KEY).decode()}"
    payload = Judge(secret).verify(request.body, request.headers)
    assert (payload["type"], payload["data"]["status"]) == ("verification.approved", "approved")


async def test_what_was_taken_is_over(world, shop):
    await world.tell()
    lane = world.lane()
    assert await look(lane) == POLL
    assert await world.statuses() == ["delivered"]
    await look(lane)
    assert len(shop.requests) == 1


async def test_a_webhook_is_signed_with_the_time_of_those_who_get_it(world, shop):
    """They refuse what is more than five minutes off, so as not to take what was sent again by somebody else."""
    world.clock.behind = 3600.0
    shop.answers = scripted("200 OK")
    await world.tell()
    await look(world.lane())
    [request] = shop.requests
    assert int(request.headers["webhook-timestamp"]) == int(world.clock.now() + 3600)


async def test_every_try_has_the_same_id_and_a_time_and_signature_of_its_own(world, shop):
    shop.answers = scripted("500 X", "200 OK")
    await world.tell()
    lane = world.lane()
    await look(lane)
    world.clock.advance(DELAYS[1])
    await look(lane)
    first, second = shop.requests
    assert first.id == second.id == (await world.rows())[0]["id"]
    assert first.body == second.body
    times = [int(request.headers["webhook-timestamp"]) for request in (first, second)]
    assert times == [int(START), int(START + DELAYS[1])]
    assert world.observed == [("shop", "retried"), ("shop", "delivered")]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert await world.statuses() == ["delivered"]


async def test_a_receiver_that_never_takes_it_is_tried_ten_times_on_schedule(world, shop):
    shop.answers = scripted("500 X")
    await world.tell()
    lane, tried = world.lane(), []
    for delay in DELAYS:
        if delay:
            world.clock.advance(delay - 0.5)
            assert await look(lane) <= 0.5
            world.clock.advance(0.5)
        await look(lane)
        tried.append(len(shop.requests))
    assert tried == list(range(1, 11))
    (row,) = await world.rows()
    assert (row["status"], row["tries"], row["answer"], row["reason"]) == ("failed", 10, 500, "refused")
    (told,) = world.told(EventName.WEBHOOK_FAILED)
    assert (told.service, told.verification_id) == ("shop", row["verification_id"])
    assert (told.attempt, told.reason, told.provider_code) == (10, "refused", "500")
    world.clock.advance(1e6)
    await look(lane)
    assert len(shop.requests) == 10


@pytest.mark.parametrize(
    ("status", "reason"),
    [("302 X\nLocation: /elsewhere", "redirect"), ("404 X", "refused"), ("401 X", "refused"), ("503 X", "refused")],
)
async def test_whatever_is_not_2xx_is_a_failure(world, shop, status, reason):
    shop.answers = scripted(status)
    await world.tell()
    await look(world.lane())
    (row,) = await world.rows()
    assert (row["status"], row["tries"], row["reason"], row["due_at"]) == ("pending", 1, reason, START + DELAYS[1])
    assert len(shop.requests) == 1


async def test_a_receiver_that_is_away_is_a_failure_without_an_answer(world, shop, caplog):
    shop.answers = lambda _: shop.hang_up()
    caplog.set_level("INFO", "gateway")
    await world.tell()
    await look(world.lane())
    (row,) = await world.rows()
    assert (row["status"], row["answer"], row["reason"]) == ("pending", None, "broken")
    assert [record.message for record in caplog.records] == ["a webhook was not taken: broken"]
    assert shop.url not in caplog.text


async def test_an_address_that_is_not_permitted_is_told_louder(world, shop, caplog):
    caplog.set_level("INFO", "gateway")
    await world.tell()
    async with Client(private=False) as strict:
        await look(world.lane(client=strict))
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "a webhook was not taken: address")
    ]
    assert shop.connections == 0


async def test_what_the_receiver_asks_for_is_waited_for_up_to_a_day(world, shop):
    shop.answers = scripted("503 X\nRetry-After: 90", "503 X\nRetry-After: 99999999")
    await world.tell()
    lane, due = world.lane(), []
    for _ in range(2):
        await look(lane)
        (row,) = await world.rows()
        due.append(row["due_at"] - world.clock.now())
        world.clock.advance(due[-1])
    assert due == [90.0, DELAYS[-1]]


async def test_a_date_that_the_receiver_asks_for_is_of_its_own_clock(world, shop):
    """Counted from a clock that is an hour behind, three seconds were an hour."""
    world.clock.behind = 3600.0
    shop.answers = scripted(f"503 X\nRetry-After: {formatdate(world.clock.world() + 90, usegmt=True)}")
    await world.tell()
    await look(world.lane())
    (row,) = await world.rows()
    assert row["due_at"] - world.clock.now() == pytest.approx(90, abs=1.0)


# A receiver that wants no more


async def test_a_receiver_that_is_gone_is_told_nothing_more(world, shop):
    shop.answers = scripted("500 X", "410 Gone")
    await world.tell(3)
    lane = world.lane()
    await look(lane)
    await look(lane)
    assert sorted(await world.statuses()) == ["dropped", "dropped", "failed"]
    assert [told.reason for told in world.told(EventName.WEBHOOK_DISABLED)] == ["gone"]
    assert [told.provider_code for told in world.told(EventName.WEBHOOK_FAILED)] == ["410"]
    await world.tell(2)
    await look(lane)
    assert sorted(await world.statuses()) == ["dropped", "dropped", "dropped", "dropped", "failed"]
    assert len(shop.requests) == 2
    assert world.observed == [("shop", "retried"), *[("shop", "dropped")] * 4]


async def test_it_is_told_at_another_url(world, shop):
    shop.answers = scripted("410 Gone")
    await world.tell()
    await look(world.lane())
    world.receivers["shop"] = await world._stack.enter_async_context(receiving())
    await world.tell()
    await look(world.lane())
    assert (await world.statuses()).count("delivered") == 1


async def test_it_is_told_again_where_an_operator_says_so(world, shop):
    shop.answers = scripted("410 Gone", "200 OK")
    await world.tell()
    lane = world.lane()
    await look(lane)
    await Endpoints(world.database, world.endpoints).enable("shop")
    await Webhooks(world.database, world.clock, node="").replay([shop.requests[0].id])
    await look(lane)
    assert await world.statuses() == ["delivered"]
    assert shop.requests[0].id == shop.requests[1].id


async def test_much_that_waits_is_dropped_without_a_pause(world, shop):
    await Endpoints(world.database, world.endpoints).disable(world.endpoints["shop"], "gone", START)
    await world.tell(BITE + 1)
    lane = world.lane()
    assert [await look(lane), await look(lane)] == [0.0, POLL]
    assert set(await world.statuses()) == {"dropped"}
    assert shop.connections == 0


# Receivers do not hold each other up


@pytest.mark.parametrize("status", ["429 X", "502 X", "504 X"])
async def test_one_that_has_too_much_is_left_alone(world, shop, status):
    shop.answers = scripted(f"{status}\nRetry-After: 60", "200 OK")
    await world.tell(3)
    lane = world.lane()
    assert await look(lane) == POLL
    for seconds in (0.0, 59.0, 0.5):
        world.clock.advance(seconds)
        await look(lane)
        assert len(shop.requests) == 1
    world.clock.advance(0.5)
    while "pending" in await world.statuses():
        await look(lane)
    assert await world.statuses() == ["delivered"] * 3


async def test_other_failures_leave_the_next_webhook_its_turn(world, shop):
    shop.answers = scripted("500 X", "200 OK")
    await world.tell(2)
    lane = world.lane()
    await look(lane)
    await look(lane)
    assert sorted(await world.statuses()) == ["delivered", "pending"]


async def test_one_that_never_answers_holds_one_place(bare):
    await bare.open("dead", "shop")
    dead, shop = bare.receivers["dead"], bare.receivers["shop"]
    dead.answers = lambda _: None
    await bare.tell(50, "dead")
    await bare.tell(50, "shop")
    lane = bare.lane()
    while (await bare.statuses()).count("delivered") < 50:
        await lane.look_once()
        await asyncio.sleep(0)
    assert (len(shop.requests), len(dead.requests)) == (50, 1)
    dead.hang_up()
    await lane.settled()


async def test_a_receiver_that_is_well_gets_several_at_once(world, shop):
    await world.tell(15)
    lane = world.lane()
    begun = []
    for _ in range(4):
        before = len(shop.requests)
        await look(lane)
        begun.append(len(shop.requests) - before)
    assert begun == [1, 2, 8, 4]


async def test_services_without_a_receiver_wait(world, shop):
    await world.tell()
    lane = world.lane()
    world.receivers.clear()
    assert await look(world.lane()) == POLL
    assert shop.connections == 0
    await look(lane)
    assert await world.statuses() == ["delivered"]


# Several nodes, and nodes that die


async def test_two_nodes_send_each_webhook_once(world, shop):
    await world.tell(40)
    lanes = [world.lane("one"), world.lane("other")]
    while "pending" in await world.statuses():
        await asyncio.gather(*map(look, lanes))
    assert len({request.id for request in shop.requests}) == len(shop.requests) == 40


async def test_what_a_dead_node_held_is_sent_once_its_lease_ends(world, shop):
    await world.tell()
    dead = Webhooks(world.database, world.clock, node="dead", several_nodes=world.several_nodes)
    assert len(await dead.claim({"shop": 1})) == 1
    lane = world.lane()
    world.clock.advance(LEASE - 0.25)
    assert await look(lane) == pytest.approx(0.25)
    assert shop.connections == 0
    world.clock.advance(0.25)
    await look(lane)
    assert await world.statuses() == ["delivered"]


async def test_a_node_that_slept_through_its_lease_sends_nothing(world, shop):
    await world.tell()
    lane = world.lane()
    await lane.look_once()
    # Between the claim and the first byte.
    world.clock.advance(LEASE / 2 + 1)
    await lane.settled()
    assert shop.connections == 0
    await look(lane)
    assert (await world.statuses(), len(shop.requests)) == (["delivered"], 1)


async def test_what_is_under_way_here_is_not_begun_twice(world, shop):
    await world.tell()
    lane = world.lane()
    await look(lane)
    # Well so far, it may have another; this one it never answers.
    shop.answers = lambda _: None
    await world.tell()
    await lane.look_once()
    await shop.came(2)
    # The machine slept: the lease is over, the connection is not.
    shop.answers = lambda _: answer()
    world.clock.advance(LEASE)
    await lane.look_once()
    shop.hang_up()
    await lane.settled()
    assert len(shop.requests) == 2
    assert [(row["status"], row["tries"]) for row in await world.rows()] == [("delivered", 1), ("pending", 1)]


# The database is away


async def test_what_became_of_a_try_is_written_once_the_database_is_back(world, shop):
    await world.tell()
    lane = world.lane()
    await lane.look_once()
    world.engine.lost_commits = 2
    await lane.settled()
    assert (world.slept, await world.statuses()) == (list(SETTLE_PAUSES[:2]), ["delivered"])


async def test_where_it_stays_away_the_lease_ends_and_the_receiver_knows_the_id(world, shop, caplog):
    await world.tell()
    lane = world.lane()
    await lane.look_once()
    world.engine.lost_commits = len(SETTLE_PAUSES) + 1
    await lane.settled()
    assert "a webhook was not settled: away" in caplog.text
    world.clock.advance(LEASE)
    await look(lane)
    assert await world.statuses() == ["delivered"]
    assert shop.requests[0].id == shop.requests[1].id


async def test_a_fault_of_ours_costs_one_webhook_a_lease(world, shop, caplog):
    def broken() -> float:
        raise ZeroDivisionError("very-secret")

    shop.answers = scripted("500 X", "200 OK")
    await world.tell(2)
    lane = world.lane(jitter=broken)
    await look(lane)
    await look(lane)
    assert sorted(await world.statuses()) == ["delivered", "pending"]
    assert "a webhook was not settled: ZeroDivisionError" in caplog.text
    assert "very-secret" not in caplog.text


# Running and stopping


@pytest.fixture
def run(world: World) -> Callable[..., asyncio.Task[None]]:
    """Starts lanes, which tests stop."""

    def start(**options: Any) -> asyncio.Task[None]:
        lane = world.lane(client=Client(private=True), **options)
        world.database.wakes.subscribe(TOPIC, lane.wake)
        return asyncio.create_task(lane.run())

    return start


async def test_what_is_committed_is_sent_at_once(world, shop, run):
    work = run()
    await world.tell()
    await shop.came(1)
    await world.tell(20)
    await shop.came(21)
    await stopped(work)
    assert await world.statuses() == ["delivered"] * 21


async def test_a_lane_outlives_a_database_that_is_away(world, shop, run, caplog):
    world.engine.lost_reads = 1
    work = run()
    await world.engine.read_lost.wait()
    await world.tell()
    await shop.came(1)
    await stopped(work)
    assert "webhooks could not be looked for: away" in caplog.text


async def test_what_is_under_way_at_a_stop_may_end(world, shop, run):
    work = run()
    await world.tell()
    # It is under way; its answer is not settled yet.
    await shop.came(1)
    await stopped(work)
    assert (await world.statuses(), len(shop.requests)) == (["delivered"], 1)


async def test_what_does_not_end_is_given_back_as_it_was(world, shop, run):
    shop.answers = lambda _: None
    work = run(grace=0.0)
    await world.tell()
    await shop.came(1)
    await stopped(work)
    (row,) = await world.rows()
    assert (row["status"], row["tries"], row["lease"], row["due_at"]) == ("pending", 0, "", START)
    shop.answers = lambda _: answer()
    await look(world.lane("other"))
    assert await world.statuses() == ["delivered"]


async def test_what_cannot_be_given_back_lapses(world, shop, run, caplog):
    shop.answers = lambda _: None
    work = run(grace=0.0)
    await world.tell()
    await shop.came(1)
    world.engine.lost_commits = 1
    await stopped(work)
    assert "a webhook was not given back: away; it lapses by itself" in caplog.text


async def test_what_is_claimed_while_it_stops_is_not_left_behind(world, shop, run):
    await world.tell()
    world.engine.may_commit.clear()
    world.engine.committing.clear()
    work = run()
    await world.engine.committing.wait()
    work.cancel()
    # The claim is on its way to the disk.
    await asyncio.sleep(0)
    world.engine.may_commit.set()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert await world.statuses() == ["delivered"]


async def test_a_lane_with_nothing_to_do_stops_at_once(world, run):
    work = run()
    await asyncio.sleep(0)
    await stopped(work)
    assert work.cancelled()


async def test_without_endpoints_a_lane_has_nothing_to_do(bare):
    await bare.open()
    await bare.lane().run()
