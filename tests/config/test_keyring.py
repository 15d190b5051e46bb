from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import SealingKey, key_text, new_key, newest, next_id, parse_key
from gateway.config.keyring import parse_ring
from tests.config.samples import key, refusal


def test_a_new_key_is_a_key():
    first, second = parse_key(new_key("k9")), parse_key(new_key())
    assert (first.id, len(first.key), second.id) == ("k9", 32, "k1")
    assert first.key != second.key


def test_a_key_is_not_in_its_repr():
    assert repr(parse_key(key())) == "SealingKey(id='k1')"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "must look like"),
        ("k1", "must look like"),
        (f"K1:{key()[3:]}", "must look like"),
        (f"{'a' * 17}:{key()[3:]}", "must look like"),
        (f":{key()[3:]}", "must look like"),
        (f"k1:{key()[3:]}\n", "must be base64"),
        ("k1:<base64 of 32 bytes>", "must be base64"),
        ("k1:é", "must be base64"),
        (f"k1:{base64.b64encode(bytes(range(31))).decode()}", "must hold 32 bytes after the colon, it holds 31"),
        (f"k1:{base64.b64encode(bytes(32)).decode()}", "must be random"),
    ],
)
def test_what_is_no_key_is_refused(text, fault):
    with pytest.raises(ValueError, match=f"^{fault}"):
        parse_key(text)


@given(
    data=st.binary(min_size=32, max_size=32).filter(lambda data: len(set(data)) >= 8),
    name=st.from_regex(r"[a-z0-9]{1,16}", fullmatch=True),
)
def test_every_random_key_is_read_as_written(data, name):
    assert parse_key(f"{name}:{base64.b64encode(data).decode()}") == SealingKey(name, data)


@given(text=st.text(min_size=10, max_size=60))
def test_a_fault_holds_nothing_of_the_key(text):
    fault = refusal(parse_key, f"k1:{text}")
    assert fault is None or (text not in str(fault) and fault.__cause__ is None)


@given(
    data=st.binary(min_size=32, max_size=32).filter(lambda data: len(set(data)) >= 8),
    name=st.from_regex(r"[a-z0-9]{1,16}", fullmatch=True),
)
def test_every_key_is_written_as_it_is_read(data, name):
    assert parse_key(key_text(SealingKey(name, data))) == SealingKey(name, data)


@pytest.mark.parametrize(
    ("ids", "following", "latest"),
    [
        (["k1"], "k2", "k1"),
        (["k2", "k1"], "k3", "k2"),
        (["k1", "k10", "k9"], "k11", "k10"),
        (["prod", "old"], "k1", "prod"),
        (["prod", "k1"], "k2", "k1"),
    ],
)
def test_a_new_key_has_the_next_number_and_the_highest_is_the_newest(ids, following, latest):
    ring = parse_ring([key(name, number) for number, name in enumerate(ids)])
    assert (following, latest) == (next_id(ring), newest(ring).id)


def test_ids_of_a_ring_are_unique():
    with pytest.raises(ValueError, match=r"^key 2 has the id of another key; ids are unique$"):
        parse_ring([key("k1", 1), key("k1", 2)])


def test_a_fault_of_a_ring_names_the_position():
    with pytest.raises(ValueError, match=r"^key 2 must look like"):
        parse_ring([key(), "x"])
