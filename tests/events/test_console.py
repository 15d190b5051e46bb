"""Lines for people: coloured by level, the rest as key=value, and no value can play with the terminal."""

from __future__ import annotations

import re

import pytest

from gateway.events.console import printable, render_console


def plain(**fields: object) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", render_console(None, "", fields).decode())


def test_a_line_is_time_event_and_the_rest():
    line = plain(timestamp="2026-05-04T10:40:00.500Z", level="info", event="message.sent", channel="sms", attempt=1)
    assert line == "10:40:00.500 message.sent               channel=sms attempt=1\n"


def test_a_line_of_a_message_alone_ends_without_spaces():
    assert plain(timestamp="2026-05-04T10:40:00.500Z", level="info", event="stopping") == "10:40:00.500 stopping\n"


@pytest.mark.parametrize(
    ("level", "colour"), [("debug", "36"), ("info", "32"), ("warning", "33"), ("error", "31"), ("critical", "1;31")]
)
def test_an_event_has_the_colour_of_its_level(level, colour):
    assert f"\x1b[{colour}mboom".encode() in render_console(None, "", {"level": level, "event": "boom"})


def test_values_with_spaces_are_quoted_and_lists_are_json():
    line = plain(event="e", a="two words", b='"', c="", d=[1, "x"], f=True)
    assert line.split("e", 1)[1].strip() == r"""a="two words" b="\"" c="" d=[1,"x"] f=true"""


def test_what_moves_the_cursor_is_shown_instead():
    line = plain(event="e\x1b[2J\n", key="\x1b]0;title\x07", **{"na\x1bme": "x"})
    assert "\x1b" not in line
    assert line.count("\n") == 1
    assert "e\\x1b[2J\\n" in line


def test_printable_text_stays():
    assert printable("+49•••••••678 ü") == "+49•••••••678 ü"
