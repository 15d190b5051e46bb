"""Random bytes are handed out once, on every thread and in every process, and numbers without bias."""

from __future__ import annotations

import os
import threading
from collections import Counter

import pytest

from gateway import randomness
from gateway.randomness import BLOCK, random_below, random_bytes


def test_as_many_bytes_as_asked_for_up_to_a_block():
    assert [len(random_bytes(number)) for number in (0, 1, 12, BLOCK, 16)] == [0, 1, 12, BLOCK, 16]


def test_nothing_is_handed_out_twice():
    taken = [random_bytes(16) for _ in range(5000)]
    assert len(set(taken)) == 5000


def test_threads_share_nothing():
    taken: list[bytes] = []
    threads = [threading.Thread(target=lambda: taken.extend(random_bytes(16) for _ in range(2000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == 8000


def test_a_child_process_shares_nothing():
    random_bytes(1)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, random_bytes(16))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 16) != random_bytes(16)
    os.close(read)
    os.close(write)


def test_numbers_stay_below_the_limit_and_reach_all_of_it():
    assert Counter(random_below(3) for _ in range(1000)).keys() == {0, 1, 2}


@pytest.mark.parametrize(("limit", "refused"), [(10**6, 2**64 - 1), (3, 2**64 - 1), (10**10, 2**64 - 1)])
def test_words_beyond_the_last_whole_multiple_are_drawn_again(monkeypatch, limit, refused):
    words = iter([refused.to_bytes(8), (limit + 7).to_bytes(8)])
    monkeypatch.setattr(randomness, "random_bytes", lambda _: next(words))
    assert random_below(limit) == (limit + 7) % limit


def test_a_limit_that_divides_the_words_draws_once(monkeypatch):
    monkeypatch.setattr(randomness, "random_bytes", lambda _: b"\xff" * 8)
    assert random_below(2**16) == 2**16 - 1
