"""Asking a PostgreSQL server whether what it acknowledges is kept, and what time it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from channels.findings import Finding, clock_finding, fault, ok, warning
from gateway.config.whereabouts import of_server
from gateway.diagnosis.nodes import of_nodes, question
from gateway.diagnosis.sqlite_store import Looked
from gateway.storage.connecting import FAILURES, Connected, Connector, translated
from gateway.storage.secret import FIND

#: The oldest server whose SQL is enough (docs/operations.md, "Install").
OLDEST: Final = 12
#: Seconds a statement may take.
_PATIENCE: Final = 5.0
#: What ``synchronous_commit`` may be: each of them waits for this server's own disk at least.
_DURABLE: Final = frozenset({"on", "local", "remote_write", "remote_apply"})

_FACTS: Final = """
    SELECT current_setting('server_version_num')::int / 10000 AS version, current_setting('fsync') AS fsync,
        current_setting('full_page_writes') AS full_page_writes,
        current_setting('synchronous_commit') AS synchronous_commit, pg_is_in_recovery() AS standby,
        CAST(extract(epoch FROM clock_timestamp()) AS double precision) AS now,
        to_regclass('alembic_version') IS NOT NULL AS versioned, to_regclass('secret') IS NOT NULL AS keyed
"""


async def look(url: str, now: Callable[[], float]) -> Looked:
    """Ask the server of a URL; ``now`` gives seconds since the Unix epoch. Changes nothing.

    Raises nothing the server can cause.
    """
    try:
        connection = await Connector(url).connect(limit=_PATIENCE)
        try:
            return await _look(connection, now)
        finally:
            # Whoever was told to stop amid an answer waits for none.
            connection.terminate()
    except FAILURES as error:
        told = f"{of_server(url)}{str(translated(error)).removeprefix('PostgreSQL')}"
        told = f"{told}; check [database] url, its password, and that the server runs and lets this machine in"
        return Looked([fault("server", told)])


async def _look(connection: Connected, now: Callable[[], float]) -> Looked:
    before = now()
    facts = await connection.fetchrow(_FACTS)
    assert facts is not None
    findings = [*of_facts(dict(facts)), clock_finding((before + now()) / 2 - facts["now"], "the database")]
    revision = await connection.fetchval("SELECT version_num FROM alembic_version") if facts["versioned"] else None
    sealed = await connection.fetchval(FIND) if facts["keyed"] else None
    if facts["keyed"]:
        nodes = await connection.fetchrow(question("CAST($1 AS double precision)"), facts["now"])
        assert nodes is not None
        findings.append(of_nodes(runs=nodes["runs"], waiting=nodes["waiting"]))
    return Looked(findings, revision, sealed, opened=True)


def of_facts(facts: Mapping[str, Any]) -> list[Finding]:
    """Return what a server's settings mean for what it acknowledges."""
    found = [_of_version(facts["version"])]
    if facts["standby"]:
        found.append(fault("server", "a stand-by, which takes no writes; name the primary in [database] url"))
    if facts["fsync"] != "on":
        found.append(
            fault("fsync", "off: a power cut loses codes that were acknowledged, or the database; set fsync = on")
        )
    if facts["synchronous_commit"] not in _DURABLE:
        told = "off: a crash loses codes that were acknowledged; set synchronous_commit = on for this role or database"
        found.append(fault("synchronous_commit", told))
    if facts["full_page_writes"] != "on":
        found.append(warning("full_page_writes", "off: only a file system that never tears a page may have it so"))
    return found if len(found) > 1 else [*found, ok("durability", "what is acknowledged is on its disk")]


def _of_version(version: int) -> Finding:
    if version < OLDEST:
        return fault("server", f"PostgreSQL {version}: {OLDEST} or newer is needed")
    return ok("server", f"PostgreSQL {version} answers")
