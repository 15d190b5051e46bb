"""Asking everything at once: each question has its own time, and none can end the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from channels.base import Channel
from channels.findings import CLOCK, Finding, Verdict
from gateway.diagnosis.seen import Area, Seen, worst
from gateway.errors import GatewayError
from gateway.storage.unit import StorageError

#: Seconds one question may take.
DEADLINE: Final = 15.0


@dataclass(frozen=True, slots=True)
class Question:
    """One question, and what it can tell of."""

    #: Where a failure of the question itself belongs, and everything else it can tell of.
    area: Area
    also: frozenset[Area]
    #: What is looked at, for a failure.
    subject: str
    #: Asks it. Errors of the gateway's own are told as they are, others by their kind alone.
    ask: Callable[[], Awaitable[Sequence[Seen]]]


async def ask_all(questions: Iterable[Question], only: Collection[Area], *, deadline: float = DEADLINE) -> list[Seen]:
    """Ask what can tell of the areas wanted, all at once, and return what belongs to them, in the areas' order.

    ``deadline`` is in seconds, for each.
    """
    wanted = [question for question in questions if {question.area, *question.also} & set(only)]
    answers = await asyncio.gather(*(_asked(question, deadline) for question in wanted))
    kept = [_kept(question, answer, only) for question, answer in zip(wanted, answers, strict=True)]
    found = [item for items in kept for item in items]
    order = list(Area)
    return sorted(found, key=lambda item: order.index(item.area))


def _kept(question: Question, answer: Sequence[Seen], only: Collection[Area]) -> list[Seen]:
    """Return what belongs to the areas wanted. What a fault elsewhere kept from being seen is told, not passed over."""
    kept = [item for item in answer if item.area in only]
    if kept or question.area in only or worst(answer) is not Verdict.FAULT:
        return kept
    told = f"not seen, for something is at fault there; see --only {question.area}"
    area = next(area for area in Area if area in question.also and area in only)
    return [Seen(area, question.subject, Verdict.WARNING, told)]


async def _asked(question: Question, deadline: float) -> Sequence[Seen]:
    try:
        async with asyncio.timeout(deadline):
            return await question.ask()
    except TimeoutError:
        told = f"no answer within {deadline:g} s; look at what it is asked of, and at the network between"
    except (GatewayError, StorageError) as error:
        told = str(error)
    except Exception as error:  # noqa: BLE001 - one thing that cannot be looked at must not hide the others
        # Its text may quote anything: a URL with a token, an address.
        told = f"cannot be examined ({type(error).__name__}); please report it"
    return [Seen(question.area, question.subject, Verdict.FAULT, told)]


def channel_questions(channels: Mapping[str, Channel], whole: Collection[str]) -> list[Question]:
    """Return the question to each channel; it may tell of the clock too.

    One that is not among the ``whole`` lacks secrets, and its provider would refuse every question.
    """

    def question(name: str, channel: Channel) -> Question:
        async def ask() -> list[Seen]:
            if name not in whole:
                return [
                    Seen(Area.CLOCK, name, Verdict.WARNING, "not asked, for its secrets are not in this environment")
                ]
            found = await channel.examine()
            return [_of_channel(name, finding) for finding in found] or [_untold(name)]

        return Question(Area.CHANNELS, frozenset({Area.CLOCK}), name, ask)

    return [question(name, channel) for name, channel in channels.items()]


def _of_channel(name: str, finding: Finding) -> Seen:
    if finding.subject == CLOCK:
        return Seen(Area.CLOCK, name, finding.verdict, finding.told)
    return Seen(Area.CHANNELS, f"{name}: {finding.subject}", finding.verdict, finding.told)


def _untold(name: str) -> Seen:
    return Seen(Area.CHANNELS, name, Verdict.OK, "its adapter cannot be asked; the first message will show")
