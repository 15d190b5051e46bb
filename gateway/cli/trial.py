"""Going over a list of people before anything is sent: which lines cannot be used, and what the others would come to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from gateway.app.foreseeing import Foreseen
from gateway.cli.money import money
from gateway.cli.people import Fault, People, Row
from gateway.errors import Problem, TemplateError
from gateway.verification.request import Asked

#: Lines looked at between two looks at what else there is to do: a Ctrl-C, for one.
_BREATH: Final = 50


class Looks(Protocol):
    """What looks at a request."""

    async def look(self, service: str, asked: Asked) -> Foreseen:
        """Return what a request would come to. Raises a ``Problem`` or ``TemplateError``."""
        ...


class Trial:
    """What a list would come to."""

    def __init__(self) -> None:
        #: Rows with somebody in them, faulty ones included.
        self.rows = 0
        #: The lines that cannot be used, in order.
        self.faults: list[Fault] = []
        #: Rows whose recipient stands in an earlier one: the cooldown will defer them.
        self.repeated = 0
        #: Rows that wait until the person has opened the bot.
        self.waiting = 0
        #: Messages, segments and price by channel and country (empty where there is none).
        self.sums: dict[tuple[str, str], tuple[int, int, float]] = {}
        self._seen: set[str] = set()

    @property
    def price(self) -> float:
        """What all of it costs, in the operator's currency."""
        return sum(price for _, _, price in self.sums.values())

    def add(self, foreseen: Foreseen) -> None:
        """Count a row that can be used."""
        key = foreseen.channel, foreseen.country or ""
        messages, segments, price = self.sums.get(key, (0, 0, 0.0))
        self.sums[key] = messages + 1, segments + foreseen.segments, price + foreseen.price
        self.repeated += foreseen.canonical in self._seen
        self._seen.add(foreseen.canonical)
        self.waiting += foreseen.waits

    def shown(self) -> Mapping[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "rows": self.rows,
            "faulty": [{"line": fault.line, "error": fault.text} for fault in self.faults],
            "repeated": self.repeated,
            "waiting": self.waiting,
            "price": round(self.price, 6),
            "messages": [
                {
                    "channel": channel,
                    "country": country or None,
                    "messages": messages,
                    "segments": segments,
                    "price": round(price, 6),
                }
                for (channel, country), (messages, segments, price) in sorted(self.sums.items())
            ],
        }

    def table(self) -> list[Sequence[str]]:
        """Return the rows of the table that people read, its heading first."""
        rows = [
            (channel, country or "-", str(messages), str(segments), money(price))
            for (channel, country), (messages, segments, price) in sorted(self.sums.items())
        ]
        return [("channel", "country", "messages", "segments", "price"), *rows]


async def tried(
    people: People, looks: Looks, service: str, *, moved: Callable[[int], None], stopped: Callable[[], bool]
) -> Trial:
    """Return what a list would come to; it ends early where ``stopped`` says so."""
    trial = Trial()
    for item in people:
        if trial.rows % _BREATH == 0:
            await asyncio.sleep(0)
            if stopped():
                break
        trial.rows += 1
        await _look(trial, item, looks, service)
        moved(1)
    return trial


async def _look(trial: Trial, item: Row | Fault, looks: Looks, service: str) -> None:
    if isinstance(item, Fault):
        trial.faults.append(item)
        return
    try:
        trial.add(await looks.look(service, item.asked))
    except Problem as problem:
        trial.faults.append(Fault(item.line, problem.detail))
    except TemplateError as error:
        trial.faults.append(Fault(item.line, str(error)))
