"""Minutes of trouble, simulated: what is sent when, and what becomes of every message.

The dispatcher, the queue and SQLite are the real ones; the providers are scripted, and time jumps.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from channels.base import Envelope, PermanentError, Reason, Receipt, TransientError
from gateway.config import CodeSettings, LimitSettings, ServiceSettings
from gateway.delivery.dispatching.backlog import Counted
from gateway.delivery.dispatching.breaker import OPEN_TIME, STOP_TIME
from gateway.delivery.dispatching.lane import BUFFER
from gateway.delivery.dispatching.pacing import pacers
from gateway.delivery.message import LEASE
from gateway.delivery.writing.rendering import Rendered
from gateway.storage.database import Database
from gateway.storage.pauses import Pauses
from gateway.storage.shares import Shares
from gateway.storage.sqlite import SqliteEngine
from gateway.verification.request import Asked
from tests.delivery.simulated import SimulatedClock, SimulatedLoop, simulate
from tests.world import EMAIL, World, two_channels

Answer = Callable[[float], BaseException | None]


@dataclass
class Provider:
    """Answers after a time, by what it is told for each moment; notes down when it was asked."""

    answers: Answer = lambda _: None
    seconds: float = 0.05
    asked: list[tuple[float, Envelope]] = field(default_factory=list)
    together: int = 0
    most: int = 0

    async def __call__(self, envelope: Envelope) -> Receipt:
        began = asyncio.get_running_loop().time()
        self.asked.append((began, envelope))
        self.together += 1
        self.most = max(self.most, self.together)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.together -= 1
        error = self.answers(began)
        if error is not None:
            raise error
        return Receipt(f"id-{len(self.asked)}")

    def between(self, since: float, until: float) -> int:
        """How many times it was asked in [since, until)."""
        return sum(since <= at < until for at, _ in self.asked)

    def asked_for(self, address: str) -> float:
        """When it was asked to send to an address, once."""
        [at] = [at for at, envelope in self.asked if envelope.address == address]
        return at

    def peak(self) -> int:
        """How many times it was asked within a second, at most."""
        times = [at for at, _ in self.asked]
        return max(sum(at <= other < at + 1.0 - 1e-6 for other in times) for at in times)


@dataclass
class Node:
    """A world at work in simulated time."""

    world: World
    loop: SimulatedLoop
    #: How many codes were asked for, and the latest one's number.
    number: int = 0
    latest: str = ""

    @property
    def database(self) -> Database:
        return self.world.database

    async def ask(self, service: str = "shop", *, both: bool = False, ttl: int = 300) -> str:
        """Ask for a code as the API does; return the verification's id."""
        self.number += 1
        to = {"phone": f"+49151{self.number:08}"} | ({"email": f"{self.number}.{EMAIL}"} if both else {})
        self.latest = to["phone"]
        prepared = await self.world.verifications.prepare(service, Asked(to=to, ttl=ttl))
        view = await self.world.verifications.start(prepared)
        return view.id

    async def ask_steadily(self, number: int, per_second: float, **asked: Any) -> None:
        for _ in range(number):
            await self.ask(**asked)
            await asyncio.sleep(1.0 / per_second)

    async def statuses(self) -> Counter[tuple[str, str]]:
        """How many messages of each channel are in each status."""
        found = await self.database.fetch("SELECT channel, status FROM message")
        return Counter((record["channel"], record["status"]) for record in found)

    async def events(self, like: str) -> list[tuple[str, float, str | None]]:
        found = await self.database.fetch(
            "SELECT name, at, reason FROM event WHERE name LIKE :like ORDER BY at, id", like=like
        )
        began = self.world.clock.now() - self.loop.time()
        return [(record["name"], round(record["at"] - began, 1), record["reason"]) for record in found]


@pytest.fixture
def make_node(migrated_sqlite, tmp_path, sealer, hasher):
    path = tmp_path / "simulated.db"
    shutil.copy(migrated_sqlite, path)
    return lambda loop, **options: node(path, loop, sealer, hasher, **options)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Database]:
    async with Database(SqliteEngine(path)) as database:
        yield database


@asynccontextmanager
async def node(
    path: Path,
    loop: SimulatedLoop,
    sealer: Any,
    hasher: Any,
    *,
    database: Database | None = None,
    name: str = "node-a",
    channels: Any = None,
    shared: bool = False,
    services: Sequence[str] = ("shop",),
) -> AsyncIterator[Node]:
    """A node at work, on a database of its own or on another's."""
    async with opened(path) as own:
        store = database or own
        clock, channels = SimulatedClock(), channels or two_channels()
        shares = Shares(store, name) if shared else None
        dispatching = {
            "jitter": random.Random(7).random,
            "sleep": asyncio.sleep,
            "write": store.write,
            "backlog": Counted(store.fetch),
            "paces": pacers(channels, clock, shares=shares, pauses=Pauses(store)),
        }
        world = World(store, clock, sealer, hasher, channels, node=name, dispatching=dispatching)
        world.dispatcher._services = services
        limits = LimitSettings(cooldown=0, prefix_per_hour=0, guesses_per_hour=0)
        for service in services:
            settings = ServiceSettings(name=service, channels=("sms", "email"), code=CodeSettings(), limits=limits)
            world.verifications._services[service] = settings  # type: ignore[index]
        world.verifications._hand_over = world.dispatcher.hand_over
        world.verifications._drafting._has_room = world.dispatcher.has_room
        for channel in channels:
            store.wakes.subscribe(f"message.{channel}", lambda channel=channel: world.dispatcher.announce(channel))  # type: ignore[misc]
            store.wakes.subscribe(f"pause.{channel}", lambda channel=channel: world.dispatcher.pause_told(channel))  # type: ignore[misc]
        world.dispatcher.start()
        try:
            yield Node(world, loop)
        finally:
            await world.dispatcher.stop()


def down(since: float, until: float, error: Callable[[], Exception]) -> Answer:
    return lambda at: error() if since <= at < until else None


def unavailable() -> Exception:
    return TransientError(Reason.UNAVAILABLE)


def refused() -> Exception:
    return PermanentError(Reason.MISCONFIGURED, provider_code="20003")


Scenario = Callable[[SimulatedLoop], Awaitable[None]]


# -- an outage


def test_an_outage_of_three_minutes_is_probed_and_nothing_that_lives_is_lost(make_node):
    """One channel alone: what comes during the outage waits, and is sent when the provider is back."""
    provider = Provider(down(30.0, 210.0, unavailable))

    async def scenario(loop: SimulatedLoop) -> None:
        channels = two_channels(rate=20.0, concurrency=10)
        channels["sms"].act = provider
        async with make_node(loop, channels=channels) as node:
            await node.ask_steadily(300, per_second=1.25)
            await asyncio.sleep(40.0)
            states = await node.statuses()
            names = [name for name, _, _ in await node.events("channel.%")]
            assert node.world.dispatcher.states() == {"sms": "ok", "email": "ok"}
        assert names == ["channel.opened", "channel.closed"]
        # A message gets four tries; those that were the probes again and again had theirs.
        assert states[("sms", "sent")] >= 290
        assert states[("sms", "sent")] + states[("sms", "failed")] == 300

    simulate(scenario)
    opened_at = 30.0 + 30.0
    assert provider.between(opened_at, 210.0) <= (210.0 - opened_at) / OPEN_TIME + 1
    # Back, it is given more from second to second, and never more than its rate.
    back = min(at for at, _ in provider.asked if at >= 210.0)
    assert back <= 210.0 + OPEN_TIME + 1
    assert provider.between(back, back + 1.0) <= 5
    assert provider.peak() <= 20
    assert all(envelope.lifetime > 0 for _, envelope in provider.asked)


def test_while_the_breaker_is_open_people_get_their_code_by_the_next_channel_at_once(make_node):
    sms, email = Provider(down(0.0, 1000.0, unavailable)), Provider()

    async def scenario(loop: SimulatedLoop) -> None:
        channels = two_channels()
        channels["sms"].act, channels["email"].act = sms, email
        async with make_node(loop, channels=channels) as node:
            await node.ask_steadily(60, per_second=4.0, both=True)
            asked = loop.time()
            await node.ask(both=True)
            await asyncio.sleep(1.0)
            assert email.asked[-1][0] - asked < 0.1
            assert node.world.dispatcher.states()["sms"] == "open"
            assert await node.statuses() == {("sms", "failed"): 61, ("email", "sent"): 61}
            reasons = await node.database.fetch("SELECT DISTINCT reason FROM message WHERE channel = 'sms'")
            assert [record["reason"] for record in reasons] == ["unavailable"]

    simulate(scenario)


def test_a_code_that_would_die_before_the_next_probe_ends_at_once(make_node):
    async def scenario(loop: SimulatedLoop) -> None:
        channels = two_channels()
        channels["sms"].act = Provider(down(0.0, 1000.0, unavailable))
        async with make_node(loop, channels=channels) as node:
            await node.ask_steadily(20, per_second=100.0)
            await asyncio.sleep(0.5)
            assert node.world.dispatcher.states()["sms"] == "open"
            view = await node.ask(ttl=5)
            await asyncio.sleep(0.1)
            found = await node.database.fetch("SELECT status FROM verification WHERE id = :id", id=view)
            assert [record["status"] for record in found] == ["failed"]

    simulate(scenario)


# -- a provider that asks to wait


@pytest.mark.parametrize("asks_for", [0.0, 30.0, 3600.0])
def test_nothing_is_asked_of_a_provider_while_it_has_us_wait(make_node, asks_for):
    """The storm lasts five seconds; those under way when it begins are ten."""

    def limited() -> Exception:
        return TransientError(Reason.RATE_LIMITED, retry_after=asks_for, whole_channel=True)

    provider = Provider(down(10.0, 15.0, limited))

    async def scenario(loop: SimulatedLoop) -> None:
        channels = two_channels(concurrency=10)
        channels["sms"].act = provider
        async with make_node(loop, channels=channels) as node:
            await node.ask_steadily(200, per_second=10.0)
            waits = max(1.0, asks_for)
            first = min(at for at, _ in provider.asked if at >= 10.0) + provider.seconds
            assert provider.between(first + 0.001, first + waits - 0.001) <= 1
            # Waited for in the second range of the storm, a wait of nothing is asked for again and again.
            assert provider.between(10.0, 15.0) <= 6 * 10
            await asyncio.sleep(60.0)
            states = await node.statuses()
            if asks_for < 300:
                assert states == {("sms", "sent"): 200}
            else:
                assert states[("sms", "failed")] == 200 - states[("sms", "sent")] > 90
                assert node.world.dispatcher.states()["sms"] == "paused"

    simulate(scenario)


def test_a_pause_longer_than_the_channels_share_sends_people_to_the_next_one(make_node):
    sms, email = (
        Provider(lambda _: TransientError(Reason.RATE_LIMITED, retry_after=3600, whole_channel=True)),
        Provider(),
    )

    async def scenario(loop: SimulatedLoop) -> None:
        channels = two_channels()
        channels["sms"].act, channels["email"].act = sms, email
        async with make_node(loop, channels=channels) as node:
            await node.ask_steadily(20, per_second=10.0, both=True)
            await asyncio.sleep(1.0)
            assert await node.statuses() == {("sms", "failed"): 20, ("email", "sent"): 20}

    simulate(scenario)
    assert len(sms.asked) == 1


def test_a_pause_outlives_a_restart(make_node):
    provider = Provider(down(0.0, 5.0, lambda: TransientError(Reason.RATE_LIMITED, retry_after=60, whole_channel=True)))

    async def scenario(loop: SimulatedLoop) -> None:
        channels = two_channels()
        channels["sms"].act = provider
        async with make_node(loop, channels=channels) as node:
            await node.ask()
            await asyncio.sleep(1.0)
        async with make_node(loop, channels=channels, name="node-b") as node:
            await node.ask()
            await asyncio.sleep(50.0)
            assert len(provider.asked) == 1
            await asyncio.sleep(20.0)
            assert await node.statuses() == {("sms", "sent"): 2}

    simulate(scenario)


def test_other_nodes_obey_a_pause_within_a_wake(make_node):
    provider = Provider(down(0.0, 5.0, lambda: TransientError(Reason.RATE_LIMITED, retry_after=30, whole_channel=True)))

    async def scenario(loop: SimulatedLoop) -> None:
        channels = two_channels()
        channels["sms"].act = provider
        async with (
            make_node(loop, channels=channels) as node,
            make_node(loop, channels=channels, name="node-b", database=node.database) as other,
        ):
            await node.ask()
            await asyncio.sleep(0.2)
            other.number = 500
            await other.ask()
            await asyncio.sleep(25.0)
            assert len(provider.asked) == 1

    simulate(scenario)


# -- failures at random, and slowness


def test_of_sends_that_fail_at_random_nearly_all_succeed_and_few_are_repeated(make_node):
    chance = random.Random(11)
    provider = Provider(lambda _: unavailable() if chance.random() < 0.1 else None)

    async def scenario(loop: SimulatedLoop) -> None:
        channels = two_channels()
        channels["sms"].act = provider
        async with make_node(loop, channels=channels) as node:
            await node.ask_steadily(600, per_second=20.0)
            await asyncio.sleep(20.0)
            assert await node.statuses() == {("sms", "sent"): 600}
            assert await node.events("channel.%") == []

    simulate(scenario)
    assert len(provider.asked) / 600 <= 1.13


def test_a_slow_provider_costs_the_other_channels_nothing(make_node):
    sms, email = Provider(seconds=9.0), Provider()

    async def scenario(loop: SimulatedLoop) -> None:
        channels = two_channels(concurrency=5)
        channels["sms"].act, channels["email"].act = sms, email
        async with make_node(loop, channels=channels) as node:
            for _ in range(30):
                await node.ask()
            began = loop.time()
            for number in range(30):
                view = await node.world.verifications.prepare("shop", Asked(to={"email": f"x{number}@example.org"}))
                await node.world.verifications.start(view)
            await asyncio.sleep(1.0)
            assert len(email.asked) == 30
            assert email.asked[-1][0] - began < 0.5

    simulate(scenario)
    assert sms.most == 5


def test_one_services_flood_does_not_delay_anothers_single_message(make_node):
    """20 000 wait, two at a time of a second each: the single one starts when the next slot is free."""
    provider = Provider(seconds=1.0)

    async def scenario(loop: SimulatedLoop) -> None:
        channels = two_channels(concurrency=2)
        channels["sms"].act = provider
        async with make_node(loop, channels=channels, services=("shop", "bank")) as node:
            flood = await node.ask("shop")
            await node.database.run(lambda connection: flooded(connection, flood, 20_000))
            # Time for the node to take in as much as it may.
            await asyncio.sleep(30.0)
            lane = node.world.dispatcher._lanes["sms"]
            assert 0 < lane.counts()["shop"] <= 20_000 + BUFFER
            for _ in range(3):
                asked = loop.time()
                await node.ask("bank")
                await asyncio.sleep(1.2)
                assert provider.asked_for(node.latest) - asked <= 1.01
            # The same where it waits in the database, as another node leaves it.
            lane.behind["bank"] = 1
            asked = loop.time()
            await node.ask("bank")
            await asyncio.sleep(2.2)
            assert provider.asked_for(node.latest) - asked <= 2.01

    simulate(scenario)


async def flooded(connection: Any, verification_id: str, number: int) -> None:
    """Queue the message of a verification so many times more."""
    await connection.fetch(
        """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :number)
        INSERT INTO message (id, verification_id, service, channel, step, status, attempts, skipped, due_at, lease,
            generation, recipient, created_at, expires_at)
        SELECT m.id || '-' || n.i, m.verification_id, m.service, m.channel, 0, 'queued', 0, 0, m.created_at, '', 1,
            m.recipient, m.created_at, m.expires_at
        FROM message m, n WHERE m.verification_id = :verification_id""",
        number=number,
        verification_id=verification_id,
    )


# -- a channel whose configuration fails


def test_bad_credentials_stop_a_channel_until_a_minutes_probe_succeeds(make_node, caplog):
    sms, email = Provider(down(10.0, 150.0, refused)), Provider()

    async def scenario(loop: SimulatedLoop) -> None:
        channels = two_channels()
        channels["sms"].act, channels["email"].act = sms, email
        async with make_node(loop, channels=channels) as node:
            await node.ask_steadily(440, per_second=2.0, both=True)
            await asyncio.sleep(5.0)
            told = await node.events("channel.%")
            states = await node.statuses()
            assert node.world.dispatcher.states()["sms"] == "ok"
        assert [name for name, _, _ in told] == ["channel.stopped", "channel.resumed"]
        assert told[0][2] == "misconfigured"
        assert 10.0 <= told[0][1] <= 11.0
        assert 150.0 <= told[1][1] <= 150.0 + STOP_TIME + 1
        # Nobody missed a code.
        assert states[("sms", "sent")] + states[("email", "sent")] == 440

    simulate(scenario)
    assert sms.between(11.0, 150.0) == 2
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1


def test_a_message_on_its_last_channel_fails_by_its_configuration_and_others_wait_for_the_probe(make_node):
    provider = Provider(down(0.0, 30.0, refused))

    async def scenario(loop: SimulatedLoop) -> None:
        channels = two_channels()
        channels["sms"].act = provider
        async with make_node(loop, channels=channels) as node:
            await node.ask()
            await asyncio.sleep(0.5)
            assert await node.statuses() == {("sms", "failed"): 1}
            await node.ask()
            await node.ask(ttl=30)
            await asyncio.sleep(0.5)
            # The second lives to see the probe, the third does not.
            assert await node.statuses() == {("sms", "failed"): 2, ("sms", "queued"): 1}
            await asyncio.sleep(STOP_TIME + 5)
            assert await node.statuses() == {("sms", "failed"): 2, ("sms", "sent"): 1}

    simulate(scenario)


def test_a_broken_template_stops_no_channel(make_node):
    async def scenario(loop: SimulatedLoop) -> None:
        async with make_node(loop) as node:
            caller = node.world.dispatcher._caller
            render = caller._render

            def broken(*_: Any) -> Rendered:
                raise ValueError("a fault of ours")

            caller._render = broken
            await node.ask_steadily(30, per_second=100.0)
            await asyncio.sleep(0.5)
            assert node.world.dispatcher.states()["sms"] == "ok"
            caller._render = render
            await asyncio.sleep(5.0)
            assert await node.statuses() == {("sms", "sent"): 30}

    simulate(scenario)


# -- a node that stands still


@pytest.mark.parametrize("still", [LEASE, 3600.0])
def test_a_node_that_stood_still_between_begin_and_send_gives_up(make_node, still, caplog):
    provider = Provider()

    async def scenario(loop: SimulatedLoop) -> None:
        channels = two_channels()
        channels["sms"].act = provider
        async with make_node(loop, channels=channels) as node:
            caller = node.world.dispatcher._caller
            render, stops = caller._render, [still]

            def slowly(*asked: Any) -> Rendered:
                if stops:
                    loop.jump(stops.pop())
                rendered: Rendered = render(*asked)
                return rendered

            caller._render = slowly
            await node.ask(ttl=300)
            # The first sleep is over once the node goes on.
            for _ in range(2):
                await asyncio.sleep(3.0)
            states = await node.statuses()
            assert states == ({("sms", "sent"): 1} if still < 300 else {("sms", "expired"): 1})

    simulate(scenario)
    assert len(provider.asked) == (1 if still < 300 else 0)
    assert ("an attempt was given up: this node stood still" in caplog.messages) == (still < 300)


def test_what_another_node_took_over_meanwhile_is_not_sent_twice(make_node):
    """A node is stopped after it began; when it goes on, another has sent the message."""
    provider = Provider()

    async def scenario(loop: SimulatedLoop) -> None:
        channels = two_channels()
        channels["sms"].act = provider
        async with make_node(loop, channels=channels) as node:
            queue = node.world.queue
            await node.world.dispatcher.stop()
            node.world.verifications._drafting._has_room = lambda *_: True
            held: list[Any] = []
            node.world.verifications._hand_over = held.append
            await node.ask()
            begun = await queue.begin(held[0])
            assert begun is not None
            async with make_node(loop, channels=channels, name="node-b", database=node.database) as other:
                await asyncio.sleep(LEASE + 5.0)
                assert await other.statuses() == {("sms", "sent"): 1}
                lane = node.world.dispatcher._lanes["sms"]
                sender = node.world.dispatcher
                sender._stopping = False
                sender._begun = returning(loop.time() + 1000.0 - LEASE - 5.0, begun)
                lane.put(held[0])
                await sender.attempt(await lane.take())
                assert len(provider.asked) == 1

    simulate(scenario)


def returning(asked: float, begun: Any) -> Callable[[Any], Awaitable[Any]]:
    async def already(_: Any) -> Any:
        return asked, begun

    return already


# -- one recipient


def test_codes_for_one_recipient_start_a_pause_apart_and_none_waits_for_longer(make_node):
    """Those whose turn is far off wait in the database, and hold up nobody whose turn comes before."""
    provider = Provider(seconds=0.01)

    async def scenario(loop: SimulatedLoop) -> None:
        channels = two_channels(concurrency=10)
        channels["sms"].act = provider
        channels["sms"].recipient_pause = 1.0  # type: ignore[misc]
        async with make_node(loop, channels=channels) as node:
            await asyncio.sleep(0.3)
            for _ in range(5):
                node.number = 0
                await node.ask()
            await asyncio.sleep(10.0)

    simulate(scenario)
    assert [round(at, 1) for at, _ in provider.asked] == [0.3, 1.3, 2.3, 3.3, 4.3]


# -- several nodes


def test_two_nodes_share_a_rate(make_node):
    """Twenty a second over both, whoever comes and goes."""
    provider = Provider()

    async def scenario(loop: SimulatedLoop) -> None:
        channels = two_channels(rate=20.0)
        channels["sms"].act = provider
        async with make_node(loop, channels=channels, shared=True) as node:
            for _ in range(600):
                await node.ask()
            await asyncio.sleep(5.0)
            alone = provider.between(1.0, 5.0)
            async with make_node(loop, channels=channels, name="node-b", database=node.database, shared=True) as other:
                other.number = 5000
                for _ in range(200):
                    await other.ask()
                await asyncio.sleep(10.0)
                lanes = [side.world.dispatcher._lanes["sms"] for side in (node, other)]
                assert [lane.pacer.share for lane in lanes] == [10.0, 10.0]
            await asyncio.sleep(5.0)
            assert lanes[0].pacer.share == 20.0
            await asyncio.sleep(25.0)
            assert await node.statuses() == {("sms", "sent"): 800}
        assert alone == pytest.approx(80, abs=2)

    simulate(scenario)
    assert provider.peak() <= 21
