"""What becomes of a channel is told once, in the log and in the timeline, and holds nothing up."""

from __future__ import annotations

import logging

import pytest

from channels.base import Reason
from gateway.delivery.dispatching.breaker import Change
from gateway.delivery.dispatching.outages import Outages, unwritten
from gateway.storage.unit import StorageUnavailableError
from tests.conftest import START


@pytest.mark.parametrize(
    ("change", "level", "name"),
    [
        (Change.OPENED, logging.WARNING, "channel.opened"),
        (Change.CLOSED, logging.INFO, "channel.closed"),
        (Change.STOPPED, logging.ERROR, "channel.stopped"),
        (Change.RESUMED, logging.INFO, "channel.resumed"),
    ],
)
async def test_a_change_is_logged_and_written(database, clock, caplog, committed, change, level, name):
    caplog.set_level(logging.INFO)
    outages = Outages(database.write, clock)
    outages.tell("sms", change, Reason.UNAVAILABLE)
    await outages.told()
    [record] = caplog.records
    assert (record.levelno, record.__dict__["channel"]) == (level, "sms")
    [row] = await database.fetch("SELECT name, at, service, channel, reason, message_id FROM event")
    assert dict(row) == {
        "name": name,
        "at": START,
        "service": "",
        "channel": "sms",
        "reason": "unavailable",
        "message_id": None,
    }
    assert [event.name for event in committed] == [name]


async def test_a_change_that_cannot_be_written_is_in_the_log(clock, caplog):
    async def away(_):
        raise StorageUnavailableError("SQLite: database is locked")

    outages = Outages(away, clock)
    outages.tell("sms", Change.OPENED)
    await outages.told()
    assert "a channel's change could not be written: SQLite: database is locked" in caplog.text


async def test_without_a_database_it_is_logged_alone(clock, caplog):
    outages = Outages(unwritten, clock)
    outages.tell("sms", Change.STOPPED, Reason.MISCONFIGURED)
    await outages.told()
    assert len(caplog.records) == 1
