"""Rescuing: at once what dead nodes had, and after an outage not before living ones have held what is theirs."""

from __future__ import annotations

from typing import cast

import pytest

from gateway.delivery.dispatching.rescuing import AWAY, Rescuing
from gateway.delivery.queue import Queue
from gateway.storage.unit import StorageUnavailableError

AWAY_NOW = StorageUnavailableError("away")


class Lapsed:
    """A queue of which one attempt has lapsed, and a database that is well, away, or can only be read."""

    def __init__(self) -> None:
        self.reads = self.writes = True

    async def rescue(self, held, may):
        assert held == {"msg_1"}
        if not self.reads:
            raise AWAY_NOW
        if not may():
            return 0
        if not self.writes:
            raise AWAY_NOW
        return 1


@pytest.fixture
def lapsed():
    return Lapsed()


@pytest.fixture
def look(lapsed, clock):
    rescuing = Rescuing(cast("Queue", lapsed), clock)
    return lambda: rescuing.look({"msg_1"})


async def test_a_node_that_has_just_started_rescues_at_once(look):
    assert await look() == 1


@pytest.mark.parametrize(("seconds", "found"), [(AWAY, [1, 1, 1]), (AWAY + 0.5, [0, 0, 1])])
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


async def test_what_can_only_be_read_is_away_as_well(look, lapsed, clock):
    lapsed.writes = False
    with pytest.raises(StorageUnavailableError):
        await look()
    lapsed.writes = True
    clock.advance(AWAY - 0.5)
    assert await look() == 0
    clock.advance(0.5)
    assert await look() == 1
