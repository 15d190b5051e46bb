"""What is told of refused keys: the first of a kind at once, the others as a number, and no guessing fills the log."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.keys import refusals as module
from gateway.api.keys.refusals import MINUTE, MOST, KeyRefusal, Reason, Refusals, network_of
from gateway.events.metrics import KEY_REFUSALS
from tests.conftest import HandClock

FIRST, AGAIN, FURTHER = "a key was refused", "a key was refused again", "further keys were refused"


@pytest.fixture
def counted() -> list[str]:
    return []


@pytest.fixture
def refusals(clock, counted) -> Refusals:
    return Refusals(clock, counted.append)


def told(caplog: Any) -> list[tuple[Any, ...]]:
    """Return what was logged since the last time, as warnings all."""
    lines = [line(record) for record in caplog.records]
    assert {record.levelno for record in caplog.records} <= {logging.WARNING}
    caplog.clear()
    return lines


def line(record: logging.LogRecord) -> tuple[Any, ...]:
    """Return a line's text, then the fields that are there."""
    names = ("reason", "key", "network", "times")
    return (record.getMessage(), *(getattr(record, name) for name in names if hasattr(record, name)))


async def test_the_first_is_told_at_once_and_the_others_of_a_minute_by_their_number(refusals, clock, caplog, counted):
    for _ in range(5):
        refusals.note(Reason.REVOKED, "a" * 8, "192.0.2.7")
    refusals.note(Reason.REVOKED, "a" * 8, "198.51.100.7")
    assert told(caplog) == [
        (FIRST, "revoked", "a" * 8, "192.0.2.0/24"),
        (FIRST, "revoked", "a" * 8, "198.51.100.0/24"),
    ]
    clock.advance(MINUTE - 1)
    await refusals.tell()
    assert told(caplog) == []
    clock.advance(1)
    await refusals.tell()
    assert told(caplog) == [(AGAIN, "revoked", "a" * 8, "192.0.2.0/24", 4)]
    assert counted == ["revoked"] * 6


async def test_what_goes_on_is_a_line_a_minute_and_what_comes_back_is_told_anew(refusals, clock, caplog):
    for _ in range(3):
        refusals.note(Reason.NETWORK, "a" * 8, None)
        refusals.note(Reason.NETWORK, "a" * 8, None)
        clock.advance(MINUTE)
    await refusals.tell()
    assert told(caplog) == [
        (FIRST, "network", "a" * 8),
        *((AGAIN, "network", "a" * 8, number) for number in (1, 2, 2)),
    ]
    clock.advance(MINUTE)
    await refusals.tell()
    refusals.note(Reason.NETWORK, "a" * 8, None)
    assert told(caplog) == [(FIRST, "network", "a" * 8)]


def test_no_guessing_fills_the_log(refusals, clock, caplog, counted):
    minutes, guesses = 3, 500
    for _ in range(minutes):
        for number in range(guesses):
            refusals.note(Reason.UNKNOWN, None, f"10.{number // 250}.{number % 250}.1")
        # A stolen key is told of all the same.
        refusals.note(Reason.ENDED, "a" * 8, "10.0.0.1")
        clock.advance(MINUTE)
    lines = told(caplog)
    assert len(lines) <= minutes * (2 * MOST + 2)
    assert (FIRST, "ended", "a" * 8, "10.0.0.0/24") in lines
    assert (FURTHER, "unknown", guesses - MOST) in lines
    assert counted.count("unknown") == minutes * guesses


class Kept(logging.Handler):
    """Keeps what is logged: hypothesis and ``caplog`` do not go together."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@given(st.lists(st.tuples(st.sampled_from(Reason), st.integers(0, 40), st.integers(0, 30)), max_size=200))
def test_no_refusal_is_lost_in_what_is_told(noted):
    """Lines, the numbers of those that followed and of those without a line of their own add up, whatever the order."""
    handler, clock = Kept(), HandClock()
    logger = logging.getLogger(module.__name__)
    logger.addHandler(handler)
    try:
        refusals = Refusals(clock)
        for reason, number, seconds in noted:
            refusals.note(reason, None, f"10.0.{number}.1")
            clock.advance(seconds)
        clock.advance(MINUTE)
        refusals.note(Reason.SCOPE, None, None)
    finally:
        logger.removeHandler(handler)
    told = [line(record) for record in handler.records]
    assert sum(1 if text == FIRST else rest[-1] for text, *rest in told) == len(noted) + 1


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.200", "192.0.2.0/24"),
        ("::ffff:192.0.2.200", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("nonsense", None),
        (None, None),
    ],
)
def test_a_caller_is_told_by_their_network(host, network):
    assert network_of(host) == network


def test_every_reason_is_counted_by_its_name():
    assert set(Reason) == KEY_REFUSALS


def test_a_refusal_says_nothing_of_why_to_who_is_refused():
    problem = KeyRefusal(Reason.REVOKED, "a" * 8)
    assert "revoked" not in str(problem)
    assert (problem.status, problem.code, problem.extra) == (401, "unauthorized", {})
