"""Attempts on keys: nodes whose clocks differ while one key for proofs takes over from another."""

from __future__ import annotations

import pytest

from gateway.verification.proof import LIFE as PROOF
from gateway.verification.signing_keys import LIFE, NOTICE, REFRESH, SigningKeys
from tests.conftest import HandClock

#: Seconds one node's clock is ahead of the other's.
APART = 600.0
#: Seconds that whoever checks proofs may keep the key set (``Cache-Control``).
CACHED = 3600.0


@pytest.fixture
def engine_name() -> str:
    """That one key is made where several are wanted is tested on both."""
    return "sqlite"


async def test_with_clocks_ten_minutes_apart_every_proof_is_signed_by_a_key_that_was_and_stays_published(
    database, sealer, clock
):
    ahead = HandClock()
    ahead.advance(clock.now() - ahead.now() + APART)
    nodes = [SigningKeys(database, sealer, each) for each in (clock, ahead)]
    began, first = clock.now(), (await nodes[0].signing())[0]
    shown: list[tuple[float, set[str]]] = []
    signed: list[tuple[float, str]] = []
    # Half an hour around each of: the next key is made, it takes over, the first one goes.
    for middle in (LIFE - NOTICE, LIFE, LIFE + NOTICE):
        pause = began + middle - 900 - clock.now()
        for each in (clock, ahead):
            each.advance(pause)
        for _ in range(30):
            for each in (clock, ahead):
                each.advance(REFRESH)
            for node in reversed(nodes):
                await node.rotate()
            for node in nodes:
                shown.append((clock.now(), {key.id for key in await node.published()}))
                signed.append((clock.now(), (await node.signing())[0]))
    assert len({name for _, name in signed} - {first}) == 1
    for at, name in signed:
        # Known by the time it signs to whoever read the set within the hour before, and afterwards for as long as it says.
        assert all(name in names for seen, names in shown if at - CACHED <= seen <= at + PROOF)
    assert len(shown[-1][1]) == 1
