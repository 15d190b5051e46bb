"""Chunks keep every item, in order, are small, and name nobody twice."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.verification.chunking import CHUNK, chunks

ITEMS = st.lists(st.frozensets(st.sampled_from("abcdefg"), max_size=3), max_size=40)


@given(ITEMS, st.integers(1, 10))
def test_nothing_is_lost_and_no_chunk_is_larger_or_names_somebody_twice(items, size):
    parted = list(chunks(items, lambda item: item, size))
    assert items == [item for chunk in parted for item in chunk]
    assert [] not in parted
    for chunk in parted:
        assert len(chunk) <= size
        assert sum(map(len, chunk)) == len(frozenset().union(*chunk))
    for chunk, following in pairwise(parted):
        assert len(chunk) == size or following[0] & frozenset().union(*chunk)


def test_a_chunk_has_a_hundred_items_at_most():
    assert [len(chunk) for chunk in chunks(range(2 * CHUNK + 1), lambda item: [str(item)])] == [CHUNK, CHUNK, 1]
