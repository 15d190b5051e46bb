"""What a receiver is given at once, and when."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.webhooks.pace import MAX_ASKED, MAX_REST, REST, WIDTH, Pace, shares


def well(times: int = 10) -> Pace:
    pace = Pace()
    for _ in range(times):
        pace.well()
    return pace


def busy(pace: Pace, number: int) -> Pace:
    for _ in range(number):
        pace.begin()
    return pace


def test_a_receiver_that_nobody_knows_gets_one_and_more_as_it_takes_them():
    pace, rooms = Pace(), []
    for _ in range(5):
        rooms.append(pace.room(0.0))
        pace.well()
    assert rooms == [1, 2, 4, WIDTH, WIDTH]


def test_what_is_under_way_takes_room_until_it_ends():
    pace = busy(well(), 3)
    assert (pace.under_way, pace.room(0.0)) == (3, WIDTH - 3)
    pace.end()
    assert pace.room(0.0) == WIDTH - 2


def test_a_receiver_that_fails_gets_one_at_a_time():
    pace = busy(well(), 3)
    pace.failed()
    assert pace.room(0.0) == 0
    for _ in range(3):
        pace.end()
    assert pace.room(0.0) == 1


def test_one_that_has_too_much_rests_twice_as_long_each_time_in_a_row():
    pace, now, rests = Pace(), 0.0, []
    for _ in range(9):
        pace.throttled(now, None)
        rests.append(pace.rest(now))
        assert pace.room(now) == 0
        now += rests[-1]
        assert pace.room(now) == 1
    assert rests == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, MAX_REST, MAX_REST, MAX_REST]
    pace.well()
    pace.throttled(now, None)
    assert pace.rest(now) == REST


def test_it_rests_as_long_as_it_asks_for_within_reason():
    pace = Pace()
    pace.throttled(0.0, 60.0)
    assert pace.rest(0.0) == 60.0
    pace.throttled(0.0, 1.0)
    assert pace.rest(0.0) == 60.0
    pace.throttled(0.0, 1e9)
    assert pace.rest(0.0) == MAX_ASKED


def test_places_go_to_who_has_the_fewest():
    paces = {"a": busy(well(), 2), "b": well(), "c": well()}
    assert shares(4, paces, 0.0) == {"b": 2, "c": 2}
    assert shares(5, paces, 0.0) == {"a": 1, "b": 2, "c": 2}
    assert shares(7, paces, 0.0) == {"a": 1, "b": 3, "c": 3}


def test_who_has_no_room_gets_no_place():
    resting = well()
    resting.throttled(0.0, None)
    assert shares(64, {"a": resting, "b": Pace(), "c": busy(Pace(), 1)}, 0.0) == {"b": 1}
    assert shares(0, {"b": Pace()}, 0.0) == {}


@given(st.integers(0, 64), st.lists(st.integers(0, 20), max_size=20))
def test_no_place_is_given_twice_and_none_is_kept_while_there_is_room(free, busyness):
    paces = {str(number): busy(well(), under_way) for number, under_way in enumerate(busyness)}
    given_out = shares(free, paces, 0.0)
    rooms = {service: pace.room(0.0) for service, pace in paces.items()}
    assert all(number <= rooms[service] for service, number in given_out.items())
    assert sum(given_out.values()) == min(free, sum(rooms.values()))


class Receiver(RuleBasedStateMachine):
    """However answers come, a receiver is never given more than ``WIDTH``, and always something in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.pace, self.now = Pace(), 0.0

    @precondition(lambda self: self.pace.room(self.now))
    @rule()
    def begin(self) -> None:
        self.pace.begin()

    @precondition(lambda self: self.pace.under_way)
    @rule(how=st.sampled_from(["well", "failed", "throttled"]), asked=st.none() | st.floats(0, 1e6))
    def end(self, how: str, asked: float | None) -> None:
        if how == "throttled":
            self.pace.throttled(self.now, asked)
        else:
            getattr(self.pace, how)()
        self.pace.end()

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def is_never_given_too_much(self) -> None:
        assert 0 <= self.pace.under_way <= WIDTH

    @invariant()
    def is_never_left_alone_for_ever(self) -> None:
        rest = self.pace.rest(self.now)
        assert rest <= MAX_ASKED + 1e-6
        assert self.pace.under_way or self.pace.room(self.now + rest + 1e-3) >= 1


TestReceiver = Receiver.TestCase
TestReceiver.settings = settings(max_examples=50, stateful_step_count=30)
