"""API keys: their form, what lets a caller in, and how soon a revoked one ends."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.keys import PATTERN, REFRESH_AFTER, TOO_OLD, Keys, checksum
from gateway.errors import Unauthorized
from gateway.storage.database import Database
from gateway.storage.unit import StorageUnavailableError


@pytest.fixture
def keys(database, clock) -> Keys:
    return Keys(database, clock)


class Counted(Keys):
    """Keys that count what they ask the database."""

    def __init__(self, database: Database, clock) -> None:
        self.asked: list[str] = []
        outer = self

        class Counting:
            async def fetch(self, sql: str, /, **values):
                outer.asked.append(sql)
                return await database.fetch(sql, **values)

        super().__init__(Counting(), clock)  # type: ignore[arg-type]


async def test_a_key_has_the_published_form_and_its_secret_is_not_stored(keys, database):
    key = await keys.create("shop", "till")
    match = PATTERN.fullmatch(key)
    assert match is not None
    assert checksum(key[:-6]) == match[3]
    record = (await database.fetch("SELECT * FROM service_key"))[0]
    assert (match[1], "shop", "till") == (record["id"], record["service"], record["name"])
    assert match[2].encode() not in record["secret_hash"]


def test_the_checksum_is_crc_32_in_base62():
    """CRC-32's check value, 0xCBF43926 of "123456789", written in base62."""
    assert sum(_value(c) * 62**n for n, c in enumerate(reversed(checksum("123456789")))) == 0xCBF43926


def _value(character: str) -> int:
    return "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".index(character)


async def test_a_key_lets_its_service_in_as_soon_as_it_is_made(keys):
    first = await keys.create("shop")
    assert await keys.authenticate(first) == "shop"
    second = await keys.create("desk")
    assert await keys.authenticate(second) == "desk"


async def test_a_key_made_elsewhere_works_at_once(keys, database, clock):
    await keys.authenticate(await keys.create("shop"))
    elsewhere = Keys(database, clock)
    assert await keys.authenticate(await elsewhere.create("desk")) == "desk"


@pytest.mark.parametrize("token", ["", "otpg_", "Bearer", "otpg_abcdefgh_" + "a" * 49, "ключ"])
async def test_what_is_no_key_is_refused_without_asking_the_database(database, clock, token):
    keys = Counted(database, clock)
    with pytest.raises(Unauthorized) as told:
        await keys.authenticate(token)
    assert told.value.headers == {"WWW-Authenticate": "Bearer"}
    assert keys.asked == []


async def test_a_key_with_another_secret_is_refused_though_its_checksum_is_right(keys):
    key = await keys.create("shop")
    forged = f"{key[:14]}{'x' * 43}"
    with pytest.raises(Unauthorized):
        await keys.authenticate(forged + checksum(forged))


async def test_an_unknown_id_costs_one_look_up(database, clock):
    keys = Counted(database, clock)
    forged = f"otpg_nobody00_{'x' * 43}"
    with pytest.raises(Unauthorized):
        await keys.authenticate(forged + checksum(forged))
    assert len(keys.asked) == 2
    with pytest.raises(Unauthorized):
        await keys.authenticate(forged + checksum(forged))
    assert len(keys.asked) == 3


async def test_a_revoked_key_ends_at_once_here_and_within_four_seconds_elsewhere(keys, database, clock):
    elsewhere = Keys(database, clock)
    key = await keys.create("shop")
    for node in (keys, elsewhere):
        await node.authenticate(key)
    assert await keys.revoke(key[5:13])
    with pytest.raises(Unauthorized):
        await keys.authenticate(key)
    assert await elsewhere.authenticate(key) == "shop"
    clock.advance(TOO_OLD)
    with pytest.raises(Unauthorized):
        await elsewhere.authenticate(key)


async def test_keys_are_read_again_beside_a_request_after_two_seconds(keys, database, clock):
    elsewhere = Keys(database, clock)
    key = await keys.create("shop")
    await elsewhere.authenticate(key)
    await keys.revoke(key[5:13])
    clock.advance(REFRESH_AFTER)
    assert await elsewhere.authenticate(key) == "shop"
    assert elsewhere._refreshing is not None
    await elsewhere._refreshing
    with pytest.raises(Unauthorized):
        await elsewhere.authenticate(key)


async def test_many_requests_share_one_reading(database, clock):
    key = await Keys(database, clock).create("shop")
    keys = Counted(database, clock)
    assert await asyncio.gather(*(keys.authenticate(key) for _ in range(20))) == ["shop"] * 20
    assert len(keys.asked) == 1


async def test_a_request_that_goes_away_does_not_end_the_reading_others_wait_for(database, clock):
    key = await Keys(database, clock).create("shop")
    keys = Keys(database, clock)
    gone, stays = asyncio.create_task(keys.authenticate(key)), asyncio.create_task(keys.authenticate(key))
    await asyncio.sleep(0)
    assert keys._refreshing is not None
    gone.cancel()
    assert await stays == "shop"


async def test_old_keys_let_nobody_in_while_the_database_is_away(clock, caplog):
    class Away:
        async def fetch(self, sql: str, /, **values):
            raise StorageUnavailableError("SQLite: unable to open database file")

    keys = Keys(Away(), clock)  # type: ignore[arg-type]
    token = f"otpg_nobody00_{'x' * 43}"
    with pytest.raises(StorageUnavailableError):
        await keys.authenticate(token + checksum(token))
    assert caplog.messages == ["the keys could not be read again: StorageUnavailableError"]


async def test_revoking_an_unknown_key_says_so_and_twice_is_the_same_as_once(keys):
    key = await keys.create("shop")
    assert not await keys.revoke("nobody00")
    assert [await keys.revoke(key[5:13]) for _ in range(2)] == [True, True]


async def test_keys_are_listed_by_service_with_the_revoked_ones(keys, clock):
    shop, desk = await keys.create("shop", "till"), await keys.create("desk")
    await keys.revoke(desk[5:13])
    everything = await keys.list()
    assert [("desk", "", clock.now()), ("shop", "till", None)] == [
        (k.service, k.name, k.revoked_at) for k in everything
    ]
    assert [shop[5:13]] == [key.id for key in await keys.list("shop")]


@given(st.text())
def test_no_text_breaks_the_pattern(text):
    assert PATTERN.fullmatch(text) is None


async def test_nothing_of_a_key_is_in_a_repr(keys):
    key = await keys.create("shop")
    await keys.authenticate(key)
    assert key[14:57] not in repr(await keys.list()) + repr(keys._live)
    assert "secret_hash" not in repr(keys._live)
