from __future__ import annotations

import asyncio

import pytest

from gateway.sandbox.inbox import Inbox, Letter


def letter(to: str, text: str = "hello", number: str = "id-1") -> Letter:
    return Letter("smtp", to, text, b"raw", {"subject": "code"}, 1.0, number)


def test_letters_are_kept_in_the_order_they_came():
    inbox = Inbox()
    inbox.add(letter("a", "first"))
    inbox.add(letter("b", "second"))
    inbox.add(letter("a", "third"))
    assert [item.text for item in inbox.letters] == ["first", "second", "third"]
    assert [item.text for item in inbox.to("a")] == ["first", "third"]


def test_the_oldest_letters_go_first_when_the_inbox_is_full():
    inbox = Inbox(capacity=2)
    for text in ("1", "2", "3"):
        inbox.add(letter("a", text))
    assert [item.text for item in inbox.letters] == ["2", "3"]


def test_a_cleared_inbox_is_empty():
    inbox = Inbox()
    inbox.add(letter("a"))
    inbox.clear()
    assert inbox.letters == []


async def test_wait_returns_a_letter_that_is_there():
    inbox = Inbox()
    inbox.add(letter("a", "there"))
    assert (await inbox.wait("a", timeout=10)).text == "there"


async def test_wait_wakes_for_the_counted_letter_to_its_address_only():
    inbox = Inbox()
    waiting = asyncio.create_task(inbox.wait("a", timeout=10, count=2))
    for to, text in (("a", "first"), ("b", "other"), ("a", "second")):
        await asyncio.sleep(0)
        inbox.add(letter(to, text))
    assert (await waiting).text == "second"


async def test_wait_raises_when_the_time_is_over_and_a_later_letter_hurts_nobody():
    inbox = Inbox()
    with pytest.raises(TimeoutError):
        await inbox.wait("a", timeout=0.01)
    inbox.add(letter("a"))
    assert len(inbox.to("a")) == 1


def test_a_letter_shows_neither_address_nor_text_in_its_repr():
    assert repr(letter("ann@example.org", "123456")) == "Letter(protocol='smtp', received_at=1.0, id='id-1')"


def test_whoever_listens_hears_of_each_letter():
    inbox = Inbox()
    heard: list[Letter] = []
    inbox.on_letter = heard.append
    inbox.add(letter("a"))
    assert heard == inbox.letters


async def test_the_newest_letter_is_the_last_that_came():
    inbox = Inbox()
    for number in ("1", "2"):
        inbox.add(letter("a", number=number))
    inbox.add(letter("b", number="3"))
    assert (await inbox.newest("a", timeout=0)).id == "2"


async def test_after_a_letter_the_next_one_follows_and_is_waited_for():
    inbox = Inbox()
    for number in ("1", "2", "3"):
        inbox.add(letter("a", number=number))
    assert (await inbox.newest("a", after="1", timeout=0)).id == "2"
    waiting = asyncio.create_task(inbox.newest("a", after="3", timeout=10))
    await asyncio.sleep(0)
    inbox.add(letter("b", number="4"))
    inbox.add(letter("a", number="5"))
    assert (await waiting).id == "5"


async def test_after_a_forgotten_letter_comes_the_oldest_that_is_left():
    inbox = Inbox()
    for number in ("2", "3"):
        inbox.add(letter("a", number=number))
    assert (await inbox.newest("a", after="1", timeout=0)).id == "2"


async def test_no_newest_letter_is_a_timeout():
    inbox = Inbox()
    inbox.add(letter("a"))
    with pytest.raises(TimeoutError):
        await inbox.newest("a", after="id-1", timeout=0.01)
