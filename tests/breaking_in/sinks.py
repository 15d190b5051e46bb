"""What the gateway writes: log, metrics, error answers aside, database files or tables, backups, what its verbs say."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.breaking_in.world import World

#: Verbs that tell what is in the database.
_VERBS = (("logs", "--since", "1h"), ("stats",), ("keys", "list"), ("webhooks", "list"))
#: A byte string as PostgreSQL shows it in JSON.
_BYTES = re.compile(r"\\\\x((?:[0-9a-f]{2})+)")
#: Where numbers stand that are no codes: sealed bytes and pages have any six digits by chance.
_TEXTS = ("log", "metrics", "table ", "said by ")

_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"


async def sinks(world: World) -> dict[str, bytes]:
    """Return what can be read, by where it stands."""
    async with world.session.get(f"{world.url}/metrics") as answer:
        found = {"metrics": await answer.read(), "log": world.log().encode()}
    found |= await _files(world) if world.scene.store.path is not None else await _rows(world)
    for verb in _VERBS:
        found[f"said by {' '.join(verb)}"] = (await world.nodes[0].run(*verb)).encode()
    return found


async def _files(world: World) -> dict[str, bytes]:
    """Return SQLite's files and a backup; the file with the sealing keys is the operator's own."""
    assert world.scene.store.path is not None
    copy = world.scene.folder / f"copy-{secrets.token_hex(2)}.db"
    said = await world.nodes[0].run("backup", str(copy))
    mode = copy.stat().st_mode & 0o777
    world.verdict("a backup is its owner's alone", mode == 0o600, oct(mode))
    paths = [path for path in world.scene.store.path.parent.iterdir() if ".secrets" not in path.name]
    read = await asyncio.to_thread(lambda: {f"file {path.name}": _read(path) for path in paths})
    return {**read, "backup": copy.read_bytes(), "said by backup": said.encode()}


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


async def _rows(world: World) -> dict[str, bytes]:
    """Return PostgreSQL's tables as text, and what stands in them as bytes."""
    found = {}
    for (table,) in await world.scene.store.rows(_TABLES):
        rows = await world.scene.store.rows(f'SELECT row_to_json(r)::text FROM "{table}" r')
        text = "\n".join(row for (row,) in rows)
        found[f"table {table}"] = text.encode()
        found[f"bytes of {table}"] = b"\n".join(bytes.fromhex(each) for each in _BYTES.findall(text))
    return found


async def vacuumed(world: World) -> None:
    """Have PostgreSQL forget the rows' old versions, as an operator who erased somebody would."""
    if world.scene.store.path is None:
        for (table,) in await world.scene.store.rows(_TABLES):
            await world.scene.store.write(f'VACUUM "{table}"')


def holding(found: Mapping[str, bytes], secrets: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return where which secret stands; the secret by its name, for this is printed."""
    return sorted(
        (where, name) for where, read in found.items() for name, secret in secrets.items() if secret.encode() in read
    )


def with_codes(found: Mapping[str, bytes], codes: Iterable[str]) -> list[str]:
    """Return the texts in which a code stands as a word of its own."""
    words = [re.compile(rb"(?<![\w.])" + code.encode() + rb"(?!\w)") for code in set(codes)]
    return sorted(
        where for where, read in found.items() if where.startswith(_TEXTS) and any(word.search(read) for word in words)
    )
