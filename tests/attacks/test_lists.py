"""Attempts to have ``otp-gateway send`` fail, write elsewhere, or show a terminal or a spreadsheet what it obeys."""

from __future__ import annotations

import os
import sys

import pytest

from channels.base import InvalidAddressError
from channels.kinds import KINDS
from gateway.cli.people import Fault, People, Row
from gateway.cli.results import COLUMNS, Results
from gateway.errors import ConfigError

HEAD = ",".join(COLUMNS) + "\n"
#: More than a cell that is read may have.
GIANT = "x" * 200_000


@pytest.mark.parametrize(
    "line",
    [
        f"2,{GIANT},,queued,email,,r1\n",
        f"{'9' * 5000},a,,queued,email,,r1\n",
        '2,"a,,queued,email,,r1\n',
        "2\n",
        "\0\n",
    ],
    ids=["a giant cell", "a giant number", "an open quote", "one cell", "NUL"],
)
def test_a_results_file_that_somebody_wrote_into_is_refused_and_left_as_it_is(tmp_path, line):
    path = tmp_path / "results.csv"
    path.write_text(HEAD + line)
    with pytest.raises(ConfigError, match="of another list"):
        Results(path, "r1").__enter__()
    assert path.read_text() == HEAD + line


def test_a_results_file_that_leads_elsewhere_changes_nothing_there(tmp_path):
    target, path = tmp_path / "precious", tmp_path / "results.csv"
    target.write_text("precious\n")
    path.symlink_to(target)
    with pytest.raises(ConfigError, match="is no results file"):
        Results(path, "r1").__enter__()
    assert target.read_text() == "precious\n"


@pytest.mark.skipif(sys.platform == "win32", reason="there are none")
def test_a_pipe_is_no_results_file(tmp_path):
    path = tmp_path / "results.csv"
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="seekable"):
        Results(path, "r1").__enter__()


@pytest.mark.parametrize("start", "=+-@\t|")
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_of_an_address_that_is_a_formula_too_little_is_written_to_be_one(kind, start):
    for text in (f"{start}cmd", f"{start}HYPERLINK(A1)", f"{start}cmd@example.org"):
        try:
            masked = KINDS[kind](text).masked
        except InvalidAddressError:
            continue
        assert masked[1] == "•"
        assert not set(masked[1:]) & set("=(!|'\"")


def test_a_giant_cell_is_a_fault_of_its_line_and_the_next_is_read():
    found = list(People(f"to\n{GIANT}@example.org\nann@example.org\n".encode(), KINDS, {}))
    assert [(type(item), item.line) for item in found] == [(Fault, 2), (Row, 3)]
