"""An exception as a line: type and place, and the text of our own alone."""

from __future__ import annotations

import urllib.error

import pytest

from gateway.errors import ConfigError
from gateway.events.trace import MAX_FRAMES, MAX_RELATED, frames, related, told

SECRET = "492039"


def fail(error: Exception) -> None:
    raise error


def raised(error: Exception) -> Exception:
    """Return ``error`` once it was raised."""
    with pytest.raises(type(error)) as caught:
        fail(error)
    return caught.value


def test_a_foreign_exception_is_told_by_its_type():
    assert told(ValueError(SECRET)) == "ValueError"
    assert told(urllib.error.URLError(SECRET)) == "urllib.error.URLError"


def test_our_own_exception_is_told_with_its_text():
    assert told(ConfigError(["[server] port: too big"])) == "ConfigError: [server] port: too big"


def test_frames_are_module_function_and_line():
    *_, frame = frames(raised(ValueError(SECRET)))
    module, function, line = frame.split(":")
    assert (module, function, line.isdigit()) == (__name__, "fail", True)


def test_an_exception_that_was_never_raised_has_no_frames():
    assert frames(ValueError(SECRET)) == []


def test_of_many_frames_the_innermost_are_told():
    def deep(levels: int) -> None:
        if levels == 0:
            raise ValueError(SECRET)
        deep(levels - 1)

    with pytest.raises(ValueError, match=SECRET) as caught:
        deep(100)
    places = frames(caught.value)
    assert len(places) == MAX_FRAMES
    assert {place.split(":")[1] for place in places} == {"deep"}


def test_causes_contexts_and_members_of_a_group_are_told_with_their_place():
    first = raised(KeyError(SECRET))
    second = OSError(SECRET)
    second.__cause__ = first
    third = RuntimeError(SECRET)
    third.__context__ = raised(second)
    texts = related(ExceptionGroup(SECRET, [third, LookupError(SECRET)]))
    assert [text.partition(" at ")[0] for text in texts] == ["RuntimeError", "LookupError", "OSError", "KeyError"]
    assert texts[1] == "LookupError at ?"
    assert SECRET not in "".join(texts)


def test_a_suppressed_context_is_not_told():
    error = ValueError(SECRET)
    error.__context__ = KeyError(SECRET)
    error.__suppress_context__ = True
    assert related(error) == []


def test_a_ring_of_causes_ends():
    one, two = ValueError(SECRET), KeyError(SECRET)
    one.__cause__, two.__cause__ = two, one
    assert related(one) == ["KeyError at ?"]


def test_of_many_related_exceptions_the_nearest_are_told():
    group = ExceptionGroup(SECRET, [ValueError(number) for number in range(50)])
    assert related(group) == ["ValueError at ?"] * MAX_RELATED
