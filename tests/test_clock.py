"""Wall time that never jumps by itself, and follows whom it is told to."""

from __future__ import annotations

import time

import pytest

from gateway.clock import SystemClock


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
