"""The key behind look-up hashes: made once for a database, kept in it, sealed by the ring.

It must never rotate with the ring, or every limit and look-up would forget everybody; and every node must have the
same one. Who holds the database alone cannot open it.
"""

from __future__ import annotations

import secrets
from typing import Final

from gateway.errors import ConfigError
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.sealing import Sealer, UnsealError
from gateway.storage.statement import Statement, insert_into
from gateway.storage.unit import Connection, Move

_NAME = "index"
_PLACE = "secret.index"
_FIND = "SELECT sealed FROM secret WHERE name = :name"
#: Finds the sealed index key for ``unopened``, where there is one.
FIND: Final = "SELECT sealed FROM secret WHERE name = 'index'"
_RESEAL = Statement(
    "secret.reseal",
    {"name": "text", "sealed": "bytea"},
    "UPDATE secret SET sealed = r.sealed FROM r WHERE secret.name = r.name",
)
_INSERT = insert_into(models.Secret, conflict="ON CONFLICT (name) DO NOTHING")


async def index_key(database: Database, sealer: Sealer, now: float, *, reseal: bool) -> bytes:
    """Return the database's index key, 32 bytes, made now if there is none yet.

    ``reseal``: by the ring's first key, where another one sealed it. For nodes alone, of which whoever drops a key knows
    by which they seal: a command that still had the ring of before would seal it by the key that was dropped.

    Raises ``ConfigError`` where the ring does not open this database: the wrong keys would lose everything in it.
    """

    async def work(connection: Connection) -> bytes:
        if not await connection.fetch(_FIND, name=_NAME):
            sealed = sealer.seal(secrets.token_bytes(32), _PLACE)
            await connection.apply(Move(None, [(_INSERT, (_NAME, sealed, now))]))
        found = await connection.fetch(_FIND, name=_NAME)
        blob: bytes = found[0]["sealed"]
        return blob

    blob = await database.run(work)
    try:
        key = sealer.open(blob, _PLACE)
    except UnsealError as error:
        raise ConfigError(
            [f"[secrets] keys: these keys do not open this database ({error}); give it the keys it was made with"]
        ) from None
    if reseal and not sealer.is_current(blob):
        # A key that is to leave the ring must not be the only one that opens this.
        await database.write(Move(None, [(_RESEAL, (_NAME, sealer.seal(key, _PLACE)))]))
    return key


def unopened(sealer: Sealer, sealed: bytes) -> str | None:
    """Say why a ring does not open the database whose index key is ``sealed``; ``None`` where it does."""
    try:
        sealer.open(sealed, _PLACE)
    except UnsealError as error:
        return str(error)
    return None
