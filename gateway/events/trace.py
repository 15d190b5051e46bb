"""An exception as a line may tell it: its type and where it came from, never what it says.

The text of a library's exception may hold anything it was given: a number, a message, a URL with a token. The texts of
our own hold none of it, by the rule of ``gateway/errors.py``.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Final

#: Frames told of one exception, the innermost.
MAX_FRAMES: Final = 20
#: Exceptions told of one that has causes, or is a group.
MAX_RELATED: Final = 5
_OURS: Final = frozenset({"gateway", "channels"})


def told(error: BaseException) -> str:
    """Return an exception's type, with its text if it is one of ours."""
    kind = type(error)
    if kind.__module__.partition(".")[0] in _OURS:
        return f"{kind.__qualname__}: {error}"
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def frames(error: BaseException) -> list[str]:
    """Return where an exception passed, the innermost last, each as ``module:function:line``."""
    places = [
        f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_name}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return places[-MAX_FRAMES:]


def related(error: BaseException) -> list[str]:
    """Return the causes of an exception and the members of a group, each with the place it was raised at."""
    found: list[BaseException] = []
    for item in _reached(error):
        if len(found) == MAX_RELATED:
            break
        found.append(item)
    return [f"{told(item)} at {(frames(item) or ['?'])[-1]}" for item in found]


def _reached(error: BaseException) -> Iterator[BaseException]:
    """Walk from an exception to what led to it, nearest first, each once: causes may form a ring."""
    seen = {id(error)}
    waiting = [error]
    while waiting:
        for item in _behind(waiting.pop(0)):
            if id(item) not in seen:
                seen.add(id(item))
                waiting.append(item)
                yield item


def _behind(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        yield from error.exceptions
    if error.__cause__ is not None:
        yield error.__cause__
    elif error.__context__ is not None and not error.__suppress_context__:
        yield error.__context__
