"""What the attack says of itself: what fell makes it fail, and every part can be asked for by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.breaking_in.__main__ import arguments
from tests.breaking_in.parts import PARTS
from tests.breaking_in.verdicts import Verdicts

#: Modules that no part is named after: what the parts share.
SHARED = {"__main__", "answering", "beside", "canaries", "challenges", "chats", "parts", "sinks", "verdicts", "world"}


def test_what_fell_makes_the_exit_code_1():
    lines: list[str] = []
    verdicts = Verdicts(lines.append)
    verdicts.tell("a door", True)
    assert verdicts.exit_code == 0
    verdicts.tell("a window", False, {"open": 1})
    verdicts.tell("another door", True, "3 knocks")
    assert lines == ["held  a door", "FAULT a window: {'open': 1}", "held  another door: 3 knocks"]
    assert (verdicts.judged, verdicts.fallen, verdicts.exit_code) == (3, ["a window"], 1)


def test_a_part_that_breaks_off_has_fallen_and_tells_nothing_it_held():
    lines: list[str] = []
    verdicts = Verdicts(lines.append)
    try:
        int("a code: 481516")
    except ValueError as error:
        verdicts.broke("keys", error)
    [line] = lines
    assert line.startswith("FAULT keys is played to its end: ValueError at test_verdicts.py:")
    assert "481516" not in line
    assert verdicts.exit_code == 1


def test_every_part_is_known_by_its_name():
    modules = {path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("test_")}
    assert modules - SHARED == set(PARTS)
    assert {name: part.__name__ for name, part in PARTS.items()} == {name: name for name in PARTS}


def test_parts_are_asked_for_by_name_and_no_others():
    asked = arguments(["--database", "sqlite", "--only", "keys", "person"])
    assert (asked.database, asked.only) == ("sqlite", ["keys", "person"])
    with pytest.raises(SystemExit):
        arguments(["--only", "everything"])
