"""Ids are prefixed, sort by when they were made and cannot be guessed."""

from __future__ import annotations

import re

from gateway.storage.ids import least_id, new_id
from tests.conftest import START


def test_an_id_is_its_prefix_and_36_hexadecimal_digits():
    assert re.fullmatch(r"msg_[0-9a-f]{36}", new_id("msg", START))


def test_ids_sort_by_time():
    assert new_id("msg", START) < new_id("msg", START + 0.001) < new_id("msg", START + 1e6)


def test_an_id_is_of_its_own_moment_whichever_was_asked_for_before():
    first, later, again = new_id("ver", START), new_id("ver", START + 9.0), new_id("ver", START)
    assert first[:16] == again[:16] == least_id("ver", START)
    assert later[:16] == least_id("ver", START + 9.0)


def test_an_id_carries_80_bits_of_the_given_randomness():
    asked = []

    def random(count: int) -> bytes:
        asked.append(count)
        return b"\xab" * count

    assert new_id("ver", START, random).endswith("ab" * 10)
    assert asked == [10]


def test_many_ids_of_one_moment_differ():
    assert len({new_id("msg", START) for _ in range(10_000)}) == 10_000


def test_what_was_made_from_a_moment_on_is_above_the_least_id_of_it():
    assert new_id("ver", START - 0.001) < least_id("ver", START) < new_id("ver", START)
    assert least_id("ver", -1.0) == least_id("ver", 0.0)
