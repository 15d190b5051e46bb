"""How long ``serve`` takes to be ready with a million messages in its database, on either engine, beside an empty one."""

from __future__ import annotations

import asyncio
import http.client
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.children import Child, ChildError
from benchmarks.figures import Target, again
from benchmarks.load import HOST
from benchmarks.parts import FULL_ONLY, Arm, Part, Scale, Shown, Stage
from benchmarks.report import Row, Section, compared
from benchmarks.rounds import Sample, Samples, tell
from benchmarks.scale.filling import fill, sealer_of
from benchmarks.scale.server import Server, database_of, tidy
from benchmarks.served import GATEWAY, PATIENCE, READY, Prepared, pause
from benchmarks.waiting import chunks
from gateway.clock import SystemClock
from gateway.config import variable_name
from gateway.storage import models
from gateway.storage.sqlite import connect
from gateway.storage.statement import insert_into

YARDSTICK = "an empty SQLite file"
AGAIN = again(YARDSTICK)
#: Messages that wait, each with its verification.
COUNT: Final = 1_000_000
#: Seconds from the start of the process until it says that it is ready.
TARGET = Target(2.0, at_least=False)
_CHANNEL = "email"
#: Seconds for which nothing is sent: longer than any run, so that every start finds the same.
_PAUSED: Final = 7200.0
#: Seconds between two looks at whether it is ready.
_LOOK: Final = 0.005


def full(count: int, engine: str = "SQLite") -> str:
    """Return the name of the arm whose database, of an ``engine``, has that many messages."""
    return f"{count:,} messages wait, {engine}"


def started(folder: Path, environ: Mapping[str, str], prepared: Path) -> Sample:
    """Start the gateway with the configuration in the folder ``prepared`` and end it again.

    Returns the seconds until it was ready, and what it held then, in MiB. Raises ``ChildError``.
    """
    began_at = time.monotonic()
    command = [*GATEWAY, "serve", "--config", str(prepared / "config.toml")]
    with Child("gateway", command, folder, environ=environ, logged=True) as child:
        port = int(child.error_line(READY, PATIENCE).rpartition(":")[2])
        until_ready(port, PATIENCE)
        seconds, memory = time.monotonic() - began_at, child.memory
        # Ended as an operator would, so that the next start finds a file at rest.
        child.stop(PATIENCE)
    return {"ready": seconds, "resident": memory.resident, "peak": memory.peak}


#: The arm on PostgreSQL, where there is a server.
ON_POSTGRESQL: Final = full(COUNT, "PostgreSQL")


def until_ready(port: int, within: float) -> None:
    """Wait until ``/readyz`` answers 200. Raises ``ChildError`` where it does not within the seconds."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        with closing(http.client.HTTPConnection(HOST, port, timeout=within)) as connection:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        time.sleep(_LOOK)
    raise ChildError(f"the gateway was not ready within {within:g} s")


def filled(prepared: Prepared, folder: Path, count: int) -> Path:
    """Copy a prepared SQLite file to ``folder`` and have that many messages wait in it, all due; return ``folder``."""
    shutil.copytree(prepared.folder, folder)
    database = folder / "bench.db"
    with closing(connect(database)) as connection:
        connection.execute("BEGIN")
        for verifications, messages in chunks(sealer_of(prepared.environ), _CHANNEL, SystemClock().now(), count):
            connection.executemany(insert_into(models.Verification).sqlite, verifications)
            connection.executemany(insert_into(models.Message).sqlite, messages)
        connection.execute("COMMIT")
    pause(str(database), _PAUSED)
    return folder


def filled_server(prepared: Prepared, url: str, count: int) -> Mapping[str, str]:
    """Have that many messages wait in the PostgreSQL database at ``url``; return the variables to start with on it."""
    asyncio.run(fill(url, sealer_of(prepared.environ), _CHANNEL, count))
    tidy(url)
    pause(url, _PAUSED)
    return {**prepared.environ, variable_name(("database", "url")): url}


def _arms(stage: Stage) -> Mapping[str, Arm]:
    # Each in a folder of its own: what a start writes stays for the next one.
    empty = filled(stage.sqlite, stage.folder / "start-empty", 0)
    folder = filled(stage.sqlite, stage.folder / "start-filled", COUNT)
    tell(f"filled: {full(COUNT)}")
    stage.stack.callback(shutil.rmtree, folder)
    start = partial(started, stage.folder, stage.sqlite.environ)
    arms: dict[str, Arm] = {YARDSTICK: partial(start, empty), full(COUNT): partial(start, folder)}
    if stage.url is not None and (prepared := stage.postgresql) is not None:
        server = Server(stage.url, stage.folder / "pg")
        url = stage.stack.enter_context(server.database(database_of(prepared.url or "")))
        environ = filled_server(prepared, url, COUNT)
        arms[ON_POSTGRESQL] = partial(started, stage.folder, environ, prepared.folder)
        tell(f"filled: {ON_POSTGRESQL}")
    return {**arms, AGAIN: partial(start, empty)}


def sections(samples: Samples, _scale: Scale) -> Sequence[Section]:
    """Return the seconds of each start."""
    rows = compared(samples, "ready", YARDSTICK, {})
    judged = [
        Row(
            row.name,
            row.figure,
            row.ratio,
            TARGET if row.name not in {YARDSTICK, AGAIN} else None,
            on_ratio=False,
            floor=row.floor,
        )
        for row in rows
    ]
    text = (
        "From the start of the process until `/readyz` answers 200: an empty SQLite file, and databases with a million "
        "verifications whose messages are all due. Nothing is sent meanwhile, as after a provider has asked to wait. Most "
        "of it is Python's importing, from bytecode that is there."
    )
    return [Section("From start to ready", text, "s", judged)]


PART = Part("starting up", _arms, sections, weight=300, shown=Shown("ready", " s"), extents=FULL_ONLY)
