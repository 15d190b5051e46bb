from __future__ import annotations

import sys

import pytest

from benchmarks import __main__ as command
from benchmarks.parts import Extent, chosen


def weight(extent: Extent) -> float:
    return sum(part.weight for part in chosen(command.PARTS, extent))


def test_every_part_has_a_title_of_its_own():
    titles = [part.title for part in command.PARTS]
    assert len(set(titles)) == len(titles)


def test_a_run_takes_a_quarter_of_an_hour_at_most_and_its_parts_fit():
    assert weight(Extent.BENCH) <= command.NORMAL.budget <= 900


@pytest.mark.parametrize("scale", [command.NORMAL, command.FULL], ids=["bench", "full"])
def test_there_are_seven_rounds(scale):
    assert scale.rounds >= 7


def test_the_million_is_in_the_long_run_alone():
    assert 1_000_000 in command.FULL.sizes
    assert 1_000_000 not in command.NORMAL.sizes


def test_a_part_that_nobody_knows_is_refused_by_name(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "nothing"])
    assert command.main() == 2
    assert capsys.readouterr().err.startswith("no part is named 'nothing': accepts, ")
