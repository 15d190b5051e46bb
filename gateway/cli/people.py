"""Reading a list of people from CSV: what each row asks for, and every line that cannot be used, by its number.

The first row names the columns. ``to`` is an address as a plain string; a column named like a kind of address holds
addresses of that kind; ``locale``, ``purpose`` and ``channels`` (in order, parted by spaces) are the request's own; any
other column is a parameter of the templates. An empty cell is the same as none.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from gateway.api import intake
from gateway.api.shapes import CreateVerification
from gateway.cli.numbers import counted
from gateway.errors import ConfigError, InvalidRequest
from gateway.value import Value
from gateway.verification.request import Asked

#: Characters that may part the cells; the one that the first row has most of does.
_DELIMITERS: Final = ",;\t|"
#: Between the channels of a route.
_BETWEEN: Final = re.compile(r"[\s,;>|]+")
#: Columns that are fields of a request; the others are kinds of addresses or parameters.
_TO, _CHANNELS = "to", "channels"
_FIELDS: Final = ("locale", "purpose")


class Row(Value, frozen=True):
    """A person to be sent a code."""

    hidden: ClassVar[frozenset[str]] = frozenset({"asked", "addresses"})

    #: Where it begins in the file, from 1.
    line: int
    asked: Asked
    #: Whom it names, as written.
    addresses: frozenset[str]


class Fault(Value, frozen=True):
    """A line that cannot be used."""

    #: From 1.
    line: int
    #: What is wrong, without repeating an address.
    text: str


class People:
    """A file's rows. ``kinds`` are the kinds of addresses; ``defaults`` is what a request says where a row does not.

    Raises ``ConfigError`` for a file that cannot be read at all: no UTF-8, no usable first row.
    """

    def __init__(self, raw: bytes, kinds: Collection[str], defaults: Mapping[str, Any]) -> None:
        self._text = _decoded(raw)
        self._kinds = frozenset(kinds)
        self._defaults = defaults
        first = next((line for line in self._text.splitlines() if line.strip()), "")
        self._delimiter = max(_DELIMITERS, key=first.count)
        self._names = self._header()

    def __iter__(self) -> Iterator[Row | Fault]:
        """Yield every row in order; the whole file can be gone through again."""
        records = self._records()
        next(records)
        for line, cells in records:
            yield self._row(line, cells) if isinstance(cells, list) else Fault(line, cells)

    def _records(self) -> Iterator[tuple[int, list[str] | str]]:
        """Yield each record with the line it begins on; what is wrong with it in place of its cells."""
        reader = csv.reader(io.StringIO(self._text, newline=""), delimiter=self._delimiter, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                # Its own text would say less: what is wrong is always a quote.
                yield line, "a cell's quotes do not close as they should"
                continue
            cells = [cell.strip() for cell in cells]
            if any(cells):
                yield line, cells

    def _header(self) -> list[str]:
        _, cells = next(self._records(), (1, "the file is empty"))
        if not isinstance(cells, list):
            raise ConfigError([f"line 1: {cells}"])
        names = [self._column(cell) for cell in cells]
        faults = [f"line 1: column {place} has no name" for place, name in enumerate(names, 1) if not name]
        faults += [f"line 1: two columns are named {name!r}" for name in {*names} if name and names.count(name) > 1]
        if not ({_TO} | self._kinds) & {*names}:
            faults.append(f"line 1: there is no column of addresses; name one {', '.join([_TO, *sorted(self._kinds)])}")
        if faults:
            raise ConfigError(sorted(faults))
        return names

    def _column(self, cell: str) -> str:
        """Return a column's name; those that mean something are read in any case, a parameter's is as it is written."""
        known = {_TO, _CHANNELS, *_FIELDS, *self._kinds}
        return cell.casefold() if cell.casefold() in known else cell

    def _row(self, line: int, cells: Sequence[str]) -> Row | Fault:
        if len(cells) != len(self._names):
            found, named = counted(len(cells), "cell"), counted(len(self._names), "column")
            return Fault(line, f"{found}, where the first line names {named}")
        given = {name: cell for name, cell in zip(self._names, cells, strict=True) if cell}
        addresses = {name: given.pop(name) for name in list(given) if name in self._kinds}
        plain = given.pop(_TO, None)
        if plain is not None and addresses:
            return Fault(line, "an address in the column to and another in a column of its kind; leave one empty")
        try:
            asked = asked_for(addresses if plain is None else plain, self._wishes(given))
        except InvalidRequest as problem:
            return Fault(line, problem.detail)
        return Row(line, asked, frozenset(asked.to.values()))

    def _wishes(self, given: dict[str, str]) -> dict[str, Any]:
        wishes: dict[str, Any] = {**self._defaults}
        wishes |= {name: given.pop(name) for name in _FIELDS if name in given}
        if _CHANNELS in given:
            wishes[_CHANNELS] = [name for name in _BETWEEN.split(given.pop(_CHANNELS)) if name]
        if given:
            wishes["params"] = {**self._defaults.get("params", {}), **given}
        return wishes


def asked_for(to: str | Mapping[str, str], wishes: Mapping[str, Any]) -> Asked:
    """Return what a request with these addresses and wishes asks for, by the API's own rules. Raises ``InvalidRequest``."""
    if not to:
        raise InvalidRequest.field("/to", "at least one address")
    return intake.asked(intake.shaped({"to": to, **wishes}, CreateVerification))


def _decoded(raw: bytes) -> str:
    try:
        text = raw.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"line {line}: not UTF-8; save the file as UTF-8"]) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ConfigError([f"line {line}: a NUL character; save the file as UTF-8"])
    return text
