"""Messages that wait: sealed as the gateway seals them, copied into its tables in bulk."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import asyncpg

from benchmarks.waiting import chunks
from gateway.clock import SystemClock
from gateway.config import SealingKey, variable_name
from gateway.storage import models
from gateway.storage.sealing import Sealer
from gateway.storage.statement import columns_of

#: Where nodes hear of work; one that does not listen finds it by polling.
_WAKE = "SELECT pg_notify('otp_gateway', $1)"


def sealer_of(environ: Mapping[str, str]) -> Sealer:
    """Return what seals with the keys a gateway with these variables has."""
    keys = [text.partition(":") for text in json.loads(environ[variable_name(("secrets", "keys"))])]
    return Sealer([SealingKey(name, base64.b64decode(secret)) for name, _, secret in keys])


async def fill(url: str, sealer: Sealer, channel: str, count: int) -> None:
    """Queue ``count`` messages of one channel, each of another person, visible all at once."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            for verifications, messages in chunks(sealer, channel, SystemClock().now(), count):
                for model, rows in ((models.Verification, verifications), (models.Message, messages)):
                    table = str(model.__tablename__)
                    await connection.copy_records_to_table(table, records=rows, columns=list(columns_of(model)))
            await connection.execute(_WAKE, f"message.{channel}")
    finally:
        await connection.close()
