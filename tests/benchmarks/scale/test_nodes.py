"""Nodes as the benchmark runs them, on a small scale: what is measured is really what happens."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from benchmarks.scale.nodes import DRAINED, POSTED, Nodes
from benchmarks.scale.server import Server
from benchmarks.served import prepare
from gateway.cli.dispatch import READY

COUNT = 40


async def data_folder(url: str) -> Path:
    connection = await asyncpg.connect(url)
    try:
        return Path(await connection.fetchval("SHOW data_directory"))
    finally:
        await connection.close()


@pytest.fixture
def few(tmp_path, postgresql_url):
    server = Server(postgresql_url, asyncio.run(data_folder(postgresql_url)))
    yield Nodes(tmp_path, server, prepare(tmp_path / "prepared", postgresql_url), COUNT)
    server.execute("DROP DATABASE bench WITH (FORCE)")


@pytest.mark.parametrize("measured", [partial(Nodes.posted), partial(Nodes.drained)], ids=["posted", "drained"])
def test_a_serve_and_a_worker_lose_nothing_and_double_nothing(few, measured):
    arms = measured(few)
    sample = arms["1 serve, 1 dispatch" if "1 serve" in arms else "2 dispatch"]()
    assert (sample["lost"], sample["doubled"]) == (0.0, 0.0)
    assert min(sample[figure] for figure in ("rate", "wal", "connections")) > 0
    # A few messages may take less than a tick of the processor's clock.
    assert sample["node cpu"] >= 0


def test_the_yardstick_comes_first_and_once_more_at_the_end():
    assert [next(iter(arms)) + ", again" == [*arms][-1] for arms in (POSTED, DRAINED)] == [True, True]


def test_a_worker_says_what_is_waited_for():
    from benchmarks.scale import nodes

    assert nodes.READY["dispatch"] == READY
