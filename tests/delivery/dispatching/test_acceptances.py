"""Acceptances: written beside the work that goes on, not forgotten while the database is away, and told where they fail."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

import pytest

from channels.base import Receipt
from gateway.delivery.dispatching.acceptances import Acceptances
from gateway.delivery.dispatching.lane import Lane
from gateway.delivery.dispatching.outcome import Accepted
from gateway.delivery.dispatching.patience import STEADY
from gateway.delivery.queue import Queue
from gateway.storage.unit import StorageError, StorageUnavailableError
from tests.delivery.messages import message as a_message
from tests.world import Scripted

ACCEPTED = Accepted(Receipt("1"), 1.0)
AWAY = StorageUnavailableError("SQLite: database is locked")


class Scene:
    """A queue whose answers are scripted: true, false, an error of the future, or one that is raised."""

    def __init__(self, clock, *answers, raised=False) -> None:
        self.answers, self.raised = [*answers], raised
        self.accepted_at: list[float] = []
        self.paid_for: list[str] = []
        self.slept: list[float] = []
        self.lane = Lane(Scripted("pigeon", ["phone"]), clock)
        self.acceptances = Acceptances(cast("Queue", self), clock, self._sleep)
        self.message = a_message(expires_at=clock.now() + 300)
        self.lane.put(self.message)
        self.lane.take_at_once()

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    def accepting(self, message, receipt, milliseconds, now):
        answer = self.answers.pop(0)
        if self.raised:
            raise answer
        future = asyncio.get_running_loop().create_future()
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        elif answer is not None:
            future.set_result(answer)
        return future

    def accepted(self, message, at):
        self.accepted_at.append(at)

    def paid(self, message):
        self.paid_for.append(message.id)

    async def accept(self, message, receipt, milliseconds):
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def written(self) -> None:
        self.acceptances.write(self.lane, self.message, ACCEPTED)
        assert self.lane.held == 1
        while self.acceptances.under_way:
            await asyncio.wait([*self.acceptances.under_way.values()])


async def test_what_was_written_is_told_and_let_go_of(clock, caplog):
    scene = Scene(clock, True)
    await scene.written()
    assert (scene.accepted_at, scene.lane.held, caplog.messages) == ([clock.now()], 0, [])


@pytest.mark.parametrize("answers", [(False,), (AWAY, False)], ids=["at once", "later"])
async def test_an_answer_that_comes_too_late_is_told(clock, caplog, answers):
    scene = Scene(clock, *answers)
    await scene.written()
    assert (scene.accepted_at, scene.lane.held, scene.paid_for) == ([], 0, [scene.message.id])
    assert caplog.messages == ["an answer came after the message was settled"]


@pytest.mark.parametrize("raised", [False, True], ids=["told by the future", "raised at once"])
async def test_while_the_database_is_away_it_is_tried_again(clock, raised):
    scene = Scene(clock, AWAY, AWAY, True, raised=raised)
    await scene.written()
    assert (scene.slept, scene.lane.held, scene.answers) == ([0.2, 0.5], 0, [])


async def test_it_is_tried_until_the_code_is_dead(clock, caplog):
    scene = Scene(clock, *[AWAY] * 100)
    sleep = scene.acceptances._sleep

    async def passes(seconds: float) -> None:
        clock.advance(seconds)
        assert scene.lane.held == 1
        await sleep(seconds)

    scene.acceptances._sleep = passes
    await scene.written()
    assert 300 <= sum(scene.slept) < 300 + STEADY[-1]
    assert (caplog.messages, scene.lane.held) == (["a message could not be settled"], 0)


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ((StorageError("IntegrityError"),), "IntegrityError"),
        ((ZeroDivisionError("+4915112345678"),), "ZeroDivisionError at "),
        ((AWAY, StorageError("IntegrityError")), "IntegrityError"),
    ],
    ids=["refused", "a fault of ours", "refused later"],
)
async def test_what_cannot_be_written_is_told_without_values_and_left_to_its_lease(clock, caplog, answers, text):
    scene = Scene(clock, *answers)
    await scene.written()
    [record] = caplog.records
    assert (record.levelno, record.message) == (logging.WARNING, "a message could not be settled")
    assert record.error.startswith(text)
    assert "+49" not in record.error
    assert scene.lane.held == 0


async def test_a_stop_waits_for_what_is_being_written(clock):
    scene = Scene(clock, None)
    scene.acceptances.write(scene.lane, scene.message, ACCEPTED)
    [written] = scene.acceptances.under_way.values()
    asyncio.get_running_loop().call_soon(written.set_result, True)
    await scene.acceptances.stop(asyncio.get_running_loop().time() + 5.0)
    assert (scene.acceptances.under_way, scene.lane.held) == ({}, 0)


async def test_a_stop_gives_up_what_is_tried_anew_when_its_time_is_over(clock, caplog):
    scene = Scene(clock, AWAY, raised=True)
    for_ever = asyncio.Event()

    async def never(_: float) -> None:
        await for_ever.wait()

    scene.acceptances._sleep = never
    scene.acceptances.write(scene.lane, scene.message, ACCEPTED)
    [trying] = scene.acceptances.under_way.values()
    await asyncio.sleep(0)
    await scene.acceptances.stop(asyncio.get_running_loop().time())
    await asyncio.wait([trying])
    assert (trying.cancelled(), scene.acceptances.under_way, scene.lane.held) == (True, {}, 0)
    assert caplog.messages == ["an answer could not be written down: its code may be sent again"]
