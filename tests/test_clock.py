"""Wall time that never jumps by itself, and follows whom it is told to."""

from __future__ import annotations

import logging
import time

import pytest

from gateway.clock import STEP, Steps, SystemClock


class Machine:
    """A machine whose clocks a test turns: ``wall`` may be stepped, ``elapsed`` only passes."""

    def __init__(self) -> None:
        self.wall = 5_000.0
        self.elapsed = 70.0

    def clock(self) -> SystemClock:
        return SystemClock(wall=lambda: self.wall, elapsed=lambda: self.elapsed)

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.elapsed += seconds


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_a_clock_starts_with_the_machines_time():
    assert SystemClock().now() == pytest.approx(time.time(), abs=1.0)


def test_time_passes_as_fast_as_monotonic_time():
    clock = SystemClock()
    before, start = clock.now(), clock.monotonic()
    after, end = clock.now(), clock.monotonic()
    assert after >= before
    assert after - before <= end - start + 1e-3


def test_a_clock_takes_over_anothers_time_and_goes_on_from_there():
    clock = SystemClock()
    monotonic = clock.monotonic()
    clock.set(1_000.0)
    assert clock.now() == pytest.approx(1_000.0, abs=1.0)
    assert clock.monotonic() >= monotonic


def test_what_others_compare_goes_by_the_time_that_is_right_now(machine):
    clock = machine.clock()
    machine.pass_by(10.0)
    machine.wall += 7_200.0
    assert (clock.now(), clock.world()) == (5_010.0, 12_210.0)


def test_a_clock_that_took_over_anothers_time_knows_no_other(machine):
    clock = machine.clock()
    clock.set(1_000.0)
    machine.wall += 7_200.0
    machine.pass_by(10.0)
    assert (clock.now(), clock.world()) == (1_010.0, 1_010.0)


def test_a_stepped_machine_does_not_mislead_the_clock(machine):
    clock = machine.clock()
    machine.pass_by(10.0)
    machine.wall += 7_200.0
    assert clock.now() == 5_010.0
    assert clock.drift() == 7_200.0


def test_the_drift_is_against_the_time_that_was_taken_over(machine):
    clock = machine.clock()
    clock.set(4_990.0)
    assert clock.now() == 4_990.0
    assert clock.drift() == 10.0


def test_seconds_asleep_count_where_the_system_counts_them():
    counted = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    clock = SystemClock(wall=lambda: time.clock_gettime(counted))
    assert clock.drift() == pytest.approx(0.0, abs=0.5)


def test_deadlines_pass_while_a_machine_sleeps(machine):
    clock = machine.clock()
    begun = clock.monotonic()
    machine.pass_by(60.0)
    assert clock.monotonic() - begun == 60.0


async def test_a_step_is_told_once_and_only_if_it_is_one(machine, caplog):
    steps = Steps(machine.clock())
    with caplog.at_level(logging.WARNING):
        machine.pass_by(30.0)
        machine.wall += STEP
        await steps.look()
        assert caplog.messages == []
        machine.wall -= 3_600.0
        await steps.look()
        await steps.look()
    assert caplog.messages == ["the machine's clock was stepped by -3600.0 s; codes live as long as promised"]


async def test_another_clocks_time_is_no_step_of_the_machine(machine, caplog):
    clock = machine.clock()
    steps = Steps(clock)
    clock.set(9_000.0)
    await steps.look()
    assert caplog.messages == []


def test_without_such_a_clock_monotonic_time_carries_on(monkeypatch):
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    assert SystemClock(wall=time.monotonic).drift() == pytest.approx(0.0, abs=0.5)
