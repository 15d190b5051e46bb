"""Sealed blobs open with their key, in their place, unchanged: and not otherwise."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import SealingKey
from gateway.storage.sealing import Hasher, Sealer, UnsealError, token_hash

OLD, NEW = SealingKey("k1", bytes(range(32))), SealingKey("k2", bytes(range(1, 33)))
SEALER = Sealer([OLD])


@given(plain=st.binary(max_size=300), place=st.text(max_size=40).filter(lambda text: text.isprintable()))
def test_what_is_sealed_is_opened_again(plain, place):
    assert SEALER.open(SEALER.seal(plain, place), place) == plain


def test_sealing_twice_gives_two_blobs():
    assert SEALER.seal(b"492039", "a") != SEALER.seal(b"492039", "a")


def test_a_blob_holds_nothing_of_what_was_sealed():
    assert b"492039" not in SEALER.seal(b"492039", "a")


def test_sealing_adds_two_bytes_the_keys_id_the_nonce_and_the_tag():
    assert len(SEALER.seal(b"492039", "a")) - 6 == 2 + len("k1") + 12 + 16


def test_a_blob_moved_to_another_place_does_not_open():
    with pytest.raises(UnsealError):
        SEALER.open(SEALER.seal(b"492039", "verification.code/a"), "verification.code/b")


@given(st.data())
def test_a_blob_with_any_byte_changed_does_not_open(data):
    blob = bytearray(SEALER.seal(b"492039", "a"))
    place = data.draw(st.integers(0, len(blob) - 1))
    blob[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(UnsealError):
        SEALER.open(bytes(blob), "a")


@given(st.binary(max_size=60))
def test_what_is_no_blob_does_not_open(rubbish):
    with pytest.raises(UnsealError):
        SEALER.open(rubbish, "a")


@given(st.integers(0, 37))
def test_a_blob_cut_short_does_not_open(length):
    with pytest.raises(UnsealError):
        SEALER.open(SEALER.seal(b"492039", "a")[:length], "a")


def test_after_a_rotation_the_new_key_seals_and_both_open():
    rotated = Sealer([NEW, OLD])
    assert rotated.open(SEALER.seal(b"492039", "a"), "a") == b"492039"
    assert Sealer([NEW]).open(rotated.seal(b"492039", "a"), "a") == b"492039"


def test_a_blob_tells_whether_the_first_key_sealed_it():
    rotated = Sealer([NEW, OLD])
    assert rotated.is_current(rotated.seal(b"492039", "a"))
    assert not rotated.is_current(SEALER.seal(b"492039", "a"))


def test_a_key_that_left_the_ring_opens_nothing():
    with pytest.raises(UnsealError, match="not in"):
        Sealer([NEW]).open(SEALER.seal(b"492039", "a"), "a")


def test_another_key_of_the_same_id_opens_nothing():
    with pytest.raises(UnsealError):
        Sealer([SealingKey("k1", NEW.key)]).open(SEALER.seal(b"492039", "a"), "a")


def test_a_ring_needs_a_key():
    with pytest.raises(ValueError, match="at least one key"):
        Sealer([])


def test_a_hash_depends_on_kind_value_and_key(hasher):
    hashes = {
        hasher.hash("phone", "+4915112345678"),
        hasher.hash("email", "+4915112345678"),
        hasher.hash("phone", "+4915112345679"),
        Hasher(b"i" * 32).hash("phone", "+4915112345678"),
    }
    assert len(hashes) == 4
    assert hasher.hash("phone", "+4915112345678") in hashes
    assert {len(value) for value in hashes} == {32}


@given(st.text(max_size=40).filter(str.isprintable))
def test_a_hash_is_that_of_every_version_before(value):
    """Whoever is remembered by it would be forgotten else."""
    known = hashlib.blake2b(f"phone\0{value}".encode(), key=b"h" * 32, digest_size=32).digest()
    assert known == Hasher(b"h" * 32).hash("phone", value)


def test_kind_and_value_do_not_run_into_each_other(hasher):
    assert hasher.hash("ab", "c") != hasher.hash("a", "bc")


def test_a_tokens_hash_is_sha_256():
    assert token_hash("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
