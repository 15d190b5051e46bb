from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.instructions import __main__ as command
from benchmarks.instructions import counts
from benchmarks.instructions.tools import Tool
from benchmarks.served import Prepared

COUNTED = {"accept-email": 1000.0, "accept-sms": 1200.0, "send-email": 1800.0, "check": 900.0}
TOOL = Tool("callgrind", lambda arm, _: COUNTED[arm])


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "_FILE", tmp_path / "counts.json")
    return tmp_path / "counts.json"


@pytest.fixture
def counting(monkeypatch, tmp_path):
    """Have a tool, and no database to prepare."""
    monkeypatch.setattr(command, "found", lambda: TOOL)
    monkeypatch.setattr(command, "prepare", lambda folder: Prepared(folder, {}, "key"))


def test_without_a_tool_the_check_is_skipped_by_name(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command.main([]) == 0
    assert capsys.readouterr().out.startswith(
        "bench-check is skipped: neither valgrind nor a perf that may count is here"
    )


def test_so_it_is_where_another_interpreter_was_counted(counting, file, capsys):
    counts.write(file, replace(counts.made(COUNTED, {}, "callgrind"), python="CPython 9.9.9"))
    assert command.main([]) == 0
    assert "bench-check is skipped: the kept counts are of python CPython 9.9.9" in capsys.readouterr().out


def test_counts_that_are_kept_are_held_against_the_next(counting, file, capsys):
    assert (command.main(["--write"]), command.main([])) == (0, 0)
    kept = {**COUNTED, "send-email": 800.0}
    assert counts.read(file) == counts.made(kept, kept, "callgrind")
    assert "check: counted twice, the second differs by 0.00%" in capsys.readouterr().out


def test_what_has_become_dearer_fails_the_check(counting, file, capsys):
    counts.write(file, counts.made({**COUNTED, "send-email": 800.0, "check": 850.0}, {}, "callgrind"))
    assert command.main([]) == 1
    told = capsys.readouterr()
    assert "check                      900         850    +5.9%" in told.out.splitlines()
    assert told.err.startswith("over 5% dearer: check. Where the price is right, keep it")


def test_one_arm_is_counted_alone_and_a_send_with_the_accept_it_needs(counting, file, capsys):
    assert command.main(["--arm", "send-email"]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:3]] == [
        ["send-email", "800"],
        ["accept-email", "1,000"],
    ]


def test_what_cannot_be_counted_fails_the_check(monkeypatch, counting, file, capsys):
    def broken(_arm, _prepared):
        raise OSError("valgrind ended")

    monkeypatch.setattr(command, "found", lambda: Tool("callgrind", broken))
    assert command.main([]) == 1
    assert capsys.readouterr().err == "bench-check failed: valgrind ended\n"
