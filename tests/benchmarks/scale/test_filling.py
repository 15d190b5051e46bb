from __future__ import annotations

import base64

import asyncpg

from benchmarks.scale.filling import fill, sealer_of
from gateway.delivery.payload import Owner, open_code, open_route
from tests.conftest import aside, empty

RING = {"OTP_GATEWAY_SECRETS__KEYS": f'["k1:{base64.b64encode(bytes(range(32))).decode()}"]'}


async def test_what_is_filled_in_can_be_opened_with_the_gateways_keys(migrated_postgresql):
    aside(empty(migrated_postgresql))
    sealer = sealer_of(RING)
    await fill(migrated_postgresql, sealer, "email", 3)
    connection = await asyncpg.connect(migrated_postgresql)
    try:
        found = await connection.fetch(
            "SELECT v.* FROM verification v JOIN message m ON m.verification_id = v.id AND m.status = 'queued' ORDER BY due_at"
        )
    finally:
        await connection.close()
    owners = [Owner(row["id"], row["service"], row["purpose"]) for row in found]
    stops = [
        open_route(sealer, owner, row["route_sealed"])[0].address for owner, row in zip(owners, found, strict=True)
    ]
    assert stops == [f"person-{number}@example.org" for number in range(3)]
    assert {open_code(sealer, owner, 1, row["code_sealed"]) for owner, row in zip(owners, found, strict=True)} == {
        "123456"
    }
