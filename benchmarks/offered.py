"""Latency over load: how long an accept takes at fixed rates, offered whether or not the last ones are answered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.accepts import bare_app, sink
from benchmarks.children import Child, ChildError, program
from benchmarks.figures import ratios, spread
from benchmarks.load import PATIENCE as LONGEST
from benchmarks.parts import Arm, Part, Scale, Shown, Stage
from benchmarks.plots import Axis, Line, plot
from benchmarks.report import Picture, Row, Section
from benchmarks.rounds import Sample, Samples, column
from benchmarks.served import Prepared, serving

YARDSTICK, GATEWAY = "bare uvicorn JSON app", "gateway, SQLite"
#: Requests a second.
RATES = (100, 250, 500, 1000, 1500, 2000)
#: Of a load's seconds, how many each rate is offered: the lines are smooth with seven rounds.
_PART = 0.3
#: Refused requests at one rate, of all, beyond which its latencies say nothing: those of the refused are missing.
_TOLERATED = 0.01
#: The status of a request that came when there was too much to do.
_BUSY = "503"
#: The figures of a sample, and how the table calls them.
_FIGURES = {"median": "p50", "slowest": "p99"}


@dataclass(frozen=True, slots=True)
class Load:
    """What is offered for how long."""

    folder: Path
    prepared: Prepared
    #: Of each rate.
    seconds: float

    def arms(self) -> Mapping[str, Arm]:
        """Return what is measured, by name, the yardstick first."""
        return {YARDSTICK: self._bare, GATEWAY: self._gateway}

    def _bare(self) -> Sample:
        with bare_app(self.folder) as port:
            return self._offered(port)

    def _gateway(self) -> Sample:
        with sink(self.folder) as (_, port), serving(self.prepared, sink=port) as served:
            return self._offered(served.port, "--key", served.key)

    def _offered(self, port: int, *arguments: str) -> Sample:
        command = program("open_loop", port, *RATES, "--seconds", self.seconds, *arguments)
        with Child("open-loop", command, self.folder) as child:
            done = json.loads(child.line(len(RATES) * (self.seconds + LONGEST)))
            child.wait(LONGEST)
        found: dict[str, float] = {}
        for offered in done:
            if offered["refused"].keys() - {_BUSY}:
                raise ChildError(f"requests were refused at {offered['rate']:g}/s: {offered['refused']}")
            refused = offered["refused"].get(_BUSY, 0)
            found[_figure("refused", offered["rate"])] = refused / (offered["created"] + refused)
            found |= {_figure(figure, offered["rate"]): offered[figure] for figure in _FIGURES}
        return found


def section(samples: Samples, seconds: float) -> Section:
    """Return the table and its picture."""
    rows = [
        _row(samples, name, rate, figure)
        for name, taken in samples.items()
        for figure in _FIGURES
        for rate in _answered(taken)
    ]
    return Section(
        "Latency over load",
        f"`POST /v1/verifications` by e-mail at fixed rates, {seconds:g} s each, offered whether or not earlier requests "
        "are answered (`benchmarks/open_loop.py`), while the mails are sent. Latency counts from when a request was due, "
        f"so that waiting for a connection is part of it. {_refused(samples[GATEWAY])}",
        "ms",
        rows,
        [Picture("latency-over-load.svg", "Latency of an accept, p50 and p99, over offered load", _drawn(samples))],
    )


def _row(samples: Samples, name: str, rate: int, figure: str) -> Row:
    values, beside = (column(samples[arm], _figure(figure, rate)) for arm in (name, YARDSTICK))
    ratio = None if name == YARDSTICK else spread(ratios(values, beside))
    return Row(f"{name}, {rate:,}/s, {_FIGURES[figure]}", spread([value * 1000 for value in values]), ratio)


def _share(taken: Sequence[Sample], rate: int) -> float:
    return spread(column(taken, _figure("refused", rate))).median


def _answered(taken: Sequence[Sample]) -> list[int]:
    return [rate for rate in RATES if _share(taken, rate) <= _TOLERATED]


def _refused(taken: Sequence[Sample]) -> str:
    """Return a sentence about the rates that the table leaves out."""
    answered = _answered(taken)
    left_out = [f"{rate:,}/s ({_share(taken, rate):.0%})" for rate in RATES if rate not in answered]
    if not left_out:
        return "Every rate was answered."
    return f"Left out, for more was offered than is done and the gateway answered 503: {', '.join(left_out)}."


def _drawn(samples: Samples) -> str:
    lines = [
        Line(f"{name}, {_FIGURES[figure]}", _points(samples[name], figure), dashed=figure == "slowest", colour=colour)
        for colour, name in enumerate((GATEWAY, YARDSTICK))
        for figure in _FIGURES
        if _answered(samples[name])
    ]
    x, y = Axis("offered load (requests/s)"), Axis("latency (ms)", logarithmic=True)
    return plot("Latency of an accept over offered load", x, y, lines)


def _points(taken: Sequence[Sample], figure: str) -> list[tuple[float, float]]:
    return [(rate, spread(column(taken, _figure(figure, rate))).median * 1000) for rate in _answered(taken)]


def _figure(figure: str, rate: float) -> str:
    return f"{figure} {rate:g}"


def _seconds(scale: Scale) -> float:
    return round(scale.seconds * _PART, 1)


def _arms(stage: Stage) -> Mapping[str, Arm]:
    return Load(stage.folder, stage.sqlite, _seconds(stage.scale)).arms()


def _sections(samples: Samples, scale: Scale) -> Sequence[Section]:
    return (section(samples, _seconds(scale)),)


PART = Part("latency over load", _arms, _sections, weight=75, shown=Shown(_figure("slowest", 500), " ms", 1000.0))
