"""What is counted in the database: the queue as it stands, what became of messages, and whether it answers."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.events import census as module
from gateway.events.census import SLOW, Census, Counted, Standing
from gateway.storage import models
from gateway.storage.ids import new_id
from gateway.storage.statement import Row
from gateway.storage.unit import StorageUnavailableError
from tests.conftest import START
from tests.rows import put, row


@pytest.fixture
def census(database, clock) -> Census:
    return Census(database, clock, channels=["sms", "email"], services=["shop", "default"])


def message(at: float = START, **fields: Any) -> Row:
    known = {"id": new_id("msg", at), "service": "shop", "channel": "sms", "status": "queued", "due_at": at}
    return row(models.Message, **{**known, **fields})


def webhook(at: float = START, **fields: Any) -> Row:
    known = {"id": new_id("whk", at), "service": "shop", "status": "pending", "due_at": at}
    return row(models.Webhook, **{**known, **fields})


async def test_an_empty_queue_stands_at_nothing(census):
    await census.look()
    assert census.latest == Counted(START, {"sms": Standing(), "email": Standing()}, 0, 0.0)
    assert census.answered


async def test_what_waits_is_counted_by_channel_and_the_oldest_of_any_service_is_found(census, database):
    await put(
        database,
        models.Message,
        message(START - 2),
        message(START - 7, service="default"),
        message(lease="node", due_at=START + 20),
        message(status="sending", due_at=START + 20),
        message(status="sent"),
        message(channel="email", due_at=START + 3),
        message(channel="gone"),
    )
    assert (await census.count()).channels == {"sms": Standing(3, 1, 7.0), "email": Standing(1, 0, 0.0)}


async def test_a_long_queue_is_counted_up_to_a_bound(census, database, monkeypatch):
    monkeypatch.setattr(module, "_QUEUED", module._QUEUED.replace("LIMIT 10000", "LIMIT 3"))
    await put(database, models.Message, *(message() for _ in range(5)))
    assert (await census.count()).channels["sms"].queued == 3


async def test_pending_webhooks_are_counted_and_the_oldest_is_found(census, database):
    await put(
        database,
        models.Webhook,
        webhook(START - 5),
        webhook(START - 90, service="default"),
        webhook(START - 900, status="delivered"),
        webhook(due_at=START + 300),
    )
    found = await census.count()
    assert (found.webhooks, found.webhook_lag) == (3, 90.0)


async def test_what_became_of_messages_is_counted_from_an_age_on(census, database):
    await put(
        database,
        models.Message,
        message(START - 7200, status="failed"),
        message(START - 1, status="delivered"),
        message(START - 2, status="delivered"),
        message(START - 3, status="queued"),
        message(START - 3, channel="gone", status="sent"),
    )
    recent = {"sms": {"delivered": 2, "queued": 1}, "email": {}, "gone": {"sent": 1}}
    assert await census.outcomes(3600) == recent
    assert await census.outcomes(1e12) == {**recent, "sms": {"delivered": 2, "queued": 1, "failed": 1}}


@pytest.mark.parametrize("names", [{"channels": [], "services": ["shop"]}, {"channels": ["sms"], "services": []}])
async def test_where_nothing_is_configured_nothing_is_asked(database, clock, names):
    assert await Census(database, clock, **names).count() == Counted(START)


async def test_many_services_are_looked_up_in_one_statement(database, clock):
    services = [f"service_{number}" for number in range(60)]
    await put(database, models.Message, message(START - 4, service="service_59"))
    found = await Census(database, clock, channels=["sms"], services=services).count()
    assert found.channels == {"sms": Standing(1, 0, 4.0)}


# PostgreSQL scans a table this small whatever its indexes are.
@pytest.mark.parametrize("engine_name", ["sqlite"])
async def test_no_table_is_scanned(database):
    channels, named = module._values("channel", ["sms"])
    services, meant = module._values("service", ["shop"])
    for sql, values in (
        (module._QUEUED.format(channels=channels, services=services), {**named, **meant}),
        (module._SENDING, {}),
        (module._WEBHOOKS.format(services=services), meant),
        (module._OUTCOMES, {"floor": "msg_"}),
    ):
        plan = [record["detail"] for record in await database.fetch(f"EXPLAIN QUERY PLAN {sql}", **values)]
        assert [line for line in plan if line in {"SCAN message", "SCAN webhook"}] == []


class Away:
    """A database whose answer a test decides on."""

    def __init__(self, clock) -> None:
        self.clock = clock
        self.fails = False
        self.takes = 0.0
        self.census: Census | None = None
        self.seen: list[bool] = []

    async def fetch(self, sql: str, /, **values: Any) -> list[dict[str, Any]]:
        self.clock.advance(self.takes)
        assert self.census is not None
        self.seen.append(self.census.answered)
        if self.fails:
            raise StorageUnavailableError("PostgreSQL: ConnectionDoesNotExistError")
        return [{"channel": "sms", "queued": 1, "sending": 1, "pending": 0, "due_at": None}]


@pytest.fixture
def away(clock) -> Away:
    made = Away(clock)
    made.census = Census(made, clock, channels=["sms"], services=["shop"])  # type: ignore[arg-type]
    return made


async def test_before_the_first_look_the_database_is_not_up(away):
    assert not away.census.answered
    assert away.census.latest.channels == {"sms": Standing()}


async def test_a_database_that_goes_away_leaves_what_was_found_last_and_one_line(away, caplog):
    await away.census.look()
    found = away.census.latest
    away.fails = True
    await away.census.look()
    await away.census.look()
    assert not away.census.answered
    assert away.census.latest == found
    assert [record.getMessage() for record in caplog.records] == [
        "the queue cannot be counted: PostgreSQL: ConnectionDoesNotExistError"
    ]
    away.fails = False
    await away.census.look()
    assert away.census.answered


async def test_a_look_that_takes_long_says_that_the_database_is_away(away):
    await away.census.look()
    away.takes, away.seen = SLOW + 1, []
    await away.census.look()
    assert away.seen == [False, False, False]
    assert away.census.answered
