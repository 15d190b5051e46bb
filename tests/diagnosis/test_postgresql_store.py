"""A PostgreSQL server asked: what its settings mean for what it acknowledges."""

from __future__ import annotations

import time

import pytest

from gateway.diagnosis.postgresql_store import look, of_facts
from gateway.storage.migrations import head

FACTS = {"version": 16, "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "standby": False}
PASSWORD = "db-password-41aa"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"server": "ok", "durability": "ok"}),
        ({"synchronous_commit": "remote_apply"}, {"server": "ok", "durability": "ok"}),
        ({"synchronous_commit": "local"}, {"server": "ok", "durability": "ok"}),
        ({"synchronous_commit": "off"}, {"server": "ok", "synchronous_commit": "fault"}),
        ({"fsync": "off"}, {"server": "ok", "fsync": "fault"}),
        ({"full_page_writes": "off"}, {"server": "ok", "full_page_writes": "warning"}),
        ({"standby": True}, {"server": "fault"}),
        ({"version": 11}, {"server": "fault", "durability": "ok"}),
    ],
    ids=str,
)
def test_what_is_acknowledged_must_be_kept(changes, expected):
    assert {item.subject: item.verdict for item in of_facts(FACTS | changes)} == expected


async def test_a_server_is_asked(migrated_postgresql):
    """The tests' own server keeps nothing, to be quick, and that is seen."""
    looked = await look(migrated_postgresql, time.time)
    found = {item.subject: item.verdict for item in looked.findings}
    assert (found["server"], found["fsync"], found["synchronous_commit"], found["clock"]) == (
        "ok",
        "fault",
        "fault",
        "ok",
    )
    assert (looked.revision, looked.opened) == (head(), True)


async def test_a_clock_that_is_wrong_is_seen(migrated_postgresql):
    looked = await look(migrated_postgresql, lambda: time.time() + 60.0)
    [clock] = [item for item in looked.findings if item.subject == "clock"]
    assert (clock.verdict, "ahead of the database's" in clock.told) == ("fault", True)


async def test_a_server_that_is_not_there_is_a_fault_without_its_password():
    looked = await look(f"postgresql://u:{PASSWORD}@127.0.0.1:1/n", time.time)
    [finding] = looked.findings
    assert (finding.verdict, looked.opened, PASSWORD in repr(looked)) == ("fault", False, False)
    assert finding.told.startswith(
        "PostgreSQL at 127.0.0.1:1 (database n): ConnectionRefusedError; check [database] url"
    )
