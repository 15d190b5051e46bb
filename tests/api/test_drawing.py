"""Images are drawn beside the event loop, by a thread that is there from the start."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from gateway.api import drawing
from gateway.api.drawing import Drawing, Images


async def test_images_are_drawn_one_at_a_time_in_a_thread_of_their_own(monkeypatch):
    """On the loop, twenty of the largest at once had everybody else wait for 3.5 s."""
    drawn: list[str] = []

    def draw(text: str) -> Images:
        drawn.append(threading.current_thread().name)
        return Images(f"svg of {text}", f"png of {text}")

    monkeypatch.setattr(drawing, "_images", draw)
    async with Drawing() as pen:
        found = await asyncio.gather(*(pen.images(str(number)) for number in range(5)))
    assert found == [Images(f"svg of {number}", f"png of {number}") for number in range(5)]
    assert drawn == ["drawing_0"] * 5


async def test_its_thread_is_there_from_the_start(monkeypatch):
    before = set(threading.enumerate())
    async with Drawing() as pen:
        [started] = set(threading.enumerate()) - before
        monkeypatch.setattr(threading.Thread, "start", refused)
        assert (await pen.images("https://t.me/bot")).svg.startswith("data:image/svg+xml")
        assert started.name == "drawing_0"


def refused(*_: Any) -> None:
    raise RuntimeError("can't start new thread")
