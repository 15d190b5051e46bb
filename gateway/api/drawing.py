"""Drawing QR codes: one at a time, in a thread of its own, so that nobody else waits for one."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, Self

import segno

#: Pixels of a module in the images.
_SCALE: Final = 4
#: The pattern that is laid over a code's modules (ISO/IEC 18004, 7.8). To find the most even of all eight takes four fifths of
#: the time, and a camera reads each: 6.2 ms and 1.3 for an authenticator's URI of 129 characters, 40 and 13 for one of 955.
_MASK: Final = 0


class Images(NamedTuple):
    """A QR code as ``data:`` URLs."""

    #: White behind it: on a dark page the code would be dark on dark.
    svg: str
    png: str


class Drawing:
    """Draws while requests go on: the largest code takes 30 ms of Python, and a loop that drew it would serve nobody meanwhile.

    A context manager that has its thread from the start, for none is started at work; without it, the first code starts it.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="drawing")

    async def __aenter__(self) -> Self:
        await asyncio.get_running_loop().run_in_executor(self._thread, _nothing)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def images(self, text: str) -> Images:
        """Draw a text, after those that were asked for before."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, _images, text)


def link_image(link: str) -> str:
    """Return a link as an SVG image in a ``data:`` URL. It is short: 2 ms."""
    image: str = segno.make(link, micro=False, mask=_MASK).svg_data_uri(scale=_SCALE)
    return image


def _images(text: str) -> Images:
    code = segno.make(text, micro=False, mask=_MASK)
    return Images(code.svg_data_uri(scale=_SCALE, light="white"), code.png_data_uri(scale=_SCALE))


def _nothing() -> None: ...
