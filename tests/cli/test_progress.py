"""Progress: a bar on a terminal, a line for each tenth into a pipe."""

from __future__ import annotations

import pytest

from gateway.cli.progress import shown


@pytest.mark.parametrize(
    ("total", "steps", "lines"),
    [
        (1000, [100] * 10, [f"sending: {done} of 1000" for done in range(100, 1001, 100)]),
        (3, [1, 1, 1], ["sending: 1 of 3", "sending: 2 of 3", "sending: 3 of 3"]),
        (1000, [50, 49, 1], ["sending: 100 of 1000"]),
        (0, [], []),
    ],
)
def test_a_pipe_gets_a_line_for_each_tenth(capsys, total, steps, lines):
    with shown("sending", total) as bar:
        for step in steps:
            bar.moved(step)
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == ("", lines)


def test_a_terminal_gets_a_bar_and_sentences_beside_it(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with shown("sending", 10) as bar:
        bar.moved(5)
        bar.tell("the queue is [full]")
    told = capsys.readouterr()
    assert told.out == ""
    assert "the queue is [full]" in told.err
    assert "5/10" in told.err
    assert "\x1b[" in told.err
