"""A start waits for the pause, the share of the rate and the recipient's turn, whoever sends."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from gateway.delivery.dispatching.pacing import (
    COURTESY,
    LONGEST_PAUSE,
    RESTING,
    SHARE_LEASE,
    SLICE,
    OwnTurns,
    Pacer,
    pacers,
)
from gateway.storage.unit import StorageUnavailableError
from tests.conftest import START, HandClock
from tests.world import two_channels

ANN, BOB = "+4915112345678", "+4915112345679"


class Shared:
    """What several nodes know together: shares, turns and pauses, on a database that may be away."""

    def __init__(self) -> None:
        self.share = 5.0
        self.given: list[str] = []
        self.pauses: dict[str, float] = {}
        self.puts = 0
        self.turns = OwnTurns()
        self.away = False

    def check(self) -> None:
        if self.away:
            raise StorageUnavailableError("PostgreSQL: gone")


class Shares:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared

    async def take(self, channel: str, rate: float, now: float, /) -> float:
        self.shared.check()
        return min(rate, self.shared.share)

    async def give(self, channel: str, /) -> None:
        self.shared.check()
        self.shared.given.append(channel)


class Turns:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared

    async def take(self, channel: str, address_hash: bytes, gap: float, now: float, /) -> float:
        self.shared.check()
        return await self.shared.turns.take(channel, address_hash, gap, now)


class Pauses:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared

    async def put(self, channel: str, until: float, now: float, /) -> None:
        self.shared.check()
        self.shared.puts += 1
        self.shared.pauses[channel] = until

    async def until(self, channel: str, /) -> float:
        self.shared.check()
        return self.shared.pauses.get(channel, 0.0)


@pytest.fixture
def shared() -> Shared:
    return Shared()


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def make_pacer(clock, shared, slept) -> Callable[..., Pacer]:
    """Makes a node's pacer: alone, or with ``together`` one of several."""

    async def sleep(seconds: float) -> None:
        slept.append(round(seconds, 6))
        clock.advance(seconds)

    def make(rate: float = 0.0, recipient_pause: float = 0.0, *, together: bool = False) -> Pacer:
        others: Mapping[str, Any] = {}
        if together:
            others = {"shares": Shares(shared), "turns": Turns(shared), "pauses": Pauses(shared)}
        return Pacer("pigeon", rate, recipient_pause, clock, sleep, **others)

    return make


# -- the rate


def test_a_channel_without_limits_has_nothing_to_ask(make_pacer):
    pacer = make_pacer()
    assert (pacer.quiet, pacer.limited, pacer.delay(), pacer.share) == (True, False, 0.0, float("inf"))
    pacer.book()
    assert pacer.delay() == 0.0


def test_starts_are_spread_evenly(make_pacer, clock):
    pacer = make_pacer(rate=4.0)
    assert (pacer.quiet, pacer.delay()) == (False, 0.0)
    pacer.book()
    assert pacer.delay() == 0.25
    clock.advance(0.25)
    assert pacer.delay() == 0.0


def test_an_idle_channel_saves_no_starts_up(make_pacer, clock):
    pacer = make_pacer(rate=1.0)
    pacer.book()
    clock.advance(100.0)
    pacer.book()
    assert pacer.delay() == 1.0


def test_a_channel_that_has_just_come_back_is_given_a_part_of_its_rate(make_pacer):
    pacer = make_pacer(rate=10.0)
    pacer.book(0.1)
    assert pacer.delay() == pytest.approx(1.0)


async def test_the_rate_is_shared_by_the_nodes(make_pacer, clock):
    pacer = make_pacer(rate=10.0, together=True)
    assert (pacer.share, pacer.delay()) == (0.0, SLICE)
    await pacer.refresh()
    assert (pacer.share, pacer.delay()) == (5.0, 0.0)
    pacer.book()
    assert pacer.delay() == pytest.approx(0.2)


async def test_a_share_that_lapsed_is_not_used(make_pacer, clock, shared):
    pacer = make_pacer(rate=10.0, together=True)
    await pacer.refresh()
    shared.away = True
    clock.advance(SHARE_LEASE - 0.1)
    with pytest.raises(StorageUnavailableError):
        await pacer.refresh()
    assert pacer.delay() == 0.0
    clock.advance(0.1)
    assert (pacer.share, pacer.delay()) == (0.0, SLICE)


async def test_a_share_of_nothing_starts_nothing_but_a_probe(make_pacer, shared, clock):
    shared.share = 0.0
    pacer = make_pacer(rate=10.0, together=True)
    await pacer.refresh()
    assert pacer.delay() == SLICE
    pacer.book()
    shared.share = 10.0
    await pacer.refresh()
    assert pacer.delay() == pytest.approx(0.1)


async def test_a_share_is_given_back(make_pacer, shared):
    pacer = make_pacer(rate=10.0, together=True)
    await pacer.refresh()
    await pacer.give()
    assert (shared.given, pacer.share) == (["pigeon"], 0.0)
    await make_pacer(together=True).give()
    assert shared.given == ["pigeon"]


# -- pauses


def test_a_pause_holds_the_next_start_back(make_pacer, clock):
    pacer = make_pacer()
    pacer.pause_for(30.0)
    assert (pacer.quiet, pacer.paused_for, pacer.delay(), pacer.holds(ANN)) == (False, 30.0, 30.0, 30.0)
    clock.advance(30.0)
    assert (pacer.paused_for, pacer.quiet, pacer.holds(ANN)) == (0.0, True, 0.0)


def test_a_shorter_pause_does_not_end_a_longer_one(make_pacer):
    pacer = make_pacer()
    pacer.pause_for(30.0)
    pacer.pause_for(1.0)
    pacer.pause_for(-5.0)
    assert pacer.paused_for == 30.0


def test_no_pause_is_longer_than_a_day(make_pacer):
    pacer = make_pacer()
    pacer.pause_for(1e9)
    assert pacer.paused_for == LONGEST_PAUSE


def test_the_end_of_a_pause_leaves_a_limit_in_force(make_pacer, clock):
    pacer = make_pacer(rate=1.0)
    pacer.pause_for(1.0)
    clock.advance(1.0)
    assert (pacer.paused_for, pacer.quiet) == (0.0, False)


async def test_a_pause_is_told_to_every_node_and_outlives_a_restart(make_pacer, shared, clock):
    await make_pacer(together=True).pause(30.0)
    assert shared.pauses == {"pigeon": START + 30.0}
    clock.advance(10.0)
    other = make_pacer(together=True)
    assert other.paused_for == 0.0
    await other.refresh()
    assert other.paused_for == 20.0


async def test_requests_that_are_refused_together_tell_of_one_pause(make_pacer, shared, clock):
    pacer = make_pacer(together=True)
    for _ in range(5):
        await pacer.pause(30.0)
    assert shared.puts == 1
    await pacer.pause(40.0)
    assert (shared.puts, shared.pauses["pigeon"]) == (2, START + 40.0)


async def test_a_pause_that_cannot_be_told_is_kept_here(make_pacer, shared, caplog):
    shared.away = True
    pacer = make_pacer(together=True)
    await pacer.pause(30.0)
    assert pacer.paused_for == 30.0
    assert "a pause could not be told: PostgreSQL: gone" in caplog.text


async def test_a_node_alone_has_nobody_to_tell(make_pacer):
    pacer = make_pacer()
    await pacer.pause(30.0)
    await pacer.refresh()
    assert pacer.paused_for == 30.0


# -- recipients


async def test_a_recipients_turns_are_apart_and_hold_up_nobody_else(make_pacer, clock):
    pacer = make_pacer(recipient_pause=1.0)
    assert [await pacer.turn(ANN), await pacer.turn(ANN), await pacer.turn(ANN)] == [0.0, 1.0, 2.0]
    assert await pacer.turn(BOB) == 0.0
    clock.advance(10.0)
    assert await pacer.turn(ANN) == 0.0


async def test_turns_are_the_same_on_every_node(make_pacer):
    one, other = (make_pacer(recipient_pause=1.0, together=True) for _ in range(2))
    assert [await one.turn(ANN), await other.turn(ANN)] == [0.0, 1.0]


async def test_without_a_recipient_limit_no_turn_is_taken(make_pacer, shared):
    shared.away = True
    assert await make_pacer(together=True).turn(ANN) == 0.0


async def test_a_turn_that_is_not_known_is_now(make_pacer, shared, caplog):
    shared.away = True
    assert await make_pacer(recipient_pause=1.0, together=True).turn(ANN) == 0.0
    assert "a recipient's turn is not known" in caplog.text
    assert ANN not in caplog.text


async def test_a_provider_that_spares_one_recipient_is_obeyed_for_that_one(make_pacer, clock):
    pacer = make_pacer()
    await pacer.pause_recipient(ANN, 30.0)
    assert (pacer.holds(ANN), pacer.rests_for(ANN), pacer.holds(BOB), pacer.quiet) == (30.0, 30.0, 0.0, True)
    await pacer.pause_recipient(ANN, 5.0)
    assert pacer.rests_for(ANN) == 30.0
    clock.advance(30.0)
    assert (pacer.holds(ANN), pacer._resting) == (0.0, {})


async def test_other_nodes_spare_a_recipient_too(make_pacer):
    one, other = (make_pacer(recipient_pause=1.0, together=True) for _ in range(2))
    await one.pause_recipient(ANN, 30.0)
    assert await other.turn(ANN) >= 30.0
    assert await other.turn(BOB) == 0.0


async def test_recipients_who_rest_no_more_are_forgotten(make_pacer, clock):
    pacer = make_pacer()
    for number in range(RESTING):
        pacer.rest(str(number), 1.0)
    clock.advance(1.0)
    pacer.rest(ANN, 1.0)
    assert list(pacer._resting) == [ANN]


async def test_turns_in_memory_that_are_over_are_forgotten():
    turns = OwnTurns()
    for number in range(RESTING):
        await turns.take("pigeon", str(number).encode(), 1.0, 0.0)
    assert await turns.take("pigeon", b"0", 1.0, 0.5) == 1.0
    assert len(turns._at) == RESTING
    for number in range(RESTING):
        await turns.take("pigeon", f"x{number}".encode(), 1.0, 100.0)
    assert len(turns._at) == 2 * RESTING
    await turns.take("pigeon", b"one more", 1.0, 100.5)
    assert len(turns._at) == RESTING + 1


# -- who is less urgent


async def test_an_answer_waits_for_its_start_and_counts_as_one(make_pacer, clock, slept):
    pacer = make_pacer(rate=4.0)
    assert await pacer.wait()
    assert await pacer.wait()
    assert (sum(slept), pacer.delay()) == (pytest.approx(0.25), pytest.approx(0.25))


async def test_an_answer_lets_codes_go_first_and_not_for_ever(make_pacer, clock):
    pacer, began = make_pacer(rate=10.0), clock.monotonic()
    left = [True] * 10
    assert await pacer.wait(lambda: bool(left) and left.pop())
    assert clock.monotonic() - began == pytest.approx(1.0)
    began = clock.monotonic()
    assert await pacer.wait(lambda: True)
    assert clock.monotonic() - began == pytest.approx(COURTESY, abs=2 * SLICE)


async def test_an_answer_does_not_wait_for_a_long_pause(make_pacer, slept):
    pacer = make_pacer(rate=10.0)
    pacer.pause_for(COURTESY + 1)
    assert await pacer.wait() is False
    assert slept == []


async def test_an_answer_waits_for_a_short_pause(make_pacer, clock):
    pacer, began = make_pacer(rate=10.0), clock.monotonic()
    pacer.pause_for(2.0)
    assert await pacer.wait()
    assert clock.monotonic() - began == pytest.approx(2.0)


def test_every_channel_has_a_pacer_by_its_settings(clock: HandClock):
    made = pacers(two_channels(rate=7.0), clock)
    assert {name: (pacer.channel, pacer.rate, pacer.recipient_pause) for name, pacer in made.items()} == {
        "sms": ("sms", 7.0, 0.0),
        "email": ("email", 7.0, 0.0),
    }


# -- shares and turns over several nodes


async def test_a_start_made_at_a_tiny_share_does_not_hold_up_those_at_a_larger_one(make_pacer, shared, clock):
    # What rounding leaves of a rate that others share: 1 - 6 * (1 / 6).
    shared.share = 1.1e-16
    pacer = make_pacer(rate=10.0, together=True)
    await pacer.refresh()
    assert pacer.delay() == 0.0
    pacer.book()
    shared.share = 5.0
    await pacer.refresh()
    assert pacer.delay() == pytest.approx(0.2)


async def test_a_smaller_share_puts_the_next_start_off(make_pacer, shared, clock):
    shared.share = 10.0
    pacer = make_pacer(rate=10.0, together=True)
    await pacer.refresh()
    pacer.book()
    shared.share = 5.0
    await pacer.refresh()
    assert pacer.delay() == pytest.approx(0.2)


async def test_a_turn_that_was_put_off_is_the_next_to_be_had(make_pacer, clock):
    pacer = make_pacer(recipient_pause=1.0)
    assert [await pacer.turn(ANN) for _ in range(4)] == [0.0, 1.0, 2.0, 3.0]
    pacer.put_off(ANN, 3.0)
    # Those who have an earlier turn are not held up by it.
    assert (pacer.holds(ANN), pacer.holds(ANN, in_turn=True), pacer.rests_for(ANN)) == (3.0, 0.0, 0.0)
    clock.advance(3.0)
    assert [await pacer.turn(ANN), await pacer.turn(ANN)] == [0.0, 1.0]


async def test_a_turn_that_was_put_off_and_not_used_is_not_had_later(make_pacer, clock):
    pacer = make_pacer(recipient_pause=1.0)
    await pacer.turn(ANN)
    pacer.put_off(ANN, 3.0)
    await pacer.turn(BOB)
    clock.advance(4.5)
    assert [await pacer.turn(ANN), await pacer.turn(ANN)] == [0.0, 1.0]


async def test_of_several_nodes_with_messages_for_one_recipient_each_comes_to_write(make_pacer, clock):
    nodes = [make_pacer(recipient_pause=1.0, together=True) for _ in range(4)]
    written: list[float] = []
    waiting = dict.fromkeys(range(4), clock.monotonic())
    while waiting and len(written) < 4 and clock.monotonic() < min(waiting.values()) + 60.0:
        node = min(waiting, key=waiting.__getitem__)
        clock.advance(max(0.0, waiting[node] - clock.monotonic()))
        wait = await nodes[node].turn(ANN)
        if wait > 1.0:
            nodes[node].put_off(ANN, wait)
            waiting[node] = clock.monotonic() + wait
        else:
            written.append(clock.monotonic() + wait)
            del waiting[node]
        assert clock.monotonic() < START + 30.0
    assert [later - earlier for earlier, later in itertools.pairwise(written)] == [1.0] * 3


async def test_turns_put_off_are_forgotten_with_those_who_rest_no_more(make_pacer, clock):
    pacer = make_pacer(recipient_pause=1.0)
    for number in range(RESTING):
        pacer.put_off(f"ann-{number}", 2.0)
    clock.advance(4.0)
    pacer.put_off(ANN, 2.0)
    assert set(pacer._kept) == {ANN}
