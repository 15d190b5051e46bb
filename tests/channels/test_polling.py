"""Asking until it works; how updates are passed on is tested with the channel that polls."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from telegram import Chat, Message, Update, User
from telegram import error as errors

from channels.chat import Inbound
from channels.http import StatusError
from channels.polling import PAUSE_MAX, QUICK, Polling, until_done


@pytest.fixture
def pauses() -> list[float]:
    return []


def failing(*failures: Exception | None):
    """A call that fails so often, and then returns 7."""
    left = list(failures)

    async def call() -> int:
        if left and (failure := left.pop(0)) is not None:
            raise failure
        return 7

    return call


def limited(seconds: float) -> errors.NetworkError:
    error = errors.NetworkError("")
    error.__cause__ = StatusError(429, retry_after=seconds)
    return error


async def test_pauses_grow_to_a_bound(pauses: list[float]) -> None:
    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    assert await until_done(failing(*[errors.Conflict("")] * 7), "telegram", pause) == 7
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, PAUSE_MAX, PAUSE_MAX]


async def test_a_wait_that_is_asked_for_is_kept_where_it_is_the_longer_one(pauses: list[float]) -> None:
    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    await until_done(failing(limited(90.0), limited(0.0)), "telegram", pause)
    assert pauses == [90.0, 2.0]


class Server:
    """Answers each poll with the next numbers; a poll of ``held`` seconds takes as long."""

    def __init__(self, *answers: list[int], held: float) -> None:
        self.answers = list(answers)
        self.held = held
        self.now = 0.0
        self.pauses: list[float] = []
        self.handled: list[int] = []
        self.all_asked = asyncio.Event()

    async def fetch(self, _: int | None) -> tuple[Update, ...]:
        if not self.answers:
            self.all_asked.set()
            await asyncio.Event().wait()
        self.now += self.held
        return tuple(update(number) for number in self.answers.pop(0))

    async def pause(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)

    async def handle(self, inbound: Inbound) -> None:
        self.handled.append(inbound.update_id)

    async def polled(self) -> None:
        fetch: Any = self.fetch  # no bot behind it
        polling = Polling("telegram", fetch, lambda _: None, self.pause, 1.0, lambda: self.now)
        running = asyncio.create_task(polling.run(self.handle))
        await self.all_asked.wait()
        running.cancel()


def update(number: int) -> Update:
    person = User(7001, "Ann", is_bot=False)
    said = Message(1, datetime(2026, 5, 4, tzinfo=UTC), Chat(7001, "private"), from_user=person, text="hello")
    return Update(number, message=said)


async def test_a_server_that_holds_no_poll_is_asked_once_a_second() -> None:
    server = Server([], [], [], held=0.0)
    await server.polled()
    assert server.pauses == [QUICK] * 3


async def test_one_that_repeats_what_was_handled_is_too_and_it_is_handled_once() -> None:
    server = Server([7, 8], [7, 8], [8], held=0.0)
    await server.polled()
    assert (server.handled, server.pauses) == ([7, 8], [QUICK, QUICK])


async def test_after_a_poll_that_was_held_the_next_one_follows_at_once() -> None:
    server = Server([], [], [7], [], held=QUICK)
    await server.polled()
    assert (server.handled, server.pauses) == ([7], [])


async def test_what_is_new_is_followed_at_once_also_where_its_numbers_are_lower() -> None:
    """Telegram draws them anew after a week without any."""
    server = Server([900], [7], [8, 9], [9, 10], held=0.0)
    await server.polled()
    assert (server.handled, server.pauses) == ([900, 7, 8, 9, 9, 10], [])


async def test_nothing_but_canceling_ends_it() -> None:
    async def fetch(_: int | None) -> list[object]:
        await asyncio.sleep(0)
        return []

    async def handle(_: Inbound) -> None:
        raise AssertionError

    polling = Polling("telegram", fetch, lambda _: None, asyncio.sleep, 1.0)  # type: ignore[arg-type]  # no bot behind it
    running = asyncio.create_task(polling.run(handle))
    await asyncio.wait({running}, timeout=0.05)
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
