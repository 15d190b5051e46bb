"""That nobody sends what waits is seen on both engines; a node that runs, or nothing that waits, is well."""

from __future__ import annotations

import time

import pytest

from gateway.config import DatabaseSettings
from gateway.diagnosis.nodes import MOST, of_nodes
from gateway.diagnosis.stores import examine
from gateway.housekeeping.house import NAME
from gateway.storage import models
from gateway.storage.leases import Leases
from tests.rows import put, row


@pytest.fixture
def chosen(engine_name, tmp_path, request, make_engine) -> DatabaseSettings:
    if engine_name == "sqlite":
        return DatabaseSettings(url=f"sqlite:///{tmp_path / 'gateway.db'}")
    return DatabaseSettings(url=request.getfixturevalue("migrated_postgresql"))


async def told(chosen: DatabaseSettings) -> tuple[str, str]:
    """Return the verdict and the beginning of what is told of nodes."""
    [found] = [item for item in await examine(chosen, (), time.time) if item.subject == "nodes"]
    return found.verdict, " ".join(found.told.split()[:2])


async def test_a_node_that_died_leaves_a_fault_as_soon_as_a_code_waits(chosen, database):
    now = time.time()
    assert await told(chosen) == ("ok", "none works")
    dead = row(models.Message, id="msg_1", status="queued", expires_at=now - 1)
    await put(database, models.Message, dead, row(models.Message, id="msg_2", status="sent", expires_at=now + 300))
    assert await told(chosen) == ("ok", "none works")
    await put(database, models.Message, row(models.Message, id="msg_3", status="queued", expires_at=now + 300))
    assert await told(chosen) == ("fault", "1 message")
    await Leases(database, "node-a").take(NAME, now, 60.0)
    assert await told(chosen) == ("ok", "a node")


@pytest.mark.parametrize(
    ("waiting", "words"), [(1, "1 message waits and"), (2, "2 messages wait and"), (MOST, "1000 or more messages wait")]
)
def test_how_many_wait_is_told_with_what_to_do(waiting, words):
    found = of_nodes(runs=False, waiting=waiting)
    assert (found.verdict, found.told.startswith(words), found.told.endswith("start `otp-gateway serve`")) == (
        "fault",
        True,
        True,
    )
