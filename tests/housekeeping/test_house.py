"""One node keeps house; duties are done in bites, the one due first at a time, and sends go first for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.housekeeping import Duty, House
from gateway.housekeeping.house import LEASE, NAME, PATIENCE, RENEWAL, REST, TAKEOVER
from gateway.storage.leases import Leases
from gateway.storage.unit import StorageUnavailableError
from tests.conftest import HandClock


class Night:
    """Time that passes while somebody sleeps. It ends ``seconds`` after it began."""

    def __init__(self, clock: HandClock, seconds: float) -> None:
        self.clock = clock
        self.end = clock.monotonic() + seconds
        self.slept: list[float] = []
        #: What happens before somebody sleeps.
        self.before: Callable[[], Awaitable[None]] | None = None

    async def __call__(self, seconds: float) -> None:
        if self.before is not None:
            await self.before()
        self.slept.append(seconds)
        self.clock.advance(seconds)
        if self.clock.monotonic() >= self.end:
            raise asyncio.CancelledError


class Chore:
    """A duty that finds as many rows as a test says, and notes down when."""

    def __init__(self, clock: HandClock, *found: int | Exception, takes: float = 0.0) -> None:
        self.clock = clock
        self.begun = clock.monotonic()
        self.found = list(found)
        self.takes = takes
        #: Seconds since the beginning.
        self.times: list[float] = []

    async def __call__(self) -> int:
        self.times.append(round(self.clock.monotonic() - self.begun, 3))
        self.clock.advance(self.takes)
        found = self.found.pop(0) if self.found else 0
        if isinstance(found, Exception):
            raise found
        return found


class Shaky(Leases):
    """Leases of a database that is away when a test says so."""

    away = False
    takes = 0

    async def take(self, name: str, now: float, seconds: float) -> bool:
        self.takes += 1
        if self.away:
            raise StorageUnavailableError("SQLite: database is locked")
        return await super().take(name, now, seconds)

    async def give(self, name: str) -> None:
        if self.away:
            raise StorageUnavailableError("SQLite: database is locked")
        await super().give(name)


@pytest.fixture
def leases(database) -> Shaky:
    return Shaky(database, "node-1")


async def lived(house: House) -> None:
    """Run a house to the end of its night."""
    with pytest.raises(asyncio.CancelledError):
        await house.run()


async def holder(database) -> str | None:
    found = await database.fetch("SELECT node FROM lease WHERE name = :name", name=NAME)
    return found[0]["node"] if found else None


def house(leases: Leases, clock: HandClock, night: Night, *duties: Duty, **more: Any) -> House:
    return House(leases, clock, duties, sleep=night, **more)


async def test_a_duty_is_done_at_once_and_then_every_so_often(leases, clock):
    chore = Chore(clock)
    await lived(house(leases, clock, Night(clock, 10), Duty("sweep", chore, 3.0)))
    assert chore.times == [0, 3, 6, 9]


async def test_a_duty_that_found_something_goes_on_after_a_rest(leases, clock):
    chore = Chore(clock, 500, 20)
    kept = house(leases, clock, Night(clock, 5), Duty("old", chore, 60.0))
    await lived(kept)
    assert chore.times == [0, REST, 2 * REST]
    assert kept.rows == {"old": 520}


async def test_after_a_long_bite_the_rest_is_longer(leases, clock):
    chore = Chore(clock, 500, takes=0.5)
    await lived(house(leases, clock, Night(clock, 5), Duty("old", chore, 60.0)))
    assert chore.times == [0, 2.5]


async def test_an_urgent_duty_goes_on_without_a_rest(leases, clock):
    chore = Chore(clock, 200, 200, 3)
    await lived(house(leases, clock, Night(clock, 1), Duty("expire", chore, 1.0, urgent=True)))
    assert chore.times == [0, 0, 0, 0]


async def test_a_long_duty_does_not_hold_up_another(leases, clock):
    long, short = Chore(clock, *[500] * 1000, takes=0.01), Chore(clock)
    await lived(house(leases, clock, Night(clock, 5.5), Duty("old", long, 60.0), Duty("expire", short, 1.0)))
    assert len(long.times) > 40
    assert len(short.times) == 6
    assert all(abs(time - number) < 0.2 for number, time in enumerate(short.times))


async def test_an_urgent_duty_that_never_ends_does_not_starve_the_others(leases, clock):
    urgent, other = Chore(clock, *[200] * 10_000, takes=0.01), Chore(clock)
    await lived(
        house(leases, clock, Night(clock, 3), Duty("expire", urgent, 1.0, urgent=True), Duty("other", other, 1.0))
    )
    assert len(other.times) >= 3


async def test_a_duty_that_fails_is_told_by_its_type_and_tried_again(leases, clock, caplog):
    chore, other = Chore(clock, RuntimeError("secret 123456")), Chore(clock)
    kept = house(leases, clock, Night(clock, 3), Duty("sweep", chore, 2.0), Duty("other", other, 2.0))
    await lived(kept)
    assert (chore.times, other.times) == ([0, 2], [0, 2])
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["house-keeping: sweep failed: RuntimeError"]
    assert kept.rows == {"sweep": 0, "other": 0}


async def test_a_patient_duty_lets_sends_go_first_for_a_while_and_an_urgent_one_does_not(leases, clock):
    patient, urgent = Chore(clock, 500, 500), Chore(clock)
    duties = Duty("old", patient, 60.0), Duty("expire", urgent, 1.0, urgent=True)
    await lived(house(leases, clock, Night(clock, 5.5), *duties, busy=lambda: True))
    assert urgent.times == pytest.approx([0, 1, 2, 3, 4, 5], abs=REST)
    # A gateway that is never idle still gets rid of what is old.
    waits = [later - sooner for sooner, later in zip([0.0, *patient.times], patient.times, strict=False)]
    assert waits == pytest.approx([PATIENCE] * 3, abs=3 * REST)


async def test_a_patient_duty_goes_on_once_nothing_waits(leases, clock):
    chore, busy = Chore(clock), [True, True, False]
    await lived(house(leases, clock, Night(clock, 1), Duty("old", chore, 60.0), busy=lambda: busy.pop(0)))
    assert chore.times == [2 * REST]


async def test_of_several_nodes_one_keeps_house(database, clock):
    chores = [Chore(clock) for _ in range(3)]
    nodes = [
        house(Leases(database, f"node-{number}"), clock, Night(clock, 1000), Duty("sweep", chore, 1.0))
        for number, chore in enumerate(chores)
    ]
    for _ in range(5):
        for node in nodes:
            if await node._hold():
                await node._go_on()
    assert [bool(chore.times) for chore in chores] == [True, False, False]
    assert [node.keeps for node in nodes] == [True, False, False]


async def test_a_node_that_does_not_keep_house_tries_again_and_again(database, leases, clock):
    assert await Leases(database, "node-2").take(NAME, clock.now(), 5.0)
    chore, night = Chore(clock), Night(clock, 8)
    await lived(house(leases, clock, night, Duty("sweep", chore, 100.0)))
    assert night.slept[:3] == [TAKEOVER] * 3
    assert chore.times == [3 * TAKEOVER]


async def test_the_lease_is_renewed_while_it_is_held(database, leases, clock):
    others: list[bool] = []
    night = Night(clock, 3 * LEASE)

    async def other() -> None:
        others.append(await Leases(database, "node-2").take(NAME, clock.now(), LEASE))

    night.before = other
    await lived(house(leases, clock, night, Duty("sweep", Chore(clock), 1000.0)))
    assert len(others) >= 3 * LEASE / RENEWAL
    assert not any(others)


async def test_a_node_that_lost_the_lease_begins_no_other_bite(database, leases, clock, caplog):
    """As one that was stopped in the middle of a bite for longer than the lease."""
    caplog.set_level("INFO")
    other = Leases(database, "node-2")

    async def stopped() -> int:
        clock.advance(LEASE + 1)
        assert await other.take(NAME, clock.now(), LEASE)
        return 500

    chore, night = Chore(clock), Night(clock, LEASE + 4)
    kept = house(leases, clock, night, Duty("old", stopped, 60.0), Duty("other", chore, 60.0))
    await lived(kept)
    assert chore.times == []
    assert not kept.keeps
    assert await holder(database) == "node-2"
    assert [record.getMessage() for record in caplog.records] == ["this node keeps house"]


async def test_a_lease_that_another_took_early_is_noticed_at_its_renewal(database, leases, clock, caplog):
    """Its row was deleted by hand, or the clocks differ."""
    caplog.set_level("INFO")
    night = Night(clock, RENEWAL + 4)

    async def stolen() -> None:
        await leases.give(NAME)
        await Leases(database, "node-2").take(NAME, clock.now(), 100.0)

    night.before = stolen
    kept = house(leases, clock, night, Duty("sweep", Chore(clock), 60.0))
    await lived(kept)
    assert [record.getMessage() for record in caplog.records] == ["this node keeps house", "another node keeps house"]
    assert not kept.keeps


async def test_while_the_database_is_away_the_house_is_kept_until_the_lease_ends(leases, clock, caplog):
    chore, night = Chore(clock), Night(clock, LEASE + 9)

    async def away() -> None:
        leases.away = True

    night.before = away
    kept = house(leases, clock, night, Duty("sweep", chore, 1.0))
    await lived(kept)
    assert chore.times == pytest.approx(range(int(LEASE)), abs=0.001)
    assert not kept.keeps
    warnings = {record.getMessage() for record in caplog.records if record.levelname == "WARNING"}
    assert warnings == {f"the lease {NAME} could not be taken: SQLite: database is locked"}
    # Once when it was taken, then at most every so often.
    assert leases.takes <= 2 + (LEASE + 9) / TAKEOVER


async def test_a_house_without_duties_holds_the_lease(database, leases, clock):
    night, held = Night(clock, 2 * RENEWAL), []

    async def look() -> None:
        held.append(await holder(database))

    night.before = look
    await lived(house(leases, clock, night))
    assert set(held) == {"node-1"}


async def test_at_its_end_a_node_gives_the_lease_back(database, leases, clock):
    await lived(house(leases, clock, Night(clock, 1), Duty("sweep", Chore(clock), 60.0)))
    assert await holder(database) is None


async def test_a_lease_that_cannot_be_given_back_is_told(database, leases, clock, caplog):
    night = Night(clock, 1)

    async def away() -> None:
        leases.away = True

    night.before = away
    await lived(house(leases, clock, night, Duty("sweep", Chore(clock), 60.0)))
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"the lease {NAME} could not be given back: SQLite: database is locked; it ends by itself"
    ]
    assert await holder(database) == "node-1"
