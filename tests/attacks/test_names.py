"""Attempts to have something write a person's name back after they were erased."""

from __future__ import annotations

from channels.base import Receipt, Report, ReportedStatus
from tests.verification.test_erasing import make_erasing, rows, world
from tests.world import PHONE

__all__ = ["make_erasing", "world"]


async def test_a_report_that_was_read_before_an_erasure_and_is_written_after_it_names_nobody(
    world, database, make_erasing
):
    await world.start()
    world.channels["sms"].script = [Receipt("SM-of-ann")]
    await world.attempt()
    token, fetch = world.channels["sms"].sent[0].attempt_token, database.fetch

    async def slow(sql, **values):
        found = await fetch(sql, **values)
        if "token_hash" in sql:
            database.fetch = fetch
            erasing = make_erasing()
            assert (await erasing.erase(erasing.whom(PHONE, None))).under_way == 0
        return found

    database.fetch = slow
    assert await world.queue.report("sms", Report(token, ReportedStatus.DELIVERED, "SM-of-ann"))
    assert [told["name"] for told in await rows(database, "event") if told["recipient"]] == []
