"""All questions at once: one that hangs or breaks is told and hides no other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from channels.base import ChannelSettings
from channels.console import ConsoleChannel
from channels.findings import Finding, Verdict, clock_finding, ok
from gateway.diagnosis.rounds import Question, ask_all, channel_questions
from gateway.diagnosis.seen import Area, Seen
from gateway.errors import ConfigError
from gateway.storage.unit import StorageUnavailableError

EVERY = frozenset(Area)
NONE: frozenset[Area] = frozenset()
SECRET = "123456:AAbot-token"


def question(area: Area, *found: Seen, also: frozenset[Area] = NONE) -> Question:
    async def ask() -> Sequence[Seen]:
        return found

    return Question(area, also, "it", ask)


def failing(error: Exception) -> Question:
    async def ask() -> Sequence[Seen]:
        raise error

    return Question(Area.CHANNELS, NONE, "sms", ask)


async def test_what_comes_back_is_in_the_areas_order():
    keys, dns = Seen(Area.KEYS, "a", Verdict.OK, "x"), Seen(Area.DNS, "b", Verdict.OK, "x")
    assert await ask_all([question(Area.KEYS, keys), question(Area.DNS, dns)], EVERY) == [dns, keys]


async def test_only_what_can_tell_of_an_area_is_asked_and_only_that_is_told():
    clock, database = Seen(Area.CLOCK, "a", Verdict.OK, "x"), Seen(Area.DATABASE, "b", Verdict.OK, "x")
    both = question(Area.DATABASE, database, clock, also=frozenset({Area.CLOCK}))
    assert await ask_all([both, failing(ValueError())], {Area.CLOCK}) == [clock]
    assert await ask_all([both], {Area.DNS}) == []


async def test_what_a_fault_elsewhere_kept_from_being_seen_is_told():
    broken = Seen(Area.DATABASE, "server", Verdict.FAULT, "x")
    database = question(Area.DATABASE, broken, also=frozenset({Area.CLOCK}))
    [clock] = await ask_all([database], {Area.CLOCK})
    assert (clock.area, clock.subject, clock.verdict) == (Area.CLOCK, "it", Verdict.WARNING)
    assert clock.told.endswith("--only database")
    assert await ask_all([database], {Area.CLOCK, Area.DATABASE}) == [broken]


async def test_all_are_asked_at_once():
    met = asyncio.Barrier(2)

    async def ask() -> Sequence[Seen]:
        await met.wait()
        return []

    assert await ask_all([Question(Area.DNS, NONE, "it", ask)] * 2, EVERY) == []


async def test_one_that_hangs_is_a_fault_and_the_others_are_told():
    async def hang() -> Sequence[Seen]:
        await asyncio.Event().wait()
        return []

    other = Seen(Area.CONFIGURATION, "a", Verdict.OK, "x")
    found = await ask_all(
        [Question(Area.CHANNELS, NONE, "mail", hang), question(Area.CONFIGURATION, other)], EVERY, deadline=0.01
    )
    assert (found[0], found[1].subject, found[1].verdict) == (other, "mail", Verdict.FAULT)
    assert "no answer within 0.01 s" in found[1].told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConfigError(["[x] y: is wrong"]), "[x] y: is wrong"),
        (StorageUnavailableError("PostgreSQL: gone"), "PostgreSQL: gone"),
        (ValueError(SECRET), "cannot be examined (ValueError); please report it"),
    ],
)
async def test_one_that_breaks_is_a_fault_without_the_text_of_an_error_that_is_not_ours(error, told):
    assert await ask_all([failing(error)], EVERY) == [Seen(Area.CHANNELS, "sms", Verdict.FAULT, told)]


class Asked(ConsoleChannel):
    """A channel that finds what it is told to."""

    found: Sequence[Finding] = ()

    async def examine(self) -> Sequence[Finding]:
        return self.found


async def test_a_channel_is_named_with_what_it_found_and_clocks_are_together():
    silent, telling = (Asked(name, ChannelSettings(adapter="console")) for name in ("one", "two"))
    telling.found = [ok("sender", "well"), clock_finding(0.0, "Ann")]
    found = await ask_all(channel_questions({"one": silent, "two": telling}, ["one", "two"]), EVERY)
    assert [(item.area, item.subject) for item in found] == [
        (Area.CHANNELS, "one"),
        (Area.CHANNELS, "two: sender"),
        (Area.CLOCK, "two"),
    ]
    assert "cannot be asked" in found[0].told
