"""Idempotent answers on both engines: one request is carried out, the others are told what it was told."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from gateway.errors import Cooldown, IdempotencyConflict, IdempotencyMismatch
from gateway.storage import models
from gateway.storage.answers import KEPT, Answers, Source
from gateway.storage.database import Database
from gateway.storage.statement import insert_into
from gateway.storage.unit import Connection, Move

SOURCE = Source("POST", "/v1/verifications", "order-7")
ADD = insert_into(models.Lease)


@pytest.fixture
def answers(database, sealer, clock) -> Answers:
    return Answers(database, sealer, clock)


def creates(name: str):
    """A create that writes a row called ``name`` and answers it."""

    async def create(connection: Connection) -> bytes:
        await connection.apply(Move(None, [(ADD, (name, "", 0.0))]))
        return name.encode()

    return create


async def refuses(_: Connection) -> bytes:
    raise Cooldown("not yet", retry_after=3)


async def rows(database: Database, table: str = "lease") -> int:
    return len(await database.fetch(f"SELECT 1 FROM {table}"))


async def test_the_same_request_gets_the_first_answer_and_is_not_carried_out_again(answers, database):
    assert await answers.once("shop", SOURCE, b"body", creates("a")) == (b"a", False)
    assert await answers.once("shop", SOURCE, b"body", creates("b")) == (b"a", True)
    assert await rows(database) == 1


async def test_another_body_under_the_same_key_is_refused_and_changes_nothing(answers, database):
    await answers.once("shop", SOURCE, b"body", creates("a"))
    with pytest.raises(IdempotencyMismatch):
        await answers.once("shop", SOURCE, b"other", creates("b"))
    with pytest.raises(IdempotencyMismatch):
        await answers.kept("shop", SOURCE, b"other")
    assert await rows(database) == 1


async def test_a_body_cannot_be_tried_against_what_is_kept(answers, database):
    """A hash that anybody can reckon tells a telephone number by trying them all."""
    fingerprint = hashlib.sha256(b'{"to":"+4915112345678"}').digest()
    await answers.once("shop", SOURCE, fingerprint, creates("a"))
    [record] = await database.fetch("SELECT fingerprint, sealed FROM idempotent_answer")
    plain = (fingerprint, hashlib.sha256(fingerprint).digest())
    assert [part for part in plain if part in record["fingerprint"] + record["sealed"]] == []


async def test_an_answer_of_an_older_version_is_told_again_for_its_day(answers, database, sealer, clock):
    await answers.once("shop", SOURCE, b"body", creates("a"))
    [record] = await database.fetch("SELECT service, key_hash FROM idempotent_answer")
    sealed = sealer.seal(b"a", f"idempotent_answer.sealed/shop/{record['key_hash'].hex()}")

    async def as_it_was(connection: Connection) -> None:
        sql = "UPDATE idempotent_answer SET fingerprint = :old, sealed = :sealed RETURNING service"
        await connection.fetch(sql, old=b"body", sealed=sealed)

    await database.run(as_it_was)
    assert await answers.once("shop", SOURCE, b"body", creates("b")) == (b"a", True)
    with pytest.raises(IdempotencyMismatch):
        await answers.once("shop", SOURCE, b"other", creates("b"))


async def test_a_large_answer_takes_little_room_is_told_as_it_was_and_can_be_changed(answers, database):
    """A thousand refusals of 2 KB of zeros are 235 KB: kept so, one key fills a disk."""
    large = b'[{"id": "ver_1", "title": "Cannot be used"}' + 1000 * b', {"title": "Cannot be used"}' + b"]"

    async def create(_: Connection) -> bytes:
        return large

    assert await answers.once("shop", SOURCE, b"body", create) == (large, False)
    [record] = await database.fetch("SELECT sealed FROM idempotent_answer")
    assert len(record["sealed"]) < 500
    assert await answers.once("shop", SOURCE, b"body", create) == (large, True)
    assert await answers.rewrite(lambda _, plain: plain.replace(b"ver_1", b"ver_2")) == 1
    assert await answers.kept("shop", SOURCE, b"body") == large.replace(b"ver_1", b"ver_2")
    [record] = await database.fetch("SELECT sealed FROM idempotent_answer")
    assert len(record["sealed"]) < 500


@pytest.mark.parametrize(
    ("service", "source"),
    [("other", SOURCE), ("shop", SOURCE._replace(path="/v1/subscribers")), ("shop", SOURCE._replace(key="order-8"))],
)
async def test_a_key_is_scoped_to_service_path_and_key(answers, service, source):
    await answers.once("shop", SOURCE, b"body", creates("a"))
    assert await answers.kept(service, source, b"body") is None
    assert await answers.once(service, source, b"body", creates("b")) == (b"b", False)


async def test_twenty_parallel_requests_are_carried_out_once(answers, database):
    told = await asyncio.gather(*(answers.once("shop", SOURCE, b"body", creates(f"a{n}")) for n in range(20)))
    assert [answer for answer, replayed in told if not replayed] == [told[0][0]]
    assert {told[0][0]} == {answer for answer, _ in told}
    assert await rows(database) == 1


async def test_parallel_requests_at_two_nodes_are_carried_out_once(make_engine, sealer, clock):
    async with Database(make_engine()) as one, Database(make_engine()) as two:
        nodes = [Answers(one, sealer, clock), Answers(two, sealer, clock)]
        told = await asyncio.gather(
            *(nodes[n % 2].once("shop", SOURCE, b"body", creates(f"a{n}")) for n in range(10)),
        )
        assert len({answer for answer, _ in told}) == 1
        assert await rows(one) == 1


async def test_a_refusal_is_not_kept_and_the_key_works_afterwards(answers, database):
    with pytest.raises(Cooldown):
        await answers.once("shop", SOURCE, b"body", refuses)
    assert await rows(database, "idempotent_answer") == 0
    assert await answers.once("shop", SOURCE, b"other", creates("a")) == (b"a", False)


async def test_an_answer_can_be_looked_up_beside_the_writer(answers):
    assert await answers.kept("shop", SOURCE, b"body") is None
    await answers.once("shop", SOURCE, b"body", creates("a"))
    assert await answers.kept("shop", SOURCE, b"body") == b"a"


async def test_an_answer_is_kept_for_a_day_and_then_replaced(answers, clock, database):
    await answers.once("shop", SOURCE, b"body", creates("a"))
    clock.advance(KEPT - 1)
    assert await answers.once("shop", SOURCE, b"body", creates("b")) == (b"a", True)
    clock.advance(1)
    assert await answers.kept("shop", SOURCE, b"body") is None
    assert await answers.once("shop", SOURCE, b"other", creates("c")) == (b"c", False)
    assert await rows(database, "idempotent_answer") == 1


async def test_forgetting_deletes_old_answers_in_bites_and_leaves_young_ones(answers, clock, database):
    for n in range(3):
        await answers.once("shop", SOURCE._replace(key=f"old-{n}"), b"body", creates(f"a{n}"))
    clock.advance(KEPT)
    await answers.once("shop", SOURCE, b"body", creates("young"))
    assert [await answers.forget(limit=2) for _ in range(3)] == [2, 1, 0]
    assert await answers.kept("shop", SOURCE, b"body") == b"young"


async def test_the_answer_and_the_key_are_not_readable_in_the_database(answers, database):
    await answers.once("shop", SOURCE, b"body", creates("the answer"))
    record = (await database.fetch("SELECT * FROM idempotent_answer"))[0]
    assert b"the answer" not in record["sealed"]
    assert SOURCE.key.encode() not in record["key_hash"]


class Vanishing:
    """A database where the answer that holds a key is deleted before it can be read."""

    async def run(self, work, *, weight):
        return await work(self)

    async def apply(self, move: Move) -> bool:
        return False

    async def fetch(self, sql: str, /, **values: object) -> list[object]:
        return []


async def test_a_key_whose_answer_vanished_meanwhile_is_a_conflict(sealer, clock):
    with pytest.raises(IdempotencyConflict):
        await Answers(Vanishing(), sealer, clock).once("shop", SOURCE, b"body", creates("a"))  # type: ignore[arg-type]
