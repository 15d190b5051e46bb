"""The keys of proofs: one every 30 days, known before they sign and for as long as what they signed; the same everywhere."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import SealingKey
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.sealing import Sealer
from gateway.verification import signing_keys
from gateway.verification.signing_keys import LIFE, NOTICE, REFRESH, REMEMBERED, SigningKey, SigningKeys
from tests.conftest import START
from tests.rows import count

DAY = 86_400.0
PRIVATE = Ed25519PrivateKey.generate()


def key(name: str, signs_from: float, *, able: bool = True) -> SigningKey:
    return SigningKey(name, b"p" * 32, PRIVATE if able else None, signs_from)


@pytest.fixture
def keys(database, sealer, clock) -> SigningKeys:
    return SigningKeys(database, sealer, clock)


def signer(found, now: float) -> str | None:
    """The id of the key that signs, if any does."""
    chosen = signing_keys.signing(found, now)
    return None if chosen is None else chosen.id


# --- Which key, when: pure ------------------------------------------------------------------------------------------


def test_the_last_key_that_has_begun_signs():
    found = [key("a", 0), key("b", 30 * DAY), key("c", 60 * DAY)]
    assert [signer(found, day * DAY) for day in (0, 29.9, 30, 59, 60)] == ["a", "a", "b", "b", "c"]


def test_without_any_key_none_signs_and_one_is_due_at_once():
    assert signing_keys.signing([], START) is None
    assert signing_keys.next_at([], START) == START


def test_the_next_key_is_made_a_day_before_it_signs():
    first = [key("a", START)]
    assert signing_keys.next_at(first, START + LIFE - NOTICE - 1) is None
    assert signing_keys.next_at(first, START + LIFE - NOTICE) == START + LIFE
    assert signing_keys.next_at([*first, key("b", START + LIFE)], START + LIFE - NOTICE) is None


def test_after_a_long_rest_the_old_key_signs_until_the_new_one_has_been_known_for_a_day():
    now = START + 5 * LIFE
    assert signing_keys.next_at([key("a", START)], now) == now + NOTICE
    assert signer([key("a", START), key("b", now + NOTICE)], now) == "a"


def test_a_key_goes_a_day_after_another_took_over():
    found = [key("a", START), key("b", START + LIFE)]
    assert signing_keys.retired(found, START + LIFE + NOTICE - 1) == []
    assert [item.id for item in signing_keys.retired(found, START + LIFE + NOTICE)] == ["a"]
    assert signing_keys.retired(found[:1], START + 9 * LIFE) == []


def test_a_clock_set_back_by_a_moment_goes_on_with_the_key_there_is():
    assert signer([key("a", START)], START - 60) == "a"
    assert signing_keys.next_at([key("a", START)], START - 60) is None


def test_a_key_of_a_clock_that_was_years_ahead_neither_signs_nor_keeps_another_from_being_made():
    ahead = [key("a", START + 400 * DAY)]
    assert signing_keys.signing(ahead, START) is None
    assert signing_keys.next_at(ahead, START) == START


def test_a_key_that_cannot_be_opened_does_not_sign():
    found = [key("a", START), key("b", START + 1, able=False)]
    assert signer(found, START + DAY) == "a"
    assert signing_keys.next_at(found[1:], START + DAY) == START + DAY


@given(st.lists(st.floats(0.01, 90), max_size=30))
@settings(max_examples=60)
def test_however_seldom_anybody_looks_whatever_signs_was_published_for_a_day_and_stays_as_long(pauses):
    """A house that looks now and then: no key but the first signs unannounced, none goes while what it signed is valid."""
    now, found, made_at = 0.0, [key("0", 0.0)], {"0": -NOTICE}
    signed_at: dict[str, float] = {}
    for number, pause in enumerate([0.0, *pauses], 1):
        now += pause * DAY
        begins = signing_keys.next_at(found, now)
        if begins is not None:
            found = [*found, key(str(number), begins)]
            made_at[str(number)] = now
        over = signing_keys.retired(found, now)
        assert all(signed_at.get(item.id, -NOTICE) <= now - NOTICE or item.signs_from < now - LIFE for item in over)
        found = [item for item in found if item not in over]
        signs = signing_keys.signing(found, now)
        assert signs is not None
        assert now - made_at[signs.id] >= NOTICE
        signed_at[signs.id] = now


# --- As JWKs --------------------------------------------------------------------------------------------------------


def test_a_key_is_called_by_its_thumbprint():
    """RFC 8037, appendix A.3."""
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    assert signing_keys.thumbprint(public) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    [shown] = signing_keys.key_set([SigningKey("kid", public, None, 0.0)])
    assert shown == {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "kid": "kid",
        "alg": "EdDSA",
        "use": "sig",
    }


# --- On the database ------------------------------------------------------------------------------------------------


async def test_the_first_key_is_made_when_it_is_needed_and_signs_at_once(keys, clock):
    key_id, private = await keys.signing()
    [published] = await keys.published()
    assert (published.id, published.signs_from) == (key_id, clock.now())
    assert published.public == private.public_key().public_bytes_raw()
    assert key_id == signing_keys.thumbprint(published.public)
    assert (await keys.signing())[0] == key_id


async def test_nodes_that_start_together_make_one_key(make_engine, sealer, clock):
    async with Database(make_engine()) as one, Database(make_engine()) as other:
        nodes = [SigningKeys(database, sealer, clock) for database in (one, other) for _ in range(3)]
        found = await asyncio.gather(*(node.signing() for node in nodes))
        assert len({key_id for key_id, _ in found}) == 1
        assert await count(one, models.SigningKey) == 1


async def test_a_node_that_has_just_started_knows_the_key_another_made(keys, database, sealer, clock):
    key_id, private = await keys.signing()
    other = SigningKeys(database, sealer, clock)
    assert [item.id for item in await other.published()] == [key_id]
    assert (await other.signing())[1].private_bytes_raw() == private.private_bytes_raw()


async def test_rotation_announces_a_key_hands_over_to_it_and_retires_the_old_one(keys, database, sealer, clock):
    other = SigningKeys(database, sealer, clock)
    first, _ = await keys.signing()
    assert await keys.rotate() == 0
    clock.advance(LIFE - NOTICE)
    assert (await keys.rotate(), await keys.rotate(), await other.rotate()) == (1, 0, 0)
    _, second = [item.id for item in await other.published()]
    assert {(await node.signing())[0] for node in (keys, other)} == {first}
    clock.advance(NOTICE)
    assert {(await node.signing())[0] for node in (keys, other)} == {second}
    assert [item.id for item in await keys.published()] == [first, second]
    clock.advance(NOTICE)
    assert (await keys.rotate(), await keys.rotate()) == (1, 0)
    assert [item.id for item in await keys.published()] == [second]


async def test_a_key_that_another_node_announces_is_published_within_a_minute(keys, database, clock, sealer):
    await keys.signing()
    clock.advance(LIFE - NOTICE)
    await keys.signing()
    await SigningKeys(database, sealer, clock).rotate()
    clock.advance(REFRESH - 1)
    assert len(await keys.published()) == 1
    clock.advance(1)
    assert len(await keys.published()) == 2


async def test_a_private_key_is_kept_sealed_and_never_shown(keys, database):
    _, private = await keys.signing()
    [record] = await database.fetch("SELECT * FROM signing_key")
    assert private.private_bytes_raw() not in bytes(record["private_sealed"])
    assert "Ed25519PrivateKey" not in repr(await keys.published())


async def test_keys_that_the_ring_does_not_open_stay_published_and_another_signs(keys, database, clock, caplog):
    lost, _ = await keys.signing()
    clock.advance(DAY)
    changed = SigningKeys(database, Sealer([SealingKey("k9", bytes(32))]), clock)
    key_id, _ = await changed.signing()
    assert key_id != lost
    assert {item.id for item in await changed.published()} == {lost, key_id}
    assert {lost} == {word for line in caplog.messages for word in line.split() if word in {lost, key_id}}


def test_a_place_names_its_key():
    assert signing_keys.place("kid") == "signing_key.private/kid"


def test_the_required_members_are_hashed_in_their_order():
    """RFC 7638, 3.2: lexicographic order, no white space."""
    public = bytes(32)
    text = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": "A" * 43}, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).digest()
    assert signing_keys._base64url(digest) == signing_keys.thumbprint(public)


async def test_what_signs_is_remembered_for_a_moment(keys, clock):
    assert keys.at_once() is None
    found = await keys.signing()
    assert keys.at_once() == found
    clock.advance(REMEMBERED)
    assert keys.at_once() is None
