"""A provider's wish to be left alone is remembered, made longer and never shorter, and told."""

from __future__ import annotations

import pytest

from gateway.storage.pauses import Pauses, topic


@pytest.fixture
def pauses(database) -> Pauses:
    return Pauses(database)


async def test_a_channel_nobody_paused_is_free(pauses):
    assert await pauses.until("chat") == 0.0


async def test_a_pause_is_made_longer_and_never_shorter(pauses):
    await pauses.put("chat", 130.0, 100.0)
    assert await pauses.until("chat") == 130.0
    await pauses.put("chat", 160.0, 101.0)
    assert await pauses.until("chat") == 160.0
    await pauses.put("chat", 110.0, 102.0)
    assert await pauses.until("chat") == 160.0


async def test_a_pause_is_one_channels(pauses):
    await pauses.put("chat", 130.0, 100.0)
    assert await pauses.until("text") == 0.0


async def test_a_pause_that_is_over_is_not_written(pauses):
    await pauses.put("chat", 100.0, 100.0)
    assert await pauses.until("chat") == 0.0


async def test_a_longer_pause_wakes_and_a_shorter_one_does_not(pauses, database):
    woken: list[str] = []
    database.wakes.subscribe(topic("chat"), lambda: woken.append("chat"))
    await pauses.put("chat", 130.0, 100.0)
    await pauses.put("chat", 120.0, 100.0)
    assert woken == ["chat"]
