"""docs/security.md answers every requirement: by a test, by a page, or by saying plainly that it does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "security.md"

#: The requirements of levels 1 and 2 in the chapters of ASVS 5.0.0 that the page goes through whole: a section and its
#: numbers. The ones left out are of level 3.
CHAPTERS = {
    "2": {1: [1, 2, 3], 2: [1, 2, 3], 3: [1, 2, 3, 4], 4: [1]},
    "4": {1: [1, 2, 3], 2: [1], 3: [1, 2], 4: [1, 2, 3, 4]},
    "6": {
        1: [1, 2, 3],
        2: [*range(1, 13)],
        3: [1, 2, 3, 4],
        4: [1, 2, 3, 4],
        5: [1, 2, 3, 4, 5],
        6: [1, 2, 3],
        8: [1, 2, 3, 4],
    },
    "11": {1: [1, 2], 2: [1, 2, 3], 3: [1, 2, 3], 4: [1, 2, 3, 4], 5: [1], 6: [1]},
    "14": {1: [1, 2], 2: [1, 2, 3, 4], 3: [1, 2, 3]},
    "16": {1: [1], 2: [1, 2, 3, 4, 5], 3: [1, 2, 3, 4], 4: [1, 2, 3], 5: [1, 2, 3]},
}
#: What a row may say in place of a test.
SAID = re.compile(r"\*\*(?:yours|not here|not met)\*\*|\]\((?:[a-z]+\.md)?[#)]")
_ROW = re.compile(r"^\| ([\d][^|]*?) \|([^|]*)\| (.*) \|$", re.MULTILINE)
_TEST = re.compile(r"\[`test_\w+`\]\(\.\./tests/[\w./]+\.py\)")


@pytest.fixture(scope="module")
def rows() -> list[tuple[str, str, str]]:
    """The rows of requirements: their numbers, what they require, what is said to it."""
    return _ROW.findall(PAGE.read_text("utf-8"))


def numbers(cell: str) -> list[str]:
    """Return the requirements of a cell: ``2.1.1, 2.1.2`` or ``6.2.1 to 6.2.12``."""
    first, _, last = cell.partition(" to ")
    if not last:
        return cell.split(", ")
    section, _, begin = first.rpartition(".")
    return [f"{section}.{number}" for number in range(int(begin), int(last.rpartition(".")[2]) + 1)]


def test_every_requirement_is_answered_by_a_test_or_by_who_has_to_meet_it(rows):
    assert len(rows) > 100
    assert [row[0] for row in rows if not _TEST.search(row[2]) and not SAID.search(row[2])] == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_requirement_of_a_chapter_is_there_once(rows, chapter):
    told = [number for row in rows for number in numbers(row[0]) if re.fullmatch(rf"{chapter}\.\d+\.\d+", number)]
    wanted = [f"{chapter}.{section}.{number}" for section, of in CHAPTERS[chapter].items() for number in of]
    # The sections of NIST's text look the same: chapter 4 has one of them.
    assert sorted(told) == sorted(wanted)


def test_what_is_not_met_is_named_in_one_place_too(rows):
    summary = PAGE.read_text("utf-8").partition("## Not met")[2]
    missing = [row[0] for row in rows if "**not met**" in row[2]]
    assert missing
    assert [place for place in missing if not re.search(rf"\b{re.escape(place)}\b", summary)] == []


def test_a_range_of_requirements_is_each_of_them():
    assert numbers("6.2.9 to 6.2.11") == ["6.2.9", "6.2.10", "6.2.11"]
    assert numbers("2.1.1, 2.1.2") == ["2.1.1", "2.1.2"]
