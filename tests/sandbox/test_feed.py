"""What browsers hear of: a snapshot, then everything, and not for ever where they do not listen."""

from __future__ import annotations

import contextlib
import json

from gateway.events.event import EventName, event
from gateway.sandbox import feed as module
from gateway.sandbox.feed import EVENTS, QUEUE, Feed

SNAPSHOT = {"kind": "snapshot"}


def item(number: int) -> dict[str, object]:
    return {"kind": "n", "number": number}


def read(line: bytes) -> dict[str, object]:
    assert line.startswith(b"data: ")
    assert line.endswith(b"\n\n")
    found: dict[str, object] = json.loads(line.removeprefix(b"data: "))
    return found


def keep() -> None:
    raise AssertionError("nobody is too slow here")


def refuse() -> dict[str, object]:
    raise AssertionError("nobody asks for this")


async def test_a_reader_gets_the_snapshot_and_then_each_change():
    feed = Feed()
    feed.publish(item, 0)
    async with contextlib.aclosing(feed.stream(lambda: SNAPSHOT, keep)) as stream:
        assert read(await anext(stream)) == SNAPSHOT
        feed.publish(item, 1)
        feed.publish(item, 2)
        assert [read(await anext(stream))["number"] for _ in range(2)] == [1, 2]


async def test_nothing_is_made_where_nobody_listens():
    feed = Feed()
    stream = feed.stream(lambda: SNAPSHOT, keep)
    await anext(stream)
    await stream.aclose()
    feed.publish(refuse)


async def test_silence_is_broken_by_a_comment():
    async with contextlib.aclosing(Feed(comment_after=0.01).stream(lambda: SNAPSHOT, keep)) as stream:
        await anext(stream)
        assert await anext(stream) == b":\n\n"


async def test_a_slow_reader_is_let_go_once_and_the_others_lose_nothing():
    feed, dropped = Feed(), [0]

    def drop() -> None:
        dropped[0] += 1

    slow, quick = feed.stream(lambda: SNAPSHOT, drop), feed.stream(lambda: SNAPSHOT, keep)
    await anext(slow)
    await anext(quick)
    for number in range(QUEUE + 5):
        feed.publish(item, number)
        assert read(await anext(quick))["number"] == number
    assert dropped == [1]
    await slow.aclose()
    await quick.aclose()


async def test_events_of_the_gateway_are_kept_and_handed_on():
    feed = Feed()
    async with contextlib.aclosing(feed.stream(lambda: SNAPSHOT, keep)) as stream:
        await anext(stream)
        feed.hear([event(EventName.MESSAGE_SENT, 1.0, "shop"), "a note that is no event"])
        assert read(await anext(stream)) == {"kind": "event", "event": {"name": "message.sent"}}
    feed.hear([event(EventName.MESSAGE_QUEUED, float(number), "shop") for number in range(EVENTS + 1)])
    assert (len(feed.events), feed.events[0].at, feed.events[-1].at) == (EVENTS, 1.0, float(EVENTS))


def test_a_comment_comes_before_anything_on_the_way_gives_up():
    assert module.COMMENT_AFTER <= 15
