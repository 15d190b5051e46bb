"""Binding: the same however it is written, different where it differs, and kept so that a row tells nothing of it."""

from __future__ import annotations

import base64
import hashlib
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import SealingKey
from gateway.delivery.payload import Owner, open_bind
from gateway.storage.sealing import Hasher, Sealer
from gateway.verification import binding

OWNER = Owner("ver_1", "shop", "payment")
PAYMENT = {"session": "s-91", "amount": "12.00 EUR", "payee": "Bücher & Söhne"}
HASHER = Hasher(b"h" * 32)

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,9}", fullmatch=True)
values = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
binds = st.dictionaries(names, values, max_size=5)


@given(binds, st.randoms())
@settings(max_examples=40)
def test_the_order_of_names_does_not_matter(bind, random):
    items = list(bind.items())
    random.shuffle(items)
    assert binding.canonical(bind) == binding.canonical(dict(items))


@given(binds)
@settings(max_examples=60)
def test_it_is_canonical_json_as_anybody_writes_it(bind):
    """By another library than the one that writes it (RFC 8785: sorted, no spaces, nothing escaped that need not be)."""
    expected = json.dumps(bind, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert expected == binding.canonical(bind)


@given(binds, binds)
@settings(max_examples=40)
def test_only_the_same_is_the_same(kept, given_):
    _, kept_hash, _ = binding.columns(HASHER, Sealer([SealingKey("k1", bytes(32))]), OWNER, kept)
    assert (kept == given_) is binding.same(HASHER, OWNER.id, kept_hash, given_)
    assert binding.same(HASHER, OWNER.id, kept_hash, kept)


def test_what_is_bound_for_one_verification_says_nothing_of_another(sealer):
    _, kept_hash, _ = binding.columns(HASHER, sealer, OWNER, PAYMENT)
    assert not binding.same(HASHER, "ver_2", kept_hash, PAYMENT)


def test_nothing_is_kept_where_nothing_is_bound(sealer):
    assert binding.columns(HASHER, sealer, OWNER, {}) == (None, None, None)


def test_it_is_kept_sealed_and_as_hashes(sealer):
    sealed, kept_hash, session_hash = binding.columns(HASHER, sealer, OWNER, PAYMENT)
    assert open_bind(sealer, OWNER, sealed) == PAYMENT
    assert session_hash == binding.session_hash(HASHER, "shop", "s-91")
    assert [
        column
        for column in (sealed, kept_hash, session_hash)
        if column is None or b"s-91" in column or b"12.00" in column
    ] == []


def test_without_a_session_it_ends_with_none(sealer):
    assert binding.columns(HASHER, sealer, OWNER, {"amount": "1"})[2] is None


@given(st.text(max_size=5), st.text(max_size=5))
@settings(max_examples=50)
def test_a_session_is_its_services_own(service, session):
    own = binding.session_hash(HASHER, "shop", "s-91")
    assert ((service, session) == ("shop", "s-91")) is (binding.session_hash(HASHER, service, session) == own)


def test_a_person_is_shown_all_but_the_session():
    assert binding.shown(PAYMENT) == (("amount", "12.00 EUR"), ("payee", "Bücher & Söhne"))


def test_the_fingerprint_can_be_computed_by_whoever_knows_what_was_bound():
    text = '{"amount":"12.00 EUR","payee":"Bücher & Söhne","session":"s-91"}'
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert digest == binding.fingerprint(PAYMENT) + "="


def test_what_cannot_be_opened_is_logged_and_not_taken_for_nothing(sealer, caplog):
    record = {"id": "ver_1", "service": "shop", "purpose": "payment", "bind_sealed": b"\x01\x02k9" + bytes(40)}
    assert binding.opened(sealer, record) is None
    assert [line.verification_id for line in caplog.records] == ["ver_1"]
    assert binding.opened(sealer, {**record, "bind_sealed": None}) == {}
