"""QR codes in data: URLs as pixels, for a reader that is not ours. Reads as much of SVG and PNG as our images use."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from urllib.parse import unquote
from xml.etree import ElementTree as ET

#: Pixels of a module, at which a reader finds it easily.
SCALE = 4
_DARK, _LIGHT = 0, 255


def pixels(url: str) -> memoryview:
    """Return an image as rows of grey pixels, one byte each."""
    kind, _, data = url.partition(",")
    rows = _svg(unquote(data)) if kind.startswith("data:image/svg+xml") else _png(base64.b64decode(data))
    whole = memoryview(b"".join(rows))
    return whole.cast("B", (len(rows), len(rows[0])))


def _svg(text: str) -> list[bytes]:
    """Draw the strokes, each a run of modules on one line: ``M4 4.5h7m2 0h1m-45 1h1``."""
    root = ET.fromstring(text)
    width = int(root.attrib["width"]) // SCALE
    paths = [item.attrib for item in root.iter() if item.tag.endswith("path")]
    assert [path.get("fill") for path in paths] == ["#fff", None], "a light ground and the dark code on it"
    canvas = [bytearray([_LIGHT] * width) for _ in range(width)]
    x = y = 0.0
    for command, numbers in re.findall(r"([Mmh])([-\d. ]+)", paths[1]["d"]):
        if command == "h":
            for place in range(int(x), int(x) + int(numbers)):
                canvas[int(y)][place] = _DARK
            x += int(numbers)
        else:
            right, down = map(float, numbers.split())
            x, y = (right, down) if command == "M" else (x + right, y + down)
    return [bytes(pixel for pixel in row for _ in range(SCALE)) for row in canvas for _ in range(SCALE)]


def _png(data: bytes) -> list[bytes]:
    """Read an image of one bit a pixel, whose rows are as they are or differences."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, packed, width, height = 8, b"", 0, 0
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
            assert (depth, colour, interlaced) == (1, 0, 0)
        packed += body if kind == b"IDAT" else b""
        place += length + 12
    stride, raw = (width + 7) // 8, zlib.decompress(packed)
    rows, above = [], bytes(stride)
    for start in range(0, height * (stride + 1), stride + 1):
        filtered, row = raw[start], raw[start + 1 : start + 1 + stride]
        assert filtered in (0, 2), "no filter, or the difference from the row above"
        above = row if filtered == 0 else bytes((low + high) % 256 for low, high in zip(row, above, strict=True))
        rows.append(bytes(_LIGHT if above[x // 8] & (0x80 >> x % 8) else _DARK for x in range(width)))
    return rows
