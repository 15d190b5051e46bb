"""PostgreSQL restarts, hangs, turns read-only, and is migrated under nodes that serve."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

import asyncpg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.storage import migrations
from tests.faults.figures import Figures, figures, summed
from tests.faults.load import Load
from tests.faults.proxy import Proxy
from tests.faults.scene import Scene
from tests.faults.stores import execute
from tests.faults.trial import POSTGRESQL, trial

#: Seconds within which a node has a connection again once there is a server.
RECONNECT = 5.0
#: Where the revisions are.
MIGRATIONS = Path(migrations.__file__).parent


async def interrupted(
    scene: Scene,
    fault: Callable[[], Awaitable[None]],
    *,
    seconds: float = 6.0,
    rate: float = 30.0,
    environ: Mapping[str, str] | None = None,
) -> Figures:
    """Serve a load while ``fault`` happens to the database; it returns once the database is well again."""
    node = await scene.started(environ)
    load = await scene.load(node, ttl=120, obey=1.0)
    asking = asyncio.create_task(load.run(int(seconds * rate), rate))
    await asyncio.sleep(1.0)
    await fault()
    freed = time.monotonic()
    took = await first_after(scene, load, freed)
    await asking
    await scene.arrived(load, 28)
    recovery = time.monotonic() - freed
    # What nobody has written down is sent once more, later.
    await scene.until(lambda: _settled(scene), 28)
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        excused=await scene.store.count("SELECT count(*) FROM attempt WHERE outcome = 'unknown'"),
        recovery=recovery,
        recovery_within=28.0,
        others={"reconnect s": round(took, 1), "503": load.answers[503], "no answer": load.unanswered},
        held={
            "accepts again within 5 s": took <= RECONNECT,
            "no acknowledged row missing": not await load.absent(),
            "503 always with Retry-After": load.unguided == 0,
            "nothing but 201 and 503": not load.odd and load.unanswered == 0,
            "told in one line": all(item.told_once() for item in scene.nodes),
        },
    )


async def _settled(scene: Scene) -> bool:
    return await scene.store.count("SELECT count(*) FROM message WHERE status IN ('queued', 'sending')") == 0


async def first_after(scene: Scene, load: Load, freed: float) -> float:
    """Return the seconds from ``freed`` to the first acknowledgement."""
    await scene.until(lambda: any(at > freed for at in load.acknowledged), 30)
    return min((at for at in load.acknowledged if at > freed), default=float("inf")) - freed


@trial(
    "F-15",
    "PostgreSQL crashes and recovers",
    inject="pg_ctl restart -m immediate, three times under load",
    accept="no acknowledged request lost, 503 with Retry-After meanwhile, accepts again ≤ 5 s",
    engines=(POSTGRESQL,),
)
async def a_crashed_server(scene: Scene) -> Figures:
    assert scene.cluster is not None
    runs = []
    for _ in range(3):
        async with scene.again() as fresh:
            runs.append(await interrupted(fresh, scene.cluster.restart))
    return summed(runs)


@trial(
    "F-15",
    "PostgreSQL is away for longer than a lease",
    inject="pg_ctl stop -m immediate while mails are under way, 25 s, pg_ctl start; two nodes",
    accept="no acknowledged request lost, nobody sent to twice, 503 with Retry-After meanwhile, accepts again ≤ 5 s",
    engines=(POSTGRESQL,),
)
async def an_absent_server(scene: Scene) -> Figures:
    cluster = scene.cluster
    assert cluster is not None

    async def away() -> None:
        # So that mails are under way: their answers come once nobody can write them down.
        slow.delay = 1.0
        await asyncio.sleep(0.5)
        await cluster.halt()
        await asyncio.sleep(2.5)
        slow.delay = 0.0
        await asyncio.sleep(22.5)
        await cluster.go_on()

    async with Proxy(scene.smtp.port) as slow:
        environ = scene.by_email(port=slow.port)
        # Another node may not take for lost what the first one could not write down.
        await scene.started(environ)
        found = await interrupted(scene, away, seconds=10, environ=environ)
    return _refusing(replace(found, held={**found.held, "nobody sent to twice": found.duplicated == 0}))


def _refusing(found: Figures) -> Figures:
    return replace(found, held={**found.held, "refused with 503 meanwhile": bool(found.others["503"])})


@trial(
    "F-15",
    "every connection is ended",
    inject="pg_terminate_backend for every connection, three times a second for 2 s, under load",
    accept="no acknowledged request lost, 503 with Retry-After meanwhile, accepts again ≤ 5 s",
    engines=(POSTGRESQL,),
)
async def ended_connections(scene: Scene) -> Figures:
    async def ended() -> None:
        for _ in range(6):
            await execute(
                scene.prepared.server,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'otp-gateway%'"
                " OR (datname LIKE 'faults_%' AND pid <> pg_backend_pid())",
            )
            await asyncio.sleep(0.33)

    return await interrupted(scene, ended)


@trial(
    "F-15",
    "PostgreSQL hangs for 12 s",
    inject="SIGSTOP to every process of the server, 12 s, SIGCONT, under load",
    accept="no acknowledged request lost, 503 with Retry-After meanwhile, accepts again ≤ 5 s",
    engines=(POSTGRESQL,),
)
async def a_hung_server(scene: Scene) -> Figures:
    cluster = scene.cluster
    assert cluster is not None

    async def hung() -> None:
        cluster.pause()
        try:
            await asyncio.sleep(12)
        finally:
            cluster.resume()

    return _refusing(await interrupted(scene, hung, seconds=15, rate=15))


@trial(
    "F-16",
    "PostgreSQL is read-only, as after a failover",
    inject="default_transaction_read_only = on for this database and every connection ended, 2 s, then off",
    accept="nothing accepted that is not kept; 503 with Retry-After meanwhile, accepts again ≤ 5 s",
    engines=(POSTGRESQL,),
    fast=True,
)
async def a_read_only_server(scene: Scene) -> Figures:
    database = scene.store.url.partition("?")[0].rpartition("/")[2]

    async def read_only(value: str) -> None:
        await execute(
            scene.prepared.server,
            f"ALTER DATABASE {database} SET default_transaction_read_only = {value}",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'",
        )

    async def failed_over() -> None:
        await read_only("on")
        await asyncio.sleep(1.5)
        await read_only("off")

    return _refusing(await interrupted(scene, failed_over, seconds=3.0, rate=20))


@trial(
    "F-25",
    "several nodes claim at once",
    inject="4 nodes on one database and 2,000 codes; what is in a node's memory loses its lease and is anybody's",
    accept="lost 0, twice 0, every node sends",
    engines=(POSTGRESQL,),
)
async def many_claimers(scene: Scene) -> Figures:
    # Slower than the requests come: about half of them still wait when the leases go.
    environ = scene.by_email(CHANNELS__EMAIL__RATE="200")
    nodes = [scene.node(environ) for _ in range(4)]
    await asyncio.gather(*(node.start() for node in nodes))
    turn = itertools.count()
    load = await scene.load(lambda: nodes[next(turn) % 4].url, ttl=300)
    await load.run(2000, rate=400)
    released = await scene.store.count("SELECT count(*) FROM message WHERE status = 'queued'")
    await scene.store.write("UPDATE message SET lease = '', due_at = 0 WHERE status = 'queued'")
    freed = time.monotonic()
    await scene.arrived(load, 60)
    recovery = time.monotonic() - freed
    await asyncio.sleep(1)
    senders = await scene.store.count("SELECT count(DISTINCT node) FROM attempt")
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        recovery=recovery,
        recovery_within=60.0,
        others={"codes": len(load.promises), "leases taken away": released, "nodes that sent": senders},
        held={"every node sent": senders == 4, "some had to be claimed": released > 0},
    )


@trial(
    "F-35",
    "the schema changes under nodes that serve",
    inject="a later revision and a new nullable column while a node serves; another node starts on it",
    accept="the old node keeps serving and another one starts; no 5xx, readyz stays 200",
    fast=True,
)
async def a_later_schema(scene: Scene) -> Figures:
    node = await scene.started()
    load = await scene.load(node, ttl=60)
    await load.run(10, rate=50)
    await scene.store.write(
        "ALTER TABLE message ADD COLUMN later double precision", "UPDATE alembic_version SET version_num = '0999'"
    )
    await load.run(10, rate=50, first=10)
    ready, _ = await load.fetch("/readyz")
    second = scene.node()
    refused = await second.try_start()
    if refused is None:
        other = await scene.load(second, ttl=60, name="other", to=lambda number: f"other{number}@example.org")
        await other.run(5, rate=50)
        load.promises.update(other.promises)
    await scene.arrived(load, 10)
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        others={"503": load.answers[503]},
        held={
            "readyz stays 200": ready == 200,
            "another node starts": refused is None,
            "no 5xx": not load.odd and load.answers[503] == 0,
        },
    )


@trial(
    "F-35",
    "nodes start together on an empty database",
    inject="4 nodes started at once where there is no schema",
    accept="migrated once, all serve",
)
async def a_shared_start(scene: Scene) -> Figures:
    await empty(scene)
    nodes = [scene.node() for _ in range(4)]
    said = await asyncio.gather(*(node.try_start() for node in nodes))
    revisions = await scene.store.rows("SELECT version_num FROM alembic_version")
    return figures(
        [],
        [],
        others={"nodes": len(nodes)},
        held={"all serve": said == [None] * 4, "one revision": len(revisions) == 1},
    )


async def empty(scene: Scene) -> None:
    """Take the schema away."""
    if scene.store.path is not None:
        scene.store.path.unlink()
    else:
        await execute(scene.store.url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")


@trial(
    "F-35",
    "a migration meets a table in use",
    inject="a transaction of another program holds a lock on a table for 4 s while a migration wants it",
    accept="the migration gives way within its lock_timeout of 2 s; nobody queues behind it for longer",
    engines=(POSTGRESQL,),
)
async def a_migration_that_waits(scene: Scene) -> Figures:
    await empty(scene)
    await migrated_to(scene.store.url, "0002")
    other = await asyncpg.connect(scene.store.url)
    try:
        begun = other.transaction()
        await begun.start()
        await other.execute("LOCK TABLE message IN ACCESS SHARE MODE")
        starting = asyncio.create_task(scene.node().try_start())
        await asyncio.sleep(2.0)
        began = time.monotonic()
        await execute(scene.store.url, "SELECT count(*) FROM message")
        reading = time.monotonic() - began
        await asyncio.sleep(2.0)
        await begun.rollback()
        said = await starting
    finally:
        await other.close()
    second = scene.node()
    again = await second.try_start()
    return figures(
        [],
        [],
        others={"a reader waited s": round(reading, 1)},
        held={
            "no traceback": said is None or "Traceback" not in said,
            "a start afterwards migrates": again is None,
            "nobody waits longer than 3 s": reading < 3.0,
        },
    )


async def migrated_to(url: str, revision: str) -> None:
    """Bring an empty PostgreSQL database to an earlier revision."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))

    def upgrade(connection: sa.Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(url, timeout=10))
    try:
        async with engine.begin() as connection:
            await connection.run_sync(upgrade)
    finally:
        await engine.dispose()
