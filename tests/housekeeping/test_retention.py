"""What is old and over is deleted, all that belongs to it, in bites; what is alive or young stays."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import SQLModel

from gateway.housekeeping import Retention
from gateway.housekeeping import retention as module
from gateway.housekeeping.retention import AIM, FEWEST, VERIFICATIONS, fitted
from gateway.storage import models
from gateway.storage.ids import new_id
from gateway.storage.postgresql_rows import ARRAY, Kind, alone
from gateway.storage.statement import Statement
from tests.conftest import START
from tests.rows import count, put, row

DAY = 86_400.0
OLD, YOUNG = START - 31 * DAY, START - 29 * DAY
TABLES = (models.Verification, models.Message, models.Attempt, models.Event, models.Challenge)


@pytest.fixture
def retention(database, clock) -> Retention:
    return Retention(database, clock, verifications=30)


async def verification(database: Any, at: float, status: str = "approved") -> str:
    """Insert a verification with one row in every table that belongs to it, two of events; return its id."""
    made, message = new_id("ver", at), new_id("msg", at)
    await put(database, models.Verification, row(models.Verification, id=made, status=status, created_at=at))
    await put(database, models.Message, row(models.Message, id=message, verification_id=made, status="sent"))
    token = message.encode()[:32]
    await put(database, models.Attempt, row(models.Attempt, message_id=message, verification_id=made, token_hash=token))
    for _ in range(2):
        await put(database, models.Event, row(models.Event, id=new_id("evt", at), at=at, verification_id=made))
    await put(database, models.Challenge, row(models.Challenge, hash=token, verification_id=made))
    await put(database, models.Address, row(models.Address, hash=token[::-1], verification_id=made))
    return made


async def ids(database: Any, model: Any = models.Verification) -> set[str]:
    return {record["id"] for record in await database.fetch(f"SELECT id FROM {model.__table__.name}")}


async def round_of(bite: Any) -> int:
    """Take bites until there is nothing left; return how many there were."""
    bites = 0
    while await bite():
        bites += 1
    return bites


async def everything(retention: Retention) -> None:
    for duty in retention.duties():
        await round_of(duty.bite)


async def test_an_old_verification_goes_with_all_that_belongs_to_it(database, retention):
    await verification(database, OLD)
    await everything(retention)
    assert {model.__name__: await count(database, model) for model in (*TABLES, models.Address)} == dict.fromkeys(
        ("Verification", "Message", "Attempt", "Event", "Challenge", "Address"), 0
    )


async def test_a_young_verification_stays_with_all_that_belongs_to_it(database, retention):
    await verification(database, YOUNG)
    await everything(retention)
    found = {model.__name__: await count(database, model) for model in (*TABLES, models.Address)}
    assert found == {"Verification": 1, "Message": 1, "Attempt": 1, "Event": 2, "Challenge": 1, "Address": 1}


async def test_what_is_pending_is_never_deleted(database, retention):
    kept = await verification(database, OLD, status="pending")
    for status in ("approved", "expired", "canceled", "max_attempts_reached", "failed"):
        await verification(database, OLD, status=status)
    await round_of(retention.retire_verifications)
    assert await ids(database) == {kept}
    assert await count(database, models.Message) == 1


async def test_many_go_in_bites_oldest_first(database, retention):
    made = [await verification(database, OLD + number) for number in range(FEWEST + 1)]
    assert await retention.retire_verifications() == FEWEST
    assert await ids(database) == {made[-1]}
    assert await round_of(retention.retire_verifications) == 1


async def test_a_bite_that_took_long_is_followed_by_a_smaller_one(database, clock, monkeypatch):
    retention = Retention(database, clock, verifications=30)
    retention._size = VERIFICATIONS
    for number in range(VERIFICATIONS + 2 * FEWEST):
        await verification(database, OLD + number)
    write = database.write

    async def slowly(move):
        clock.advance(5 * AIM)
        return await write(move)

    monkeypatch.setattr(database, "write", slowly)
    assert [await retention.retire_verifications() for _ in range(3)] == [VERIFICATIONS, FEWEST, FEWEST]


async def test_events_of_no_verification_go_when_they_are_old(database, retention):
    old = row(models.Event, id=new_id("evt", OLD), at=OLD, name="channel.opened")
    young = row(models.Event, id=new_id("evt", YOUNG), at=YOUNG, name="channel.opened")
    await put(database, models.Event, old, young)
    await round_of(retention.retire_events)
    assert await ids(database, models.Event) == {young[0]}


async def test_events_of_a_verification_wait_for_it(database, retention):
    """Else the timeline of one that is still there would have no beginning."""
    await verification(database, OLD)
    first = row(models.Event, id=new_id("evt", OLD - 1), at=OLD - 1, name="subscriber.linked")
    await put(database, models.Event, first)
    assert await retention.retire_events() == 1
    assert await count(database, models.Event) == 2


async def test_addresses_are_looked_through_in_bites_and_again_from_the_start(database, retention, monkeypatch):
    monkeypatch.setattr(module, "LOOKED_THROUGH", 3)
    old, young = new_id("ver", OLD), new_id("ver", YOUNG)
    rows = [row(models.Address, hash=bytes([n]) * 32, verification_id=young if n % 2 else old) for n in range(8)]
    await put(database, models.Address, *rows, row(models.Address, hash=bytes([1]) * 32, verification_id=old))
    # By threes: two of them are old, two, and one; the end of a round is nothing.
    assert [await retention.retire_addresses() for _ in range(4)] == [2, 2, 1, 0]
    left = await database.fetch("SELECT hash, verification_id FROM address")
    assert {(bytes(record["hash"])[0], record["verification_id"]) for record in left} == {
        (number, young) for number in (1, 3, 5, 7)
    }
    assert [await retention.retire_addresses() for _ in range(3)] == [1, 0, 1]


async def test_addresses_that_are_deleted_in_one_bite_are_few(database, retention):
    old = new_id("ver", OLD)
    rows = [row(models.Address, hash=bytes([n]) * 32, verification_id=old) for n in range(4 * FEWEST + 1)]
    await put(database, models.Address, *rows)
    assert [await retention.retire_addresses() for _ in range(4)] == [2 * FEWEST, 2 * FEWEST, 1, 0]
    assert await count(database, models.Address) == 0


async def test_an_empty_database_is_no_fault(retention):
    assert [await duty.bite() for duty in retention.duties()] == [0, 0, 0]


async def test_no_bite_scans_a_table(database, engine_name):
    statements = [statement for statement in vars(module).values() if isinstance(statement, Statement)]
    statements += module._OF_A_VERIFICATION
    if engine_name == "postgresql":
        # It scans a table this small whatever its indexes are; what it shall be able to do is prepare them all.
        for statement in statements:
            sql = alone(Kind(statement, (ARRAY,) * len(statement.columns)))
            await database.run(lambda connection, sql=sql: connection.fetch(f"PREPARE x AS {sql}"))
            await database.run(lambda connection: connection.fetch("DEALLOCATE x"))
        return
    values = {"before": "ver_", "number": 1, "most": 1, "hash": b"", "id": ""}
    reads = (
        module._OLD_VERIFICATIONS,
        module._OLD_EVENTS,
        module._EDGE,
        module._OLD_ADDRESSES,
        module._OLDEST,
    )
    plans = [(sql, {name: values[name] for name in re.findall(r":([a-z]+)", sql)}) for sql in reads]
    plans += [(re.sub(r"\?\d*", "NULL", statement.sqlite), {}) for statement in statements]
    scans = [
        (sql, record["detail"])
        for sql, named in plans
        for record in await database.fetch(f"EXPLAIN QUERY PLAN {sql}", **named)
        if re.fullmatch(r"SCAN (?!r$|near$|CONSTANT)\w+", record["detail"])
    ]
    assert scans == []


@given(st.integers(FEWEST, VERIFICATIONS), st.floats(0, 60))
def test_the_next_bite_is_within_bounds_and_aims_at_its_time(size, seconds):
    found = fitted(size, seconds)
    assert FEWEST <= found <= VERIFICATIONS
    assert found <= size * 1.5
    if seconds > AIM:
        assert found <= max(FEWEST, size * AIM / seconds)


@pytest.mark.parametrize(
    ("size", "seconds", "expected"),
    [(20, AIM, 20), (24, 2 * AIM, 12), (20, 100 * AIM, 10), (12, AIM / 2, 18), (12, 0.0, 18), (25, AIM / 9, 25)],
)
def test_the_next_bite_follows_from_the_last(size, seconds, expected):
    assert fitted(size, seconds) == expected


def test_every_table_says_how_long_it_is_kept():
    page = (
        (Path(__file__).parents[2] / "docs" / "retention.md").read_text(encoding="utf-8").partition("## The duties")[0]
    )
    told = set(re.findall(r"^\| `([a-z_]+)` \| [^|]+ \| [^|]+ \|$", page, re.MULTILINE))
    assert told == set(SQLModel.metadata.tables)


def test_every_duty_of_retention_is_named_where_it_is_told_of():
    page = (Path(__file__).parents[2] / "docs" / "retention.md").read_text(encoding="utf-8")
    duties = {duty.name for duty in Retention(None, None, verifications=1).duties()}  # type: ignore[arg-type]
    assert duties <= set(re.findall(r"`([a-z_]+)`", page))
