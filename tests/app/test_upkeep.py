"""What goes on beside codes and chats, as it is put together: each duty of the house-keeper reaches its rows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.app import opened_store, running
from gateway.config import Settings, load_settings
from gateway.events.event import EventName
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.ids import new_id
from gateway.storage.rings import Ring, Rings
from tests.rows import put, row

CONFIG = """
[channels.console]
adapter = "console"
[services.default]
channels = ["console"]
[retention]
verifications = 2
webhooks = 5
"""
DAY = 86_400.0
#: Seconds that what is done at once may take on a slow machine.
PATIENCE = 20.0


@pytest.fixture
def settings(tmp_path) -> Settings:
    path: Path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return load_settings(path, {})


async def add(settings: Settings) -> tuple[str, str]:
    """Insert a webhook and an event on each side of what is kept; return the ids of the younger."""
    async with opened_store(settings) as store:
        now = store.clock.now()
        webhooks = {age: new_id("whk", now - age * DAY) for age in (4.5, 5.5)}
        events = {age: new_id("evt", now - age * DAY) for age in (1.5, 2.5)}
        for age, webhook_id in webhooks.items():
            ended = {"status": "failed", "finished_at": now - age * DAY}
            await put(store.database, models.Webhook, row(models.Webhook, id=webhook_id, **ended))
        for age, event_id in events.items():
            told = {"at": now - age * DAY, "name": EventName.CHANNEL_OPENED.value}
            await put(store.database, models.Event, row(models.Event, id=event_id, **told))
    return webhooks[4.5], events[1.5]


async def test_a_running_node_tells_which_sealing_keys_it_knows(settings):
    async with running(settings) as gateway:
        rings, now = Rings(gateway.store.database), gateway.store.clock.now()
        async with asyncio.timeout(PATIENCE):
            while not await rings.live(now):  # noqa: ASYNC110 - telling has no event
                await asyncio.sleep(0.02)
        assert [Ring(gateway.node, gateway.store.sealer.ids)] == await rings.live(now)
    async with opened_store(settings) as store:
        assert await Rings(store.database).live(now) == []


async def left(database: Database, table: str, number: int) -> list[str]:
    """Return the ids in a table once there are no more than ``number``."""
    async with asyncio.timeout(PATIENCE):
        while len(found := await database.fetch(f"SELECT id FROM {table}")) > number:  # noqa: ASYNC110 - deletes have no event
            await asyncio.sleep(0.02)
    return [record["id"] for record in found]


async def test_what_is_told_and_what_happened_are_kept_for_the_days_of_the_configuration(settings):
    webhook, event = await add(settings)
    async with running(settings) as gateway:
        assert await left(gateway.store.database, "webhook", 1) == [webhook]
        assert await left(gateway.store.database, "event", 1) == [event]
