"""Line plots as SVG: axes with units, a legend, readable on light and on dark paper.

A picture brings its own paper, whose colours follow ``prefers-color-scheme``, so that nothing depends on the page.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

#: Points of the picture, and those around the plot: left, right, top, bottom.
_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 40, 84, 56
#: Colours of the lines by light and dark, told apart by those who see no red or green (Okabe and Ito, 2008).
_LIGHT = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_DARK = ("#56b4e9", "#e69f00", "#2cc295", "#e39fc6")
#: Points of an entry of the legend beside its text, of a letter, and between two rows.
_GAP, _LETTER, _ROW = 48, 7, 20
#: Steps of an axis that people can read, in tens.
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot."""

    #: In the legend.
    name: str
    #: By x.
    points: Sequence[tuple[float, float]]
    #: Whether it is broken: for what belongs to another line.
    dashed: bool = False
    #: Which colour it has, from 0; lines that belong together share one.
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Axis:
    """One side of a plot."""

    #: What it shows, with the unit: ``p99 (ms)``.
    label: str
    #: Whether each step is ten times the one before; else they are as far apart and begin at 0.
    logarithmic: bool = False


def plot(title: str, x: Axis, y: Axis, lines: Sequence[Line]) -> str:
    """Return the SVG. Raises ``ValueError`` where there is no point, or one that a logarithmic axis has no place for."""
    across = _Scale(x, [point[0] for line in lines for point in line.points], _LEFT, _WIDTH - _RIGHT)
    up = _Scale(y, [point[1] for line in lines for point in line.points], _HEIGHT - _BOTTOM, _TOP)
    drawn = [
        *_frame(title, x, y),
        *_ticks(across, up),
        *(part for line in lines for part in _line(line, across, up)),
        *_legend(lines),
    ]
    return "\n".join((_HEAD.format(width=_WIDTH, height=_HEIGHT, title=escape(title)), _style(), *drawn, "</svg>\n"))


class _Scale:
    """Where values stand on an axis, and which of them are written at it."""

    def __init__(self, axis: Axis, values: Sequence[float], begin: float, end: float) -> None:
        if not values or (axis.logarithmic and min(values) <= 0):
            raise ValueError("an axis needs values, a logarithmic one positive ones")
        self._begin, self._end = begin, end
        self._logarithmic = axis.logarithmic
        self.ticks = decades(min(values), max(values)) if axis.logarithmic else steps(max(values))
        self._low, self._high = self._place(self.ticks[0]), self._place(self.ticks[-1])

    def at(self, value: float) -> float:
        """Return the point of a value."""
        return self._begin + (self._place(value) - self._low) / (self._high - self._low) * (self._end - self._begin)

    def _place(self, value: float) -> float:
        return math.log10(value) if self._logarithmic else value


def steps(highest: float) -> list[float]:
    """Return readable values from 0 to at least the highest, five or six of them."""
    raw = max(highest, 1e-9) / 5
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(one * magnitude for one in _STEPS if one * magnitude >= raw * (1 - 1e-9))
    return [number * step for number in range(math.ceil(highest / step - 1e-9) + 1)]


def decades(lowest: float, highest: float) -> list[float]:
    """Return the powers of ten from at most the lowest to at least the highest."""
    first, last = math.floor(math.log10(lowest) + 1e-9), math.ceil(math.log10(highest) - 1e-9)
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def shown(value: float) -> str:
    """Return a value as it is written at an axis: ``0.5``, ``2,500``, ``1 M``."""
    if value >= 1_000_000:
        return f"{value / 1_000_000:g} M"
    return f"{value:,g}"


def _frame(title: str, x: Axis, y: Axis) -> Iterator[str]:
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    yield f'<rect class="paper" width="{_WIDTH}" height="{_HEIGHT}"/>'
    yield f'<text class="title" x="{_LEFT}" y="24">{escape(title)}</text>'
    yield f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:g}" y="{_HEIGHT - 14}" text-anchor="middle">{escape(x.label)}</text>'
    yield f'<text transform="translate(18 {middle:g}) rotate(-90)" text-anchor="middle">{escape(y.label)}</text>'


def _ticks(across: _Scale, up: _Scale) -> Iterator[str]:
    bottom = _HEIGHT - _BOTTOM
    for value in across.ticks:
        at = across.at(value)
        yield f'<path class="grid" d="M{at:.1f} {_TOP}V{bottom}"/>'
        yield f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{shown(value)}</text>'
    for value in up.ticks:
        at = up.at(value)
        yield f'<path class="grid" d="M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}"/>'
        yield f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{shown(value)}</text>'


def _line(line: Line, across: _Scale, up: _Scale) -> Iterator[str]:
    places = [(across.at(x), up.at(y)) for x, y in line.points]
    way = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    yield f'<path class="line c{line.colour}{" dashed" if line.dashed else ""}" d="M{way}"/>'
    yield from (f'<circle class="dot c{line.colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places)


def _legend(lines: Sequence[Line]) -> Iterator[str]:
    across, down = _LEFT, 44
    for line in lines:
        wide = _GAP + len(line.name) * _LETTER
        if across > _LEFT and across + wide > _WIDTH:
            across, down = _LEFT, down + _ROW
        yield f'<path class="line c{line.colour}{" dashed" if line.dashed else ""}" d="M{across} {down}h24"/>'
        yield f'<text x="{across + 30}" y="{down + 4}">{escape(line.name)}</text>'
        across += wide


def _style() -> str:
    light = "".join(_coloured(number, colour) for number, colour in enumerate(_LIGHT))
    dark = "".join(_coloured(number, colour) for number, colour in enumerate(_DARK))
    return (
        f"<style>{_PLAIN}{light}"
        "@media (prefers-color-scheme: dark){.paper{fill:#161b22}text{fill:#e6edf3}.grid{stroke:#30363d}"
        f"{dark}}}</style>"
    )


def _coloured(number: int, colour: str) -> str:
    return f".line.c{number}{{stroke:{colour}}}.dot.c{number}{{fill:{colour}}}"


_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">
<title>{title}</title>"""

_PLAIN = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-size:15px;font-weight:600}.paper{fill:#fff}"
    ".grid{stroke:#d8dee4;fill:none}.line{fill:none;stroke-width:2}.dashed{stroke-dasharray:6 4}"
)
