"""Sealing anew: no column is forgotten, nothing is lost beside a node that writes, and a stop costs nothing."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import LargeBinary
from sqlmodel import SQLModel

from gateway.config import SealingKey
from gateway.storage import models, resealing
from gateway.storage.resealing import SEALED, Progress, Resealing
from gateway.storage.sealing import Sealer, key_id
from tests.rows import put, row

NEW = SealingKey("k2", bytes(reversed(range(32))))


@pytest.fixture
def both(ring) -> Sealer:
    """What seals by the new key and opens by the old one too."""
    return Sealer((NEW, *ring))


async def instantly() -> None:
    """Rest for no time."""


async def resealed(database: Any, sealer: Sealer, rest: Any = instantly) -> Progress:
    found = [progress async for progress in Resealing(database, sealer).run(rest)]
    return found[-1] if found else Progress()


async def replies(database: Any, sealer: Sealer, *names: str) -> None:
    for name in names:
        blob = sealer.seal(name.encode(), f"reply/{name}")
        await put(database, models.OutgoingReply, row(models.OutgoingReply, id=name, sealed=blob))


async def opened(database: Any, sealer: Sealer) -> list[str]:
    found = await database.fetch("SELECT id, sealed FROM reply ORDER BY id")
    return [sealer.open(bytes(record["sealed"]), f"reply/{record['id']}").decode() for record in found]


def test_no_sealed_column_is_forgotten():
    sealed = {
        (table.name, column.name)
        for table in SQLModel.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary) and column.name.endswith("sealed")
    }
    assert sealed == {(table.name, column.name) for table in SEALED for column in table.columns}


def test_each_table_is_gone_through_by_its_key():
    keys = {table.name: [column.name for column in table.primary_key] for table in SQLModel.metadata.tables.values()}
    assert {table.name: list(table.key) for table in SEALED} == {table.name: keys[table.name] for table in SEALED}


async def test_everything_is_sealed_by_the_new_key_page_by_page(database, sealer, both, monkeypatch):
    monkeypatch.setattr(resealing, "PAGE", 2)
    names = [f"rep_{number}" for number in range(5)]
    await replies(database, sealer, *names)
    found = [(p.rows, p.looked_at, p.sealed) async for p in Resealing(database, both).run(instantly)]
    assert found == [(5, 2, 2), (5, 4, 4), (5, 5, 5)]
    assert names == await opened(database, Sealer([NEW]))


async def test_begun_again_it_passes_over_what_is_done(database, sealer, both):
    await replies(database, sealer, "rep_1")
    await resealed(database, both)
    blob = (await database.fetch("SELECT sealed FROM reply"))[0]["sealed"]
    await replies(database, sealer, "rep_2")
    again = await resealed(database, both)
    assert (again.looked_at, again.sealed) == (2, 1)
    assert blob == (await database.fetch("SELECT sealed FROM reply ORDER BY id"))[0]["sealed"]
    assert (await resealed(database, both)).sealed == 0


async def test_what_a_node_writes_meanwhile_stays(database, sealer, both, monkeypatch):
    await replies(database, sealer, "rep_1")
    newer = sealer.seal(b"newer", "reply/rep_1")
    write = database.write

    async def write_late(move: Any) -> bool:
        if move.then[0][0].name.startswith("reply.reseal"):
            await database.run(lambda c: c.fetch("UPDATE reply SET sealed = :blob RETURNING id", blob=newer))
        written: bool = await write(move)
        return written

    with monkeypatch.context() as patched:
        patched.setattr(database, "write", write_late)
        await resealed(database, both)
    assert await opened(database, sealer) == ["newer"]
    await resealed(database, both)
    assert await opened(database, Sealer([NEW])) == ["newer"]


async def test_what_no_key_opens_is_told_by_place_and_key_and_stays(database, sealer, both):
    foreign = Sealer([SealingKey("k9", b"n" * 31 + b"x")]).seal(b"x", "reply/rep_1")
    moved = sealer.seal(b"x", "reply/rep_1")
    for name, blob in (("rep_1", foreign), ("rep_2", moved), ("rep_3", b"nonsense")):
        await put(database, models.OutgoingReply, row(models.OutgoingReply, id=name, sealed=blob))
    found = await resealed(database, both)
    assert (found.unreadable, found.left) == ({"reply.sealed": 3}, {"k9": 1, "k1": 1, "?": 1})
    assert {foreign, moved, b"nonsense"} == {
        bytes(record["sealed"]) for record in await database.fetch("SELECT sealed FROM reply")
    }


async def test_what_is_wiped_or_empty_is_passed_over(database, both):
    await put(database, models.Verification, row(models.Verification, id="ver_1"))
    await put(database, models.Chat, row(models.Chat, hash=b"h", chat_sealed=b""))
    found = await resealed(database, both)
    assert (found.looked_at, found.sealed, found.left) == (2, 0, {})


async def test_it_rests_after_each_write(database, sealer, both, monkeypatch):
    monkeypatch.setattr(resealing, "PAGE", 2)
    rests: list[int] = []

    async def rest() -> None:
        rests.append(1)

    await replies(database, sealer, "rep_1", "rep_2", "rep_3")
    await resealed(database, both, rest)
    await resealed(database, both, rest)
    assert len(rests) == 2


@pytest.mark.parametrize("engine_name", ["sqlite"])
async def test_no_page_reads_a_whole_table(database):
    """PostgreSQL scans a table this small whatever its indexes are."""
    for table in SEALED:
        keys = ", ".join(table.key)
        sql = f"SELECT * FROM {table.name} WHERE ({keys}) > ({', '.join('NULL' for _ in table.key)}) ORDER BY {keys}"
        [plan] = [record["detail"] for record in await database.fetch(f"EXPLAIN QUERY PLAN {sql} LIMIT 9")]
        assert plan.startswith(f"SEARCH {table.name} USING INDEX")


def test_the_key_that_sealed_a_blob_is_told(sealer):
    assert [key_id(blob) for blob in (sealer.seal(b"x", "y"), b"", b"\x02" * 40)] == ["k1", "?", "?"]
