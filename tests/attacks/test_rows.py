"""Attempts at more than a hundred wrong codes in a row, by services that share no row but the recipient's."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from gateway.storage.database import Database
from gateway.storage.unit import Connection

OFF = dict.fromkeys(("sends_per_10m", "sends_per_hour", "sends_per_day", "prefix_per_hour"), 0)
_GIVEN_OR_HELD = """SELECT (SELECT SUM(max_checks - checks) FROM verification WHERE status = 'pending') AS held,
    (SELECT wrong FROM recipient) AS wrong"""


async def emptied(table: str, connection: Connection) -> None:
    await connection.fetch(f"DELETE FROM {table} RETURNING 1")


@pytest.mark.parametrize("to", [{"email": "ann@example.org"}, {"phone": "+4915112345678"}], ids=["email", "phone"])
async def test_services_at_once_on_two_nodes_hold_back_no_more_than_a_hundred_in_a_row(
    make_engine, make_world, clock, to
):
    channels = ["email"] if "email" in to else ["sms"]
    async with Database(make_engine()) as one, Database(make_engine()) as other:
        nodes = [make_world(f"s{number}", on=(one, other)[number % 2], **OFF) for number in range(6)]
        for _ in range(5):
            await nodes[0].start(to, channels=channels)
            await one.run(lambda connection: connection.fetch("UPDATE recipient SET wrong = 90 RETURNING hash"))
            await asyncio.gather(*(node.start(to, channels=channels) for node in nodes[1:]), return_exceptions=True)
            [found] = await one.fetch(_GIVEN_OR_HELD)
            assert found["held"] + found["wrong"] == 100
            for table in ("verification", "recipient", "cooldown", "message", "address"):
                await one.run(partial(emptied, table))
            clock.advance(31)
