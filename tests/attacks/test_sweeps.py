"""Attempts to have what counts forgotten: written anew while a sweep of another node waits for its row."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from channels.kinds import KINDS
from gateway.conversation.erasing import forget_locks
from gateway.conversation.subscribers import Subscribers
from gateway.storage.answers import Answers
from gateway.storage.database import Database
from gateway.storage.ids import new_id
from gateway.storage.turns import Turns
from gateway.storage.unit import Connection
from gateway.verification.authenticators.parts import built
from gateway.verification.limits.counting import Forgetting
from gateway.verification.limits.tallies import Tallies
from gateway.verification.limits.windows import DAY
from gateway.webhooks.rows import Webhooks
from tests.conftest import HandClock
from tests.verification.authenticators.conftest import BRANDS

Sweep = Callable[[], Awaitable[int]]

HASH = b"h" * 32
WINDOWS = {"hour": 1, "hour_until": 0.0, "day": 1, "day_until": 0.0}
OURS = {"service": "shop", "purpose": "login", "hash": HASH}
#: What a row holds beside the time by which it is swept, and the name of that.
ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "cooldown": ({"service": "shop", "hash": HASH, "since": 0.0, "verification_id": "ver_1"}, "until"),
    "recipient": (
        {"hash": HASH, "ten_minutes": 1, "ten_minutes_until": 0.0, "wrong": 0, "codes_until": 0.0, **WINDOWS},
        "forget_at",
    ),
    "guess": ({**OURS, "context": "", "streak": 1, **WINDOWS}, "forget_at"),
    "trusted": ({"service": "shop", "hash": HASH, "context": "reference:mine"}, "until"),
    "block": ({"hash": HASH, "sends": 1, "approved": 0, "until": 0.0}, "forget_at"),
    "visitor": ({"hash": HASH, "count": 1}, "until"),
    "throttle": ({"service": "shop", "reference_hash": HASH, "authenticator_id": "a", "failures": 1}, "forget_at"),
    "turn": ({"channel": "sms", "hash": HASH}, "at"),
    "idempotent_answer": ({"service": "shop", "key_hash": HASH, "fingerprint": b"", "sealed": b"s"}, "created_at"),
    "tally": ({"service": "shop", "node": "a", "kind": "spend", "amount": 1.0}, "window_at"),
    "chat": ({"hash": HASH, "chat_sealed": b"", "created_at": 0.0}, "locked_until"),
    "subscriber": (
        {
            "id": new_id("sub", 0.0),
            "service": "shop",
            "reference_hash": HASH,
            "person_sealed": b"",
            "status": "pending",
            "created_at": 0.0,
        },
        "link_expires_at",
    ),
    "webhook": (
        {
            "id": new_id("whk", 0.0),
            "service": "shop",
            "name": "message.sent",
            "body": "{}",
            "status": "pending",
            "tries": 0,
            "lease": "",
            "created_at": 0.0,
        },
        "due_at",
    ),
}


@pytest.fixture
def engine_name() -> str:
    """On SQLite a sweep and what it sweeps are one after the other."""
    return "postgresql"


def sweeps(database: Database, clock: HandClock, world: Any) -> dict[str, Sweep]:
    """Return each table's sweep by a node with this database."""
    forgetting, now = Forgetting(database, clock), clock.now()
    made = {"database": database, "sealer": world.sealer, "hasher": world.hasher, "clock": clock}
    return {
        "cooldown": world.checking.forget_cooldowns,
        "recipient": forgetting.recipients,
        "guess": forgetting.guesses,
        "trusted": forgetting.trusted,
        "block": forgetting.blocks,
        "visitor": forgetting.visitors,
        "throttle": built(**made, brands=BRANDS).checking.forget,
        "turn": lambda: Turns(database).forget(now),
        "idempotent_answer": Answers(database, world.sealer, clock).forget,
        "tally": lambda: Tallies(database, "b", {}, alone=True).forget(now),
        "chat": lambda: forget_locks(database, now),
        "subscriber": lambda: Subscribers(**made, bot=None, phone=KINDS["phone"]).forget(30),
        "webhook": lambda: Webhooks(database, clock, node="b").forget(now, 30),
    }


async def write(database: Database, statement: str, **values: Any) -> None:
    """Write something that returns a row."""
    await database.run(lambda connection: connection.fetch(statement, **values))


async def swept_while(one: Database, renew: str, at: float, sweep: Sweep) -> int:
    """Run a sweep that waits for a row that ``one`` renews; return what it swept once that is committed."""
    wrote, go_on = asyncio.Event(), asyncio.Event()

    async def slow(connection: Connection) -> None:
        await connection.fetch(renew, at=at)
        wrote.set()
        await go_on.wait()

    writing = asyncio.create_task(one.run(slow))
    await wrote.wait()
    sweeping = asyncio.ensure_future(sweep())
    async with asyncio.timeout(20):
        while not await one.fetch(
            "SELECT 1 FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity "
            "WHERE datname = current_database())"
        ):
            assert not sweeping.done()
    go_on.set()
    await writing
    return await sweeping


async def test_what_is_written_anew_while_a_sweep_waits_for_it_stays_and_what_is_not_goes(
    make_engine, make_world, clock
):
    clock.advance(40 * DAY)
    async with Database(make_engine()) as one, Database(make_engine()) as other:
        found, expected = {}, {}
        for table, sweep in sweeps(other, clock, make_world(on=other)).items():
            row, time = ROWS[table]
            row = {**row, time: 1.0}
            insert = (
                f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)}) RETURNING 1"
            )
            await write(one, insert, **row)
            renew = f"UPDATE {table} SET {time} = :at RETURNING 1"
            kept = await swept_while(one, renew, clock.now() + 1, sweep)
            await write(one, renew, at=1.0)
            found[table], expected[table] = (kept, await sweep()), (0, 1)
        assert expected == found
