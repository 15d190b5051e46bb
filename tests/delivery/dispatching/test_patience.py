"""Patience: a write is tried while the database is away, and not for ever."""

from __future__ import annotations

import pytest

from gateway.delivery.dispatching.patience import PAUSES, STEADY, patiently, steadily
from gateway.delivery.dispatching.rescuing import AWAY
from gateway.delivery.message import LEASE
from gateway.storage.unit import StorageUnavailableError


async def tried(failures: int) -> tuple[object, list[float]]:
    slept: list[float] = []
    answers = [StorageUnavailableError("away")] * failures

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def write() -> str:
        if answers:
            raise answers.pop()
        return "written"

    try:
        return await patiently(write, sleep), slept
    except StorageUnavailableError as error:
        return str(error), slept


@pytest.mark.parametrize(
    ("failures", "said", "pauses"),
    [
        (0, "written", 1),
        (2, "written", 3),
        (len(PAUSES) - 1, "written", len(PAUSES)),
        (len(PAUSES), "away", len(PAUSES)),
    ],
)
async def test_each_try_follows_a_longer_pause_until_it_is_written_or_given_up(failures, said, pauses):
    assert await tried(failures) == (said, list(PAUSES[:pauses]))


def test_the_tries_end_within_the_lease():
    assert sum(PAUSES) < LEASE


@pytest.mark.parametrize(("failures", "said"), [(0, "written"), (9, "written"), (10, "away")])
async def test_what_is_wanted_is_tried_on_and_on(failures, said):
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def write() -> str:
        if len(slept) <= failures:
            raise StorageUnavailableError("away")
        return "written"

    try:
        found = await steadily(write, sleep, lambda: len(slept) < 10)
    except StorageUnavailableError as error:
        found = str(error)
    assert (found, slept) == (said, [*STEADY, *[STEADY[-1]] * 9][: min(failures + 1, 10)])


def test_what_is_tried_on_and_on_is_written_before_another_node_takes_it_for_lost():
    assert STEADY[-1] < AWAY
