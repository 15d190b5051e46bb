"""Values: frozen, and silent about what must not be shown."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import ClassVar

import pytest
from rich.console import Console
from rich.pretty import pprint

import gateway.app  # noqa: F401 - every module with values in it
from gateway.value import Value


class Letter(Value, frozen=True):
    hidden: ClassVar[frozenset[str]] = frozenset({"code"})

    to: str
    code: str
    copies: int = 1


def every_value(kind: type[Value] = Value) -> Iterator[type[Value]]:
    for below in kind.__subclasses__():
        yield below
        yield from every_value(below)


def test_what_is_hidden_stands_in_no_repr():
    assert repr(Letter("a•••", "492039")) == "Letter(to='a•••', copies=1)"


def test_what_is_hidden_is_not_pretty_printed_either():
    shown = io.StringIO()
    pprint(Letter("a•••", "492039"), console=Console(file=shown))
    assert shown.getvalue() == "Letter(to='a•••', copies=1)\n"


def test_a_value_cannot_be_changed():
    with pytest.raises(AttributeError):
        Letter("a", "1").code = "2"  # type: ignore[misc]


@pytest.mark.parametrize("kind", sorted(every_value(), key=str), ids=str)
def test_only_fields_are_hidden(kind):
    assert kind.hidden <= set(kind.__struct_fields__)
