"""Rescuing: what dead nodes had, and after an outage not before living ones have held what is theirs."""

from __future__ import annotations

from typing import cast

import pytest

from gateway.delivery.dispatching.dispatcher import POLL
from gateway.delivery.dispatching.rescuing import AWAY, Rescuing
from gateway.delivery.message import LEASE
from gateway.delivery.queue import Queue
from gateway.storage.unit import StorageContendedError, StorageUnavailableError

AWAY_NOW = StorageUnavailableError("away")


class Lapsed:
    """A queue of which one attempt has lapsed, and a database that is well, away, contended, or can only be read."""

    def __init__(self) -> None:
        self.reads = True
        self.write_fails: Exception | None = None

    async def rescue(self, held, may):
        assert held == {"msg_1"}
        if not self.reads:
            raise AWAY_NOW
        rescues = may()
        if self.write_fails is not None:
            raise self.write_fails
        return int(rescues)


@pytest.fixture
def lapsed():
    return Lapsed()


@pytest.fixture
def look(lapsed, clock):
    rescuing = Rescuing(cast("Queue", lapsed), clock)
    return lambda: rescuing.look({"msg_1"})


@pytest.fixture
async def rested(look, clock):
    """A node that has looked, and rested after its start."""
    await look()
    clock.advance(AWAY)


async def test_a_node_that_has_just_started_lets_others_hold_what_is_theirs_first(look, clock):
    found = [await look()]
    for pause in (AWAY - 0.5, 0.5):
        clock.advance(pause)
        found.append(await look())
    assert found == [0, 0, 1]


def test_what_a_node_had_that_is_started_again_at_once_is_rescued_within_25_seconds():
    assert max(LEASE, AWAY + AWAY) + 2 * POLL <= 25


@pytest.mark.parametrize(("seconds", "found"), [(AWAY, [1, 1, 1]), (AWAY + 0.5, [0, 0, 1])])
@pytest.mark.usefixtures("rested")
async def test_after_a_long_silence_others_have_as_long_to_hold_what_is_theirs(look, lapsed, clock, seconds, found):
    await look()
    lapsed.reads = False
    clock.advance(seconds / 2)
    with pytest.raises(StorageUnavailableError):
        await look()
    lapsed.reads = True
    clock.advance(seconds / 2)
    rescued = [await look()]
    for pause in (AWAY - 0.5, 0.5):
        clock.advance(pause)
        rescued.append(await look())
    assert rescued == found


@pytest.mark.usefixtures("rested")
async def test_what_can_only_be_read_is_away_until_it_can_be_written(look, lapsed, clock):
    lapsed.write_fails = AWAY_NOW
    for _ in range(3):
        with pytest.raises(StorageUnavailableError):
            await look()
        clock.advance(AWAY - 0.5)
    lapsed.write_fails = None
    found = [await look()]
    for pause in (AWAY - 0.5, 0.5):
        clock.advance(pause)
        found.append(await look())
    assert found == [0, 0, 1]


@pytest.mark.usefixtures("rested")
async def test_a_database_in_which_another_is_in_the_way_is_not_away(look, lapsed):
    lapsed.write_fails = StorageContendedError("contended")
    with pytest.raises(StorageContendedError):
        await look()
    lapsed.write_fails = None
    assert await look() == 1
